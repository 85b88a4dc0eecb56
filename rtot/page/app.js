// The page: who reads it, what the hash names, the buttons and keys.
import { FIELDS, ask, keep, read, session } from "./api.js";
import { $, hear, make, number, say, span, visible } from "./dom.js";
import * as jobs from "./jobs.js";
import * as log from "./log.js";
import * as run from "./run.js";

let job = null, wanted;

const tried = (action) => async (...args) => {
	try {
		return await action(...args);
	} catch (error) {
		if (error.status !== 401) say(error.message);
	}
};

function signIn(why = "") {
	keep("");
	clear();
	$("why").textContent = why;
	$("insecure").hidden = isSecureContext;
	$("secret").value = "";
	if (!$("sign-in").open) $("sign-in").showModal();
}

function clear() {
	jobs.clear();
	show(null);
}

const begin = tried(async () => {
	if (!session.secret) return signIn();
	const { role, links, launchers = [] } = await read("/", { headers: { Accept: "application/json" } });
	session.scripts = "jobs.script" in links;
	document.body.classList.toggle("reader", role === "read");
	$("launcher").replaceChildren(...["", ...launchers].map((name) => make("option", {}, name)));
	$("sign-in").close();
	await jobs.load();
	go();
});

$("sign-in").onclose = () => session.secret || signIn();
$("sign-in").onsubmit = () => {
	keep($("secret").value);
	begin();
};
hear("refused", () => signIn("This secret is not accepted."));
hear("restarted", tried(async () => {
	clear();
	await jobs.load();
	await go();
	say("The server was restarted: the list is read anew.");
}));

const looked = () => document.hidden || (jobs.looked(), log.permit(true));
window.onfocus = looked;
document.onvisibilitychange = () => (log.seen(), looked());
hear("revoked", () => log.permit(false));

// The hash: #/5/L120-140?state=complete&text=x
function go() {
	looked();
	const [path, query] = location.hash.slice(1).split("?");
	const filter = Object.fromEntries(new URLSearchParams(query));
	for (const input of $("filter"))
		if (input.type === "checkbox") input.checked = filter[input.name];
		else if (input !== document.activeElement) input.value = filter[input.name] ?? "";
	tried(jobs.filterBy)(filter);
	const [, id, lines] = path.match(/^\/(\d+)?(?:\/L(\d+(?:-\d+)?))?$/) ?? [];
	wanted = lines?.split("-").map((n) => n - 1);
	return visit(id === undefined ? null : Number(id));
}
window.onhashchange = go;

const values = (form) => new URLSearchParams([...new FormData(form)].filter(([, value]) => value.trim()));

function filtered() {
	history.replaceState(null, "", `${location.hash.split(/\/L|\?/)[0] || "#/"}?${values($("filter"))}`.replace(/\?$/, ""));
	go();
}
$("filter").oninput = filtered;
hear("range", ([from, to]) => {
	$("filter").from.value = from;
	$("filter").to.value = to;
	filtered();
});

const visit = tried(async (id) => {
	if (jobs.current === id && job) return choose();
	show(null, id);
	if (id === null) return;
	const asked = async () => (await read(`/jobs/${id}?times=unix&fields=${FIELDS}`)).jobs[0];
	const found = jobs.known.get(id) ?? (await asked().catch(({ status, message }) => void (status === 401 || say(`Job ${id}: ${message}`))));
	if (jobs.current === id) show(jobs.known.get(id) ?? found ?? null, found && id);
});

// With an id alone: it is being read.
function show(found, id = null) {
	job = found;
	document.body.classList.toggle("with-job", id !== null);
	$("search").value = $("hits").textContent = $("outcome").textContent = "";
	log.open(job, jobs.life);
	jobs.select(id);
	head();
}

// Go to the lines that the hash names, as soon as they are there.
function choose() {
	if (log.lines.count > wanted?.[0]) log.goTo(...wanted.splice(0));
}
hear("drawn", choose);
hear("chosen", ([from, to]) => history.replaceState(null, "", jobs.link(jobs.current, `/L${from + 1}${to > from ? `-${to + 1}` : ""}`)));
hear("gone", () => say(($("outcome").textContent = `Job ${jobs.current} was deleted.`)));
hear("current", (found) => {
	if (job) Object.assign(job, found);
	head();
});
hear("live", ({ live, why }) => ($("live").textContent = live ? "● live" : `○ ${why}`));

