"""Servers with a state directory: killed, restarted, without room, and moved."""

import contextlib
import os
import re
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.test_restart import SPREAD, spread
from tests.harness import COMMAND, SECRET, SESSION, Rtot, is_alive, needs, until
from tests.ledger import keep_ledger

Start = Callable[..., Rtot]


@pytest.fixture
def state(tmp_path: Path) -> str:
    return f"--state={tmp_path}/state"


def test_fifty_kills(tmp_path: Path) -> None:
    ledger = keep_ledger(tmp_path, 50, seed=len(str(tmp_path)))
    assert len(ledger.jobs) > 100


def test_a_restart(start: Start, state: str) -> None:
    first = start(state, "--launcher=bash=bash -eu", "--group=g=2")
    done = first.run(b"echo out; echo err >&2; exit 3", "&label=a&arg=b&env=C=d&fields=*")
    head = first.curl("-I", "/jobs").decode()
    server = re.findall(r"^Rtot-Server: .*", head, re.MULTILINE)[0].strip()
    killed = first.submit(b"trap 'echo bye; exit 7' TERM; echo on; while :; do sleep 0.1; done")
    until(lambda: first.curl(f"/jobs/{killed}/out") == b"on\n")
    waits = first.submit(b"echo waited", f"after={killed}:any&label=b")
    delayed = first.submit(b"echo delayed", "delay=2s")
    never = first.submit(b"echo never", f"after={killed}")
    with subprocess.Popen(
        [
            "curl",
            "-sS",
            "-H",
            f"Authorization: rtot {SECRET}",
            f"{first.url}/jobs/{delayed}?wait=60",
        ],
        stdout=subprocess.PIPE,
    ) as waiting:
        until(lambda: b"rtot_connections 2" in first.curl("/metrics"), "who waits")
        assert first.end() == 0
        assert waiting.stdout is not None
        assert b'"state":"new"' in waiting.stdout.read()
    second = start(state, "--launcher=bash=bash -eu")
    assert second.curl("-H", server, "-o", "/dev/null", "-w", "%{http_code}", "/jobs") == b"200"
    again = second.json(f"/jobs/{done['id']}?fields=*")["jobs"][0]
    assert {**again, "filename": ""} == {**done, "filename": ""}
    assert second.curl("/jobs/0/script") == b"#!/bin/bash\necho out; echo err >&2; exit 3"
    gone = second.json(f"/jobs/{killed}?fields=out,reason,code,receipt")["jobs"][0]
    assert (gone["out"], gone["reason"], gone["code"]) == ("on\nbye\n", "killed", 7)
    assert gone["receipt"]["signal"] == "SIGTERM"
    second.curl("/jobs?wait=30&fields=")
    jobs = {j["id"]: j for j in second.json("/jobs?fields=out,reason,create,start")["jobs"]}
    assert jobs[waits]["out"] == "waited\n"
    assert jobs[delayed]["out"] == "delayed\n"
    assert jobs[never]["reason"] == "dependency"
    assert [j["id"] for j in second.json("/jobs?label=b&fields=")["jobs"]] == [waits]
    assert second.run(b"echo", "&fields=")["id"] == never + 1


def test_a_job_is_lost_with_its_server(start: Start, state: str, tmp_path: Path) -> None:
    first = start(state, "--grace=9")
    trapped = tmp_path / "trapped"
    job_id = first.submit(b"trap 'touch " + bytes(trapped) + b"; exit' TERM\n" + SPREAD)
    pids = spread(first, job_id)
    written = first.curl(f"/jobs/{job_id}/out").decode()
    daemon = int(str(first.run(b"setsid sleep 1000 > /dev/null 2>&1 & echo $!")["out"]))
    first.end(signal.SIGKILL)
    assert all(map(is_alive, pids))
    second = start(state, "--grace=9")
    until(lambda: not any(map(is_alive, pids)), "the end of what was left")
    # It got TERM first.
    assert trapped.exists()
    job = second.json(f"/jobs/{job_id}?fields=reason,out,code")["jobs"][0]
    assert (job["reason"], job["code"], job["out"]) == ("lost", None, written)
    assert job["exit"] == "lost: the server was killed"
    until(lambda: 'cause="lost"' in second.log, "the log")
    assert is_alive(daemon)
    os.kill(daemon, signal.SIGKILL)
    assert second.curl("-o", "/dev/null", "-w", "%{http_code}", f"/jobs/{job_id}?fail") == b"424"


def test_a_server_with_the_spool_ends_them_too(start: Start, state: str) -> None:
    first = start(state)
    pids = spread(first, first.submit(SPREAD))
    first.end(signal.SIGKILL)
    second = start(TMPDIR=str(first.spool))
    until(lambda: not any(map(is_alive, pids)), "the end of what was left")
    second.end()
    third = start(state)
    assert third.json("/jobs?fields=reason")["jobs"][0]["reason"] == "lost"


