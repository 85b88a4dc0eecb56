// The log of a job on the screen, one at a time: only the rows in sight are elements.
import { ask, pause } from "./api.js";
import { dress, lastPiece, pieces, plain } from "./ansi.js";
import { $, bisect, fill, frame, hear, make, number, tell } from "./dom.js";
import { events } from "./events.js";
import { ERR, ERROR, GROUP, Lines, PIECE, RETURNS } from "./lines.js";
import { Rows } from "./rows.js";
import { Search } from "./search.js";

const ROW = 18;
// Browsers end at 17.9 and 33.5 million pixels.
const TALLEST = 15_000_000;
const LONGEST = 10_000;
const SLOW = 1;
const box = $("log");

export let lines, search;
let job, life, last, over, rows, mode = {};
// `end` is followed, `away` is left, `free` is neither: then `spot` is at the top.
let reader, spot, unseen;
// The first and the last line chosen; which line with hits is looked at.
let choice, hit;
// Groups by their first line; long lines that are shown whole; rows of wrapped lines as drawn.
let folded, expanded, measured, group, failing, drawn, drawing, scrollTop, fetching;
// Whether a connection may be held; whether nobody looks.
let permitted = !document.hidden, asleep = false, sleeping;

// Show the log of a job, null for none.
export function open(...asked) {
	over?.abort();
	[job, life] = asked;
	lines = new Lines();
	reader = job?.state === "complete" ? "free" : "end";
	spot = { line: 0, part: 0 };
	[folded, expanded, measured, drawn, fetching] = [new Set(), new Set(), new Map(), new Map(), new Map()];
	[last, choice, unseen, scrollTop, group, failing] = ["", null, 0, 0, -1, false];
	find("");
	rebuild();
	read();
}

export function permit(granted) {
	if (permitted === granted) return;
	permitted = granted;
	read();
}

export function seen() {
	clearTimeout(sleeping);
	if (document.hidden) sleeping = setTimeout(() => ((asleep = true), over.abort()), 30_000);
	else if (asleep) (asleep = false), read();
}

async function read() {
	over?.abort();
	const { signal } = (over = new AbortController());
	if (!job || lines.ended || asleep) return;
	let busy = Date.now();
	try {
		for await (const event of events(job.id, { last, life, permitted, signal })) {
			if (signal.aborted) return;
			take(event);
			if (Date.now() - busy < 10) continue;
			await frame();
			busy = Date.now();
		}
		if (signal.aborted) return;
		lines.ended = true;
		search.run();
	} catch (error) {
		if (error.status === 404) tell("gone");
	}
}

function take({ id, event, text, base64, offset, time }) {
	last = id ?? last;
	if (event !== "out" && event !== "err") return;
	const { count, commands } = lines;
	const known = commands.length;
	const bytes = base64 === undefined ? new TextEncoder().encode(text) : Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
	let first = lines.append(event === "err" ? ERR : 0, bytes, offset, time);
	for (const line of commands.slice(known)) first = Math.min(first, fold(line));
	if (!rows.among) rows.extend(first);
	if (reader === "away") unseen += lines.count - count;
	search.run();
	redraw();
}

// Fold the group before this one, unless something in it failed; the first line that changed.
function fold(line) {
	const marks = lines.marks[line], before = group;
	if (marks & ERROR) failing = true;
	if (!(marks & GROUP) || line === group) return line;
	// Not under the eyes of a reader.
	const kept = before < 0 || failing || reader === "away";
	[group, failing] = [line, false];
	if (kept) return line;
	folded.add(before);
	return before;
}

// Anything but the lines has changed.
export function rebuild() {
	const columns = Math.max(20, (box.clientWidth - 100) / 7.8);
	const length = (i) => Math.min(lines.lengths[i], expanded.has(i) ? PIECE : LONGEST);
	const high = (i) => (mode.wrap && (measured.get(i) ?? (lines.marks[i] & RETURNS ? 1 : Math.ceil(length(i) / columns)))) || 1;
	measured.clear();
	rows = new Rows(lines, { stream: mode.stream, folded, among: mode.only && search.query && search.hits, high });
	redraw();
}

function redraw() {
	drawing ??= requestAnimationFrame(() => {
		drawing = null;
		draw();
	});
}

