"""Real servers, real sockets, real scripts, the real curl."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

SECRET = "sup"
PATIENCE = 30.0
# What the jobs of this run have in their environment, and those of another run do not.
SESSION = f"rtot-e2e-{os.getpid()}"
# A shell that runs the tests in the background has it ignored, which curl would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)
_IS_TARGET = re.compile(r"/(jobs|ping|nope)\b")


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


class Rtot:
    """A server of its own, with its own directory."""

    def __init__(
        self,
        directory: Path,
        *flags: str,
        environ: dict[str, str] | None = None,
        command: tuple[str, ...] = (sys.executable, "-m", "rtot"),
    ) -> None:
        self.directory = directory
        self.log_path = directory / "log"
        spool = directory / "spool"
        spool.mkdir(exist_ok=True)
        self.spool = spool
        addresses = [] if any(flag.startswith("-a") for flag in flags) else ["-a=127.0.0.1:0"]
        env = {
            **os.environ,
            "TMPDIR": str(spool),
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
            )
        until(lambda: "listening" in self.log or self.process.poll() is not None, "listening")
        found = re.search(r'address="?(127\.0\.0\.1:\d+)', self.log)
        self.url = f"http://{found[1]}" if found else ""

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
            ["curl", "-sS", "-m", "60", "-H", f"Authorization: rtot {SECRET}", *words],
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

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def rss(self) -> int:
        """Resident memory in KiB."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+)", status)
        assert found is not None
        return int(found[1])

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


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Rtot]]:
    """Start servers with flags."""
    servers: list[Rtot] = []

    def start_one(*flags: str, **environ: str) -> Rtot:
        directory = tmp_path / str(len(servers))
        directory.mkdir()
        servers.append(Rtot(directory, *flags, environ=environ))
        return servers[-1]

    yield start_one
    for server in servers:
        server.close()


@pytest.fixture
def rtot(start: Callable[..., Rtot]) -> Rtot:
    return start()


@pytest.fixture(autouse=True, scope="session")
def _no_process_is_left() -> Iterator[None]:
    """The whole suite leaves no process of any job behind."""
    yield
    left = []
    for entry in Path("/proc").iterdir():
        try:
            environ = (entry / "environ").read_bytes() if entry.name.isdigit() else b""
            command = (entry / "cmdline").read_bytes() if environ else b""
        except OSError:
            continue
        if b"RTOT_JOB_ID=" in environ and SESSION.encode() in environ and command:
            left.append((entry.name, command))
    assert left == []
