"""A server under everything at once, for as long as you like; then what is left is counted.

python -m tests.soak --seconds 600

200 idle connections, 50 slow ones, a steady load of requests, 20 jobs a second, and kill -9
of random jobs. At the end descriptors, children and files are as many as at the beginning,
and resident memory is what it was at half of the time, within a megabyte.
"""

import argparse
import contextlib
import os
import random
import signal
import socket
import sys
import time

from tests.bench.common import serving
from tests.harness import AUTHORIZATION, Rtot

IDLE = 200
SLOW = 50
JOBS_PER_SECOND = 20
SCRIPTS = (
    "echo hi",
    "sleep 0.2; echo slept",
    "head -c 300000 /dev/zero",
    "(sleep 0.5; echo late) & echo early",
    "for i in 1 2 3; do echo $i; sleep 0.05; done; exit 3",
    "exec sleep 2",
)


class Client:
    """A keep-alive connection that asks one thing after another."""

    def __init__(self, server: Rtot) -> None:
        self._sock = socket.create_connection(server.address)
        self._rest = b""

    def ask(self, method: str, target: str, body: str = "") -> tuple[int, bytes]:
        head = f"{method} {target} HTTP/1.1\r\nHost: a\r\n{AUTHORIZATION}\r\n"
        self._sock.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        data = self._rest
        while b"\r\n\r\n" not in data:
            data += self._sock.recv(65536)
        answer, _, content = data.partition(b"\r\n\r\n")
        length = next(
            (int(f[15:]) for f in answer.split(b"\r\n") if f.startswith(b"Content-Length:")), 0
        )
        while len(content) < length:
            content += self._sock.recv(65536)
        self._rest = content[length:]
        return int(answer.split()[1]), content[:length]

    def close(self) -> None:
        self._sock.close()


class State:
    """What should not grow."""

    def __init__(self, server: Rtot) -> None:
        self.descriptors = server.descriptors()
        self.children = len(server.children())
        self.files = sum(len(files) for _, _, files in os.walk(server.spool))
        self.rss = server.rss()

    def __str__(self) -> str:
        return (
            f"descriptors {self.descriptors}, children {self.children}, files {self.files},"
            f" rss {self.rss / 1e6:.2f} MB"
        )


def slow_client(server: Rtot, number: int) -> socket.socket:
    sock = socket.create_connection(server.address)
    head = f"POST /jobs HTTP/1.1\r\nHost: a\r\n{AUTHORIZATION}\r\n"
    sock.sendall((head if number % 2 else f"{head}Content-Length: 100000\r\n\r\n#").encode())
    return sock


def kill_one(server: Rtot, chance: random.Random) -> None:
    """Some job's leader, or its whole group."""
    if children := server.children():
        victim = chance.choice(children)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            (os.kill if chance.random() < 0.5 else os.killpg)(victim, signal.SIGKILL)


def soak(seconds: float, seed: int) -> bool:
    """Whether all is as it was."""
    chance = random.Random(seed)
    flags = ("--keep=200", "--head-timeout=5", "--body-timeout=5", "--idle-timeout=1h")
    with serving(*flags) as (server, _):
        client = Client(server)
        for script in SCRIPTS:
            client.ask("POST", "/jobs?wait=20&fields=", script)
        client.ask("DELETE", "/jobs")
        client.close()
        stand_still(server)
        before = State(server)
        print("before      ", before, flush=True)
        idle = [Client(server) for _ in range(IDLE)]
        for each in idle:
            each.ask("GET", "/ping")
        slow = [slow_client(server, number) for number in range(SLOW)]
        client = Client(server)
        begin = time.monotonic()
        submitted = asked = 0
        told: list[State] = []
        slowest = 0.0
        while (elapsed := time.monotonic() - begin) < seconds:
            if submitted < elapsed * JOBS_PER_SECOND:
                code, answer = client.ask("POST", "/jobs?fields=", chance.choice(SCRIPTS))
                assert code == 201, answer
                submitted += 1
                if chance.random() < 0.1:
                    kill_one(server, chance)
            sent = time.monotonic()
            code, _ = client.ask(
                "GET", chance.choice(("/ping", "/jobs?state=running&fields=", "/"))
            )
            assert code == 200
            slowest = max(slowest, time.monotonic() - sent)
            asked += 1
            number = chance.randrange(SLOW)
            try:
                slow[number].send(b"X: y\r\n" if number % 2 else b"#")
                slow[number].recv(1, socket.MSG_DONTWAIT)
            except BlockingIOError:
                pass
            except OSError:
                slow[number].close()
                slow[number] = slow_client(server, number)
            if elapsed > (len(told) + 1) * seconds / 10:
                told.append(State(server))
                print(f"after {elapsed:4.0f} s", told[-1], flush=True)
            time.sleep(0.005)
        late = State(server)
        print("late        ", late, flush=True)
        for sock in slow:
            sock.close()
        for each in idle:
            each.close()
        client.close()
        stand_still(server)
        client = Client(server)
        client.ask("DELETE", "/jobs")
        client.close()
        stand_still(server)
        after = State(server)
        print("after       ", after)
        print(f"{submitted} jobs, {asked} requests, the slowest {slowest * 1000:.1f} ms")
        return (
            (before.descriptors, before.children, before.files)
            == (after.descriptors, after.children, after.files)
        ) and late.rss - told[len(told) // 2].rss < 1_000_000


def stand_still(server: Rtot) -> None:
    """Until all jobs have ended, and nobody holds anything any more."""
    client = Client(server)
    client.ask("GET", "/jobs?wait=60&fields=&limit=1")
    client.close()
    last = -1
    while (now := server.descriptors()) != last:
        last = now
        time.sleep(1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    sys.exit(0 if soak(options.seconds, options.seed) else 1)
