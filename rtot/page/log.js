// The log of one job: a stream of events into lines, and those in sight onto the screen.
import { Pauses, ask, sleep } from "/page/api.js";
import { dress, lastPiece, pieces, plain } from "/page/ansi.js";
import { $, fill, make, number, place } from "/page/dom.js";
import { ENDGROUP, ERR, ERROR, GROUP, Lines, OPEN } from "/page/lines.js";

const ROW = 18;
// Browsers end at 17.9 and 33.5 million pixels.
const TALLEST = 15_000_000;
const LONGEST = 10_000;
const SLOW = 1;

export class Log extends EventTarget {
	constructor() {
		super();
		this.box = $("log");
		this.permitted = true;
		this.open(null, 0);
		this.box.addEventListener("scroll", () => this.scrolled());
		new ResizeObserver(() => this.redraw()).observe(this.box);
		document.addEventListener("visibilitychange", () => this.seen());
		this.seen();
	}

	tell(name) {
		this.dispatchEvent(new Event(name));
	}

	/** Show that job from its beginning on; null for none. */
	open(job, id) {
		this.over?.abort();
		Object.assign(this, { job, id, lines: new Lines(), view: null, folded: new Set(), expanded: new Set(), choice: null });
		Object.assign(this, { following: job?.state !== "complete", unseen: 0, left: false, last: "", ended: false, hits: [], hit: -1, query: "", seeking: (this.seeking ?? 0) + 1, busy: false, fetching: new Set(), group: -1 });
		this.box.scrollTop = 0;
		this.mode ??= { streams: "both", times: "off", wrap: false, only: false };
		this.rebuild();
		if (job) this.stream();
	}

	seen() {
		clearTimeout(this.hidden);
		this.asleep = false;
		if (!document.hidden) {
			if (this.job && !this.ended && this.over?.signal.aborted) this.stream();
		} else this.hidden = setTimeout(() => ((this.asleep = true), this.over?.abort()), 30_000);
	}

	/** Whether it may hold a connection; it is told so by whoever knows of the other tabs. */
	permit(permitted) {
		if (this.permitted === permitted) return;
		this.permitted = permitted;
		if (!this.job || this.ended) return;
		this.over?.abort();
		this.stream();
	}

	async stream() {
		const over = (this.over = new AbortController());
		if (document.hidden && this.asleep) return over.abort();
		const { signal } = over;
		const pauses = new Pauses();
		while (!signal.aborted && !this.ended) {
			let floor = 0;
			try {
				const headers = { Accept: "application/x-ndjson", "Rtot-Server": this.life };
				if (this.last) headers["Last-Event-ID"] = this.last;
				// A browser has six connections: without a permit this tab looks now and then.
				const follow = this.permitted ? "&follow" : "";
				const answer = await ask(`/jobs/${this.id}/events?times=unix${follow}`, { headers, signal });
				if (answer.status === 204) return this.end();
				await this.take(answer.body.getReader(), signal, pauses);
				if (!follow) floor = 3;
			} catch (error) {
				if (signal.aborted || error.status === 401 || error.status === 412) return;
				if (error.status === 404) return this.tell("gone");
				floor = error.after ?? 0;
			}
			if (!this.ended) await sleep(pauses.next(floor), signal);
		}
	}

	async take(reader, signal, pauses) {
		const decoder = new TextDecoder();
		let rest = "", busy = performance.now();
		for (;;) {
			const { value, done } = await reader.read();
			if (done) return;
			const found = (rest + decoder.decode(value, { stream: true })).split("\n");
			rest = found.pop();
			for (const line of found) {
				if (signal.aborted) return;
				this.event(JSON.parse(line));
				pauses.reset();
				if (performance.now() - busy > 10) {
					// Let the browser draw, and the user type.
					await new Promise((resolve) => (document.hidden ? setTimeout(resolve) : requestAnimationFrame(() => setTimeout(resolve))));
					busy = performance.now();
				}
			}
		}
	}

	event(event) {
		if (event.id) this.last = event.id;
		if (event.event === "out" || event.event === "err") {
			const bytes = event.base64 === undefined ? encoder.encode(event.text) : Uint8Array.from(atob(event.base64), (c) => c.charCodeAt(0));
			const before = this.lines.count;
			this.lines.append(event.event, bytes, event.offset, event.time);
			this.arrived(before);
		} else if (event.event === "complete") this.end(event);
	}

