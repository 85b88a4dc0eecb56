// Colors and links of a terminal (ECMA-48, SGR; OSC 8), as styles of pieces of text.
//
// All other sequences are left out, and what cannot be seen is written out.
import { visible } from "/page/dom.js";

const SEQUENCE = /\x1b\[([0-9;:]*)m|\x1b\]8;[^;\x07\x1b]*;([^\x07\x1b]*)(?:\x07|\x1b\\)|\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[ -/]*[0-~]/g;
const LINK = /https?:\/\/[^\s<>"'`\u0000-\u001f]+[^\s<>"'`.,;:!?)\]}\u0000-\u001f]/g;
// Dark on light and light on dark, so that each can be read in both schemes.
const BASIC = "#1b1e22/#7d848e #b3161b/#ff8a85 #1a7f37/#5fc878 #8a6100/#d9a52b #2157b5/#7fabff #8a2f98/#d98be4 #0f6f79/#4fc3cf #646b75/#b4bac3 #4b525c/#99a0aa #d1242f/#ffa198 #2a8a3e/#7fe096 #9a6f00/#f0c454 #3b74d6/#a5c5ff #a548b4/#e8aef0 #127f8a/#7fe0ea #767d87/#f0f2f4".split(" ").map((pair) => `light-dark(${pair.replace("/", ",")})`);
const PLAIN = { key: "" };

function palette(n) {
	if (n < 16) return BASIC[n];
	if (n > 231) return `rgb(${Array(3).fill(8 + (n - 232) * 10)})`;
	const level = (v) => (v ? 55 + v * 40 : 0);
	n -= 16;
	return `rgb(${[Math.floor(n / 36), Math.floor(n / 6) % 6, n % 6].map(level)})`;
}

const SET = { 1: "bold", 2: "faint", 3: "italic", 4: "underlined", 7: "inverse", 9: "struck" };
const CLEAR = { 22: ["bold", "faint"], 23: ["italic"], 24: ["underlined"], 27: ["inverse"], 29: ["struck"], 39: ["ink"], 49: ["ground"] };

/** The style after the numbers of one SGR sequence. */
function changed({ key, ...next }, text) {
	// 38:2::r:g:b is written with colons; other subparameters are forms of what they follow.
	const plainly = (text || "0").replace(/([34]8):2:\d*:(\d+:\d+:\d+)/g, "$1;2;$2").replace(/([34]8:[25](?::\d+)*)|:\d+/g, (all, color) => color ?? "");
	const numbers = plainly.replace(/(?:^|;)58[:;](?:5[:;]\d+|2(?:[:;]\d*){3,4})/g, "").split(/[;:]/).map(Number);
	for (let i = 0; i < numbers.length; i++) {
		const n = numbers[i];
		const [tens, name] = [Math.floor(n / 10), Math.floor(n / 10) % 2 ? "ink" : "ground"];
		if (n === 0) next = {};
		else if (SET[n]) next[SET[n]] = true;
		else if (CLEAR[n]) for (const cleared of CLEAR[n]) delete next[cleared];
		else if ((tens === 3 || tens === 4) && n % 10 < 8) next[name] = BASIC[n % 10];
		else if ((tens === 9 || tens === 10) && n % 10 < 8) next[name] = BASIC[8 + (n % 10)];
		else if (n === 38 || n === 48) {
			if (numbers[i + 1] === 5) (next[name] = palette(numbers[i + 2] & 255)), (i += 2);
			else if (numbers[i + 1] === 2) (next[name] = `rgb(${numbers.slice(i + 2, i + 5).map((v) => v & 255)})`), (i += 4);
		}
	}
	return { ...next, key: JSON.stringify(next) };
}

/** Styles by small numbers, so that each line can have its own. */
export class Styles {
	all = [PLAIN];
	ids = new Map([["", 0], ["{}", 0]]);

	get(id) {
		return this.all[id] ?? PLAIN;
	}

	/** The number of the style after a text that began with that of the number `id`. */
	after(text, id) {
		let style = this.get(id);
		for (const found of text.matchAll(SEQUENCE)) if (found[1] !== undefined) style = changed(style, found[1]);
		let known = this.ids.get(style.key);
		if (known === undefined && this.all.length < 65535) this.ids.set(style.key, (known = this.all.push(style) - 1));
		return known ?? 0;
	}
}

/** Pieces of a line: text, style, and where it leads. */
export function pieces(text, style) {
	const found = [];
	let at = 0, target = "";
	const push = (piece) => {
		if (!piece) return;
		if (target) return found.push({ text: visible(piece), style, target });
		let from = 0;
		for (const link of piece.matchAll(LINK)) {
			if (link.index > from) found.push({ text: visible(piece.slice(from, link.index)), style });
			found.push({ text: visible(link[0]), style, target: link[0] });
			from = link.index + link[0].length;
		}
		if (from < piece.length) found.push({ text: visible(piece.slice(from)), style });
	};
	for (const sequence of text.matchAll(SEQUENCE)) {
		push(text.slice(at, sequence.index));
		at = sequence.index + sequence[0].length;
		if (sequence[1] !== undefined) style = changed(style, sequence[1]);
		else if (sequence[2] !== undefined) target = /^https?:\/\//.test(sequence[2]) ? sequence[2] : "";
	}
	push(text.slice(at));
	return found;
}

/** The text as it is to be searched, and copied. */
export const plain = (text) => lastPiece(text).replace(SEQUENCE, "");

/** What a terminal shows of a line with carriage returns, nearly: the last piece. */
export function lastPiece(text) {
	if (!text.includes("\r")) return text;
	const whole = text.replace(/\r+$/, "");
	return whole.slice(whole.lastIndexOf("\r") + 1);
}

/** Give an element a style. By properties: the page's policy forbids style attributes. */
export function dress(element, style) {
	const { ink, ground, inverse } = style;
	const [front, back] = inverse ? [ground ?? "Canvas", ink ?? "CanvasText"] : [ink, ground];
	if (front) element.style.color = front;
	if (back) element.style.backgroundColor = back;
	if (style.bold) element.style.fontWeight = "bold";
	if (style.faint) element.style.opacity = "0.7";
	if (style.italic) element.style.fontStyle = "italic";
	const lines = [style.underlined && "underline", style.struck && "line-through"].filter(Boolean);
	if (lines.length) element.style.textDecoration = lines.join(" ");
}
