// Run a script, run a job again, copy it as a command.
import { ask, read, session } from "./api.js";
import { $, copy, quoted, say } from "./dom.js";
import * as jobs from "./jobs.js";
import * as log from "./log.js";

const NAMES = ["cwd", "timeout", "group", "launcher"];

// Meant for this server: after a restart its ids are other jobs (412).
const meant = (method, target, { headers, body } = {}) => ask(target, { method, body, headers: { "Rtot-Server": jobs.life, ...headers } });
export const post = (target, options) => meant("POST", target, options);
export const forget = (id) => meant("DELETE", `/jobs/${id}`);

const pairs = ({ arg, label, ...found }) => [
	...arg.map((word) => ["arg", word]),
	...label.map((word) => ["label", word]),
	...NAMES.filter((name) => found[name]).map((name) => [name, found[name]]),
];

// What a job was asked for; with its script, empty if it was not kept.
async function asked() {
	const found = (await read(`/jobs/${jobs.current}?fields=arg,env,label,${NAMES}`)).jobs[0];
	const script = session.scripts ? await (await ask(`/jobs/${jobs.current}/script`)).text() : "";
	return { ...found, script, body: quoted(script.replace(/^#!\/bin\/bash\n/, "") || "…") };
}

// Of one dialog, until it is refused: pressed twice it is one job.
let key;
const renew = () => (key = crypto.getRandomValues(new Uint32Array(4)).join("-"));
function offer({ script, arg = [], label = [], env = [], ...found } = {}) {
	renew();
	const values = { script, arg: arg.join("\n"), env: "", labels: label.join(" ") };
	for (const name of [...Object.keys(values), ...NAMES]) $(name).value = values[name] ?? found[name] ?? "";
	$("refused").textContent = script === "" ? "The script was not kept (see --state)." : env.length ? `It had these variables: ${env.join(", ")}` : "";
	$("submit").showModal();
	$("script").focus();
}

async function submit(event) {
	event.preventDefault();
	try {
		const headers = { "Idempotency-Key": key, "Content-Type": "text/plain" };
		const words = (name, separator) => $(name).value.split(separator).filter(Boolean);
		if ($("env").value) headers["Rtot-Env"] = words("env", "\n").map(encodeURIComponent).join(",");
		const found = Object.fromEntries(NAMES.map((name) => [name, $(name).value.trim()]));
		const query = new URLSearchParams(pairs({ arg: words("arg", "\n"), label: words("labels", /[\s,]+/), ...found }));
		const answer = await post(`/jobs?fields=&${query}`, { headers, body: $("script").value });
		$("submit").close();
		location.hash = jobs.link(answer.headers.get("Location").split("/").pop());
	} catch (error) {
		if (error.status < 500) renew();
		$("refused").textContent = error.message;
	}
}
$("go").onclick = submit;
$("submit").addEventListener("keydown", (event) => event.ctrlKey && event.key === "Enter" && submit(event));

async function copied(text, what) {
	say((await copy(text)) ? `Copied: ${what}` : "The browser did not let this page copy.");
}

export const buttons = {
	run: () => offer(),
	again: async () => offer(await asked()),
	async "copy-curl"() {
		const found = await asked();
		const target = quoted(`${location.origin}/jobs?follow&${new URLSearchParams(pairs(found))}`);
		return copied(`curl -N -H @header ${target} --data-raw ${found.body}`, "curl, with the secret in the file `header`");
	},
	async "copy-rtot"() {
		const { arg, body, ...found } = await asked();
		const options = pairs({ ...found, arg: [] }).map(([name, value]) => `--${name}=${quoted(String(value))}`);
		return copied(["rtot run", ...options, "-c", body, "--", ...arg.map(quoted)].join(" "), "rtot run");
	},
	"copy-link": () => copied(location.href, "the link"),
	"copy-lines": async () => copied(await log.copied(), "the lines"),
};