	end(event) {
		this.ended = true;
		if (event && (event.code !== 0 || event.reason !== "exited")) this.folded.delete(this.group);
		this.rebuild();
		if (this.query) this.seek();
	}

	arrived(before) {
		const { count } = this.lines;
		for (let i = before; i < count; i++) this.fold(i);
		if (this.stale) (this.stale = false), this.rebuild();
		else if (this.view && !this.mode.only) for (let i = before; i < count; i++) this.shows(i) && this.view.push(i);
		if (this.left) this.unseen += count - before;
		if (this.query) this.seek();
		this.redraw();
	}

	/** A group is folded as soon as another one begins, unless something in it failed. */
	fold(i) {
		const j = i - 1;
		if (j < 0 || !this.lines.groups) return;
		const flags = this.lines.marks[j];
		if (flags & ERROR) this.failing = true;
		if (!(flags & (GROUP | ENDGROUP))) return;
		if (flags & GROUP) {
			// Not under the eyes of a reader.
			if (this.group >= 0 && !this.failing && !this.left) this.folded.add(this.group);
			[this.group, this.failing, this.stale] = [j, false, true];
		}
	}

	shows(i) {
		const flags = this.lines.marks[i];
		if (this.mode.streams !== "both" && this.mode.streams !== (flags & ERR ? "err" : "out")) return false;
		return !(flags & ENDGROUP);
	}

	/** Which lines there are rows for: all, unless something is left out. */
	rebuild() {
		const { lines, mode } = this;
		const all = mode.streams === "both" && !mode.only && !lines.groups;
		this.view = all ? null : [];
		if (mode.only) this.view = this.hits.filter((i) => this.shows(i));
		else if (!all)
			for (let i = 0, skip = false; i < lines.count; i++) {
				const flags = lines.marks[i];
				if (flags & GROUP) skip = this.folded.has(i);
				else if (flags & ENDGROUP) skip = false;
				else if (skip) continue;
				if (this.shows(i)) this.view.push(i);
			}
		this.redraw();
	}

	get rows() {
		return this.view ? this.view.length : this.lines.count;
	}

	row(line) {
		return this.view ? place(this.view, line) : line;
	}

	redraw() {
		if (this.drawing) return;
		this.drawing = true;
		requestAnimationFrame(() => {
			this.drawing = false;
			this.draw();
		});
	}

	get height() {
		return Math.min(TALLEST, this.rows * ROW);
	}

	/** The row at the top, and by how much it is cut off. */
	get top() {
		const inside = this.box.clientHeight;
		const most = Math.max(0, this.rows - inside / ROW);
		const range = this.height - inside;
		const exact = this.rows * ROW <= TALLEST ? this.box.scrollTop / ROW : range > 0 ? (this.box.scrollTop / range) * most : 0;
		return Math.min(exact, most);
	}

	draw() {
		const { box } = this;
		$("space").style.height = `${this.height}px`;
		if (this.following) box.scrollTop = this.height;
		else if (this.rows * ROW > TALLEST && this.anchor !== undefined && this.drawnRows !== this.rows) this.toExact(this.anchor);
		this.drawnRows = this.rows;
		const fits = Math.ceil(box.clientHeight / ROW) + 1;
		const exact = this.top;
		const atEnd = exact >= this.rows - box.clientHeight / ROW - 0.01;
		// Rows above could be of any height when they are wrapped.
		const first = Math.max(0, Math.floor(exact) - (this.mode.wrap ? 0 : 5));
		const last = Math.min(this.rows, Math.floor(exact) + fits + 5);
		const elements = [], missing = new Set();
		const drawn = new Map();
		for (let row = first; row < last; row++) {
			const i = this.view ? this.view[row] : row;
			const version = this.version(i);
			let element = this.drawn?.get(i);
			if (element?.version !== version) Object.assign((element = this.element(i, missing)), { version });
			drawn.set(i, element);
			elements.push(element);
		}
		this.drawn = drawn;
		fill($("lines"), elements);
		box.classList.toggle("wrap", this.mode.wrap);
		const above = this.mode.wrap && atEnd ? this.height - $("lines").offsetHeight : box.scrollTop - (exact - first) * ROW;
		$("lines").style.transform = `translateY(${Math.max(0, above)}px)`;
		this.pulled(missing);
		const pill = $("pill");
		pill.hidden = this.following || !this.unseen;
		pill.textContent = `↓ ${number(this.unseen)} new lines`;
		this.tell("drawn");
	}