const height = () => Math.min(TALLEST, rows.height * ROW);
const lowest = () => Math.max(0, rows.height - box.clientHeight / ROW);

function draw() {
	if (reader === "end") spot = rows.spot(lowest());
	const row = Math.min(lowest(), rows.row(spot));
	$("space").style.height = `${height()}px`;
	const y = height() < TALLEST ? row * ROW : (row / lowest()) * (TALLEST - box.clientHeight);
	if (Math.abs(y - box.scrollTop) >= 1) box.scrollTop = y;
	scrollTop = box.scrollTop;
	const k = rows.at(row), missing = new Set(), elements = new Map();
	for (const i of rows.shown.slice(Math.max(0, k - 5), k + Math.ceil(box.clientHeight / ROW) + 6)) {
		const before = drawn.get(i);
		elements.set(i, before?.version === version(i) ? before : render(i, missing));
	}
	drawn = elements;
	fill($("lines"), [...drawn.values()]);
	box.classList.toggle("wrap", !!mode.wrap);
	const top = drawn.get(rows.shown[k]);
	const above = top ? top.offsetTop + ((row - rows.top(k)) / rows.size(k)) * top.offsetHeight : 0;
	$("lines").style.transform = `translateY(${scrollTop - above}px)`;
	if (mode.wrap) measure();
	for (const key of missing) refetch(key).then(redraw);
	$("pill").hidden = reader !== "away" || !unseen;
	$("pill").textContent = `↓ ${number(unseen)} new lines`;
	tell("drawn");
}

// How many rows a wrapped line has is a guess until it was drawn.
function measure() {
	let wrong;
	for (const [i, element] of drawn) {
		const size = Math.max(1, Math.round(element.offsetHeight / ROW));
		if (size === rows.size(rows.index(i))) continue;
		measured.set(i, size);
		wrong ??= i;
	}
	if (wrong === undefined) return;
	rows.extend(wrong);
	redraw();
}

const isChosen = (i) => choice?.[0] <= i && i <= choice[1];

const version = (i) => [lines.lengths[i], lines.marks[i], mode.times, isChosen(i), search.query, search.has(i), folded.has(i), expanded.has(i)].join();

function render(i, missing) {
	const marks = lines.marks[i];
	// Of a long line its beginning, or what may come after the last \r.
	const most = expanded.has(i) ? PIECE : 4 * LONGEST;
	const text = lines.text(i, { at: marks & RETURNS ? lines.lengths[i] - most : 0, most, missing });
	const content = make("pre", {}, ...(text === null ? ["…"] : parts(i, text)));
	const address = make("a", { href: "#", click: (event) => (event.preventDefault(), choose(i, event.shiftKey)) }, number(i + 1));
	const looks = ["line", marks & ERR ? "err" : "out", isChosen(i) ? "chosen" : "", search.has(i) ? "hit" : ""];
	const element = make("div", { class: looks.join(" ") }, address, mode.times ? clock(i) : "", content);
	// To be fetched: NaN is not equal to itself.
	element.version = text === null ? NaN : version(i);
	return element;
}

function parts(i, text) {
	const found = [];
	if (lines.marks[i] & GROUP) {
		const toggle = () => (folded.delete(i) || folded.add(i), rebuild());
		found.push(make("button", { "aria-expanded": !folded.has(i), click: toggle }, folded.has(i) ? "▸" : "▾"), " ");
		text = text.slice(9);
	}
	const rest = expanded.has(i) ? 0 : lastPiece(text).length - LONGEST;
	for (const { text: words, style, target } of pieces(rest > 0 ? text.slice(0, -rest) : text, lines.style(i))) {
		const part = make(target ? "a" : "span", target ? { href: target, rel: "noopener noreferrer", target: "_blank" } : {}, ...marked(words));
		dress(part, style);
		found.push(part);
	}
	const length = lines.lengths[i], all = length > PIECE ? `${number(PIECE)} of` : "all";
	if (rest > 0) found.push(make("button", { click: () => (expanded.add(i), rebuild()) }, `show ${all} ${number(length)} bytes`));
	return found;
}

