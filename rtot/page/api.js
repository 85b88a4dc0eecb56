// Requests to the server that this page comes from, with the secret of this tab.
//
// A secret lives in sessionStorage, so for as long as the tab. After a 401 nothing is sent until
// there is another one: each try would count as a guess.

export const session = { secret: globalThis.sessionStorage?.getItem("secret") ?? "", role: "", life: "" };
/** What the list, and the head of a job, show. */
export const FIELDS = "create,start,complete,seconds,code,signal,reason,by,label,group,title";
/** Tells `refused`: the secret is not accepted. */
export const refusals = new EventTarget();

export class Refusal extends Error {
	constructor(status, message, after) {
		super(message);
		this.status = status;
		this.after = after;
	}
}


/** Sign in with a secret, or forget it if it is empty. */
export function keep(secret) {
	session.secret = secret;
	session.role = "";
	if (secret) sessionStorage.setItem("secret", secret);
	else sessionStorage.removeItem("secret");
}

/** The headers of a request with that secret. */
export function authorized(secret, headers = {}) {
	return { Authorization: `rtot ${secret}`, ...headers };
}

/** The answer to a request, whose status is below 400; a Refusal is thrown for all others. */
export async function ask(target, options = {}) {
	if (!session.secret) throw new Refusal(401, "sign in", 0);
	const secret = session.secret;
	const headers = authorized(secret, options.headers);
	const answer = await fetch(target, { cache: "no-store", ...options, headers });
	session.life = answer.headers.get("Rtot-Server");
	if (answer.ok) return answer;
	if (answer.status === 401 && secret === session.secret) {
		keep("");
		refusals.dispatchEvent(new Event("refused"));
	}
	throw await refusal(answer);
}

export async function refusal(answer) {
	const text = await answer.text();
	let message = text.trim() || `status ${answer.status}`;
	try {
		const { error, message: more } = JSON.parse(text);
		message = more ? `${error}: ${more}` : error ?? `status ${answer.status}`;
	} catch {
		// Not the server's own words: a proxy's.
		message = message.slice(0, 200);
	}
	return new Refusal(answer.status, message, Number(answer.headers.get("Retry-After")) || 0);
}

export async function read(target, options) {
	return (await ask(target, options)).json();
}

/** Pauses that double from 0.5 to 20 s, half of each by chance; `floor` in seconds. */
export class Pauses {
	count = 0;
	next(floor = 0) {
		const pause = Math.min(20, 0.5 * 2 ** this.count++) * (1 + Math.random()) / 2;
		return Math.max(pause, floor) * 1000;
	}
	reset() {
		this.count = 0;
	}
}

export const sleep = (ms, signal) =>
	new Promise((resolve) => {
		const timer = setTimeout(resolve, ms);
		signal?.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
	});