	/** Fetch what was let go. */
	pulled(missing) {
		for (const key of missing) {
			if (this.fetching.has(key)) continue;
			this.fetching.add(key);
			const { lines, id } = this;
			const get = async (name, start, end) =>
				(await ask(`/jobs/${id}/${name}`, { headers: { Range: `bytes=${start}-${end}` } })).arrayBuffer();
			const { fetching } = this;
			lines.fetch(key, get).catch(() => sleep(2000)).finally(() => (fetching.delete(key), this.redraw()));
		}
	}

	/** What the look of a line depends on; nothing that is equal to itself if it must be fetched. */
	version(i) {
		const { lines, mode, choice, query } = this;
		const chosen = choice && i >= choice[0] && i <= choice[1];
		const known = lines.has(i);
		return [this.seeking, this.id, lines.lengths[i], lines.marks[i], mode.times, chosen, query && this.isHit(i), this.folded.has(i), this.expanded.has(i), known || Math.random()].join();
	}

	element(i, missing) {
		const { lines, mode } = this;
		const flags = lines.marks[i];
		const text = lines.text(i, missing);
		const content = make("pre");
		const element = make("div", { class: `line ${flags & ERR ? "err" : "out"}` });
		const address = make("a", { href: "#", onclick: (event) => (event.preventDefault(), this.choose(i, event.shiftKey)) }, number(i + 1));
		element.append(address);
		if (mode.times !== "off") element.append(this.clock(i));
		if (this.choice && i >= this.choice[0] && i <= this.choice[1]) element.classList.add("chosen");
		if (this.isHit(i)) element.classList.add("hit");
		if (text === null) content.append("…");
		else this.write(content, i, text, flags);
		element.append(content);
		return element;
	}

	write(content, i, text, flags) {
		if (flags & GROUP) {
			const closed = this.folded.has(i);
			const toggle = () => (this.folded[closed ? "delete" : "add"](i), this.rebuild());
			content.append(make("button", { "aria-expanded": String(!closed), onclick: toggle }, closed ? "▸" : "▾"), " ");
			text = text.slice(9);
		}
		let shown = lastPiece(text);
		const long = shown.length > LONGEST && !this.expanded.has(i);
		if (long) shown = shown.slice(0, LONGEST);
		for (const piece of pieces(shown, this.lines.style(i))) {
			let part = content;
			if (piece.target) part = make("a", { href: piece.target, rel: "noopener noreferrer", target: "_blank" });
			else if (piece.style.key) part = make("span");
			if (part !== content) dress(part, piece.style), content.append(part);
			this.marked(part, piece.text);
		}
		if (long) content.append(make("button", { onclick: () => (this.expanded.add(i), this.redraw()) }, `show all ${number(lastPiece(text).length)} characters`));
	}

	/** The text, with what is searched for marked. */
	marked(part, text) {
		const query = this.query;
		if (query) {
			const folded = text.toLowerCase();
			let at = 0;
			for (let found = folded.indexOf(query); found >= 0; found = folded.indexOf(query, at)) {
				part.append(text.slice(at, found), make("mark", {}, text.slice(found, found + query.length)));
				at = found + query.length;
			}
			text = text.slice(at);
		}
		part.append(text);
	}

	clock(i) {
		const time = this.lines.times[i];
		const before = i ? time - this.lines.times[i - 1] : 0;
		const element = make("time", { title: new Date(time * 1000).toISOString() });
		if (this.mode.times === "clock") element.textContent = new Date(time * 1000).toLocaleTimeString("en-GB") + (time % 1).toFixed(2).slice(1);
		else if (this.mode.times === "start") element.textContent = (time - (this.job.start ?? time)).toFixed(2);
		else {
			element.textContent = `+${Math.max(0, before).toFixed(2)}`;
			element.classList.toggle("slow", before >= SLOW);
		}
		return element;
	}

