"""What the kernel refuses: never a false 2xx, a lost or doubled job, a leak, or an end.

Faults are injected into the running server's system calls by strace(1), which tests like
nobody's reimplementation of a full disk.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.harness import COMMAND, PATIENCE, SECRET, Rtot, needs, until

Start = Callable[..., Rtot]


@contextmanager
def injected(rtot: Rtot, calls: str, fault: str, *paths: Path) -> Iterator[None]:
    """Have these system calls (on these paths) fail for as long as this lasts."""
    where = [word for path in paths for word in ("-P", str(path))]
    command = ["strace", "-p", str(rtot.pid), "-e", f"trace={calls}"]
    with subprocess.Popen(
        [*command, "-e", f"inject={calls}:{fault}", *where, "-o", "/dev/null"],
        stderr=subprocess.PIPE,
    ) as tracer:
        assert tracer.stderr is not None
        assert b"attached" in tracer.stderr.readline()
        try:
            yield
        finally:
            tracer.send_signal(signal.SIGINT)
            tracer.wait(PATIENCE)


def spool_of(rtot: Rtot) -> Path:
    (path,) = rtot.spool.iterdir()
    return path


def status(rtot: Rtot, *args: str) -> bytes:
    return rtot.curl(*args, "-o", "/dev/null", "-w", "%{http_code}")


@needs("strace")
@pytest.mark.parametrize(
    ("call", "fault"),
    [
        ("openat", "error=ENOSPC"),
        ("openat", "error=EIO"),
        ("write", "error=ENOSPC"),
        ("write", "error=EIO"),
        ("close", "error=EIO"),
    ],
)
def test_a_script_that_cannot_be_stored_is_no_job(rtot: Rtot, call: str, fault: str) -> None:
    rtot.run(b"echo")
    descriptors = rtot.descriptors()
    with injected(rtot, call, fault, spool_of(rtot), spool_of(rtot) / "job-1"):
        assert status(rtot, "/jobs", "-d", "echo no") == b"507"
        assert [job["id"] for job in rtot.json("/jobs")["jobs"]] == [0]
    assert rtot.run(b"echo yes")["out"] == "yes\n"
    assert list(spool_of(rtot).iterdir()) == []
    # What strace lets fail is not done; a close(2) that fails otherwise is.
    until(lambda: rtot.descriptors() <= descriptors + (call == "close"))


@needs("bwrap")
def test_a_disk_that_is_full_and_then_is_not(tmp_path: Path) -> None:
    """A real one: 300 KB of memory, mounted where nobody else sees it."""
    spool = tmp_path / "spool"
    spool.mkdir()
    command = ("bwrap", "--dev-bind", "/", "/", "--size", "300000", "--tmpfs", str(spool))
    rtot = Rtot(tmp_path, command=(*command, *COMMAND))
    with rtot.process:
        job = rtot.run(b"head -c 1000000 /dev/zero; exit 3", "&fields=code,out_bytes,out_dropped")
        assert job["code"] == 3
        assert 200_000 < job["out_bytes"] < 400_000
        assert job["out_bytes"] + job["out_dropped"] == 1_000_000
        big = tmp_path / "big"
        big.write_bytes(b"#" * 200_000)
        assert status(rtot, "/jobs", "--data-binary", f"@{big}") == b"507"
        assert len(rtot.json("/jobs")["jobs"]) == 1
        rtot.curl("/jobs/0", "-X", "DELETE")
        assert status(rtot, "/jobs", "--data-binary", f"@{big}") == b"201"
        # bwrap passes no signal on.
        (inner,) = rtot.children()
        os.kill(inner, signal.SIGTERM)
        assert rtot.process.wait(PATIENCE) == 0
    assert "Traceback" not in rtot.log


@needs("strace")
def test_output_that_cannot_be_stored_is_counted(rtot: Rtot) -> None:
    rtot.submit(b"read -t 1 < <(sleep 2); head -c 300000 /dev/zero; echo end >&2; exit 4")
    path = spool_of(rtot) / "0.out"
    with injected(rtot, "write,pwrite64", "error=EIO", path):
        job = rtot.json("/jobs/0?wait=30&fields=code,err,out_bytes,out_dropped")["jobs"][0]
    assert (job["code"], job["err"]) == (4, "end\n")
    assert job["out_bytes"] + job["out_dropped"] == 300_000
    assert job["out_dropped"] > 0
    until(lambda: "cannot store output" in rtot.log)


def test_output_that_cannot_be_read_any_more_is_not_told_as_less(rtot: Rtot) -> None:
    rtot.run(b"head -c 300000 /dev/zero | tr '\\0' x; exit 2", "&fields=")
    (spool_of(rtot) / "0.out").unlink()
    (spool_of(rtot) / "0.out").mkdir()
    (shown,) = rtot.json("/jobs")["jobs"]
    assert shown["error"] == "its output cannot be read any more"
    for target in ("/jobs/0", "/jobs/0/out", "/jobs/0/events"):
        command = ["curl", "-sS", "-H", f"Authorization: rtot {SECRET}", f"{rtot.url}{target}"]
        done = subprocess.run(command, capture_output=True, check=False)
        assert done.returncode == 18, target


@needs("strace")
def test_the_end_of_a_job_whose_file_cannot_be_closed(rtot: Rtot) -> None:
    rtot.submit(b"head -c 300000 /dev/zero; read -t 1 < <(sleep 2)")
    path = spool_of(rtot) / "0.out"
    until(path.exists)
    with injected(rtot, "close", "error=EIO", path):
        assert rtot.json("/jobs/0?wait=30&fields=code")["jobs"][0]["state"] == "complete"
    assert rtot.run(b"echo fine")["out"] == "fine\n"


@needs("strace")
@pytest.mark.parametrize(
    ("calls", "fault"),
    [
        ("clone3,vfork,clone", "error=EAGAIN:when=1..3"),
        ("clone3,vfork,clone", "error=ENOMEM:when=1..3"),
        ("pipe2", "error=EMFILE:when=1..4"),
    ],
)
def test_jobs_that_cannot_be_started_for_now_are_started_later(
    rtot: Rtot, calls: str, fault: str
) -> None:
    rtot.run(b"echo")
    descriptors = rtot.descriptors()
    with injected(rtot, calls, fault), ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: rtot.submit(b"echo $RTOT_JOB_ID", "fields="), range(10)))
        jobs = rtot.json("/jobs?wait=30&fields=out,code")["jobs"]
    assert len(jobs) == 11
    assert [(job["out"], job["code"]) for job in jobs[1:]] == [
        (f"{job['id']}\n", 0) for job in jobs[1:]
    ]
    until(lambda: rtot.children() == [])
    until(lambda: rtot.descriptors() <= descriptors)


@needs("strace")
@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_selector_that_is_full(rtot: Rtot, nth: int) -> None:
    """The first it would watch here is a connection, then come the pipes of its job."""
    rtot.run(b"echo")
    descriptors = rtot.descriptors()
    with injected(rtot, "epoll_ctl", f"error=ENOSPC:when={nth}"):
        rtot.curl("/jobs?fields=", "-d", "echo $RTOT_JOB_ID", check=False)
    jobs = rtot.json("/jobs?wait=30&fields=out,code")["jobs"]
    assert [(job["out"], job["code"]) for job in jobs[1:]] == [("1\n", 0)] * (nth > 1)
    assert rtot.run(b"echo fine")["out"] == "fine\n"
    until(lambda: rtot.descriptors() <= descriptors)


@needs("strace")
def test_no_descriptor_for_a_connection(rtot: Rtot) -> None:
    with injected(rtot, "accept4", "error=EMFILE:when=1..3"):
        assert b"still here" in rtot.curl("/ping")
    until(lambda: "cannot accept connections for now" in rtot.log)


@needs("prlimit")
def test_no_memory(rtot: Rtot) -> None:
    rtot.run(b"echo")
    found = re.search(r"VmSize:\s+(\d+)", Path(f"/proc/{rtot.pid}/status").read_text())
    assert found is not None
    room = (int(found[1]) + 20_000) * 1024
    subprocess.run(["prlimit", f"--pid={rtot.pid}", f"--as={room}:unlimited"], check=True)
    script = b"#!/bin/sh\necho small; exit\n" + b"#" * 14_000_000

    def submit(_: int) -> bytes:
        args = ("-o", "/dev/null", "-w", "%{http_code}", "-H", "Expect:", "--data-binary", "@-")
        return rtot.curl("/jobs?fields=", *args, check=False, text=script)

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(submit, range(8)))
    assert rtot.process.poll() is None
    # The log is not flooded by what has no room.
    assert rtot.log.count("\n") < 100
    subprocess.run(["prlimit", f"--pid={rtot.pid}", "--as=unlimited:unlimited"], check=True)
    jobs = rtot.json("/jobs?wait=30&fields=out,code")["jobs"]
    assert len(jobs) - 1 == answers.count(b"201")
    assert set(answers) <= {b"201", b"503", b"507", b"000"}
    assert all(job["out"] == "small\n" for job in jobs[1:])
    assert rtot.run(b"echo fine")["out"] == "fine\n"


def test_a_pause_is_nobody_s_fault(rtot: Rtot) -> None:
    """What happened while the server was stopped comes before what is due now."""
    rtot.submit(b"read -t 0.3 < <(sleep 2); echo done", "timeout=1")
    until(lambda: rtot.json("/jobs/0")["jobs"][0]["state"] == "running")
    host, port = rtot.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as sock:
        rtot.process.send_signal(signal.SIGSTOP)
        time.sleep(1.5)
        sock.sendall(b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n")
        rtot.process.send_signal(signal.SIGCONT)
        assert b"still here" in sock.recv(4096)
    job = rtot.json("/jobs/0?wait=20&fields=reason,code")["jobs"][0]
    assert (job["reason"], job["code"]) == ("exited", 0)


def test_signals_that_were_blocked_by_who_started_us(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys; signal.pthread_sigmask(signal.SIG_BLOCK,"
        " [signal.SIGCHLD, signal.SIGTERM]); os.execv(sys.executable, [sys.executable, '-m',"
        f" 'rtot', '-a=unix:{tmp_path}/s', '--spool-dir={tmp_path}'])"
    )
    path = tmp_path / "s"
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stderr=subprocess.DEVNULL,
        env={**os.environ, "RTOT_SECRET": SECRET},
    ) as process:
        until(path.exists)
        rtot = Rtot.__new__(Rtot)
        base = ("--unix-socket", str(path))
        job = rtot.json("http://rtot/jobs?wait=20", *base, "-d", "echo hi")["jobs"][0]
        assert job["state"] == "complete"
        process.terminate()
        assert process.wait(PATIENCE) == 0


def test_many_jobs_are_ended_in_little_time_and_no_signal_is_lost(start: Start) -> None:
    rtot = start("--max-running=300")
    for _ in range(300):
        rtot.submit(b"exec sleep 1000", "fields=")
    until(lambda: len(rtot.children()) == 300)
    until(lambda: len(rtot.json("/jobs?state=running&fields=")["jobs"]) == 300)
    begin = time.monotonic()
    rtot.curl("/jobs", "-X", "DELETE")
    rtot.process.terminate()
    assert rtot.process.wait(PATIENCE) == 0
    # Each look at /proc costs a third of a tenth of a millisecond a process, and there are a few.
    assert time.monotonic() - begin < 5


def test_many_servers_start_at_once(tmp_path: Path) -> None:
    servers = [
        subprocess.Popen(
            [sys.executable, "-m", "rtot", f"-a=unix:{tmp_path}/{i}", f"--spool-dir={tmp_path}"],
            stderr=subprocess.DEVNULL,
        )
        for i in range(6)
    ]
    until(lambda: all((tmp_path / str(i)).exists() for i in range(6)))
    for server in servers:
        server.terminate()
    assert [server.wait(PATIENCE) for server in servers] == [0] * 6
    assert list(tmp_path.iterdir()) == []


@needs("strace")
def test_no_answer_waits_for_a_spawn(rtot: Rtot) -> None:
    """A spawn that takes two seconds: who asked before it began has the answer already."""
    with injected(rtot, "clone,clone3,vfork", "delay_enter=2000000"):
        begin = time.monotonic()
        assert status(rtot, "/jobs", "-d", "echo late") == b"201"
        assert time.monotonic() - begin < 1.5
        assert rtot.json("/jobs/0?wait=30")["jobs"][0]["out"] == "late\n"
        assert time.monotonic() - begin > 2


def test_a_bug_of_ours_in_a_start_ends_that_job_alone(tmp_path: Path) -> None:
    program = (
        "import sys; from rtot.cli.main import main; from rtot.system.processes import Processes\n"
        "spawn = Processes.spawn\n"
        "def fail_once(self, job_id, *rest):\n"
        "    if job_id == 0: raise RuntimeError('a bug')\n"
        "    return spawn(self, job_id, *rest)\n"
        "Processes.spawn = fail_once\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    rtot = Rtot(tmp_path, command=(sys.executable, "-c", program))
    try:
        descriptors = rtot.descriptors()
        first = rtot.run(b"echo never")
        assert (first["state"], first["exit"]) == ("complete", "internal server error")
        until(lambda: "RuntimeError: a bug" in rtot.log, "the traceback")
        until(lambda: rtot.descriptors() == descriptors, "the end of curl's connection")
        assert rtot.run(b"echo hi")["out"] == "hi\n"
        assert rtot.end() == 0
    finally:
        rtot.process.kill()
        rtot.process.wait(PATIENCE)
