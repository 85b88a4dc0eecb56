// The events of a job, over as many connections as it takes.
import { ask, pause } from "./api.js";

// Those after `last`; without a permit it looks now and then.
export async function* events(id, { last, life, permitted, signal }) {
	for (let tries = 0; !signal.aborted; tries++) {
		let floor = permitted ? 0 : 3;
		try {
			const headers = { Accept: "application/x-ndjson", "Rtot-Server": life };
			if (last) headers["Last-Event-ID"] = last;
			const answer = await ask(`/jobs/${id}/events?times=unix${permitted ? "&follow" : ""}`, { headers, signal });
			if (answer.status === 204) return;
			for await (const event of records(answer.body.getReader())) {
				last = event.id ?? last;
				tries = 0;
				yield event;
				if (event.event === "complete") return;
			}
		} catch (error) {
			if ([401, 404, 412].includes(error.status)) throw error;
			floor = error.after ?? floor;
		}
		await pause(tries, floor, signal);
	}
}

async function* records(reader) {
	const decoder = new TextDecoder();
	let rest = "";
	for (;;) {
		const { value, done } = await reader.read();
		if (done) return;
		const lines = (rest + decoder.decode(value, { stream: true })).split("\n");
		rest = lines.pop();
		for (const line of lines) yield JSON.parse(line);
	}
}
