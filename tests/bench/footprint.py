"""Memory and start-up, and that neither idle clients nor kept jobs cost anything."""

import subprocess
import sys
import time

from tests.bench.common import (
    connect,
    environment,
    free_port,
    report,
    scratch,
    serving,
    timed,
    wrk,
)
from tests.bench.load import run_all
from tests.harness import COMMAND, Rtot, rss

IMPORT = "import selectors, socket, h11"


def start(rounds: int) -> None:
    """From nothing to the first answer, and what an idle server holds, beside a mere import."""
    times, sizes = [], []
    with scratch() as directory:
        environ = environment(directory)
        for turn in range(rounds + 1):
            bare = timed(
                lambda: subprocess.run(
                    [sys.executable, "-c", IMPORT],
                    check=True,
                    start_new_session=True,
                    env=environ,
                )
            )
            waiting = f"{IMPORT}, sys; print(flush=True); sys.stdin.read()"
            with subprocess.Popen(
                [sys.executable, "-c", waiting],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,
                env=environ,
            ) as idle:
                assert idle.stdout is not None
                idle.stdout.readline()
                held = rss(idle.pid)
            port = free_port()
            begin = time.perf_counter()
            with subprocess.Popen(
                [*COMMAND, f"-a=127.0.0.1:{port}", f"--spool-dir={directory}"],
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                env=environ,
            ) as server:
                sock = connect(port)
                sock.sendall(b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n")
                assert b"still here" in sock.recv(4096)
                elapsed = time.perf_counter() - begin
                size = rss(server.pid)
                sock.close()
                server.terminate()
            # The first turn compiles.
            if turn:
                times.append(elapsed / bare)
                sizes.append(size / held)
    report("start to the first answer, of the import as a process", times, "<= 1.6")
    report("resident memory when idle, of the import's", sizes, "<= 1.15")


def scale(kept: int, idle: int, running: int, seconds: float, rounds: int) -> None:
    """What kept jobs and idle clients hold, and what a turn costs with all of them there."""
    flags = (f"--max-connections={idle + 100}", f"--max-running={running + 4}")
    with serving() as (empty, _), serving(*flags) as (server, _):
        for each in (empty, server):
            run_all(each, 8)
        before = server.rss()
        portion = 5000
        for _ in range(kept // portion):
            run_all(server, portion)
        grown = server.rss() - before
        report(f"bytes of memory for a kept job, of {kept}", [grown / kept], "<= 1000")
        holder = hold(server, idle)
        grown = server.rss() - before - grown
        report(f"bytes of memory for an idle connection, of {idle}", [grown / idle], "<= 2300")
        for _ in range(running):
            server.exchange("POST", "/jobs?fields=", b"exec sleep 1000")
        # All of them run once one that came after them has.
        server.exchange("POST", "/jobs?wait=60", b"exit 0")
        ratios = []
        for _ in range(rounds):
            alone = wrk(f"{empty.url}/jobs/0", 1, seconds)
            ratios.append(alone / wrk(f"{server.url}/jobs/0", 1, seconds))
        report("cost of a turn with all of them, of an empty server", ratios, "<= 1.15")
        holder.terminate()
        holder.communicate()


def hold(server: Rtot, count: int) -> "subprocess.Popen[bytes]":
    """A process with so many connections on which a request was answered."""
    host, port = server.address
    program = f"""
import signal, socket
socks = []
for _ in range({count}):
    sock = socket.create_connection(({host!r}, {port}))
    sock.sendall(b"GET /ping HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n")
    assert sock.recv(4096)
    socks.append(sock)
print(flush=True)
signal.pause()
"""
    holder = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline()
    return holder