function* marked(text) {
	const { query } = search;
	const small = text.toLowerCase();
	let at = 0;
	for (let found = query ? small.indexOf(query) : -1; found >= 0; found = small.indexOf(query, at)) {
		yield text.slice(at, found);
		at = found + query.length;
		yield make("mark", {}, text.slice(found, at));
	}
	yield text.slice(at);
}

function clock(i) {
	const time = lines.times[i], difference = mode.times === "difference";
	const since = Math.max(0, time - ((difference ? lines.times[i - 1] : job.start) ?? time)).toFixed(2);
	const text = mode.times === "clock" ? new Date(time * 1000).toLocaleTimeString("en-GB") + (time % 1).toFixed(2).slice(1) : since;
	return make("time", { class: difference && since >= SLOW ? "slow" : "" }, difference ? `+${since}` : text);
}

function scrolled() {
	const y = box.scrollTop;
	// By draw() itself.
	if (Math.abs(y - scrollTop) < 1) return;
	if (y >= height() - box.clientHeight - 2) toEnd();
	else toRow(height() < TALLEST ? y / ROW : (y / (TALLEST - box.clientHeight)) * lowest());
}

export function toEnd() {
	[reader, unseen] = ["end", 0];
	redraw();
}

export function toRow(row) {
	reader = "away";
	spot = rows.spot(Math.max(0, Math.min(lowest(), row)));
	redraw();
}

function toLine(i) {
	if (folded.delete(lines.group(i))) rebuild();
	toRow(rows.row({ line: i, part: 0 }) - 3);
}

function choose(i, more) {
	const from = more && choice ? choice[0] : i;
	choice = [Math.min(from, i), Math.max(from, i)];
	tell("chosen", choice);
	redraw();
}

export function goTo(from, to = from) {
	choice = [from, to];
	toLine(from);
}

export async function copied() {
	const row = rows.row(spot);
	const [from, to] = choice ?? [row, row + box.clientHeight / ROW - 1].map((row) => rows.spot(row).line);
	let text = "";
	for (const i of rows.shown.slice(rows.index(from), rows.index(to + 1))) text += `${plain(await fetched(i))}\n`;
	return text;
}

function refetch(key) {
	const { id } = job, mine = fetching;
	const get = async (name, range) => (await ask(`/jobs/${id}/${name}`, { headers: { Range: range, "Rtot-Server": life } })).arrayBuffer();
	if (!mine.has(key)) mine.set(key, lines.fetch(key, get).catch(() => pause(2)).finally(() => mine.delete(key)));
	return mine.get(key);
}

// The text of a line, fetched if it has to be; none if another log was opened.
async function fetched(i, options) {
	for (const mine = lines; mine === lines; ) {
		const missing = new Set();
		const text = lines.text(i, { ...options, missing });
		if (text !== null) return text;
		await Promise.all([...missing].map(refetch));
	}
	return "";
}

export function look(values) {
	mode = values;
	if (mode.search.toLowerCase() !== search.query) find(mode.search);
	rebuild();
}

function find(query) {
	if (search) search.over = true;
	search = new Search(query, lines, fetched);
	hit = -1;
	if (query) search.run();
	else tell("found");
}

export function next(step) {
	const { hits } = search;
	if (!hits.length) return;
	const begin = hit < 0 ? bisect(hits, spot.line) - (step > 0) : hit;
	hit = (begin + step + hits.length) % hits.length;
	toLine(hits[hit]);
	tell("found");
}

let told = 0;
hear("found", () => {
	const { hits, times, query, busy } = search;
	// Hits are counted, and lines that have some are gone through.
	const at = hit < 0 ? "" : `${number(hit + 1)}/${number(hits.length)} `;
	$("hits").textContent = query && `${at}${at && times === hits.length ? "" : number(times)}${busy ? "…" : ""}`;
	redraw();
	if (busy && Date.now() - told < 250) return;
	told = Date.now();
	if (mode.only) rebuild();
	const places = new Set(hits.map((i) => Math.round((200 * i) / lines.count)));
	$("marks").replaceChildren(...[...places].map((at) => make("svg:rect", { y: `${at / 2}%`, width: 5, height: 3 })));
});
box.onscroll = scrolled;
open(null);
new ResizeObserver(rebuild).observe(box);
seen();
