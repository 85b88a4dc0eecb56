"""A server of its own for a test, a benchmark or the soak; and what those who run one need.

Everything here is real: a process, sockets, curl.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SECRET = "sup"
AUTHORIZATION = f"Authorization: rtot {SECRET}"
COMMAND = (sys.executable, "-m", "rtot")
PATIENCE = 30.0
# A server whose lines are counted takes more memory: nothing can be learnt from that.
COVERED = "COVERAGE_PROCESS_CONFIG" in os.environ
# What the jobs of this run have in their environment, and those of another run do not.
SESSION = f"rtot-e2e-{os.getpid()}"
# Programs that some tests need beside Python, git, curl and bash, and Debian's packages of them.
PROGRAMS = {
    "bwrap": "bubblewrap",
    "chromium": "chromium",
    "haproxy": "haproxy",
    "jq": "jq",
    "nginx": "nginx-light",
    "node": "nodejs",
    "prlimit": "util-linux",
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "setpriv": "util-linux",
    "strace": "strace",
    "systemd-analyze": "systemd",
    "systemd-run": "systemd",
    "unshare": "util-linux",
    "wget": "wget",
    "wrk": "wrk",
}
_IS_TARGET = re.compile(r"/(jobs|ping|nope|metrics|openapi.json)\b")


def needs(program: str) -> pytest.MarkDecorator:
    """Skip the test, saying why, where the program is missing."""
    why = f"needs {program} (apt-get install {PROGRAMS[program]})"
    return pytest.mark.skipif(shutil.which(program) is None, reason=why)


def until(condition: Callable[[], bool], what: str = "it") -> None:
    """Wait for a fact; the clock only says when to give up."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen in {PATIENCE} s"
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def rss(pid: int) -> int:
    """Resident memory in bytes."""
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


class Rtot:
    """A server of its own, with its own directory."""

    def __init__(
        self,
        directory: Path,
        *flags: str,
        environ: dict[str, str] | None = None,
        command: tuple[str, ...] = COMMAND,
        session: bool = False,
    ) -> None:
        """`session`: in one of its own, as a service manager would start it."""
        self.directory = directory
        self.log_path = directory / "log"
        self.spool = directory / "spool"
        self.spool.mkdir(exist_ok=True)
        addresses = [] if any(flag.startswith("-a") for flag in flags) else ["-a=127.0.0.1:0"]
        env = {
            **os.environ,
            "TMPDIR": str(self.spool),
            "RTOT_SECRET": SECRET,
            "E2E_SESSION": SESSION,
            **(environ or {}),
        }
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, *addresses, *flags],
                stderr=log,
                stdin=subprocess.DEVNULL,
                env=env,
                start_new_session=session,
            )
        until(lambda: "listening" in self.log or self.process.poll() is not None, "listening")
        found = re.search(r'address"?[=:]"?(127\.0\.0\.1):(\d+)', self.log)
        self.address = (found[1], int(found[2])) if found else ("", 0)
        self.url = f"http://{found[1]}:{found[2]}" if found else ""

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    @property
    def pid(self) -> int:
        return self.process.pid

    def curl(self, *args: str, check: bool = True, text: bytes | None = None) -> bytes:
        """Run curl with the secret; arguments that are targets go to this server."""
        words = [f"{self.url}{a}" if _IS_TARGET.match(a) else a for a in args]
        done = subprocess.run(
            ["curl", "-sS", "-m", "60", "-H", AUTHORIZATION, *words],
            stdout=subprocess.PIPE,
            input=text,
            check=check,
        )
        return done.stdout

    def json(self, *args: str, text: bytes | None = None) -> dict[str, Any]:
        value = json.loads(self.curl(*args, text=text))
        assert isinstance(value, dict)
        return value

    def run(self, script: bytes, query: str = "") -> dict[str, Any]:
        """Submit a script, wait for its end, return the job."""
        target = f"/jobs?wait=50{query}"
        job = self.json(target, "--data-binary", "@-", text=script)["jobs"][0]
        assert job["state"] == "complete", job
        assert isinstance(job, dict)
        return job

    def submit(self, script: bytes, query: str = "") -> int:
        job_id = self.json(f"/jobs?{query}", "--data-binary", "@-", text=script)["jobs"][0]["id"]
        assert isinstance(job_id, int)
        return job_id

    def ask(self, method: str, target: str, body: bytes = b"") -> socket.socket:
        """Send one request without curl; the answer ends with the connection."""
        sock = socket.create_connection(self.address)
        head = f"{method} {target} HTTP/1.1\r\nHost: harness\r\nConnection: close\r\n"
        head += f"{AUTHORIZATION}\r\nContent-Length: {len(body)}\r\n\r\n"
        sock.sendall(head.encode() + body)
        return sock

    def exchange(self, method: str, target: str, body: bytes = b"") -> bytes:
        """The whole answer to one request, head and all."""
        with self.ask(method, target, body) as sock:
            return b"".join(iter(lambda: sock.recv(65536), b""))

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def rss(self) -> int:
        """Resident memory in bytes."""
        return 0 if COVERED else rss(self.pid)

    def children(self) -> list[int]:
        """Processes whose parent is the server, zombies among them."""
        found = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return [int(pid) for pid in found.split()]

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.send_signal(signal.SIGCONT)
            self.process.wait(PATIENCE)
        assert "Traceback" not in self.log, self.log
