"""What the client costs: to read what a job tells, and to run one that does nothing."""

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence

from rtot.client.address import parse_url
from rtot.client.connection import Connection, Request, TlsFiles
from rtot.client.events import parse_event, whole_lines
from tests.bench.common import report, serving, timed
from tests.harness import AUTHORIZATION, COMMAND, SECRET

# As much as a server puts into one event, and into one piece of its answer.
_PIECE = 64 * 1024


def events(size: int, rounds: int) -> None:
    """Reading events of that many bytes together: the socket, h11, JSON."""
    text = ("a line of output, and 12345\n" * _PIECE)[:_PIECE]
    fields = {"id": "3.1.0", "event": "out", "time": 1.5, "offset": 0, "text": text}
    line = json.dumps(fields, separators=(",", ":")).encode() + b"\n"
    lines = [line] * (size // len(line))
    times = [timed(lambda: _read(lines)) for _ in range(rounds)]
    report(f"{size / 1e6:g} MB of events, s", times, "<= 1")


def _read(lines: Sequence[bytes]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_tell, args=(listener, lines)).start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        connection = Connection(parse_url(url), TlsFiles())
        pieces = connection.exchange(Request("GET", "/")).pieces
        count = sum(bool(parse_event(line).data) for line in whole_lines(pieces))
        connection.close()
    assert count == len(lines)


def _tell(listener: socket.socket, lines: Sequence[bytes]) -> None:
    sock, _ = listener.accept()
    with sock:
        sock.recv(65536)
        sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for line in lines:
            sock.sendall(b"%x\r\n%s\r\n" % (len(line), line))
        sock.sendall(b"0\r\n\r\n")


def run(rounds: int) -> None:
    """A job that does nothing, from the shell's point of view."""
    more, bare = [], []
    with serving() as (server, _):
        environ = {"RTOT_URL": server.url, "RTOT_SECRET": SECRET}
        target = f"{server.url}/jobs?follow"
        curl = ["curl", "-sS", "-N", "-H", AUTHORIZATION, "-d", "true", target]
        ours = [*COMMAND, "run", "-c", "true"]
        floor = [sys.executable, "-c", "import h11, json, socket"]
        for _ in range(rounds):
            took = _time(ours, environ)
            more.append((took - _time(curl, {})) * 1000)
            bare.append(took / _time(floor, {}))
    report("rtot run, ms more than curl", more, "")
    report("rtot run, of the mere import of h11 and json", bare, "")


def _time(command: list[str], environ: dict[str, str]) -> float:
    return timed(
        lambda: subprocess.run(command, env={"PATH": "/usr/bin:/bin", **environ}, check=True)
    )
