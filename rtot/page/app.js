// The page: what the hash names, the dialogs, the keys.
import { FIELDS, ask, keep, read, refusals, session } from "/page/api.js";
import { $, copy, make, number, quoted, span, visible } from "/page/dom.js";
import { Jobs, ending, failed, link, outcome } from "/page/jobs.js";
import { Log } from "/page/log.js";

const jobs = new Jobs();
const log = new Log();
const ROLES = ["read", "run", "admin"];
let job = null;
let place = { lines: null };

const say = (text) => ($("status").textContent = text);
const tried = (action) => async (...args) => {
	try {
		return await action(...args);
	} catch (error) {
		if (error.status !== 401) say(error.message);
	}
};

async function signIn(why = "") {
	job = null;
	jobs.clear();
	log.open(null, 0);
	$("job").hidden = true;
	head();
	$("why").textContent = why;
	$("insecure").hidden = isSecureContext;
	$("secret").value = "";
	if (!$("sign-in").open) $("sign-in").showModal();
}

async function begin() {
	if (!session.secret) return signIn();
	const found = await read("/", { headers: { Accept: "application/json" } });
	session.role = found.role;
	session.scripts = "jobs.script" in found.links;
	for (const element of document.querySelectorAll("[data-role]"))
		element.hidden = ROLES.indexOf(element.dataset.role) > ROLES.indexOf(found.role);
	$("launcher").replaceChildren(...["", ...(found.launchers ?? [])].map((name) => make("option", {}, name)));
	if ($("sign-in").open) $("sign-in").close();
	await jobs.load();
	looked();
	go();
}

const looked = () => document.hidden || (jobs.port?.postMessage({ stream: true }), log.permit(true));
addEventListener("focus", looked);
document.addEventListener("visibilitychange", looked);
jobs.addEventListener("revoked", () => log.permit(false));

$("sign-in").addEventListener("cancel", (event) => event.preventDefault());
$("sign-in").addEventListener("submit", (event) => {
	event.preventDefault();
	if (!$("secret").value) return;
	keep($("secret").value);
	tried(begin)();
});
const refused = () => (keep(""), signIn("This secret is not accepted."));
refusals.addEventListener("refused", refused);
jobs.addEventListener("refused", refused);
jobs.addEventListener("restarted", tried(async () => {
	job = null;
	jobs.clear();
	await jobs.load();
	say("The server was restarted: the list is read anew.");
	go();
}));
$("forget").onclick = () => (keep(""), signIn());

// The hash: #/5/L120-140?state=complete&text=x
function go() {
	const [path, query] = location.hash.slice(1).split("?");
	const values = new URLSearchParams(query);
	const { filter } = jobs;
	const before = JSON.stringify([filter.state, filter.label, filter.failed]);
	Object.assign(filter, { text: values.get("text") ?? "", state: values.get("state") ?? "", label: values.get("label") ?? "", failed: values.has("failed"), from: Number(values.get("from")), to: Number(values.get("to")) });
	for (const name of ["text", "state", "label"]) if ($(name) !== document.activeElement) $(name).value = filter[name];
	$("failed").checked = filter.failed;
	if (JSON.stringify([filter.state, filter.label, filter.failed]) !== before) tried(() => jobs.load())();
	else jobs.sort();
	const [, id, lines] = path.match(/^\/(\d+)?(?:\/L(\d+(?:-\d+)?))?$/) ?? [];
	place.lines = lines ? lines.split("-").map((n) => Math.max(0, Number(n) - 1)).sort((a, b) => a - b) : null;
	open(id === undefined ? null : Number(id));
}
addEventListener("hashchange", go);

function filtered(range = jobs.filter) {
	const query = new URLSearchParams();
	if (range.from) for (const name of ["from", "to"]) query.set(name, range[name]);
	for (const name of ["text", "state", "label"]) if ($(name).value) query.set(name, $(name).value);
	if ($("failed").checked) query.set("failed", "1");
	const text = String(query);
	history.replaceState(null, "", (location.hash.split("?")[0] || "#/") + (text && `?${text}`));
	go();
}
for (const name of ["text", "state", "label", "failed"]) $(name).addEventListener("input", () => filtered());
jobs.addEventListener("range", ({ detail }) => filtered(detail));

