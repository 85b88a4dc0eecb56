"""The streams of the fuzz without sockets, over sockets: the same answers, and a server alive.

python -m tests.e2e.test_fuzz_socket 50000    so many of them
"""

import re
import socket
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from rtot.config import Settings
from tests.api.test_fuzz import serve, split, streams
from tests.harness import Rtot

Start = Callable[..., Rtot]
MAX_BODY = 200
# Scripts are handed to true(1), which does not look at them.
FLAGS = ("--launcher=default=true", f"--max-body={MAX_BODY}", "--keep=20", "--head-timeout=5")


def statuses(output: bytes) -> list[bytes]:
    return re.findall(rb"HTTP/1\.1 (\d{3}) ", output)


def talk(rtot: Rtot, pieces: list[bytes]) -> bytes:
    """Send the pieces, then the end; what comes back until the server closes."""
    host, port = rtot.url.removeprefix("http://").split(":")
    received = b""
    with socket.create_connection((host, int(port)), timeout=20) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for piece in pieces:
                sock.sendall(piece)
            sock.shutdown(socket.SHUT_WR)
        except OSError:
            # It has had enough already.
            pass
        try:
            while data := sock.recv(65536):
                received += data
        except ConnectionError:
            pass
    return received


def without_jobs(data: bytes) -> bool:
    """Whether no request in it depends on what the processes of jobs do."""
    return b"/jobs" not in data.replace(b"/jobs?fields=*", b"").replace(b"GET /jobs HTTP", b"")


def check(rtot: Rtot, data: bytes, seed: int) -> None:
    received = talk(rtot, [piece for piece in split(data, seed) if piece])
    assert all(100 <= int(status) < 600 and status != b"500" for status in statuses(received))
    if without_jobs(data):
        expected = serve([data], Settings(max_body=MAX_BODY)).output
        assert statuses(received) == statuses(expected), (data, received, expected)


def fuzz(rtot: Rtot, examples: int) -> None:
    @settings(
        max_examples=examples,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
        database=None,
    )
    @given(streams(), st.integers(0, 1 << 30))
    def run(data: bytes, seed: int) -> None:
        # What would end the server is not what this is about.
        data = data.replace(b"DELETE / ", b"DELETE /x ").replace(b"DELETE /\r", b"DELETE /x\r")
        check(rtot, data, seed)

    run()
    assert b"still here" in rtot.curl("/ping")
    assert "Traceback" not in rtot.log


def test_streams_over_sockets(start: Start) -> None:
    fuzz(start(*FLAGS), 150)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        server = Rtot(Path(directory), *FLAGS)
        try:
            fuzz(server, int(sys.argv[1]))
        finally:
            server.close()
    print("no finding")
