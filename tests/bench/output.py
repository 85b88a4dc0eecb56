"""Output measured against its floors, each floor measured in the same run, in turns."""

import os
import re
import selectors
import socket
import subprocess
import sys
import threading
import time

from tests.bench.common import python, report, serving, timed

WRITER = "import os\nfor _ in range({}):\n    os.write(1, b'x' * 65536)\n"
TICKER = (
    "import time\ntime.sleep(0.5)\n"
    "for _ in range({}):\n    print(time.monotonic(), flush=True)\n    time.sleep(0.01)\n"
)


def swallow(sock: socket.socket) -> int:
    """Read to the end; return how many bytes that was."""
    buffer = bytearray(1 << 20)
    total = 0
    while count := sock.recv_into(buffer):
        total += count
    return total


def ingest(blocks: int, rounds: int) -> None:
    with serving() as (server, directory):
        program = directory / "writer.py"
        program.write_text(WRITER.format(blocks))
        target = directory / "floor"
        floor_command = f"{sys.executable} {program} | cat > {target}"
        ratios = []
        before = server.rss()
        for _ in range(rounds):
            floor = timed(lambda: subprocess.run(["sh", "-c", floor_command], check=True))
            target.unlink()
            ratios.append(
                floor / timed(lambda: python(server, WRITER.format(blocks), "wait=600&fields="))
            )
        report("ingest, of `| cat > file`", ratios, ">= 0.7")
        report("ingest, growth of RSS in MB", [(server.rss() - before) / 1e6], "<= 8")


def download(blocks: int, rounds: int) -> None:
    with serving() as (server, directory):
        python(server, WRITER.format(blocks), "wait=600&fields=")
        size = blocks * 65536
        path = directory / "floor"
        with path.open("wb") as file:
            for _ in range(blocks):
                file.write(b"x" * 65536)

        def send_file(listener: socket.socket) -> None:
            sock, _ = listener.accept()
            with sock, path.open("rb") as file:
                offset = 0
                while sent := os.sendfile(sock.fileno(), file.fileno(), offset, 1 << 20):
                    offset += sent

        def floor() -> None:
            with socket.create_server(("127.0.0.1", 0)) as listener:
                sender = threading.Thread(target=send_file, args=(listener,))
                sender.start()
                with socket.create_connection(listener.getsockname()) as sock:
                    assert swallow(sock) == size
                sender.join()

        def ours() -> None:
            with server.ask("GET", "/jobs/0/out") as sock:
                assert swallow(sock) > size

        report(
            "download, of a sendfile loop",
            [timed(floor) / timed(ours) for _ in range(rounds)],
            ">= 0.7",
        )


def follow(followers: int, ticks: int, goal: str) -> None:
    """Delays from a job's write to the client's receive; one follower reads a byte a second."""
    with serving() as (server, _):
        python(server, TICKER.format(ticks))
        socks = [server.ask("GET", "/jobs/0/out?follow") for _ in range(followers)]
        slow = server.ask("GET", "/jobs/0/out?follow") if followers > 1 else None
        selector = selectors.DefaultSelector()
        for sock in socks:
            selector.register(sock, selectors.EVENT_READ)
        delays = []
        last_sip = 0.0
        while selector.get_map():
            for key, _ in selector.select(1.0):
                follower = key.fileobj
                assert isinstance(follower, socket.socket)
                data = follower.recv(65536)
                now = time.monotonic()
                if not data:
                    selector.unregister(follower)
                    follower.close()
                delays += [
                    now - float(line)
                    for line in data.split(b"\r\n")
                    for line in line.split(b"\n")
                    if re.fullmatch(rb"\d+\.\d{4,}", line)
                ]
            if slow is not None and time.monotonic() - last_sip > 1:
                slow.recv(1)
                last_sip = time.monotonic()
        if slow is not None:
            slow.close()
        delays.sort()
        assert len(delays) >= followers * ticks * 0.9, len(delays)
        p99 = delays[int(len(delays) * 0.99)] * 1000
        report(f"follow, p99 in ms, {followers} followers", [p99], goal)