const open = tried(async (id) => {
	if (jobs.current === id && job) return choose();
	jobs.current = id;
	job = null;
	$("job").hidden = id === null;
	document.body.classList.toggle("with-job", id !== null);
	if (id === null) return log.open(null, 0), head();
	const found = jobs.known.get(id) ?? (await read(`/jobs/${id}?times=unix&fields=${FIELDS}`)).jobs[0];
	if (jobs.current !== id) return;
	if (!found) return say(`There is no job ${id}.`);
	// What the poll has told meanwhile is newer.
	job = jobs.known.get(id) ?? job ?? found;
	$("search").value = "";
	$("hits").textContent = "";
	$("marks").replaceChildren();
	log.life = jobs.life;
	log.open(job, id);
	head();
	jobs.draw();
});

function choose() {
	if (!place.lines) return;
	const [from, to = from] = place.lines;
	if (log.lines.count <= from) return;
	log.choice = [from, Math.min(to, log.lines.count - 1)];
	place.lines = null;
	log.toLine(from);
}
log.addEventListener("drawn", choose);
log.addEventListener("chosen", () => {
	const [from, to] = log.choice.map((i) => i + 1);
	history.replaceState(null, "", link(jobs.current, `L${from}${to > from ? `-${to}` : ""}`));
});
log.addEventListener("gone", () => say(`Job ${jobs.current} was deleted.`));
jobs.addEventListener("gone", () => say(`Job ${jobs.current} was deleted.`));
jobs.addEventListener("current", (event) => {
	job = event.detail;
	log.job = job;
	head();
});
jobs.addEventListener("live", ({ detail }) => {
	const text = detail.live ? "● live" : `○ ${detail.why}`;
	if ($("live").textContent !== text) $("live").textContent = text;
});

const COLORS = { new: "#888", running: "#0b57b0", complete: "#17692f", failed: "#b3161b" };
function head() {
	const kind = job ? outcome(job) : "new";
	document.title = job ? `${{ new: "…", running: "▶", complete: "✓", failed: "✗" }[kind]} #${job.id} ${visible(job.title)}` : "rtot";
	const shape = kind === "failed" ? '<path d="M3 3l10 10m0-10l-10 10" stroke="white" stroke-width="2"/>' : "";
	const icon = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><circle cx="8" cy="8" r="8" fill="${COLORS[kind]}"/>${shape}</svg>`;
	document.querySelector("link[rel=icon]").href = `data:image/svg+xml,${encodeURIComponent(icon)}`;
	if (!job) return;
	$("job-head").querySelector("h1").textContent = `#${job.id} ${visible(job.title)}`;
	const state = $("outcome");
	state.className = kind === "failed" ? "bad" : kind === "complete" ? "good" : "";
	state.textContent = `${{ failed: "✗ ", complete: "✓ " }[kind] ?? ""}${ending(job)} ${span(job.seconds) ?? ""}`;
	$("kill").parentElement.hidden = session.role === "read" || job.state === "complete";
}

// What can be done with a job.
const confirmed = (text) =>
	new Promise((resolve) => {
		const dialog = $("confirm");
		dialog.querySelector("p").textContent = text;
		dialog.onclose = () => resolve(dialog.returnValue === "yes");
		dialog.returnValue = "";
		dialog.showModal();
	});
// Meant for this server: after a restart its ids are other jobs (412).
const meant = (headers) => ({ "Rtot-Server": jobs.life, ...headers });
const post = (target, options) => ask(target, { method: "POST", ...options, headers: meant(options?.headers) });
const forget = (id) => ask(`/jobs/${id}`, { method: "DELETE", headers: meant() });

