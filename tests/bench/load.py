"""Jobs and requests a second, beside a bare loop and beside what else people would take.

Scripts are stored in memory (/dev/shm) here, as the floors store none.
"""

import json
import shutil
import socket
import sys
import threading
import time
from importlib.util import find_spec
from pathlib import Path

from tests.bench.common import (
    MEMORY,
    floor,
    free_port,
    loading,
    missing,
    report,
    running,
    scratch,
    serving,
    timed,
    wrk,
)
from tests.bench.floors import BODY
from tests.harness import AUTHORIZATION, Rtot

SCRIPT = "echo hi"


def jobs(count: int, seconds: float, rounds: int, peers: dict[str, str]) -> None:
    """POST with ?wait, as wrk gets them through, in turns with a bare loop of posix_spawn."""
    with serving(parent=MEMORY) as (server, _):
        for connections in (8, 64):
            ratios = []
            for _ in range(rounds):
                bare = floor("spawn", str(count))
                ours = wrk(f"{server.url}/jobs?wait=30", connections, seconds, body=SCRIPT)
                ratios.append(ours / bare)
            report(f"jobs with wait, {connections} connections, of posix_spawn", ratios, ">= 0.85")
        ratios = []
        for _ in range(rounds):
            bare = floor("spawn", str(count))
            ratios.append(count / timed(lambda: run_all(server, count)) / bare)
        report("jobs run to completion, of posix_spawn", ratios, ">= 0.85")
        for name, url in peers.items():
            ratios = [
                wrk(f"{server.url}/jobs?wait=30", 8, seconds, body=SCRIPT)
                / wrk(f"{url}/jobs?wait=30", 8, seconds, body=SCRIPT)
                for _ in range(rounds)
            ]
            report(f"jobs with wait, 8 connections, of {name}", ratios, "")
        webhook(server, seconds, rounds)


def run_all(server: Rtot, count: int) -> None:
    """Submit so many jobs over 8 connections, pipelined, and wait until all are complete."""
    socks = [socket.create_connection(server.address) for _ in range(8)]
    last = json.loads(dechunk(server.exchange("POST", "/jobs?wait=30&fields=", b"exit 0")))["jobs"][
        0
    ]["id"]
    head = "POST /jobs?fields= HTTP/1.1\r\nHost: a\r\n"
    one = f"{head}{AUTHORIZATION}\r\nContent-Length: {len(SCRIPT)}\r\n\r\n{SCRIPT}".encode()

    def send(sock: socket.socket) -> None:
        sock.sendall(one * (count // 8))
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(1 << 16):
            pass

    threads = [threading.Thread(target=send, args=(sock,)) for sock in socks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    answer = server.exchange("GET", f"/jobs?from={last + 1}&wait=600&fields=code")
    told = json.loads(dechunk(answer))["jobs"]
    assert [job["code"] for job in told] == [0] * (count // 8 * 8)
    for sock in socks:
        sock.close()


def dechunk(answer: bytes) -> bytes:
    head, _, body = answer.partition(b"\r\n\r\n")
    if b"chunked" not in head:
        return body
    content = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        content += body[: int(size, 16)]
        body = body[int(size, 16) + 2 :]
    return content


def webhook(server: Rtot, seconds: float, rounds: int) -> None:
    name = "jobs with wait, 8 connections, of webhook"
    if shutil.which("webhook") is None:
        missing(name, "apt-get install webhook")
        return
    with scratch() as directory:
        script = directory / "script"
        script.write_text(f"#!/bin/bash\n{SCRIPT}")
        script.chmod(0o700)
        hook = {"id": "x", "execute-command": str(script)}
        hook |= {"include-command-output-in-response": True}  # type: ignore[dict-item]
        (directory / "hooks.json").write_text(json.dumps([hook]))
        port = free_port()
        command = ["webhook", "-hooks", "hooks.json", "-ip", "127.0.0.1", "-port", str(port)]
        with running(command, port, directory):
            ratios = []
            for _ in range(rounds):
                theirs = wrk(f"http://127.0.0.1:{port}/hooks/x", 8, seconds)
                ours = wrk(f"{server.url}/jobs?wait=30", 8, seconds, body=SCRIPT)
                ratios.append(ours / theirs)
            report(name, ratios, ">= 1.0")


def requests(count: int, seconds: float, rounds: int, peers: dict[str, str]) -> None:
    """GET of a complete job over 16 connections, in turns with a bare loop of h11."""
    with serving(parent=MEMORY) as (server, directory):
        server.exchange("POST", "/jobs?wait=30", SCRIPT.encode())
        url = f"{server.url}/jobs/0"
        ratios = [wrk(url, 16, seconds) / floor("h11", str(count)) for _ in range(rounds)]
        report("GET /jobs/0, 16 connections, of a bare loop of h11", ratios, ">= 0.45")
        for name, peer in peers.items():
            ratios = [
                wrk(url, 16, seconds) / wrk(f"{peer}/jobs/0", 16, seconds) for _ in range(rounds)
            ]
            report(f"GET /jobs/0, 16 connections, of {name}", ratios, "")
        uvicorn(url, directory, seconds, rounds)


def uvicorn(url: str, directory: Path, seconds: float, rounds: int) -> None:
    name = "GET /jobs/0, 16 connections, of uvicorn with h11"
    if find_spec("uvicorn") is None:
        missing(name, "pip install uvicorn")
        return
    (directory / "constant.py").write_text(
        f"BODY = {BODY!r}\n"
        "LENGTH = (b'content-length', b'%d' % len(BODY))\n"
        "FIELDS = [(b'content-type', b'application/json'), LENGTH]\n"
        "async def app(scope, receive, send):\n"
        "    await send({'type': 'http.response.start', 'status': 200, 'headers': FIELDS})\n"
        "    await send({'type': 'http.response.body', 'body': BODY})\n"
    )
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "--http=h11", "--loop=asyncio", f"--port={port}"]
    command += ["--no-access-log", "--lifespan=off", f"--app-dir={directory}", "constant:app"]
    with running(command, port, directory):
        ratios = [
            wrk(url, 16, seconds) / wrk(f"http://127.0.0.1:{port}/", 16, seconds)
            for _ in range(rounds)
        ]
        report(name, ratios, ">= 1.0")


def ping(count: int, rounds: int) -> None:
    """How much later than on an idle server the slowest hundredth of pings are answered."""
    with serving(parent=MEMORY) as (server, _):
        differences = []
        for _ in range(rounds):
            idle = p99(server, count)
            with loading(f"{server.url}/jobs?wait=30", 8, 60, SCRIPT):
                time.sleep(0.3)
                busy = p99(server, count)
            differences.append((busy - idle) * 1000)
        report("p99 of /ping at full speed, ms more than idle", differences, "<= 3")


def p99(server: Rtot, count: int) -> float:
    times = []
    with socket.create_connection(server.address) as sock:
        for _ in range(count):
            begin = time.perf_counter()
            sock.sendall(b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n")
            assert sock.recv(4096)
            times.append(time.perf_counter() - begin)
            time.sleep(0.001)
    return sorted(times)[int(count * 0.99)]