def test_delete_of_the_server_ends_what_waits_too(start: Start, state: str) -> None:
    first = start(state)
    waits = first.submit(b"echo never", "delay=1h")
    first.exchange("DELETE", "/")
    assert first.process.wait(30) == 1
    second = start(state)
    job = second.json(f"/jobs/{waits}?fields=reason")["jobs"][0]
    assert (job["state"], job["reason"]) == ("complete", "killed")


def test_a_launcher_that_is_gone(start: Start, state: str) -> None:
    """What was to run in a box does not run outside."""
    first = start(state, "--launcher=box=/usr/bin/env IN_BOX=yes")
    waits = first.submit(b"echo $IN_BOX", "launcher=box&delay=1s")
    first.end(signal.SIGKILL)
    second = start(state)
    job = second.json(f"/jobs/{waits}?wait=20&fields=out,reason")["jobs"][0]
    assert "out" not in job
    assert (job["reason"], job["exit"]) == ("not started", "there is no launcher box")


def refused(*flags: str) -> str:
    """What a server says that does not start."""
    done = subprocess.run(
        [*COMMAND, "-a=127.0.0.1:0", *flags],
        capture_output=True,
        text=True,
        env={**os.environ, "RTOT_SECRET": SECRET, "E2E_SESSION": SESSION},
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    return done.stderr


def test_one_clear_line_for_what_is_wrong(start: Start, state: str, tmp_path: Path) -> None:
    rtot = start(state)
    path = tmp_path / "state"
    assert refused(state) == f"rtot: cannot use {path}: another server uses it\n"
    rtot.end()
    data = (path / "rtot.db").read_bytes()
    (path / "rtot.db").write_bytes(data[:1024] + b"\xff" * 2048 + data[3072:])
    assert "rtot.db" in refused(state) or "cannot use" in refused(state)
    (path / "rtot.db").write_bytes(data)
    database = sqlite3.connect(path / "rtot.db")
    database.execute("PRAGMA user_version = 99")
    database.close()
    newer = f"rtot: {path}/rtot.db was written by a newer rtot (version 99 of its tables)"
    assert refused(state) == f"{newer}: see README, Downgrades\n"


def test_a_backup(start: Start, state: str, tmp_path: Path) -> None:
    first = start(state)
    large = first.run(b"head -c 100000 /dev/zero | tr '\\0' x", "&fields=out_bytes")
    first.run(b"echo small")
    backup = tmp_path / "backup"
    backup.mkdir(mode=0o700)
    # While the server runs.
    with sqlite3.connect(tmp_path / "state" / "rtot.db") as source:
        target = sqlite3.connect(backup / "rtot.db")
        source.backup(target)
        target.close()
    source.close()
    shutil.copytree(tmp_path / "state" / "output", backup / "output")
    first.run(b"echo later")
    os.truncate(backup / "output" / f"{large['id']}.out", 40000)
    second = start(f"--state={backup}")
    jobs = second.json("/jobs?fields=out_bytes,out_dropped")["jobs"]
    assert [(j["out_bytes"], j["out_dropped"]) for j in jobs] == [(40000, 60000), (6, 0)]


@pytest.fixture
def small_disk(tmp_path: Path) -> Path:
    """A file system of 2 MB."""
    path = tmp_path / "disk"
    path.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(path)], check=False
    )
    if done.returncode:
        pytest.skip("cannot mount a file system")
    return path


def test_a_full_disk(start: Start, small_disk: Path) -> None:
    try:
        rtot = start(f"--state={small_disk}/state")
        before = rtot.run(b"echo before")
        running = rtot.submit(
            b"echo on; until [ -e $0.go ]; do sleep 0.05; done; head -c 1000000 /dev/zero; exit 4"
        )
        until(lambda: rtot.curl(f"/jobs/{running}/out") == b"on\n", "the job")
        name = rtot.json(f"/jobs/{running}?fields=filename")["jobs"][0]["filename"]
        with (small_disk / "filler").open("wb", buffering=0) as filler:
            try:
                while True:
                    filler.write(bytes(4096))
            except OSError:
                pass

        def status(*words: str) -> bytes:
            return rtot.curl(*words, "-o", "/dev/null", "-w", "%{http_code}")

        # The log of the database may have some room of its own.
        until(lambda: status("/jobs", "-d", "true") == b"507", "a refusal")
        until(lambda: "cannot keep the state" in rtot.log, "the log")
        assert "warning" in rtot.json("/ping")["ping"][0]
        count = len(rtot.json("/jobs?fields=")["jobs"])
        assert status("/jobs", "-d", "echo never > /tmp/never") == b"507"
        assert len(rtot.json("/jobs?fields=")["jobs"]) == count
        Path(f"{name}.go").write_bytes(b"")
        fields = "fields=out_bytes,out_dropped,code"
        done = rtot.json(f"/jobs/{running}?wait=20&{fields}")["jobs"][0]
        assert done["code"] == 4
        assert done["out_bytes"] + done["out_dropped"] == 1_000_003
        assert done["out_dropped"] > 500_000
        assert status("-X", "DELETE", f"/jobs/{before['id']}") == b"507"
        (small_disk / "filler").unlink()
        until(lambda: "the state is kept again" in rtot.log, "room")
        assert "warning" not in rtot.json("/ping")["ping"][0]
        after = rtot.run(b"echo after")
        rtot.end(signal.SIGKILL)
        again = start(f"--state={small_disk}/state")
        jobs = {j["id"]: j for j in again.json("/jobs?fields=out,code")["jobs"]}
        assert before["id"] not in jobs
        assert (jobs[running]["code"], jobs[after["id"]]["out"]) == (4, "after\n")
        again.end()
    finally:
        subprocess.run(["umount", "-l", str(small_disk)], check=True)


