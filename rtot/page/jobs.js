// The list of jobs: newest first, paged as one scrolls, kept up to date by what the worker tells.
import { FIELDS, ask, pause, session } from "./api.js";
import { $, fill, make, number, span, tell, visible } from "./dom.js";

const ROW = 28;
const PAGE = 200;
const rows = $("rows"), svg = $("timeline");

export const known = new Map(), chosen = new Set();
// The id of the job that is looked at; the server's life.
export let current = null, life;
// Those that the filter lets through; the oldest that was read, null for all.
let shown = [], lowest = null, filter = {};
let port, epoch = 0, tries = 0, paging = false, drawn = new Map();

export const SIGNS = { new: "○", running: "●", complete: "✓", failed: "✗" };
export const outcome = ({ state, code, reason }) => (state === "complete" && (code || reason !== "exited") ? "failed" : state);

export function ending({ state, reason, signal, code, out_dropped, err_dropped }) {
	if (state !== "complete") return state;
	const end = !/^(exited|signaled)$/.test(reason) ? reason : signal ? signal.replace("SIG", "signal ") : code ? `exit status ${code}` : "ok";
	return out_dropped || err_dropped ? `${end}, output was dropped` : end;
}

export function link(id, lines = "") {
	const query = location.hash.split("?")[1];
	return `#/${id ?? ""}${lines}${query ? `?${query}` : ""}`;
}

function matches(job) {
	const { text, state, label, failed, from, to } = filter;
	if ((state && job.state !== state) || (label && !job.label.includes(label)) || (failed && outcome(job) !== "failed")) return false;
	if (from && (job.create > to || (job.complete ?? to) < from)) return false;
	return !text || [job.id, job.title, ...job.label, job.by, job.group].join(" ").toLowerCase().includes(text.toLowerCase());
}

// One after the other: what was told while a page was read is newer than the page.
let turn = Promise.resolve();
function queue(action) {
	const mine = epoch;
	const done = turn.then(() => mine === epoch && action());
	turn = done.catch(() => {});
	return done;
}

// What the server filters by.
const ASKED = ["state", "label", "failed"];

async function get(older) {
	const mine = epoch;
	const query = new URLSearchParams({ order: "desc", limit: PAGE, times: "unix", fields: FIELDS });
	for (const name of ASKED) if (filter[name]) query.set(name, filter[name]);
	if (older) query.set("from", lowest - 1);
	const answer = await ask(`/jobs?${query}`);
	const { jobs } = await answer.json();
	if (mine !== epoch) return;
	if (!older) {
		known.clear();
		tries = 0;
		life = answer.headers.get("Rtot-Server");
		follow(Number(answer.headers.get("Rtot-Seq")));
	}
	for (const job of jobs) known.set(job.id, job);
	lowest = (jobs.length === PAGE && jobs.at(-1).id) || null;
	sort();
	timeline();
}

export async function filterBy(values) {
	const before = filter;
	filter = values;
	if (ASKED.some((name) => before[name] !== values[name])) await load();
	else sort();
}

export function load() {
	epoch++;
	return queue(() => get(false)).catch((error) => {
		if (error.status < 500) throw error;
		pause(tries++, error.after).then(load);
	});
}

export function clear() {
	epoch++;
	port?.postMessage({});
	current = lowest = null;
	known.clear();
	chosen.clear();
	sort();
}

function page() {
	if (lowest === null || paging) return;
	paging = true;
	queue(() => get(true)).catch(() => {}).finally(() => (paging = false));
}

// Its URL is a sink of scripts too: the policy makes this one, and no other.
const WORKER = "/page/worker.js";
const policy = globalThis.trustedTypes?.createPolicy("rtot", { createScriptURL: () => WORKER });

function follow(seq) {
	const told = (event) => queue(() => take(event.data));
	if (!port)
		try {
			const worker = new SharedWorker(policy?.createScriptURL("") ?? WORKER, { type: "module", name: "rtot" });
			// The server is away.
			worker.onerror = () => ((port = null), setTimeout(load, 2000));
			port = worker.port;
		} catch {
			// None here: a poll of this tab's own.
			const { port1, port2 } = new MessageChannel();
			import(WORKER).then(() => window.onconnect({ ports: [port2] }));
			port = port1;
		}
	port.onmessage = told;
	port.postMessage({ secret: session.secret, seq, life });
}
window.onpagehide = () => port?.postMessage({});

export const looked = () => port?.postMessage({ stream: true });

function take(message) {
	for (const name of ["revoked", "refused", "restarted"]) if (message[name]) return tell(name);
	tell("live", message);
	if (message.whole) return void load();
	for (const job of message.jobs ?? []) {
		const before = known.get(job.id);
		// One below what was read comes with its page.
		if (before || job.id >= lowest) known.set(job.id, job);
		if (job.state === "complete" && before && before.state !== "complete") tell("ended", job);
		if (job.id === current) tell("current", job);
	}
	for (const id of message.deleted ?? []) {
		known.delete(id);
		chosen.delete(id);
		if (id === current) tell("gone");
	}
	sort();
}

