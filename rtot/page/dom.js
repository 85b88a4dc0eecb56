// Elements of text nodes: nothing that a job wrote ever becomes markup.

export const $ = (id) => document.getElementById(id);

/** An element; `properties` are attributes, and listeners by `onclick` and the like. */
export function make(name, properties = {}, ...children) {
	const element = document.createElement(name);
	for (const [key, value] of Object.entries(properties)) {
		if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
		else if (value === true) element.setAttribute(key, "");
		else if (value !== false && value != null) element.setAttribute(key, value);
	}
	element.append(...children);
	return element;
}

/** Have these children, and touch none that is in its place: it may have the focus, or a click. */
export function fill(parent, children) {
	const now = parent.childNodes;
	if (now.length === children.length && children.every((child, i) => child === now[i])) return;
	const kept = new Set(children);
	for (const child of [...now]) if (!kept.has(child)) child.remove();
	children.forEach((child, i) => now[i] !== child && parent.insertBefore(child, now[i] ?? null));
}

/** Text in which all that cannot be seen, or turns its order around, is written out. */
export const visible = (text) =>
	text.replace(/(?!\t)[\p{Cc}\p{Bidi_C}\u2028\u2029\ufeff]/gu, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);

export function span(seconds) {
	if (seconds == null) return "";
	if (seconds < 10) return `${seconds < 0.005 ? 0 : Number(seconds.toPrecision(2))} s`;
	if (seconds < 60) return `${Math.floor(seconds)} s`;
	for (const [size, unit, small, name] of [[86400, "d", 3600, "h"], [3600, "h", 60, "m"], [60, "m", 1, "s"]])
		if (seconds >= size) return `${Math.floor(seconds / size)}${unit}${String(Math.floor((seconds % size) / small)).padStart(2, "0")}${name}`;
}

/** Where in an ascending list a value is, or would be. */
export function place(list, value) {
	let low = 0, high = list.length;
	while (low < high) {
		const middle = (low + high) >> 1;
		if (list[middle] < value) low = middle + 1;
		else high = middle;
	}
	return low;
}

export const number = (count) => count.toLocaleString("en");

/** A word of a shell. */
export const quoted = (text) => (/^[\w%+,./:=@-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

/** Copy a text; where the clipboard is not to be had (plain http), as it was done before. */
export async function copy(text) {
	try {
		await navigator.clipboard.writeText(text);
		return true;
	} catch {
		const area = make("textarea", { readonly: true });
		area.value = text;
		(document.querySelector("dialog[open]") ?? document.body).append(area);
		area.select();
		const done = document.execCommand("copy");
		area.remove();
		return done;
	}
}
