// Where a text is in a log: all over it, in slices, and on as more comes.
import { plain } from "./ansi.js";
import { bisect, frame, tell } from "./dom.js";
import { PIECE, RETURNS } from "./lines.js";

export class Search {
	// Lines with hits, ascending, and how many hits there are in them.
	hits = [];
	times = 0;
	busy = false;
	over = false;
	next = 0;
	later = [];

	constructor(query, lines, fetched) {
		Object.assign(this, { query: query.toLowerCase(), lines, fetched });
	}

	async run() {
		if (this.busy || !this.query) return;
		this.busy = true;
		const { lines, query } = this;
		let begin = Date.now();
		for (;;) {
			// One that was not at its end is looked at when it is.
			const at = this.later.findIndex((i) => lines.whole(i));
			if (at < 0 && this.next >= lines.count) break;
			const i = at < 0 ? this.next++ : this.later.splice(at, 1)[0];
			if (!lines.whole(i)) {
				this.later.push(i);
				continue;
			}
			let rest = "", count = 0;
			for (let at = lines.marks[i] & RETURNS ? Math.max(0, lines.lengths[i] - PIECE) : 0; at < lines.lengths[i]; at += PIECE) {
				const text = rest + plain(lines.text(i, { at }) ?? (await this.fetched(i, { at }))).toLowerCase();
				if (this.over) return;
				let from = 0;
				for (let found = text.indexOf(query); found >= 0; found = text.indexOf(query, from)) count++, (from = found + query.length);
				rest = text.slice(Math.max(from, text.length - query.length + 1));
			}
			if (count) this.hits.splice(bisect(this.hits, i), 0, i), (this.times += count);
			if (i % 64 === 0 && Date.now() - begin > 10) {
				tell("found");
				await frame();
				if (this.over) return;
				begin = Date.now();
			}
		}
		this.busy = false;
		tell("found");
	}

	has(i) {
		return this.hits[bisect(this.hits, i)] === i;
	}
}
