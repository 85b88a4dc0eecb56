// The jobs: newest first, paged as one scrolls, kept up to date by what the worker tells.
import { FIELDS, ask, read, session } from "/page/api.js";
import { $, fill, make, number, span, visible } from "/page/dom.js";

const ROW = 28;
const PAGE = 200;

export const failed = (job) => job.state === "complete" && (job.code !== 0 || job.reason !== "exited");
export const outcome = (job) => (failed(job) ? "failed" : job.state);
const SIGNS = { new: "○", running: "●", complete: "✓", failed: "✗" };

/** How a job ended, in words. */
export function ending(job) {
	if (job.state !== "complete") return job.state;
	if (job.reason !== "exited" && job.reason !== "signaled") return job.reason;
	return job.signal ? `signal ${job.signal.replace("SIG", "")}` : job.code ? `exit status ${job.code}` : "ok";
}

// Its URL is a sink of scripts too: the policy makes this one, and no other.
const URL_OF_WORKER = "/page/worker.js";
const policy = globalThis.trustedTypes?.createPolicy("rtot", {
	createScriptURL: (url) => {
		if (url !== URL_OF_WORKER) throw new TypeError(url);
		return url;
	},
});
const script = () => policy?.createScriptURL(URL_OF_WORKER) ?? URL_OF_WORKER;

function shape(name, properties, ...children) {
	const element = document.createElementNS("http://www.w3.org/2000/svg", name);
	for (const [key, value] of Object.entries(properties)) element.setAttribute(key, value);
	element.append(...children);
	return element;
}

export class Jobs extends EventTarget {
	constructor() {
		super();
		this.known = new Map();
		this.shown = [];
		this.chosen = new Set();
		this.current = null;
		this.filter = { text: "", state: "", label: "", failed: false, from: 0, to: 0 };
		this.more = true;
		this.loading = false;
		this.port = null;
		this.epoch = 0;
		this.rows = $("rows");
		this.rows.addEventListener("scroll", () => this.draw());
		new ResizeObserver(() => this.draw()).observe(this.rows);
		setInterval(() => !document.hidden && (this.draw(), this.timeline()), 5000);
		this.watchTimeline();
	}

	tell(name, detail) {
		this.dispatchEvent(new CustomEvent(name, { detail }));
	}

	matches(job) {
		const { text, state, label, failed: only, from, to } = this.filter;
		if (state && job.state !== state) return false;
		if (label && !job.label.includes(label)) return false;
		if (only && !failed(job)) return false;
		if (from && (job.create > to || (job.complete ?? Infinity) < from)) return false;
		if (!text) return true;
		const words = `${job.id} ${job.title} ${job.label.join(" ")} ${job.by ?? ""} ${job.group ?? ""}`;
		return words.toLowerCase().includes(text.toLowerCase());
	}

	selection() {
		const { state, label, failed: only } = this.filter;
		const query = new URLSearchParams({ order: "desc", limit: PAGE, times: "unix", fields: FIELDS });
		if (state) query.set("state", state);
		if (label) query.set("label", label);
		if (only) query.set("failed", "1");
		return query;
	}

	/** Read the list anew. */
	async load() {
		const epoch = ++this.epoch;
		this.loading = true;
		try {
			const answer = await ask(`/jobs?${this.selection()}`);
			const { jobs } = await answer.json();
			if (epoch !== this.epoch) return;
			this.known.clear();
			this.news = null;
			this.life = answer.headers.get("Rtot-Server");
			this.take(jobs);
			this.follow(Number(answer.headers.get("Rtot-Seq")));
		} finally {
			if (epoch === this.epoch) this.loading = false;
		}
	}

	/** Forget it all. */
	clear() {
		this.epoch++;
		this.stop();
		this.current = null;
		this.known.clear();
		this.chosen.clear();
		this.sort();
	}

	/** The next page, of older jobs. */
	async page() {
		if (!this.more || this.loading || !this.lowest) return;
		const epoch = this.epoch;
		this.loading = true;
		try {
			const query = this.selection();
			query.set("from", this.lowest - 1);
			this.news = { jobs: [], deleted: [] };
			const { jobs } = await read(`/jobs?${query}`);
			if (epoch !== this.epoch) return;
			this.take(jobs);
			// What was told meanwhile is newer.
			for (const job of this.news.jobs) if (job.id >= this.lowest) this.known.set(job.id, job);
			for (const id of this.news.deleted) this.known.delete(id);
			this.sort();
		} finally {
			if (epoch === this.epoch) this.loading = false;
		}
	}

