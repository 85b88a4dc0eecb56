"""What a state directory costs: each job, each answer beside it, memory and the start.

python -m tests.bench.state DIRECTORY RETAINED WAITING LOST     make a state of so many jobs
"""

import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from rtot.clock import Now
from rtot.config import Settings
from rtot.jobs.job import Options, Usage
from rtot.jobs.output import Stream
from rtot.jobs.table import JobTable
from rtot.system.spool import Spool
from rtot.system.state import State
from tests.bench.common import (
    connect,
    environment,
    free_port,
    loading,
    python,
    report,
    scratch,
    serving,
    timed,
    wrk,
)
from tests.harness import COMMAND, Rtot, rss

_PING = b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n"
_USAGE = Usage(1000, 1000, 1 << 20)


def jobs(seconds: float, rounds: int) -> None:
    """Jobs with `wait`, eight at a time, and what others notice of them."""
    rates: dict[str, list[float]] = {"normal": [], "full": []}
    late = []
    for _ in range(rounds):
        plain, base = _load(seconds)
        for sync, found in rates.items():
            with scratch() as directory:
                rate, slow = _load(seconds, f"--state={directory}/state", f"--state-sync={sync}")
            found.append(rate / plain)
            if sync == "normal":
                late.append((slow - base) * 1000)
    report("jobs with wait, 8 connections, of without --state", rates["normal"], ">= 0.9")
    report("jobs with wait and --state-sync full, of without --state", rates["full"], "")
    report("p99 of /ping under that load, ms more", late, "<= 3")


def _load(seconds: float, *flags: str) -> tuple[float, float]:
    """Jobs a second, and the 99th percentile of /ping (s) in another run."""
    with serving(*flags) as (server, _):
        rate = wrk(f"{server.url}/jobs?wait=60&fields=", 8, seconds, body="#!/bin/true\\n")
        return rate, _p99(server, seconds)


