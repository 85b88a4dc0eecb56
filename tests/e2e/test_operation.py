"""What a service manager, a container and a careful operator rely on."""

import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.harness import PATIENCE, SECRET, SESSION, Rtot, is_alive, needs, until

Start = Callable[..., Rtot]
PING = b"GET /ping HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


@contextmanager
def launched(
    command: list[str], tmp_path: Path, **environ: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A server that is started by something else, as a service manager or a container is."""
    env = {"E2E_SESSION": SESSION, "RTOT_SECRET": SECRET, "TMPDIR": str(tmp_path)}
    with (
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen(
            command, env={**os.environ, **env, **environ}, stderr=log, close_fds=False
        ) as process,
    ):
        try:
            yield process
        finally:
            process.kill()
    assert "Traceback" not in (tmp_path / "log").read_text()


def ask(sock: socket.socket, data: bytes = PING) -> bytes:
    sock.settimeout(PATIENCE)
    sock.sendall(data)
    return b"".join(iter(lambda: sock.recv(65536), b""))


# What systemd does between fork and exec: the descriptor is the first after stderr.
ACTIVATE = "exec 3<&{} {}<&-; LISTEN_PID=$$ LISTEN_FDS=1 exec {} -m rtot"


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX])
def test_socket_activation(tmp_path: Path, family: socket.AddressFamily) -> None:
    path = tmp_path / "activated"
    with socket.socket(family) as listener:
        listener.bind(str(path) if family == socket.AF_UNIX else ("127.0.0.1", 0))
        listener.listen()
        listener.set_inheritable(True)
        fd = listener.fileno()
        command = ["bash", "-c", ACTIVATE.format(fd, fd, sys.executable)]
        # Who connects before the server is there is served when it is.
        with (
            socket.socket(family) as early,
            launched(command, tmp_path, RTOT_ADDR="") as process,
        ):
            early.connect(listener.getsockname())
            assert b"still here" in ask(early)
            script = b"ls /proc/self/fd | wc -w; env | grep -c -e ^LISTEN_ -e ^NOTIFY_"
            head = f"POST /jobs?wait=9 HTTP/1.0\r\nAuthorization: rtot {SECRET}\r\n"
            with socket.socket(family) as client:
                client.connect(listener.getsockname())
                data = f"{head}Content-Length: {len(script)}\r\n\r\n".encode() + script
                assert b'"out":"4\\n0\\n"' in ask(client, data)
            process.terminate()
            assert process.wait(PATIENCE) == 0
        # It is the manager's, to be passed again.
        assert family != socket.AF_UNIX or path.exists()


def test_a_descriptor_that_cannot_be_listened_on(tmp_path: Path) -> None:
    with socket.socket() as sock:
        sock.set_inheritable(True)
        fd = sock.fileno()
        command = ["bash", "-c", ACTIVATE.format(fd, fd, sys.executable)]
        with launched(command, tmp_path) as process:
            assert process.wait(PATIENCE) == 1
    assert "descriptor 3 is no listening stream socket" in (tmp_path / "log").read_text()


def test_readiness_watchdog_reload_and_end_are_told(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.settimeout(PATIENCE)
        rtot = start(NOTIFY_SOCKET=str(path), WATCHDOG_USEC="200000")
        assert manager.recv(100) == b"READY=1"
        assert b"still here" in rtot.curl("/ping")
        begin = time.monotonic()
        assert [manager.recv(100) for _ in range(6)] == [b"WATCHDOG=1"] * 6
        # Twice in the time that is allowed; the first was there at once.
        assert 0.4 < time.monotonic() - begin < 5
        rtot.process.send_signal(signal.SIGHUP)
        while not manager.recv(100).startswith(b"RELOADING=1\nMONOTONIC_USEC="):
            pass
        while manager.recv(100) != b"READY=1":
            pass
        until(lambda: "nothing to reload" in rtot.log)
        rtot.process.terminate()
        while manager.recv(100) != b"STOPPING=1":
            pass
        assert rtot.process.wait(PATIENCE) == 0


def test_an_abstract_socket_and_one_that_is_missing(start: Start) -> None:
    name = f"rtot-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{name}")
        manager.settimeout(PATIENCE)
        start(NOTIFY_SOCKET=f"@{name}")
        assert manager.recv(100) == b"READY=1"
    assert b"still here" in start(NOTIFY_SOCKET="/does/not/exist").curl("/ping")


def test_the_mode_of_a_unix_socket(start: Start, tmp_path: Path) -> None:
    for flags, mode in (([], 0o600), (["--socket-mode=660"], 0o660)):
        path = tmp_path / f"s{mode}"
        rtot = start(f"-a=unix:{path}", "-a=127.0.0.1:0", *flags)
        assert stat.S_IMODE(path.stat().st_mode) == mode
        assert b"still here" in rtot.curl("--unix-socket", str(path), "http://rtot/ping")


def test_a_unix_socket_that_is_in_use_or_something_else(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "s"
    rtot = start(f"-a=unix:{path}", "-a=127.0.0.1:0")
    precious = tmp_path / "precious"
    precious.write_text("x")
    for taken, why in (
        (path, b"address already in use"),
        (precious, b"address already in use"),
        (tmp_path, b"it is a directory"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "rtot", f"-a=unix:{taken}"], capture_output=True, check=False
        )
        assert (done.returncode, done.stderr.count(b"\n")) == (1, 1)
        assert why in done.stderr
    assert precious.read_text() == "x"
    # One that has taken our place meanwhile is not ours to remove.
    path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        assert rtot.end() == 0
        assert path.exists()


@needs("bwrap")
def test_as_process_1_it_reaps_and_ends_everything(start: Start, tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    spool.mkdir()
    command = ["bwrap", "--dev-bind", "/", "/", "--proc", "/proc", "--unshare-pid", "--as-pid-1"]
    command += [sys.executable, "-m", "rtot", f"-a=unix:{tmp_path}/s", f"--spool-dir={spool}"]
    path = tmp_path / "s"
    with launched(command, tmp_path) as process:
        until(path.exists)
        # bwrap itself stays outside; its child is the container's process 1.
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        (inner,) = children.read_text().split()
        rtot = Rtot.__new__(Rtot)
        rtot.url = "http://rtot"
        base = ("--unix-socket", str(path))

        def run(script: bytes, query: str = "wait=30") -> dict[str, object]:
            job = rtot.json(f"/jobs?{query}", *base, "--data-binary", "@-", text=script)["jobs"][0]
            assert isinstance(job, dict)
            return job

        assert run(b"echo $PPID")["out"] == "1\n"
        # Orphans that end at once, and one that stays.
        run(b"for i in $(seq 20); do (sleep 0.01 > /dev/null 2>&1 &) ; done")
        run(b"setsid sleep 1000 > /dev/null 2>&1 &")
        inside = Path(f"/proc/{inner}/task/{inner}/children")
        until(lambda: len(inside.read_text().split()) == 1, "the reaping of orphans")
        (orphan,) = inside.read_text().split()
        run(b"trap 'echo bye' TERM; echo on; while :; do sleep 0.05; done", "fields=")
        os.kill(int(inner), signal.SIGTERM)
        # The job does not end by TERM, but by KILL after the grace.
        assert process.wait(PATIENCE) == 0
        until(lambda: not is_alive(int(orphan)), "the end of all that was in the container")
    assert list(spool.iterdir()) == []


def test_variables_for_every_job(start: Start) -> None:
    rtot = start("--env=PYTHONUNBUFFERED=1", "--env=A=b c", A="other")
    script = b'echo "$PYTHONUNBUFFERED|$A"'
    assert rtot.run(script)["out"] == "1|b c\n"
    assert rtot.run(script, "&env=A=own")["out"] == "1|own\n"


@needs("unshare")
def test_a_spool_where_nothing_can_be_executed(tmp_path: Path) -> None:
    mount = f"mount -t tmpfs -o noexec tmpfs {tmp_path}"
    serve = f"exec {sys.executable} -m rtot -a=127.0.0.1:0 --spool-dir={tmp_path}"
    apart = ["unshare", "--mount", *(["--map-root-user"] if os.geteuid() else [])]

    def run(more: str) -> subprocess.Popen[bytes]:
        command = [*apart, "sh", "-c", f"{mount} && {serve} {more}"]
        return subprocess.Popen(command, stderr=subprocess.PIPE)

    with run("") as refused:
        assert refused.stderr is not None
        assert refused.stderr.read().decode() == (
            f"rtot: {tmp_path} is mounted noexec: no script could be run (see --spool-dir)\n"
        )
    assert refused.returncode == 1
    # A launcher can run scripts that cannot be executed themselves.
    with run("--launcher default=bash") as serving:
        assert serving.stderr is not None
        assert b"listening" in serving.stderr.readline() + serving.stderr.readline()
        serving.terminate()