function head() {
	const name = job ? `#${job.id} ${visible(job.title)}` : "rtot";
	const sign = job ? jobs.SIGNS[jobs.outcome(job)] : "";
	document.title = `${sign} ${name}`.trim();
	$("title").textContent = name;
	if (job) {
		$("outcome").className = jobs.outcome(job);
		$("outcome").textContent = `${sign} ${jobs.ending(job)} ${span(job.complete && job.seconds)}`;
		$("kill").parentElement.hidden = job.state === "complete";
	}
	const { color } = getComputedStyle($("outcome"));
	const icon = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><text y="14" fill="${color}">${sign}</text></svg>`;
	$("icon").href = `data:image/svg+xml,${encodeURIComponent(icon)}`;
}

function inform(text) {
	$("text").textContent = text;
	$("told").showModal();
}

const bulk = (what, action) => async () => {
	const count = jobs.chosen.size;
	if (!confirm(`${what} the ${number(count)} chosen?`)) return;
	const bad = await jobs.each(action);
	jobs.chosen.clear();
	jobs.sort();
	say(`Done: ${number(count - bad)} of ${number(count)}.`);
};

const buttons = {
	...run.buttons,
	forget: () => signIn(),
	back: () => (location.hash = jobs.link(null)),
	help: () => inform(HELP),
	all: jobs.chooseAll,
	top: () => log.toRow(0),
	end: log.toEnd,
	pill: log.toEnd,
	async kill() {
		const query = values($("how")), begun = Date.now();
		say("Killing …");
		const { signalled, escalated, surviving } = await (await run.post(`/jobs/${job.id}/kill?${query}`)).json();
		const told = (what, found) => found.length && `${what} ${found.map(({ pid, command }) => `${visible(command)} (${pid})`).join(", ")}`;
		const parts = [told(`${query.get("signal")} to`, signalled), told("KILL to", escalated), told("still there:", surviving)].filter(Boolean);
		say(`${parts.join("; ") || "It had no process"}, in ${span((Date.now() - begun) / 1000)}`);
	},
	async delete() {
		const { id } = job;
		if (!confirm(`End job ${id} and forget it?`)) return;
		await run.forget(id);
		location.hash = jobs.link(null);
	},
	async download() {
		const { id } = job;
		for (const name of ["out", "err"]) {
			const blob = await (await ask(`/jobs/${id}/${name}`)).blob();
			if (!blob.size) continue;
			const href = URL.createObjectURL(blob);
			make("a", { href, download: `job-${id}.${name}` }).click();
			setTimeout(() => URL.revokeObjectURL(href), 60_000);
		}
	},
	async processes() {
		const { count, processes } = await read(`/jobs/${job.id}/processes`);
		const rows = processes.map((p) => `${p.pid}\t${p.state}\t${span(p.seconds)}\t${p.cpu.toFixed(2)} s\t${number(Math.round(p.memory / 1024))} K\t${visible((p.argv ?? [p.command]).join(" "))}`);
		inform([`${count} alive`, ...rows].join("\n"));
	},
	"bulk-kill": bulk("Kill", (id) => run.post(`/jobs/${id}/kill`)),
	"bulk-delete": bulk("End and forget", run.forget),
	async notify() {
		const on = $("notify").ariaPressed !== "true" && (await globalThis.Notification?.requestPermission()) === "granted";
		$("notify").ariaPressed = on;
	},
};
for (const [id, action] of Object.entries(buttons)) $(id).onclick = tried(action);
hear("ended", (found) => {
	if ($("notify").ariaPressed === "true" && document.hidden)
		new Notification(`#${found.id} ${jobs.ending(found)}`, { body: visible(found.title) });
});

$("tools").oninput = () => log.look(Object.fromEntries(new FormData($("tools"))));
$("tools").onsubmit = () => log.next(1);
window.onsubmit = (event) => event.target.method === "dialog" || event.preventDefault();

const click = (name) => () => $(name).click();
const beside = (step) => () => (location.hash = jobs.link(jobs.beside(step) ?? jobs.current));
const HELP = `/    search
n N  next, previous hit
f    follow
w    wrap
t    times
j k  next, previous job
g G  top, end
?    this`;
const KEYS = {
	"/": () => $("search").focus(),
	n: () => log.next(1),
	N: () => log.next(-1),
	f: click("end"),
	w: click("wrap"),
	t: () => (($("times").selectedIndex = ($("times").selectedIndex + 1) % 4), $("tools").oninput()),
	j: beside(1),
	k: beside(-1),
	g: click("top"),
	G: click("end"),
	End: click("end"),
	"?": click("help"),
};
window.onkeydown = (event) => {
	const { key, target } = event;
	if (key === "Escape" && target.matches("input")) return target.blur();
	if (!KEYS[key] || event.ctrlKey || event.altKey || event.metaKey || target.matches("input:not([type=checkbox]), dialog, dialog *, select")) return;
	event.preventDefault();
	KEYS[key]();
};
begin();