def _p99(server: Rtot, seconds: float) -> float:
    times = []
    url = f"{server.url}/jobs?wait=60&fields="
    with loading(url, 8, seconds + 1, "#!/bin/true\\n"), connect(server.address[1]) as sock:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            begin = time.perf_counter()
            sock.sendall(_PING)
            sock.recv(4096)
            times.append(time.perf_counter() - begin)
            time.sleep(0.002)
    return sorted(times)[len(times) * 99 // 100]


def ingest(blocks: int, rounds: int) -> None:
    """Output of so many blocks of 64 KB."""
    ratios = []
    program = f"import os\nfor _ in range({blocks}): os.write(1, bytes(65536))\n"
    for _ in range(rounds):
        rates = []
        for flags in ((), ("--state=state",)):
            with scratch() as directory:
                chosen = [flag.replace("=state", f"={directory}/state") for flag in flags]
                with serving("--max-output=2G", *chosen) as (server, _):
                    python(server, "pass", "wait=60")
                    rates.append(1 / timed(lambda s=server: python(s, program, "wait=60&fields=")))  # type: ignore[misc]
        ratios.append(rates[1] / rates[0])
    report(f"ingest of {blocks * 64 // 1024} MB, of without --state", ratios, ">= 0.95")


def calls(count: int) -> None:
    """Commits in a turn, and syncs of the disk with --state-sync full, as strace counts them."""
    # The write lock of the log (wal.c: WAL_WRITE_LOCK), which each commit takes.
    commit = r"fcntl.*F_WRLCK.*l_start=120,"
    for sync, what, pattern in (
        ("normal", "commits in a turn", commit),
        ("full", "syncs of the disk in a turn", r"f(data)?sync\("),
    ):
        with (
            scratch() as directory,
            serving(f"--state={directory}/state", f"--state-sync={sync}") as (server, _),
        ):
            trace = directory / "trace"
            command = ["strace", "-qq", "-o", str(trace), "-p", str(server.pid)]
            command += ["-e", "trace=epoll_wait,fcntl,fsync,fdatasync"]
            with subprocess.Popen(command, stderr=subprocess.DEVNULL) as tracer:
                time.sleep(0.5)
                wrk(f"{server.url}/jobs?wait=60&fields=", 8, count, body="#!/bin/true\\n")
                tracer.terminate()
            turns = re.split(r"epoll_wait.*\n", trace.read_text())
            found = [len(re.findall(pattern, turn)) for turn in turns]
            report(f"{what}, on average", [sum(found) / len(found)], "<= 1")
            # A checkpoint of the log, once in some hundred turns, has two syncs of its own.
            report(f"{what}, at most", [float(max(found))], "")


def size(rounds: int, retained: int) -> None:
    """An idle server, and its start, without and with jobs that are kept."""
    idle, start = [], []
    with scratch() as directory:
        fill(directory / "state", retained, 0, 0)
        for turn in range(rounds + 1):
            plain, held = _start(directory)
            with scratch(str(directory)) as empty:
                _, more = _start(directory, f"--state={empty}/state")
            full, _ = _start(directory, f"--state={directory}/state")
            if turn:
                idle.append((more - held) / 1e6)
                start.append((full - plain) * 1000)
    report("resident memory when idle, MB more", idle, "<= 3.5")
    report(f"start with {retained} jobs retained, ms more", start, "<= 15")


def _start(directory: Path, *flags: str) -> tuple[float, int]:
    """Seconds from exec to the first answer, and bytes that are resident then."""
    port = free_port()
    begin = time.perf_counter()
    with subprocess.Popen(
        [*COMMAND, f"-a=127.0.0.1:{port}", f"--spool-dir={directory}", *flags],
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env=environment(directory),
    ) as server:
        with connect(port) as sock:
            sock.sendall(_PING)
            assert b"still here" in sock.recv(4096)
            elapsed = time.perf_counter() - begin
            held = rss(server.pid)
        server.terminate()
    return elapsed, held


def recovery(retained: int, waiting: int, lost: int, rounds: int) -> None:
    """From exec to the first answer after a crash."""
    times = []
    with scratch() as directory:
        fill(directory / "made", retained, waiting, lost)
        for turn in range(rounds + 1):
            shutil.copytree(directory / "made", directory / f"{turn}")
            seconds, _ = _start(directory, f"--state={directory}/{turn}", "--max-running=1")
            if turn:
                times.append(seconds * 1000)
    report(f"start with {retained} retained, {waiting} waiting, {lost} lost, ms", times, "<= 300")


def pages(retained: int) -> None:
    """A page of 100 from anywhere, and what so many jobs hold in memory."""
    middle = retained // 2
    targets = [f"from={retained * n // 10}" for n in range(10)]
    targets += ["", "order=desc", "failed", "failed=0", "label=rare", "label=even&failed"]
    targets += ["by=nobody", "group=g", "state=complete", "state=running", f"since={retained}"]
    targets += [f"created-from={middle}&created-to={middle + 500}", f"created-from={middle}"]
    targets += [f"created-to={middle}&order=desc", f"created-from={middle}&label=odd&failed"]
    with scratch() as directory:
        fill(directory / "state", retained, 0, 0)
        with serving() as (empty, _), serving(f"--state={directory}/state") as (server, _):
            worst = 0.0
            for target in targets:
                path = f"/jobs?{target}&limit=100&fields=code"
                empty.exchange("GET", path)
                worst = max(worst, min(_ask(server, path) for _ in range(3)))
            report(f"the slowest page of 100 of {retained} jobs, ms", [worst * 1000], "<= 20")
            more = (server.rss() - empty.rss()) / 1e6
            # Of that 3.5 are SQLite's.
            report(f"memory with {retained} jobs, of without --state, MB more", [more], "<= 8.5")
            server.curl("-m", "600", "-X", "DELETE", "/jobs?state=complete")
            text = server.curl("/metrics").decode()
            buckets = re.findall(r'rtot_turn_seconds_bucket\{le="([^"]+)"\} (\d+)', text)
            total = int(buckets[-1][1])
            slow = next(float(le) for le, count in buckets if int(count) == total)
            report(f"the slowest turn of deleting {retained} jobs, ms", [slow * 1000], "<= 50")


def _ask(server: Rtot, path: str) -> float:
    return timed(lambda: server.exchange("GET", path))


def fill(directory: Path, retained: int, waiting: int, lost: int) -> None:
    """As make, in a process of its own."""
    command = [sys.executable, "-m", "tests.bench.state", str(directory)]
    subprocess.run([*command, str(retained), str(waiting), str(lost)], check=True)


def make(directory: Path, retained: int, waiting: int, lost: int) -> None:
    """A state of so many jobs. The server that had it was killed."""
    count = retained + waiting + lost
    with scratch() as place:
        spool = Spool(str(place))
        state = State(str(directory), spool, full=False)
        settings = Settings(max_running=count + 1, max_starting=count + 1, max_queued=count + 1)
        jobs = JobTable(settings, state.storage, state.database, 0, state.database)
        jobs.restore(Now(0.0, 0))
        for i in range(retained):
            now = Now(float(i), i * 10**9)
            labels = ("even" if i % 2 else "odd", *(("rare",) if i % 1000 == 0 else ()))
            job = jobs.submit(b"#!/bin/sh\necho hello\n", now, Options(labels=labels), by="me")
            assert jobs.take_job(now) is job
            jobs.started(job, 4_000_000 + i, now)
            jobs.output_received(job.id, Stream.OUT, b"hello\n", now)
            jobs.exited(job.id, 256 * (i % 10 == 0), _USAGE, now)
            for stream in Stream:
                jobs.output_closed(job.id, stream, now)
            jobs.journal.take()
            if i % 100 == 0:
                jobs.keep(now)
        for i in range(waiting + lost):
            job = jobs.submit(b"#!/bin/sh\nexec sleep 9\n", now, Options())
            if i < lost:
                assert jobs.take_job(now) is job
                jobs.started(job, 4_000_000 + i, now)
        jobs.keep(now)
        state.close()
        spool.close()


if __name__ == "__main__":
    make(Path(sys.argv[1]), *map(int, sys.argv[2:5]))
