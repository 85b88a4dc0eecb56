// A log as bytes and line numbers, without any element: a million lines must cost little.
//
// Of the bytes only so many blocks are held; the others are fetched again. Lines are put together
// a stream at a time: one of stderr in the midst of one of stdout does not split it.
import { Styles } from "./ansi.js";
import { bisect } from "./dom.js";

const BLOCK = 1 << 18;
const MOST_BLOCKS = (64 << 20) / BLOCK;
// Of a longer line only so many bytes are looked at at a time.
export const PIECE = 1 << 20;
export const ERR = 1, ESCAPES = 2, OPEN = 4, RETURNS = 8, GROUP = 16, END = 32, ERROR = 64, COLON = 128;
const COMMANDS = { group: GROUP, endgroup: END, error: ERROR };
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

function decode(bytes, first, last) {
	// A tenth of TextDecoder's time, and most lines are short and ASCII.
	const text = first && last && bytes.length < 500 && String.fromCharCode.apply(null, bytes);
	return /^[\0-\x7f]*$/.test(text || "\x80") ? text : decoder.decode(bytes, { stream: !last });
}

const block = (at) => Math.floor(at / BLOCK);

export class Lines {
	count = 0;
	ended = false;
	// Those that begin or end a group, or tell of an error.
	commands = [];
	streams = [0, ERR].map(() => ({ size: 0, open: -1, styles: new Styles(), style: 0 }));
	// By index * 2, + 1 for stderr: the one that was looked at longest ago first.
	blocks = new Map();
	starts = new Float64Array(1024);
	lengths = new Uint32Array(1024);
	times = new Float64Array(1024);
	marks = new Uint8Array(1024);
	styles = new Uint16Array(1024);

	// Take bytes of a stream (0 or ERR) from `offset` on that came at `time` (s); the first line that changed.
	append(err, bytes, offset, time) {
		const stream = this.streams[err];
		bytes = bytes.subarray(Math.max(0, stream.size - offset));
		const first = stream.open < 0 ? this.count : stream.open;
		const base = stream.size;
		this.store(err, bytes);
		const marks = (bytes.includes(27) && ESCAPES) | (bytes.includes(13) && RETURNS);
		for (let at = 0; at < bytes.length; ) {
			const newline = bytes.indexOf(10, at);
			const end = newline < 0 ? bytes.length : newline;
			if (stream.open < 0) {
				const i = (stream.open = this.push());
				this.starts[i] = base + at;
				this.times[i] = time;
				this.marks[i] = err | OPEN | (bytes[at] === 58 && COLON);
				this.styles[i] = stream.style;
			}
			this.lengths[stream.open] += end - at;
			this.marks[stream.open] |= marks;
			if (newline >= 0) this.close(stream);
			at = end + 1;
		}
		return first;
	}

	push() {
		if (this.count === this.starts.length)
			for (const name of ["starts", "lengths", "times", "marks", "styles"]) {
				const old = this[name];
				this[name] = new old.constructor(2 * this.count);
				this[name].set(old);
			}
		return this.count++;
	}

	close(stream) {
		const i = stream.open;
		stream.open = -1;
		this.marks[i] &= ~OPEN;
		if (this.marks[i] & COLON) {
			const mark = COMMANDS[/^::(\w+)/.exec(this.text(i, { most: 12 }))?.[1]];
			if (mark) (this.marks[i] |= mark), this.commands.splice(bisect(this.commands, i), 0, i);
		}
		if (this.marks[i] & ESCAPES || stream.style) stream.style = stream.styles.after(this.text(i, { at: this.lengths[i] - PIECE }) ?? "", this.styles[i]);
	}

	store(err, bytes) {
		const stream = this.streams[err];
		for (let at = 0; at < bytes.length; ) {
			const within = stream.size % BLOCK, key = block(stream.size) * 2 + err;
			if (!within) this.hold(key, new Uint8Array(BLOCK));
			const piece = bytes.subarray(at, at + BLOCK - within);
			this.blocks.get(key).set(piece, within);
			stream.size += piece.length;
			at += piece.length;
		}
	}

	// Hold a block, and let old ones go, but none that is being filled.
	hold(key, bytes) {
		this.blocks.set(key, bytes);
		for (const old of this.blocks.keys())
			if (this.blocks.size > MOST_BLOCKS && old >> 1 < block(this.streams[old & 1].size)) this.blocks.delete(old);
	}

	async fetch(key, get) {
		const start = (key >> 1) * BLOCK, bytes = new Uint8Array(BLOCK);
		bytes.set(new Uint8Array(await get(key & 1 ? "err" : "out", `bytes=${start}-${start + BLOCK - 1}`)));
		this.hold(key, bytes);
	}

	// The text of a line from a byte on; null if blocks have to be fetched first: those in `missing`.
	text(i, { at = 0, most = PIECE, missing } = {}) {
		const start = this.starts[i] + Math.max(0, at);
		const end = Math.min(start + most, this.starts[i] + this.lengths[i]);
		let text = "", here = true;
		for (let from = start, to; from < end; from = to) {
			const key = block(from) * 2 + (this.marks[i] & ERR), bytes = this.blocks.get(key), at = from % BLOCK;
			to = Math.min(end, from - at + BLOCK);
			if (!bytes) (here = false), missing?.add(key);
			else if (here) text += decode(bytes.subarray(at, at + to - from), from === start, to === end);
			if (bytes && key !== this.recent) this.blocks.delete(key), this.blocks.set(key, bytes), (this.recent = key);
		}
		if (!here) decoder.decode();
		return here ? text : null;
	}

	whole(i) {
		return this.ended || !(this.marks[i] & OPEN);
	}

	style(i) {
		return this.streams[this.marks[i] & ERR].styles.all[this.styles[i]];
	}

	// The line that begins the group of that one, or -1.
	group(i) {
		for (let at = bisect(this.commands, i + 1) - 1; at >= 0; at--) {
			const line = this.commands[at];
			if (this.marks[line] & GROUP) return line;
			if (this.marks[line] & END && line < i) return -1;
		}
		return -1;
	}
}
