"""Real servers, real sockets, real scripts, the real curl."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness import SESSION, Rtot

# A shell that runs the tests in the background has it ignored, which curl would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)
# As nohup has, and what is started by it.
signal.signal(signal.SIGHUP, signal.SIG_DFL)


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
