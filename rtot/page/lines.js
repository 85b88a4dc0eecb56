// A log as bytes and line numbers, without any element: a million lines must cost little.
//
// The bytes of each stream are in blocks, of which only so many are held; the others are fetched
// again by their range. Of each line typed arrays have where it begins, how long it is, when it
// came, and the colors that were on. Lines are put together a stream at a time: one of stderr in
// the midst of one of stdout does not split it.
import { Styles } from "/page/ansi.js";

export const BLOCK = 1 << 18;
export const ERR = 1, ESCAPES = 2, OPEN = 4, GROUP = 8, ENDGROUP = 16, ERROR = 32;
const MOST_BLOCKS = (64 << 20) / BLOCK;
const GROUP_MARK = "::group::", END_MARK = "::endgroup::", ERROR_MARK = "::error";

/** One stream: all of its bytes, of which some blocks may have to be fetched. */
class Stream {
	constructor(name) {
		this.name = name;
		this.blocks = [];
		this.used = [];
		this.size = 0;
		this.open = -1;
		this.styles = new Styles();
		this.style = 0;
	}

	append(bytes) {
		for (let at = 0; at < bytes.length; ) {
			const index = Math.floor(this.size / BLOCK);
			const within = this.size % BLOCK;
			if (!within) this.blocks[index] = new Uint8Array(BLOCK);
			const piece = bytes.subarray(at, at + BLOCK - within);
			// One that is being filled is never let go.
			this.blocks[index].set(piece, within);
			this.used[index] = Infinity;
			this.size += piece.length;
			if (this.size % BLOCK === 0) this.used[index] = Lines.clock++;
			at += piece.length;
		}
	}

	/** The bytes, or null if some of them are not here: then `missing` has the blocks. */
	slice(start, end, missing) {
		const first = Math.floor(start / BLOCK), last = Math.floor(Math.max(start, end - 1) / BLOCK);
		let here = true;
		for (let i = first; i <= last; i++) {
			if (!this.blocks[i]) {
				if (start < end) here = (missing?.add(`${this.name}:${i}`), false);
			} else if (this.used[i] !== Infinity) this.used[i] = Lines.clock++;
		}
		if (!here) return null;
		if (first === last) return this.blocks[first]?.subarray(start % BLOCK, (start % BLOCK) + end - start) ?? new Uint8Array(0);
		const bytes = new Uint8Array(end - start);
		for (let i = first; i <= last; i++) {
			const from = Math.max(start, i * BLOCK), to = Math.min(end, (i + 1) * BLOCK);
			bytes.set(this.blocks[i].subarray(from - i * BLOCK, to - i * BLOCK), from - start);
		}
		return bytes;
	}
}

export class Lines {
	static clock = 1;

	constructor() {
		this.count = 0;
		this.streams = [new Stream("out"), new Stream("err")];
		this.starts = new Float64Array(1024);
		this.lengths = new Uint32Array(1024);
		this.times = new Float64Array(1024);
		this.marks = new Uint8Array(1024);
		this.dress = new Uint16Array(1024);
		this.groups = 0;
		this.decoder = new TextDecoder("utf-8", { ignoreBOM: true });
	}

	push(stream, start, time) {
		const i = this.count++;
		if (i === this.starts.length)
			for (const name of ["starts", "lengths", "times", "marks", "dress"]) {
				const old = this[name];
				this[name] = new old.constructor(2 * i);
				this[name].set(old);
			}
		this.starts[i] = start;
		this.lengths[i] = 0;
		this.times[i] = time;
		this.marks[i] = OPEN | (stream.name === "err" ? ERR : 0);
		this.dress[i] = stream.style;
		return i;
	}

	/** Bytes of a stream that came at `time` (s). `offset` is where: what is there already is passed over. */
	append(name, bytes, offset, time) {
		const stream = this.streams[name === "err" ? 1 : 0];
		if (offset < stream.size) bytes = bytes.subarray(stream.size - offset);
		if (!bytes.length) return;
		const base = stream.size;
		stream.append(bytes);
		const escapes = bytes.indexOf(27) >= 0;
		for (let at = 0; at < bytes.length; ) {
			const newline = bytes.indexOf(10, at);
			const end = newline < 0 ? bytes.length : newline;
			if (stream.open < 0) stream.open = this.push(stream, base + at, time);
			const i = stream.open;
			this.lengths[i] += end - at;
			if (escapes) this.marks[i] |= ESCAPES;
			if (newline >= 0) this.close(stream, i);
			at = end + 1;
		}
		this.evict();
	}

	close(stream, i) {
		stream.open = -1;
		const flags = this.marks;
		flags[i] &= ~OPEN;
		const first = stream.slice(this.starts[i], this.starts[i] + Math.min(12, this.lengths[i]));
		if (first && first[0] === 58 && first[1] === 58) {
			const text = this.decoder.decode(first);
			if (text.startsWith(GROUP_MARK)) flags[i] |= GROUP, this.groups++;
			else if (text.startsWith(END_MARK)) flags[i] |= ENDGROUP;
			else if (text.startsWith(ERROR_MARK)) flags[i] |= ERROR;
		}
		if (flags[i] & ESCAPES || stream.style) stream.style = stream.styles.after(this.text(i) ?? "", this.dress[i]);
	}

	/** The text of a line, null if its bytes have to be fetched first. */
	text(i, missing) {
		const stream = this.streams[this.marks[i] & ERR];
		const start = this.starts[i];
		const bytes = stream.slice(start, start + this.lengths[i], missing);
		return bytes && this.decoder.decode(bytes);
	}

	/** Whether all bytes of a line are here. */
	has(i) {
		const { blocks } = this.streams[this.marks[i] & ERR];
		const last = Math.floor((this.starts[i] + Math.max(0, this.lengths[i] - 1)) / BLOCK);
		for (let at = Math.floor(this.starts[i] / BLOCK); at <= last; at++) if (!blocks[at]) return !this.lengths[i];
		return true;
	}

	style(i) {
		return this.streams[this.marks[i] & ERR].styles.get(this.dress[i]);
	}

	/** Let the blocks go that were looked at longest ago. */
	evict() {
		let held = 0;
		for (const stream of this.streams) for (const block of stream.blocks) held += block ? 1 : 0;
		while (held > MOST_BLOCKS) {
			let found = null, oldest = Infinity;
			for (const stream of this.streams)
				stream.used.forEach((used, i) => {
					if (stream.blocks[i] && used < oldest) [found, oldest] = [{ stream, i }, used];
				});
			if (!found) return;
			found.stream.blocks[found.i] = null;
			held--;
		}
	}

	/** Fetch a block that was let go; `get` answers with the bytes of a range. */
	async fetch(key, get) {
		const [name, index] = key.split(":");
		const stream = this.streams[name === "err" ? 1 : 0];
		const start = index * BLOCK;
		const bytes = new Uint8Array(await get(name, start, Math.min(stream.size, start + BLOCK) - 1));
		const block = new Uint8Array(BLOCK);
		block.set(bytes);
		stream.blocks[index] = block;
		stream.used[index] = Lines.clock++;
		this.evict();
	}
}
