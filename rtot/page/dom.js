// Elements of text nodes: nothing that a job wrote ever becomes markup.

export const $ = (id) => document.getElementById(id);

// An element, of SVG by `svg:rect` and the like, with attributes; a function is a listener.
export function make(name, attributes = {}, ...children) {
	const [, svg, local] = /^(svg:)?(.*)/.exec(name);
	const element = document.createElementNS(`http://www.w3.org/${svg ? "2000/svg" : "1999/xhtml"}`, local);
	for (const [key, value] of Object.entries(attributes))
		if (value.call) element.addEventListener(key, value);
		else element.setAttribute(key, value);
	element.append(...children);
	return element;
}

// Have these children, and touch none that stays: it may have the focus, or a click.
export function fill(parent, children) {
	const now = parent.childNodes;
	for (const child of [...now]) if (!children.includes(child)) child.remove();
	children.forEach((child, i) => now[i] !== child && parent.insertBefore(child, now[i] ?? null));
}

export const say = (text) => ($($("sign-in").open ? "why" : "status").textContent = text);

// What the parts of the page tell each other, by name.
const facts = new EventTarget();
export const tell = (name, detail) => facts.dispatchEvent(new CustomEvent(name, { detail }));
export const hear = (name, listener) => facts.addEventListener(name, ({ detail }) => listener(detail));

export const frame = () => new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));

// What cannot be seen, or turns the order around, is written out.
export const visible = (text) =>
	text.replace(/(?!\t)[\p{Cc}\p{Bidi_C}\u2028\u2029\ufeff]/gu, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);

export function span(seconds) {
	if (seconds == null) return "";
	for (const [size, unit] of [[86400, "d"], [3600, "h"], [60, "m"]])
		if (seconds >= size) return `${Math.floor(seconds / size)}${unit} ${span(Math.floor(seconds % size))}`;
	return `${seconds < 10 ? Number(seconds.toFixed(2)) : Math.floor(seconds)} s`;
}

export function bisect(list, value) {
	let low = 0, high = list.length;
	while (low < high) {
		const middle = (low + high) >> 1;
		if (list[middle] < value) low = middle + 1;
		else high = middle;
	}
	return low;
}

export const number = (count) => count.toLocaleString("en");

export const quoted = (text) => (/^[\w%+,./:=@-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

export async function copy(text) {
	try {
		await navigator.clipboard.writeText(text);
		return true;
	} catch {
		// There is no clipboard on plain http.
		const area = make("textarea");
		area.value = text;
		document.body.append(area);
		area.select();
		const done = document.execCommand("copy");
		area.remove();
		return done;
	}
}
