// Answers about the page's cores, one line of JSON for each: what tests/page/ asks for.
import { createInterface } from "node:readline";

const room = (name) => import(`${process.argv[2]}/${name}.js`);
globalThis.requestAnimationFrame = (action) => setTimeout(action);
globalThis.CustomEvent ??= class extends Event {
	constructor(name, { detail } = {}) {
		super(name);
		this.detail = detail;
	}
};
const { pieces, plain, Styles } = await room("ansi");
const { ERR, Lines } = await room("lines");
const { Rows } = await room("rows");
const { Search } = await room("search");
const { span, visible } = await room("dom");

const read = (chunks) => {
	const lines = new Lines();
	for (const [name, base64, offset] of chunks)
		lines.append(name === "err" ? ERR : 0, Uint8Array.from(Buffer.from(base64, "base64")), offset, 0);
	return lines;
};
const all = (lines) => Array.from({ length: lines.count }, (_, i) => i);
const shown = ({ shown, ends }) => ({ shown, ends });

const cores = {
	lines: (chunks) => {
		const lines = read(chunks);
		return all(lines).map((i) => [lines.marks[i] & ERR ? "err" : "out", lines.text(i)]);
	},
	styles: (chunks) => {
		const lines = read(chunks);
		return all(lines).map((i) => lines.style(i));
	},
	part: ([chunks, i, at, most]) => read(chunks).text(i, { at, most }),
	rows: ([chunks, steps, options]) => {
		const lines = read(chunks);
		const { count } = lines;
		const folded = new Set(options.folded);
		const high = (i) => options.heights[i % options.heights.length];
		const set = { stream: options.stream, folded, among: options.among, high };
		// All at once, and bit by bit.
		const whole = new Rows(lines, set);
		lines.count = 0;
		const grown = new Rows(lines, set);
		for (const [from, to] of [...steps, [0, count]]) {
			lines.count = Math.min(count, Math.max(lines.count, to));
			grown.extend(Math.min(from, grown.lines.count, grown.known ?? 0));
			grown.known = lines.count;
		}
		const spots = Array.from({ length: whole.height }, (_, row) => whole.row(whole.spot(row + 0.5)));
		return [shown(whole), shown(grown), spots];
	},
	search: async ([chunks, query]) => {
		const lines = read(chunks);
		lines.ended = true;
		const search = new Search(query, lines);
		await search.run();
		return [search.hits, search.times];
	},
	pieces: (text) => pieces(text, {}),
	plain,
	span,
	visible,
	style: (text) => {
		const styles = new Styles();
		return styles.all[styles.after(text, 0)];
	},
	// Blocks that are let go, and fetched again.
	async held([size, line]) {
		const lines = new Lines();
		const bytes = Buffer.alloc(size, `${"x".repeat(line - 1)}\n`);
		for (let at = 0; at < size; at += 1 << 16) lines.append(0, bytes.subarray(at, at + (1 << 16)), at, 0);
		const before = lines.blocks.size;
		const missing = new Set();
		const gone = lines.text(0, { missing });
		for (const key of missing)
			await lines.fetch(key, (name, range) => {
				const [, start, end] = /(\d+)-(\d+)/.exec(range).map(Number);
				return bytes.subarray(start, end + 1);
			});
		return [before, gone, missing.size, lines.text(0), lines.text(lines.count - 1), lines.blocks.size];
	},
};

for await (const line of createInterface({ input: process.stdin })) {
	const [name, argument] = JSON.parse(line);
	console.log(JSON.stringify({ found: await cores[name](argument) }));
}