$("kill").onclick = tried(async () => {
	const grace = $("grace").value.trim();
	const begun = performance.now();
	say(`${$("signal").value} …`);
	const answer = await post(`/jobs/${job.id}/kill?signal=${$("signal").value}${grace && `&grace=${encodeURIComponent(grace)}`}`);
	const { signalled, escalated, surviving } = await answer.json();
	const names = (found) => found.map(({ pid, command }) => `${visible(command)} (${pid})`).join(", ");
	const parts = [signalled.length && `${$("signal").value} to ${names(signalled)}`, escalated.length && `KILL to ${names(escalated)}`, surviving.length && `still there: ${names(surviving)}`];
	say(`${parts.filter(Boolean).join("; ") || "It had no process"}, in ${span((performance.now() - begun) / 1000)}`);
});
$("delete").onclick = tried(async () => {
	const { id } = job;
	if (!(await confirmed(`End job ${id} and forget it?`))) return;
	await forget(id);
	location.hash = link(null);
});
$("download").onclick = tried(async () => {
	for (const name of log.mode.streams === "both" ? ["out", "err"] : [log.mode.streams]) {
		const blob = await (await ask(`/jobs/${job.id}/${name}`)).blob();
		if (!blob.size && name === "err") continue;
		const url = URL.createObjectURL(blob);
		make("a", { href: url, download: `job-${job.id}.${name}` }).click();
		setTimeout(() => URL.revokeObjectURL(url), 60_000);
	}
});
$("processes").onclick = tried(async () => {
	const { count, processes } = await read(`/jobs/${job.id}/processes`);
	const rows = processes.map((p) => `${p.pid}\t${p.state}\t${span(p.seconds)}\t${p.cpu.toFixed(2)} s\t${number(p.memory >> 10)} K\t${visible((p.argv ?? [p.command]).join(" "))}`);
	$("tree").querySelector("pre").textContent = [`${count} alive`, ...rows].join("\n");
	$("tree").showModal();
});
const bulk = (what, action) => tried(async () => {
	const count = jobs.chosen.size;
	if (!(await confirmed(`${what} ${number(count)} job${count > 1 ? "s" : ""}?`))) return;
	const bad = await jobs.each(action);
	jobs.chosen.clear();
	jobs.sort();
	say(bad ? `${number(bad)} of ${number(count)} were refused.` : `Done: ${number(count)}.`);
});
$("bulk-kill").onclick = bulk("Kill", (id) => post(`/jobs/${id}/kill`));
$("bulk-delete").onclick = bulk("End and forget", forget);
$("bulk-none").onclick = () => (jobs.chosen.clear(), jobs.sort());

// Run, and run again.
const NAMES = ["cwd", "timeout", "group", "launcher"];
const encoded = (pairs) => pairs.map(([name, value]) => `&${name}=${encodeURIComponent(value)}`).join("");
const lines = (name) => $(name).value.split("\n").filter(Boolean);

/** What a job was asked for, as parameters; and its script, empty if it was not kept. */
async function asked() {
	const found = (await read(`/jobs/${job.id}?fields=arg,env,label,${NAMES}`)).jobs[0];
	const script = session.scripts ? await (await ask(`/jobs/${job.id}/script`)).text() : "";
	const named = NAMES.filter((name) => found[name] != null).map((name) => [name, found[name]]);
	return { ...found, script, named, pairs: [...["arg", "label"].flatMap((name) => found[name].map((value) => [name, value])), ...named] };
}

