"""One request that runs and tells, tails and idle followers, against their floors and peers."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.common import free_port, missing, python, report, running, serving, timed
from tests.bench.output import WRITER, swallow
from tests.harness import Rtot

LINES = "import os\nfor _ in range({}):\n    os.write(1, (b'x' * 127 + b'\\n') * 512)\n"
SSHD = "Port {port}\nListenAddress 127.0.0.1\nHostKey {d}/host\nPidFile {d}/pid\nStrictModes no\n"
SSHD += "AuthorizedKeysFile {d}/key.pub\nUsePAM no\nUseDNS no\n"


def one_request(count: int, rounds: int) -> None:
    """POST with `follow` against POST with `wait`, by one client on one connection."""
    with serving() as (server, _):

        def ask(query: str) -> float:
            head = f"POST /jobs?{query} HTTP/1.1\r\nHost: bench\r\nContent-Length: 7\r\n"
            request = f"{head}Authorization: rtot sup\r\n\r\necho hi".encode()
            with socket.create_connection(server.address) as sock:
                began = time.perf_counter()
                for _ in range(count):
                    sock.sendall(request)
                    data = b""
                    while not data.endswith((b"]}\n", b"\r\n\r\n")) or b"hi\\n" not in data.replace(
                        b"hi\n", b"hi\\n"
                    ):
                        data += sock.recv(65536)
                return time.perf_counter() - began

        ask("wait=9&fields=out")
        ratios = [ask("follow") / ask("wait=9&fields=out") for _ in range(rounds)]
    report("POST with follow, time of POST with wait", ratios, "<= 1.1")


def through(blocks: int, rounds: int, *, peers: bool) -> None:
    """Much output from a job to the client, while it is written."""
    size = blocks * 65536
    program = WRITER.format(blocks)
    with serving() as (server, directory):
        script = f"#!{sys.executable}\n{program}".encode()

        def one() -> None:
            with server.ask("POST", "/jobs?follow", script) as sock:
                assert swallow(sock) > size
            server.curl("/jobs", "-X", "DELETE")

        def two() -> None:
            with server.ask("POST", "/jobs?fields=", script) as sock:
                job_id = json.loads(sock.makefile("rb").read().rpartition(b"\r\n")[2])["jobs"][0][
                    "id"
                ]
            with server.ask("GET", f"/jobs/{job_id}/out?follow") as sock:
                assert swallow(sock) > size
            server.curl("/jobs", "-X", "DELETE")

        one()
        before = server.rss()
        ratios = [timed(two) / timed(one) for _ in range(rounds)]
        report("one request, of submitting and following", ratios, ">= 0.95")
        report("one request, growth of RSS in MB", [(server.rss() - before) / 1e6], "<= 1")
        if peers:
            (directory / "writer.py").write_text(program)
            command = f"{sys.executable} {directory}/writer.py"
            ssh(one, command, directory, rounds)
            webhook(one, command, directory, rounds, size)


def ssh(one: object, command: str, directory: Path, rounds: int) -> None:
    name = "one request, of ssh to loopback"
    if shutil.which("sshd") is None:
        missing(name, "apt-get install openssh-server openssh-client")
        return
    port = free_port()
    for key in ("host", "key"):
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / key)]
        subprocess.run(words, check=True)
    (directory / "sshd").write_text(SSHD.format(port=port, d=directory))
    Path("/run/sshd").mkdir(exist_ok=True)
    daemon = [str(shutil.which("sshd")), "-D", "-f", str(directory / "sshd")]
    words = ["ssh", "-p", str(port), "-i", str(directory / "key"), "-o", "LogLevel=ERROR"]
    words += ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]

    def peer() -> None:
        subprocess.run([*words, "127.0.0.1", command], stdout=subprocess.DEVNULL, check=True)

    with running(daemon, port, directory):
        report(name, [timed(peer) / timed(one) for _ in range(rounds)], ">= 2")  # type: ignore[arg-type]


def webhook(one: object, command: str, directory: Path, rounds: int, size: int) -> None:
    name = "one request, of webhook"
    if shutil.which("webhook") is None:
        missing(name, "apt-get install webhook")
        return
    port = free_port()
    script = directory / "hook.sh"
    script.write_text(f"#!/bin/sh\nexec {command}\n")
    script.chmod(0o700)
    hook = {"id": "run", "execute-command": str(script), "include-command-output-in-response": True}
    (directory / "hooks.json").write_text(json.dumps([hook]))

    def peer() -> None:
        with socket.create_connection(("127.0.0.1", port)) as sock:
            sock.sendall(b"GET /hooks/run HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            assert swallow(sock) > size

    words = ["webhook", "-hooks", "hooks.json", "-ip", "127.0.0.1", "-port", str(port)]
    with running(words, port, directory):
        report(name, [timed(peer) / timed(one) for _ in range(rounds)], ">= 5")  # type: ignore[arg-type]


def tail(blocks: int, rounds: int) -> None:
    """The last lines of a long log."""
    with serving() as (server, _):
        python(server, LINES.format(blocks), "wait=600&fields=")

        def ask() -> None:
            assert server.exchange("GET", "/jobs/0/out?tail=10").endswith(b"x\n")

        ask()
        report("tail=10 of a long log, in ms", [timed(ask) * 1000 for _ in range(rounds)], "< 5")


def idle_followers(count: int, seconds: float) -> None:
    """Followers of a quiet job: what they cost between two heartbeats."""
    with serving("--heartbeat=3600") as (server, _):
        python(server, "import time\ntime.sleep(600)\n", "fields=")
        with followers(server, 10):
            before = server.rss()
            with followers(server, count):
                memory = (server.rss() - before) / count
                began = processor(server)
                time.sleep(seconds)
                used = processor(server) - began
        server.curl("/jobs", "-X", "DELETE")
    report(f"bytes of an idle follower, of {count}", [memory], "<= 6000")
    report("processor of idle followers, in s", [used], "<= 0")


@contextmanager
def followers(server: Rtot, count: int) -> Iterator[None]:
    socks = [server.ask("GET", "/jobs/0/events?follow") for _ in range(count)]
    for sock in socks:
        while b"event: running" not in sock.recv(65536):
            pass
    yield
    for sock in socks:
        sock.close()


def processor(server: Rtot) -> float:
    """Seconds that the server has used."""
    fields = Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