	scrolled() {
		const { box } = this;
		const end = box.scrollTop >= this.height - box.clientHeight - 2;
		if (!end && box.scrollTop < (this.scrollTop ?? 0)) [this.left, this.following] = [this.left || this.following, false];
		else if (end && this.rows) Object.assign(this, { following: !this.ended || this.following, unseen: 0, left: false });
		this.scrollTop = box.scrollTop;
		this.anchor = this.top;
		this.redraw();
	}

	/** Scroll so that this row is at the top. */
	toExact(row) {
		const { box } = this;
		const most = Math.max(1, this.rows - box.clientHeight / ROW);
		const at = Math.max(0, Math.min(most, row));
		box.scrollTop = this.rows * ROW <= TALLEST ? at * ROW : (at / most) * (this.height - box.clientHeight);
		this.scrollTop = box.scrollTop;
	}

	toEnd() {
		Object.assign(this, { following: true, unseen: 0, left: false });
		this.redraw();
	}

	toRow(row) {
		this.left ||= this.following;
		this.following = false;
		$("space").style.height = `${this.height}px`;
		this.toExact((this.anchor = row));
		this.redraw();
	}

	toLine(i) {
		let group = i;
		while (this.lines.groups && group >= 0 && !(this.lines.marks[group] & GROUP)) group--;
		if (this.folded.delete(group)) this.rebuild();
		this.toRow(this.row(i) - (this.mode.wrap ? 0 : this.box.clientHeight / ROW / 2));
	}

	choose(i, more) {
		const from = more && this.choice ? this.choice[0] : i;
		this.choice = [Math.min(from, i), Math.max(from, i)];
		this.tell("chosen");
		this.redraw();
	}

	/** The chosen lines, or those in sight, as plain text. */
	async copied() {
		const line = (row) => (this.view ? this.view[row] : row);
		const last = Math.min(this.rows, Math.ceil(this.top + this.box.clientHeight / ROW)) - 1;
		const [from, to] = this.choice ?? [line(Math.floor(this.top)), line(last)];
		const texts = [];
		for (let i = from; i <= to; i++) texts.push(plain(await this.whole(i)));
		return texts.map((text) => `${text}\n`).join("");
	}

	/** The text of a line, fetched if it has to be. */
	async whole(i) {
		const { lines } = this;
		while (lines === this.lines) {
			const missing = new Set();
			const text = lines.text(i, missing);
			if (text !== null) return text;
			this.pulled(missing);
			await sleep(50);
		}
		return "";
	}

	/** Count where the text is, over all of the log, in slices; again from there when more comes. */
	search(query) {
		Object.assign(this, { query: query.toLowerCase(), hits: [], hit: -1, sought: 0, times: 0, later: [] });
		this.seeking++;
		this.busy = false;
		if (this.query) this.seek();
		else this.found();
	}

	async seek() {
		if (this.busy) return;
		this.busy = true;
		const turn = this.seeking, { lines, query } = this;
		let begin = performance.now();
		const closed = (i) => this.ended || !(lines.marks[i] & OPEN);
		for (;;) {
			// One that was not at its end is looked at when it is.
			const at = this.later.findIndex(closed);
			if (at < 0 && this.sought >= lines.count) break;
			const i = at < 0 ? this.sought++ : this.later.splice(at, 1)[0];
			if (!closed(i)) {
				this.later.push(i);
				continue;
			}
			const text = plain(lines.text(i) ?? (await this.whole(i))).toLowerCase();
			if (turn !== this.seeking) return;
			let count = 0;
			for (let at = text.indexOf(query); at >= 0; at = text.indexOf(query, at + query.length)) count++;
			if (count) this.hits.splice(place(this.hits, i), 0, i), (this.times += count);
			if (i % 64 === 0 && performance.now() - begin > 8) {
				this.found();
				await new Promise((resolve) => setTimeout(resolve));
				begin = performance.now();
			}
		}
		if (turn !== this.seeking) return;
		this.busy = false;
		this.found();
	}

	found() {
		if (this.mode.only) this.rebuild();
		this.tell("found");
		this.redraw();
	}

	isHit(i) {
		return this.hits[place(this.hits, i)] === i;
	}

	/** To the next line with a hit, or the one before. */
	next(step) {
		if (!this.hits.length) return;
		this.hit = (this.hit + step + this.hits.length + (this.hit < 0 && step < 0 ? 1 : 0)) % this.hits.length;
		this.toLine(this.hits[this.hit]);
		this.found();
	}
}

const encoder = new TextEncoder();
