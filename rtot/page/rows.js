// Which lines are shown, counted by k, and at which row each begins: one that is wrapped has several.
//
// A spot is a line and how much of it is above: it stays right whatever is folded or wrapped.
import { bisect } from "./dom.js";
import { END, ERR, GROUP } from "./lines.js";

export class Rows {
	shown = [];
	ends = [];

	// `stream`: `out` or `err`, empty for both; `among`: no other lines; `high`: how many rows a line has.
	constructor(lines, options) {
		Object.assign(this, { lines, ...options });
		this.extend(0);
	}

	// Be right again from that line on.
	extend(first) {
		const { shown, ends, lines, stream, folded, among, high } = this;
		shown.length = ends.length = this.index(first);
		let skipped = folded.has(lines.group(first)), end = this.height;
		const take = (i) => {
			const marks = lines.marks[i];
			if (marks & (GROUP | END)) skipped = folded.has(i);
			if (marks & END || (skipped && !among && !(marks & GROUP))) return;
			if (stream && (stream === "err") !== !!(marks & ERR)) return;
			shown.push(i);
			ends.push((end += high(i)));
		};
		if (among) among.slice(bisect(among, first)).forEach(take);
		else for (let i = first; i < lines.count; i++) take(i);
	}

	get height() {
		return this.ends.at(-1) ?? 0;
	}

	index(line) {
		return bisect(this.shown, line);
	}

	top(k) {
		return k && this.ends[k - 1];
	}

	size(k) {
		return this.ends[k] - this.top(k);
	}

	at(row) {
		return bisect(this.ends, Math.floor(row) + 1);
	}

	spot(row) {
		const k = Math.max(0, Math.min(this.at(row), this.ends.length - 1));
		return { line: this.shown[k] ?? 0, part: (row - this.top(k)) / this.size(k) || 0 };
	}

	row({ line, part }) {
		const k = this.index(line);
		return this.top(k) + (this.shown[k] === line ? part * this.size(k) : 0);
	}
}