export function sort() {
	shown = [...known.values()].filter(matches).sort((a, b) => b.id - a.id);
	draw();
}

export const chooseAll = () => (shown.forEach(({ id }) => chosen.add(id)), draw());

export function select(id) {
	current = id;
	draw();
}

function draw() {
	const { scrollTop, clientHeight } = rows;
	$("rows-space").style.height = `${shown.length * ROW}px`;
	const first = Math.max(0, Math.floor(scrollTop / ROW) - 3);
	const seen = shown.slice(first, Math.ceil((scrollTop + clientHeight) / ROW) + 3);
	const longest = Math.max(1, ...seen.map((job) => job.seconds ?? 0));
	drawn = new Map(seen.map((job, i) => [job.id, row(job, first + i, longest)]));
	fill(rows, [$("rows-space"), ...drawn.values()]);
	$("bulk").hidden = !chosen.size;
	$("chosen").textContent = `${number(chosen.size)} chosen`;
	if (first + seen.length >= shown.length - 20) page();
}

// The row of a job: the same element as before, since it may have the focus.
function row(job, index, longest) {
	const { id, title, label, state } = job;
	const toggle = () => (chosen[box.checked ? "add" : "delete"](id), draw());
	const row = drawn.get(id) ?? make("div", { role: "listitem" }, make("input", { type: "checkbox", "aria-label": `Choose job ${id}`, click: toggle }), make("a"));
	const [box, address] = row.children;
	const seconds = state === "running" ? Date.now() / 1000 - job.start : job.seconds;
	const texts = { sign: SIGNS[outcome(job)], id, title: visible(title), labels: visible(label.join(" ")), bar: "", span: span(seconds) };
	address.replaceChildren(...Object.entries(texts).map(([name, text]) => make("span", { class: name }, text)));
	address.children[4].style.width = `${(60 * Math.min(longest, seconds ?? 0)) / longest}px`;
	address.href = link(id);
	address.ariaCurrent = id === current;
	box.checked = chosen.has(id);
	row.className = `row ${outcome(job)}`;
	row.ariaPosInSet = index + 1;
	row.ariaSetSize = lowest === null ? shown.length : -1;
	row.style.top = `${index * ROW}px`;
	return row;
}

// Times: what is being dragged over, and since where.
let range, begin;
const time = (x) => Math.round(Date.now() / 1000 - 3600 * (1 - x / svg.clientWidth));

// The last hour: when each job waited and ran.
function timeline() {
	const now = Date.now() / 1000, width = svg.clientWidth;
	const x = (time) => Math.max(0, width * (1 - (now - time) / 3600));
	const jobs = [...known.values()].filter(({ complete }) => (complete ?? now) > now - 3600).sort((a, b) => b.id - a.id);
	if (known.size < 1000 && known.get(lowest)?.create > now - 3600) page();
	const shapes = jobs.slice(0, 500).flatMap((job) => {
		const y = 4 + (job.id % 8) * 5;
		const [left, right] = [x(job.create), x(job.complete ?? now)];
		const start = job.start ? x(job.start) : right;
		return [
			make("svg:rect", { x: left, y: y + 1, width: Math.max(1, start - left), height: 1, class: "new" }),
			make("svg:rect", { x: start, y, width: Math.max(2, right - start), height: 3, class: outcome(job) }),
		];
	});
	const [from, to] = range ?? [filter.from, filter.to];
	if (from) shapes.unshift(make("svg:rect", { x: x(from), width: x(to) - x(from), height: 44, class: "drag" }));
	svg.replaceChildren(...shapes);
}

svg.onpointerdown = ({ offsetX, pointerId }) => {
	begin = time(offsetX);
	svg.setPointerCapture(pointerId);
};
svg.onpointermove = ({ buttons, offsetX }) => {
	if (!buttons) return;
	range = [begin, time(offsetX)].sort();
	timeline();
};
svg.onpointerup = () => {
	const [from, to] = range ?? [0, 0];
	range = undefined;
	tell("range", to - from > 10 ? [from, to] : ["", ""]);
};

export function beside(step) {
	const at = shown.findIndex(({ id }) => id === current) + step;
	const next = Math.min(shown.length - 1, Math.max(0, at));
	rows.scrollTop = Math.min(next * ROW, Math.max(rows.scrollTop, (next + 1) * ROW - rows.clientHeight));
	return shown[next]?.id;
}

// Do that with each of the chosen jobs, four at a time; how many failed?
export async function each(action) {
	const ids = [...chosen];
	let bad = 0;
	const take = async () => {
		while (ids.length) await action(ids.pop()).catch(() => bad++);
	};
	await Promise.all([take(), take(), take(), take()]);
	return bad;
}

rows.onscroll = draw;
new ResizeObserver(draw).observe(rows);
setInterval(() => document.hidden || (draw(), timeline()), 1000);
