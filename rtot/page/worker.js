// One long poll for all tabs of a browser that have the same secret.
//
// A browser has six connections to a server without HTTP/2: that of each tab goes to its log.
import { FIELDS, Pauses, authorized, refusal, sleep } from "/page/api.js";

const polls = new Map();

class Poll {
	constructor(secret, seq, life) {
		this.secret = secret;
		this.ports = new Set();
		this.seq = seq;
		this.life = life;
		this.over = new AbortController();
		this.run();
	}

	tell(message) {
		for (const port of this.ports) port.postMessage(message);
	}

	async run() {
		const pauses = new Pauses();
		const signal = this.over.signal;
		while (!signal.aborted) {
			let floor = 0;
			try {
				const target = `/jobs?since=${this.seq}&wait=25&limit=256&times=unix&fields=${FIELDS}`;
				const answer = await fetch(target, { headers: authorized(this.secret), signal, cache: "no-store" });
				if (answer.status === 401) {
					// By one who may try no more: each tab asks for a secret.
					this.tell({ refused: true });
					polls.delete(this.secret);
					return;
				}
				if (!answer.ok) throw await refusal(answer);
				const life = answer.headers.get("Rtot-Server");
				const found = await answer.json();
				this.seq = Number(answer.headers.get("Rtot-Seq"));
				const restarted = life !== this.life;
				this.life = life;
				pauses.reset();
				this.tell({ ...found, restarted, live: true });
				continue;
			} catch (error) {
				if (signal.aborted) return;
				floor = error.after ?? 0;
				this.tell({ live: false, why: String(error.message) });
			}
			await sleep(pauses.next(floor), signal);
		}
	}

	leave(port) {
		if (this.ports.delete(port) && !this.ports.size) {
			this.over.abort();
			polls.delete(this.secret);
		}
	}
}

/** Have a port told of all that changes after `seq`. */
export function join(port, { secret, seq, life }) {
	let poll = polls.get(secret);
	if (!poll || poll.life !== life || seq < poll.seq) {
		// Who knows less, or another server: all are told from there on, some of it again.
		const ports = poll?.ports ?? [];
		poll?.over.abort();
		polls.set(secret, (poll = new Poll(secret, seq, life)));
		for (const other of ports) poll.ports.add(other);
	}
	poll.ports.add(port);
	port.postMessage({ live: true });
	return poll;
}

/** A port is told no more. */
export function leave(port) {
	for (const poll of polls.values()) poll.leave(port);
	const rest = streams.filter((other) => other !== port);
	streams.splice(0, streams.length, ...rest);
}

// Who may follow a log: those that were looked at last.
const streams = [];
function permit(port) {
	streams.splice(0, streams.length, port, ...streams.filter((other) => other !== port));
	for (const other of streams.splice(3)) other.postMessage({ revoked: true });
}

globalThis.onconnect = (event) => {
	const port = event.ports[0];
	port.onmessage = ({ data }) => {
		if (data.stream) permit(port);
		else if (data.secret) join(port, data);
		else leave(port);
	};
};
