"""A ledger of what clients were told by a server that is killed again and again.

python -m tests.ledger 1000         so many times

Clients submit jobs, follow, kill, delete and ask for them, and note every answer. After at most 0.3
seconds the server gets KILL and is started anew on its state directory; then every note must hold:
no job that was acknowledged is lost, none has run twice, and no byte and no end is taken back.
"""

import http.client
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from tests.harness import SECRET, Rtot, until

_HEADERS = {"Authorization": f"rtot {SECRET}"}
_CLIENTS = 6
_LONGEST = 0.3


class Ledger:
    """What was told. Threads only add to it; it is read when they have ended."""

    def __init__(self, directory: Path, seed: int, *flags: str) -> None:
        self.directory = directory
        self.flags = (f"--state={directory}/state", "--grace=0.2", *flags)
        self.random = random.Random(seed)
        self.runs = directory / "runs"
        self.runs.mkdir()
        # The token of each job that was acknowledged, by its id; and of all that were asked for.
        self.jobs: dict[int, str] = {}
        self.tokens: list[str] = []
        self.ends: dict[int, tuple[str | None, str]] = {}
        self.bytes: dict[int, bytes] = {}
        # Those that were deleted, and those of which nobody knows whether they were.
        self.deleted: set[int] = set()
        self.unsure: set[int] = set()
        self.cycles = 0
        self.killed = threading.Event()

    def cycle(self) -> None:
        """Start a server, check every note, load it, and kill it."""
        place = self.directory / f"{self.cycles}"
        place.mkdir()
        server = Rtot(place, *self.flags, environ={"TMPDIR": str(self.directory)})
        try:
            self._check(server)
            self.killed.clear()
            clients = [
                threading.Thread(target=self._client, args=(server, self.random.random()))
                for _ in range(_CLIENTS)
            ]
            for client in clients:
                client.start()
            time.sleep(self.random.uniform(0, _LONGEST))
            self.killed.set()
        finally:
            server.process.send_signal(signal.SIGKILL)
            server.process.wait()
        for client in clients:
            client.join()
        assert "Traceback" not in server.log, server.log
        self.cycles += 1

    def _client(self, server: Rtot, seed: float) -> None:
        chance = random.Random(seed)
        while not self.killed.is_set():
            try:
                self._act(server, chance)
            except (OSError, http.client.HTTPException):
                # The server is gone, in the midst of something.
                continue

    def _act(self, server: Rtot, chance: random.Random) -> None:
        known = list(self.jobs)
        what = chance.random()
        if what < 0.5 or not known:
            self._submit(server, chance)
            return
        # Mostly one that was made lately.
        job_id = chance.choice(known[-12:])
        if what < 0.7:
            self._follow(server, job_id)
        elif what < 0.8:
            self._ask(server, job_id)
        elif what < 0.9:
            _exchange(server, "POST", f"/jobs/{job_id}/kill?grace=0.05")
        else:
            self.unsure.add(job_id)
            status, _ = _exchange(server, "DELETE", f"/jobs/{job_id}")
            assert status in (204, 404)
            self.deleted.add(job_id)

    def _submit(self, server: Rtot, chance: random.Random) -> None:
        token = f"t{len(self.tokens)}-{chance.getrandbits(48):x}"
        self.tokens.append(token)
        lines = chance.choice([0, 1, 1, 3, 50])
        pause = chance.choice(["", "", "sleep 0.01; ", "sleep 0.05; "])
        script = f"echo $RTOT_JOB_ID >> {self.runs}/{token}\n"
        script += f"for i in $(seq {lines}); do echo {token} $i; {pause}done"
        query = f"label={token}&fields=reason"
        query += chance.choice(["", "", "&group=g", "&delay=100ms", "&timeout=0.1", "&wait=5"])
        headers = {"Idempotency-Key": token}
        acknowledged = set()
        try:
            while not self.killed.is_set():
                status, body = _exchange(server, "POST", f"/jobs?{query}", script, headers)
                assert status == 201, body
                (job,) = json.loads(body)["jobs"]
                acknowledged.add(job["id"])
                self._note_end(job)
                if chance.random() < 0.8:
                    return
        finally:
            # Now others may delete it, after which the key would be a new job's.
            assert len(acknowledged) <= 1
            for job_id in acknowledged:
                assert self.jobs.setdefault(job_id, token) == token, f"{job_id} was given twice"

    def _follow(self, server: Rtot, job_id: int) -> None:
        connection = http.client.HTTPConnection(*server.address, timeout=9)
        try:
            connection.request("GET", f"/jobs/{job_id}/out?follow", headers=_HEADERS)
            response = connection.getresponse()
            if response.status != 200:
                assert response.status == 404
                return
            seen = b""
            while piece := response.read1(65536):
                seen += piece
                before = self.bytes.get(job_id, b"")
                assert seen.startswith(before[: len(seen)])
                if len(seen) > len(before):
                    self.bytes[job_id] = seen
        finally:
            connection.close()

    def _ask(self, server: Rtot, job_id: int) -> None:
        status, body = _exchange(server, "GET", f"/jobs/{job_id}?fields=reason")
        if status != 404:
            self._note_end(json.loads(body)["jobs"][0])

    def _note_end(self, job: dict[str, Any]) -> None:
        if job["state"] == "complete":
            end = (job.get("exit"), job["reason"])
            assert self.ends.setdefault(job["id"], end) == end

    def _check(self, server: Rtot) -> None:
        status, body = _exchange(server, "GET", "/jobs?fields=label,reason,out,out_dropped")
        assert status == 200
        found = {job["id"]: job for job in json.loads(body)["jobs"]}
        for job_id, token in self.jobs.items():
            job = found.get(job_id)
            if job_id in self.deleted:
                assert job is None, f"job {job_id} was deleted and is there"
                continue
            if job_id in self.unsure and job is None:
                self.deleted.add(job_id)
                continue
            assert job is not None, f"job {job_id} is lost"
            assert job["label"] == [token]
            self.unsure.discard(job_id)
            if job_id in self.ends:
                assert (job.get("exit"), job["reason"]) == self.ends[job_id]
            seen = self.bytes.get(job_id, b"")
            assert job.get("out", "").encode().startswith(seen), (job, seen)
            assert job["out_dropped"] == 0
        for token in self.tokens:
            path = self.runs / token
            ran = path.read_text().split() if path.exists() else []
            assert len(ran) <= 1, f"{token} ran as {ran}"

    def close(self) -> None:
        """All that waits runs in the end, and nothing is left."""
        place = self.directory / "last"
        place.mkdir()
        server = Rtot(place, *self.flags, environ={"TMPDIR": str(self.directory)})
        self._check(server)
        until(lambda: b'"state":"new"' not in server.curl("/jobs?fields="), "all jobs")
        server.curl("/jobs?wait=30&fields=")
        self._check(server)
        assert server.end() == 0
        assert "Traceback" not in server.log, server.log


def _exchange(
    server: Rtot, method: str, target: str, body: str = "", headers: dict[str, str] | None = None
) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(*server.address, timeout=9)
    try:
        connection.request(method, target, body, {**_HEADERS, **(headers or {})})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def keep_ledger(directory: Path, cycles: int, seed: int, *flags: str) -> Ledger:
    ledger = Ledger(directory, seed, *flags)
    for _ in range(cycles):
        ledger.cycle()
    ledger.close()
    return ledger


if __name__ == "__main__":
    seed = int.from_bytes(os.urandom(4), "big")
    with tempfile.TemporaryDirectory() as directory:
        ledger = keep_ledger(Path(directory), int(sys.argv[1]), seed)
        size = sum(map(len, ledger.bytes.values()))
        print(f"{ledger.cycles} times killed: {len(ledger.jobs)} jobs, {len(ledger.ends)} ends and")
        print(f"{size} bytes that were told are there, {len(ledger.deleted)} deleted ones are not.")