SCENARIO = """
set -e
U=http://127.0.0.1:$1
run() { curl -sS -m 20 -H "Authorization: rtot $2" "$@"; }
submit() { run -d "$1" "$U/jobs?$2&fields=" | grep -o '"id":[0-9]*' | cut -d: -f2; }
told() { echo "$@" >> told; }
id=$(submit 'echo one; sleep 0.03; echo two')
[ -n "$id" ]
told acknowledged $id
run "$U/jobs/$id/out?follow" > seen || true
reason=$(run "$U/jobs/$id?wait=9&fields=reason" | grep -o '"reason":"[a-z]*"')
told ended $id "$reason"
large=$(submit 'head -c 40000 /dev/zero' wait=9)
[ -n "$large" ]
told acknowledged $large
told deleting $large
status=$(run -X DELETE "$U/jobs/$large" -o /dev/null -w '%{http_code}')
[ "$status" = 204 ]
told deleted $large
"""


def play(tmp_path: Path, *inject: str) -> tuple[list[list[str]], bytes]:
    """The scenario with a server to which strace does something; what was told, and seen."""
    shutil.rmtree(tmp_path / "play", ignore_errors=True)
    place = tmp_path / "play"
    place.mkdir()
    # Without -f: what jobs do is nobody's business.
    command = ("strace", "-qq", "-o", "/dev/null", *inject, *COMMAND)
    try:
        rtot = Rtot(place, f"--state={place}/state", command=command, environ=None)
    except AssertionError:
        # Killed before it listened.
        return [], b""
    try:
        subprocess.run(
            ["bash", "-c", SCENARIO.replace("$2", SECRET), "-", str(rtot.address[1])],
            cwd=place,
            stderr=subprocess.DEVNULL,
            check=False,
        )
    finally:
        if rtot.process.poll() is None:
            # None if strace has killed it and is about to end.
            for server in rtot.children():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(server, signal.SIGKILL)
        rtot.process.wait(30)
    assert "Traceback" not in rtot.log, rtot.log
    told = (place / "told").read_text().splitlines() if (place / "told").exists() else []
    seen = (place / "seen").read_bytes() if (place / "seen").exists() else b""
    return [line.split() for line in told], seen


def check(start: Start, place: Path, told: list[list[str]], seen: bytes) -> None:
    """All that was told is there."""
    rtot = start(f"--state={place}/state")
    rtot.curl("/jobs?wait=20&fields=")
    jobs = {str(j["id"]): j for j in rtot.json("/jobs?fields=reason,out,out_dropped")["jobs"]}
    deleting = {words[1] for words in told if words[0] == "deleting"}
    for words in told:
        match words:
            case ["acknowledged", job_id]:
                assert job_id in jobs or job_id in deleting, told
            case ["ended", job_id, reason]:
                assert reason == f'"reason":"{jobs[job_id]["reason"]}"'
            case ["deleted", job_id]:
                assert job_id not in jobs
    if seen:
        assert str(jobs["0"].get("out", "")).encode().startswith(seen)
    assert rtot.run(b"echo on")["out"] == "on\n"
    rtot.end()


SWEEP = "RTOT_SWEEP" in os.environ
CALLS = ("openat", "pwrite64", "fdatasync", "unlinkat", "write", "ftruncate")


@needs("strace")
@pytest.mark.parametrize("call", CALLS)
def test_killed_at_any_system_call(start: Start, tmp_path: Path, call: str) -> None:
    """Here at some of them; with RTOT_SWEEP=1 at each of the first sixty."""
    for when in range(1, 61) if SWEEP else (1, 2, 3, 5, 8, 13, 21, 34):
        told, seen = play(tmp_path, "-e", f"inject={call}:signal=KILL:when={when}")
        check(start, tmp_path / "play", told, seen)


@needs("strace")
@pytest.mark.parametrize("failure", ["ENOSPC", "EIO"])
@pytest.mark.parametrize("call", ["pwrite64", "fdatasync"])
def test_an_error_at_any_system_call(start: Start, tmp_path: Path, call: str, failure: str) -> None:
    at_each = [*map(str, range(1, 61)), *(f"{n}+" for n in range(5, 60, 5))]
    for when in at_each if SWEEP else ("3", "9", "20", "25+", "30..60"):
        told, seen = play(tmp_path, "-e", f"inject={call}:error={failure}:when={when}")
        check(start, tmp_path / "play", told, seen)
