// Requests to the server that this page comes from, with the secret of this tab.
//
// After a 401 nothing is sent until there is another secret: each try would count as a guess.
import { tell } from "./dom.js";

export const session = { secret: globalThis.sessionStorage?.getItem("secret") };
export const FIELDS = "create,start,complete,seconds,code,signal,reason,by,label,group,title";

export function keep(secret) {
	session.secret = secret;
	sessionStorage.clear();
	if (secret) sessionStorage.setItem("secret", secret);
}

const refusal = (status, message, after = 0) => Object.assign(new Error(message), { status, after });

// The answer; if its status is 400 or more an Error is thrown, with `status` and `after` (s).
export async function ask(target, options = {}, secret = session.secret) {
	if (!secret) throw refusal(401, "sign in");
	const headers = { Authorization: `rtot ${secret}`, ...options.headers };
	const answer = await fetch(target, { cache: "no-store", ...options, headers });
	if (answer.ok) return answer;
	const text = await answer.text();
	// Not the server's own words: a proxy's.
	let message = text.slice(0, 200).trim();
	try {
		const { error, message: more } = JSON.parse(text);
		message = more ? `${error}: ${more}` : error;
	} catch {}
	if (answer.status === 401 && secret === session.secret) tell("refused");
	throw refusal(answer.status, message || `status ${answer.status}`, Number(answer.headers.get("Retry-After")));
}

export const read = async (target, options) => (await ask(target, options)).json();

// Wait for up to 20 s, half of it by chance, but `floor` (s) at least.
export function pause(tries, floor = 0, signal) {
	const seconds = Math.max(floor, Math.min(20, 0.5 * 2 ** tries) * (0.5 + Math.random() / 2));
	return new Promise((resolve) => {
		setTimeout(resolve, seconds * 1000);
		signal?.addEventListener("abort", resolve);
	});
}