	take(jobs) {
		for (const job of jobs) this.known.set(job.id, job);
		this.lowest = jobs.length ? jobs.at(-1).id : 0;
		this.more = jobs.length === PAGE && this.lowest > 0;
		this.sort();
	}

	/** Be told of what changes after that number. */
	follow(seq) {
		const told = (event) => this.told(event.data);
		if (!this.port) {
			try {
				const worker = new SharedWorker(script(), { type: "module", name: "rtot" });
				// It could not be read: the server is away.
				worker.onerror = () => ((this.port = null), setTimeout(() => this.load().catch(() => worker.onerror()), 2000));
				this.port = worker.port;
				this.port.onmessage = told;
			} catch {
				// No SharedWorker here: a poll of this tab's own.
				this.port = { postMessage: (message) => this.alone(message, told) };
			}
			addEventListener("pagehide", () => this.port.postMessage({}));
			addEventListener("pageshow", (event) => event.persisted && this.load());
		}
		this.port.postMessage({ secret: session.secret, seq, life: this.life });
	}

	async alone(message, told) {
		if (message.stream) return;
		const { join, leave } = await import("/page/worker.js");
		this.end ??= { postMessage: (data) => told({ data }) };
		if (message.secret) join(this.end, message);
		else leave(this.end);
	}

	stop() {
		this.port?.postMessage({});
	}

	told(message) {
		if (message.revoked) return this.tell("revoked");
		if (message.refused) return this.tell("refused");
		if (message.restarted) return this.tell("restarted");
		this.tell("live", message);
		if (!message.jobs) return;
		if (message.whole) this.known.clear();
		this.news?.jobs.push(...message.jobs);
		this.news?.deleted.push(...message.deleted);
		for (const job of message.jobs) {
			const before = this.known.get(job.id);
			// A job below what was read yet comes with its page.
			if (before || job.id >= this.lowest || !this.more) this.known.set(job.id, job);
			if (job.state === "complete" && before && before.state !== "complete")
				this.tell("ended", job);
			if (job.id === this.current) this.tell("current", job);
		}
		for (const id of message.deleted) {
			this.known.delete(id);
			this.chosen.delete(id);
			if (id === this.current) this.tell("gone");
		}
		if (message.jobs.length || message.deleted.length) this.sort();
	}

	sort() {
		this.shown = [...this.known.values()].filter((job) => this.matches(job)).sort((a, b) => b.id - a.id);
		this.draw();
		this.timeline();
		this.bulk();
	}

	draw() {
		const { scrollTop, clientHeight } = this.rows;
		$("rows-space").style.height = `${this.shown.length * ROW}px`;
		const first = Math.max(0, Math.floor(scrollTop / ROW) - 3);
		const last = Math.min(this.shown.length, Math.ceil((scrollTop + clientHeight) / ROW) + 3);
		const now = Date.now() / 1000;
		const longest = Math.max(1, ...this.shown.slice(first, last).map((job) => job.seconds ?? 0));
		const elements = [];
		const drawn = new Map();
		for (let i = first; i < last; i++) {
			const job = this.shown[i];
			const version = [JSON.stringify(job), i, longest, this.chosen.has(job.id), job.id === this.current, job.state === "running" && now].join();
			let row = this.drawn?.get(job.id);
			if (row?.version !== version) Object.assign((row = this.row(job, i, longest, now)), { version });
			drawn.set(job.id, row);
			elements.push(row);
		}
		this.drawn = drawn;
		fill(this.rows, [$("rows-space"), ...elements]);
		if (last >= this.shown.length - 20) this.page().catch(() => {});
	}

