// One long poll for all tabs of a browser that have the same secret.
import { FIELDS, ask, pause } from "./api.js";

const polls = new Map();

async function run(poll) {
	const { secret, ports, over: { signal } } = poll;
	const tell = (message) => ports.forEach((port) => port.postMessage(message));
	for (let tries = 0; !signal.aborted; )
		try {
			const answer = await ask(`/jobs?since=${poll.seq}&wait=25&limit=256&times=unix&fields=${FIELDS}`, { signal: AbortSignal.any([signal, AbortSignal.timeout(40_000)]) }, secret);
			const found = await answer.json();
			const life = answer.headers.get("Rtot-Server");
			tell({ ...found, restarted: life !== poll.life, live: true });
			Object.assign(poll, { life, seq: Number(answer.headers.get("Rtot-Seq")) });
			tries = 0;
			// A tab has to keep up.
			await pause(-2, 0.1, signal);
		} catch ({ status, message, after }) {
			if (signal.aborted) return;
			tell({ live: false, why: message, refused: status === 401 });
			if (status === 401) return polls.delete(secret);
			await pause(tries++, after, signal);
		}
}

// Have a port told of all that changes after `seq`.
function join(port, { secret, seq, life }) {
	let poll = polls.get(secret);
	if (poll?.life !== life || seq < poll.seq) {
		// Who knows less, or another server: all are told again.
		poll?.over.abort();
		poll = { secret, seq, life, ports: new Set(poll?.ports), over: new AbortController() };
		polls.set(secret, poll);
		run(poll);
	}
	poll.ports.add(port);
	port.postMessage({ live: true });
}

function leave(port) {
	streams = streams.filter((other) => other !== port);
	for (const { ports, over, secret } of polls.values())
		if (ports.delete(port) && !ports.size) over.abort(), polls.delete(secret);
}

// Who may follow a log, of six connections: the three that were looked at last.
let streams = [];
function permit(port) {
	streams = [port, ...streams.filter((other) => other !== port)];
	for (const other of streams.splice(3)) other.postMessage({ revoked: true });
}

globalThis.onconnect = ({ ports: [port] }) => {
	port.onmessage = ({ data }) => (data.stream ? permit(port) : data.secret ? join(port, data) : leave(port));
};