let key = "";
function offer(found = {}) {
	// Of this dialog: pressed twice it is one job.
	key = crypto.getRandomValues(new Uint32Array(4)).join("-");
	$("script").value = found.script ?? "";
	$("args").value = (found.arg ?? []).join("\n");
	$("env").value = "";
	$("labels").value = (found.label ?? []).join(" ");
	for (const name of NAMES) $(name).value = found[name] ?? "";
	$("refused").textContent = found.script === "" ? "The script was not kept (see --state)." : found.env?.length ? `It had these variables: ${found.env.join(", ")}` : "";
	$("submit").showModal();
	$("script").focus();
}
async function submit() {
	try {
		const headers = { "Idempotency-Key": key, "Content-Type": "text/plain" };
		if ($("env").value) headers["Rtot-Env"] = lines("env").map(encodeURIComponent).join(",");
		const labels = $("labels").value.split(/[\s,]+/).filter(Boolean);
		const pairs = [...lines("args").map((word) => ["arg", word]), ...labels.map((word) => ["label", word])];
		for (const name of NAMES) if ($(name).value.trim()) pairs.push([name, $(name).value.trim()]);
		const answer = await post(`/jobs?fields=${encoded(pairs)}`, { headers, body: $("script").value });
		$("submit").close();
		location.hash = link(answer.headers.get("Location").split("/").pop());
	} catch (error) {
		$("refused").textContent = error.message;
	}
}
$("run").onclick = () => offer();
$("go").onclick = submit;
$("submit").addEventListener("keydown", (event) => event.ctrlKey && event.key === "Enter" && (event.preventDefault(), submit()));
$("again").onclick = tried(async () => offer(await asked()));
const copied = async (text, what) => say((await copy(text)) ? `Copied: ${what}` : "The browser did not let this page copy.");
const body = ({ script }) => quoted(script.replace(/^#!\/bin\/bash\n/, "") || "…");
$("copy-curl").onclick = tried(async () => {
	const found = await asked();
	const target = quoted(`${location.origin}/jobs?follow${encoded(found.pairs)}`);
	copied(`curl -N -H @header ${target} --data-binary ${body(found)}`, "curl, with the secret in the file `header`");
});
$("copy-rtot").onclick = tried(async () => {
	const found = await asked();
	const options = [...found.label.map((word) => ["label", word]), ...found.named].map(([name, value]) => `--${name}=${quoted(String(value))}`);
	copied(["rtot run", ...options, "-c", body(found), ...found.arg.map(quoted)].join(" "), "rtot run");
});
$("copy-link").onclick = () => copied(location.href, "the link");
$("copy-lines").onclick = tried(async () => copied(await log.copied(), "the lines"));

// The log's tools.
for (const name of ["streams", "times"])
	$(name).onchange = () => ((log.mode[name] = $(name).value), log.rebuild());
for (const name of ["wrap", "only"]) $(name).onchange = () => ((log.mode[name] = $(name).checked), log.rebuild());
$("search").oninput = () => log.search($("search").value);
// As listeners, since a handler that returns false would swallow the key.
$("search").addEventListener("keydown", (event) => event.key === "Enter" && log.next(event.shiftKey ? -1 : 1));
let marked = 0;
log.addEventListener("found", () => {
	// Hits are counted, and lines that have some are gone through.
	const at = log.hit >= 0 ? `${number(log.hit + 1)}/${number(log.hits.length)}` : "";
	const all = !at || log.times > log.hits.length ? number(log.times) : "";
	$("hits").textContent = log.query ? `${at}${at && all ? ` (${all})` : all}${log.busy ? "…" : ""}` : "";
	const now = performance.now();
	if (log.busy && now - marked < 250) return;
	marked = now;
	const places = new Set(log.hits.map((i) => Math.round((200 * i) / log.lines.count)));
	$("marks").replaceChildren(...[...places].map((at) => {
		const mark = make("i");
		mark.style.top = `${at / 2}%`;
		return mark;
	}));
});
$("top").onclick = () => log.toRow(0);
$("end").onclick = $("pill").onclick = () => log.toEnd();
$("back").onclick = () => (location.hash = link(null));
$("help").onclick = () => $("keys").showModal();

const click = (name) => ($(name).checked = !$(name).checked, $(name).onchange());
const KEYS = {
	"/": () => $("search").focus(),
	n: () => log.next(1),
	N: () => log.next(-1),
	f: () => log.toEnd(),
	w: () => click("wrap"),
	t: () => ($("times").selectedIndex = ($("times").selectedIndex + 1) % 4, $("times").onchange()),
	j: () => (location.hash = link(jobs.beside(1) ?? jobs.current)),
	k: () => (location.hash = link(jobs.beside(-1) ?? jobs.current)),
	g: () => log.toRow(0),
	G: () => log.toEnd(),
	"?": () => $("keys").showModal(),
};
addEventListener("keydown", (event) => {
	if (event.key === "Escape" && event.target.matches("input")) return event.target.blur();
	if (event.ctrlKey || event.altKey || event.metaKey || document.querySelector("dialog[open]")) return;
	if (event.target.matches("input:not([type=checkbox]), textarea, select")) return;
	if (event.key === "End" && job) return event.preventDefault(), log.toEnd();
	if (!KEYS[event.key]) return;
	event.preventDefault();
	KEYS[event.key]();
});

$("notify").onclick = async () => {
	const on = $("notify").ariaPressed !== "true" && (await Notification?.requestPermission()) === "granted";
	$("notify").ariaPressed = String(on);
};
jobs.addEventListener("ended", ({ detail }) => {
	if ($("notify").ariaPressed === "true" && document.hidden)
		new Notification(`#${detail.id} ${failed(detail) ? "failed" : "is complete"}`, { body: `${visible(detail.title)}: ${ending(detail)}` });
});
tried(begin)();
