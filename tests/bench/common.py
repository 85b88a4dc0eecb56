"""What all benchmarks share: a server of their own, a load, and rows of a table.

Every process that is measured has a session of its own, as one that a service manager has
started: Linux shares the processors out by sessions (sched(7), autogroups).
"""

import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.harness import AUTHORIZATION, SECRET, Rtot


def environment(directory: Path) -> dict[str, str]:
    """That of every process that is measured: byte code is kept, as an installer would."""
    environ = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    cache = directory / "cache"
    return {**environ, "RTOT_SECRET": SECRET, "PYTHONPYCACHEPREFIX": str(cache)}


# Where no disk is measured with what is meant.
MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None


@contextmanager
def scratch(parent: str | None = None) -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="rtot-bench-", dir=parent))
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


@contextmanager
def serving(*flags: str, parent: str | None = None) -> Iterator[tuple[Rtot, Path]]:
    with scratch(parent) as directory:
        server = Rtot(directory, *flags, environ=environment(directory), session=True)
        try:
            yield server, directory
        finally:
            server.process.send_signal(signal.SIGTERM)
            server.process.wait(60)


@contextmanager
def running(command: list[str], port: int, directory: Path) -> Iterator[None]:
    """Some other server, once it listens."""
    with subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd=directory,
        env=environment(directory),
    ) as process:
        try:
            connect(port).close()
            yield
        finally:
            process.terminate()


def connect(port: int) -> socket.socket:
    """The first connection to a server that is starting."""
    deadline = time.monotonic() + 20
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port))
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.0005)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def loading(
    url: str, connections: int, seconds: float, body: str | None
) -> Iterator["subprocess.Popen[str]"]:
    """wrk(1) at work, whose report is on its stdout when it has finished."""
    lua = f'wrk.headers["{AUTHORIZATION.partition(": ")[0]}"] = "rtot {SECRET}"\n'
    if body is not None:
        lua += f'wrk.method = "POST"\nwrk.body = "{body}"\n'
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(lua)
        script.flush()
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}", "-s", script.name, url]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                yield process
            finally:
                process.terminate()


def wrk(url: str, connections: int, seconds: float, *, body: str | None = None) -> float:
    """Requests a second that wrk(1) gets through; each of them answered with 2xx."""
    with loading(url, connections, seconds, body) as process:
        told, _ = process.communicate()
    assert "Non-2xx" not in told, told
    found = re.search(r"Requests/sec:\s+([\d.]+)", told)
    assert found is not None, told
    return float(found[1])


def floor(*words: str) -> float:
    """What tests.bench.floors measures, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.floors", *words],
        capture_output=True,
        text=True,
        check=True,
        start_new_session=True,
    )
    return float(done.stdout)


def python(server: Rtot, program: str, query: str = "") -> bytes:
    """Submit a script in Python; the answer, head and all."""
    return server.exchange("POST", f"/jobs?{query}", f"#!{sys.executable}\n{program}".encode())


def timed(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def report(name: str, values: list[float], goal: str) -> None:
    """A row of the table: median and range of what was measured in turns."""
    low, middle, high = min(values), statistics.median(values), max(values)
    relation, _, limit = goal.partition(" ")
    met = (
        "" if not limit else middle >= float(limit) if relation == ">=" else middle <= float(limit)
    )
    verdict = {True: "met", False: "MISSED", "": ""}[met]
    ranges = f"({low:.4g} to {high:.4g})"
    print(f"{name:58} {middle:8.4g}  {ranges:22} {goal:8} {verdict}", flush=True)


def missing(name: str, why: str) -> None:
    print(f"{name:58}        -  {why}", flush=True)