	row(job, index, longest, now) {
		const seconds = job.state === "running" ? now - job.start : job.seconds;
		const box = make("input", {
			type: "checkbox",
			"aria-label": `Choose job ${job.id}`,
			onclick: (event) => {
				event.stopPropagation();
				this.chosen[box.checked ? "add" : "delete"](job.id);
				this.bulk();
			},
		});
		box.checked = this.chosen.has(job.id);
		const bar = make("span", { class: "bar" });
		bar.style.width = `${Math.round((60 * Math.min(longest, seconds ?? 0)) / longest)}px`;
		const row = make(
			"div",
			{
				class: `row ${outcome(job)}`,
				role: "option",
				"aria-selected": String(this.chosen.has(job.id)),
				"aria-current": String(job.id === this.current),
				onclick: () => (location.hash = link(job.id)),
			},
			box,
			make("span", { class: "sign" }, SIGNS[outcome(job)]),
			make("span", {}, String(job.id)),
			make("span", { class: "title" }, visible(job.title)),
			make("small", {}, visible(job.label.join(" "))),
			bar,
			make("small", {}, span(seconds)),
		);
		row.style.top = `${index * ROW}px`;
		return row;
	}

	bulk() {
		$("bulk").hidden = !this.chosen.size;
		$("bulk").firstElementChild.textContent = `${number(this.chosen.size)} chosen`;
	}

	/** The last hour: when each job waited and ran. */
	timeline() {
		const svg = $("timeline");
		const now = Date.now() / 1000;
		const [width, height, rows] = [svg.clientWidth || 600, 44, 8];
		svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
		const x = (time) => Math.max(0, width * (1 - (now - time) / 3600));
		const jobs = [...this.known.values()].filter((job) => (job.complete ?? now) > now - 3600).sort((a, b) => b.id - a.id).slice(0, 500);
		const shapes = jobs.flatMap((job) => {
			const y = 4 + (job.id % rows) * 5;
			const end = x(job.complete ?? now);
			const start = job.start ? x(job.start) : end;
			const kind = outcome(job);
			const told = shape("title", {}, `#${job.id} ${visible(job.title)}: ${ending(job)}`);
			const parts = [shape("rect", { x: x(job.create), y: y + 1, width: Math.max(1, start - x(job.create)), height: 1, class: "new" })];
			parts.push(shape("rect", { x: start, y, width: Math.max(2, end - start), height: 3, class: kind }, told));
			// By its shape, too: not everybody tells red from green.
			if (kind === "failed") parts.push(shape("path", { d: `M${end - 3} ${y - 1}l5 5m0 -5l-5 5`, stroke: "currentColor", class: kind }));
			return parts;
		});
		if (this.drag) shapes.unshift(this.drag);
		svg.replaceChildren(...shapes);
	}

	watchTimeline() {
		const svg = $("timeline");
		const time = (event) => Date.now() / 1000 - 3600 * (1 - event.offsetX / svg.clientWidth);
		let begin = null;
		svg.addEventListener("pointerdown", (event) => {
			begin = { x: event.offsetX, time: time(event) };
			svg.setPointerCapture(event.pointerId);
		});
		svg.addEventListener("pointermove", (event) => {
			if (!begin) return;
			this.drag = shape("rect", { x: Math.min(begin.x, event.offsetX), y: 0, width: Math.abs(event.offsetX - begin.x), height: 44, class: "drag" });
			this.timeline();
		});
		svg.addEventListener("pointerup", (event) => {
			const far = begin && Math.abs(event.offsetX - begin.x) > 4;
			const [from, to] = far ? [begin.time, time(event)].sort((a, b) => a - b) : [0, 0];
			begin = null;
			if (!far) this.drag = null;
			this.tell("range", { from: Math.floor(from), to: Math.ceil(to) });
		});
	}

	/** The id of the job before or after the one that is shown. */
	beside(step) {
		const at = this.shown.findIndex((job) => job.id === this.current);
		return this.shown[Math.min(this.shown.length - 1, Math.max(0, at + step))]?.id;
	}

	/** Do something with each of the chosen jobs, four at a time; how many failed. */
	async each(action) {
		const ids = [...this.chosen];
		let bad = 0;
		const take = async () => {
			for (let id = ids.pop(); id !== undefined; id = ids.pop()) await action(id).catch(() => bad++);
		};
		await Promise.all([take(), take(), take(), take()]);
		return bad;
	}
}

/** The hash of a job, with the filter that is on. */
export function link(id, lines = "") {
	const filter = location.hash.split("?")[1];
	return `#/${id ?? ""}${lines && `/${lines}`}${filter ? `?${filter}` : ""}`;
}
