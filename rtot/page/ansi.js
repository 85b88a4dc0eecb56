// Colors and links of a terminal (ECMA-48, SGR; OSC 8), as CSS; all other sequences are left out.
import { visible } from "./dom.js";

const SEQUENCE = /\x1b\[([0-9;:]*)m|\x1b\]8;[^;\x07\x1b]*;([^\x07\x1b]*)(?:\x07|\x1b\\)|\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[ -/]*[0-~]/g;
const LINK = /https?:\/\/[^\s<>"'`\u0000-\u001f]+[^\s<>"'`.,;:!?)\]}\u0000-\u001f]/g;
const SET = { 1: { fontWeight: "bold" }, 2: { opacity: 0.7 }, 3: { fontStyle: "italic" }, 4: { textDecoration: "underline" }, 7: { inverse: true }, 9: { textDecoration: "line-through" } };
const CLEAR = { 22: ["fontWeight", "opacity"], 23: ["fontStyle"], 24: ["textDecoration"], 27: ["inverse"], 29: ["textDecoration"], 39: ["color"], 49: ["backgroundColor"] };
const INK = "color", GROUND = "backgroundColor";
const HUES = [0, 25, 145, 85, 260, 320, 200, 0];

// By their lightness, so that each can be read in both schemes, and on each.
function basic(name, n) {
	const shade = (lightness) => `oklch(${lightness + (n > 7 && 0.07)} ${n % 8 % 7 ? 0.15 : 0} ${HUES[n % 8]})`;
	return name === INK ? `light-dark(${shade(0.34)},${shade(0.78)})` : `light-dark(${shade(0.88)},${shade(0.3)})`;
}

function palette(name, n) {
	if (n < 16) return basic(name, n);
	if (n > 231) return `rgb(${Array(3).fill(8 + (n - 232) * 10)})`;
	return `rgb(${[36, 6, 1].map((size) => Math.floor((n - 16) / size) % 6).map((level) => level && 55 + level * 40)})`;
}

function changed(style, text) {
	let next = { ...style };
	const params = (text || "0").split(";").map((param) => param.split(":").map(Number));
	for (let i = 0; i < params.length; i++) {
		let [n, ...rest] = params[i];
		if (n === 4 && rest[0] === 0) n = 24;
		const tens = Math.floor(n / 10), name = tens % 2 ? INK : GROUND;
		if (n === 38 || n === 48 || n === 58) {
			// 38;5;N, 38;2;R;G;B, or all of it with colons; 58 is of underlines.
			if (!rest.length) (rest = params.slice(i + 1, i + (params[i + 1]?.[0] === 5 ? 3 : 5)).flat()), (i += rest.length);
			if (n !== 58) next[name] = rest[0] === 5 ? palette(name, rest[1] & 255) : `rgb(${rest.slice(-3).map((v) => v & 255)})`;
		} else if (!n) next = {};
		else if (SET[n]) Object.assign(next, SET[n]);
		else if (CLEAR[n]) for (const cleared of CLEAR[n]) delete next[cleared];
		else if ([3, 4, 9, 10].includes(tens) && n % 10 < 8) next[name] = basic(name, (n % 10) + (tens > 4 && 8));
	}
	return next;
}

export class Styles {
	all = [{}];
	numbers = new Map([["{}", 0]]);

	// The number of the style after a text that began with that one.
	after(text, number) {
		let style = this.all[number];
		for (const found of text.matchAll(SEQUENCE)) if (found[1] !== undefined) style = changed(style, found[1]);
		const key = JSON.stringify(style);
		if (!this.numbers.has(key) && this.all.length < 65536) this.numbers.set(key, this.all.push(style) - 1);
		return this.numbers.get(key) ?? 0;
	}
}

// Of what is seen of a line: text, style, and where it leads.
export function pieces(text, style) {
	const found = [];
	text = text.replace(/\r+$/, "");
	// What is before a carriage return changes the style only.
	let at = text.lastIndexOf("\r") + 1, target;
	const push = (piece, target) => piece && found.push({ text: visible(piece), style, target });
	const add = (piece) => {
		let from = 0;
		for (const link of target ? [] : piece.matchAll(LINK)) {
			push(piece.slice(from, link.index));
			push(link[0], link[0]);
			from = link.index + link[0].length;
		}
		push(piece.slice(from), target);
	};
	for (const { index, 0: sequence, 1: numbers, 2: leads } of text.matchAll(SEQUENCE)) {
		if (index >= at) add(text.slice(at, index)), (at = index + sequence.length);
		if (numbers !== undefined) style = changed(style, numbers);
		else if (leads !== undefined) target = /^https?:\/\//.test(leads) && leads;
	}
	add(text.slice(at));
	return found;
}

// What a terminal shows of a line with carriage returns, nearly.
export function lastPiece(text) {
	if (!text.includes("\r")) return text;
	const whole = text.replace(/\r+$/, "");
	return whole.slice(whole.lastIndexOf("\r") + 1);
}

export const plain = (text) => lastPiece(text).replace(SEQUENCE, "");

// By properties: the page's policy forbids style attributes.
export function dress(element, { inverse, ...style }) {
	const [ink, ground] = [style[GROUND] ?? "Canvas", style[INK] ?? "CanvasText"];
	Object.assign(element.style, style, inverse && { [INK]: ink, [GROUND]: ground });
}
