"""README's launchers, as printed."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness import Rtot, is_alive, needs, until

Start = Callable[..., Rtot]

README = (Path(__file__).parents[2] / "README.md").read_text()
TRAP = b"trap 'echo trapped; sleep 0.2; echo cleaned; exit 5' TERM; echo ready; sleep 1000 & wait"


def printed(kind: str) -> list[str]:
    """The flags of the command in README's block of that kind, without its secret."""
    (block,) = re.findall(rf"^```sh {kind}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    # shlex knows no line that goes on.
    command, *words = shlex.split(block.replace("\\\n", " "))
    assert command == ".venv/bin/rtot"
    return [word for word in words if not word.startswith("-s=")]


def launchers(kind: str) -> dict[str, str]:
    words = printed(kind)
    return dict(words[i + 1].split("=", 1) for i, word in enumerate(words) if word == "--launcher")


def ready(rtot: Rtot, job_id: int) -> None:
    until(lambda: b"ready" in rtot.curl(f"/jobs/{job_id}/out"), "the job")


@needs("bwrap")
@needs("prlimit")
def test_all_of_them_start_and_run_jobs(start: Start) -> None:
    rtot = start(*printed("launchers"))
    Path("/srv").mkdir(exist_ok=True)
    names = launchers("launchers")
    assert json.loads(rtot.curl(f"{rtot.url}/"))["launchers"] == list(names)
    for name in names:
        job = rtot.run(b"echo $1; exit 3", f"&launcher={name}&arg=a&fields=out,err,code")
        assert (job.get("out"), job["code"]) == ("a\n", 3), (name, job)


@needs("bwrap")
def test_what_is_in_a_sandbox_has_its_grace(start: Start) -> None:
    rtot = start(*printed("launchers"))
    job_id = rtot.submit(TRAP, "launcher=box")
    ready(rtot, job_id)
    receipt = rtot.json(f"/jobs/{job_id}/kill?grace=20", "-X", "POST")
    assert (receipt["escalated"], receipt["surviving"]) == ([], [])
    (job,) = rtot.json(f"/jobs/{job_id}?fields=out,code,reason")["jobs"]
    assert (job["out"], job["code"]) == ("ready\ntrapped\ncleaned\n", 5)


@needs("bwrap")
def test_what_has_left_everything_else_does_not_leave_a_sandbox(start: Start) -> None:
    """Neither a session of its own nor an empty environment."""
    rtot = start(*printed("launchers"))
    script = b"trap '' TERM; setsid env -i sleep 1000 & echo ready; while :; do sleep 1; done"
    job_id = rtot.submit(script, "launcher=box")
    ready(rtot, job_id)
    found = rtot.json(f"/jobs/{job_id}/processes")["processes"]
    receipt = rtot.json(f"/jobs/{job_id}/kill?grace=0.3", "-X", "POST")
    assert receipt["surviving"] == []
    assert len(found) >= 4
    until(lambda: not any(is_alive(process["pid"]) for process in found))


def _user_manager(directory: Path) -> subprocess.Popen[bytes] | None:
    """A service manager of our own, in cgroups of our own; None where there is none to be had."""
    own = [Path(f"/sys/fs/cgroup/{name}/rtot-{os.getpid()}") for name in ("systemd", "unified")]
    try:
        for path in own:
            path.mkdir()
    except OSError:
        return None
    units = directory / "units"
    units.mkdir()
    for name in ("default", "basic", "sockets", "timers", "paths", "shutdown", "exit"):
        (units / f"{name}.target").write_text("[Unit]\nDefaultDependencies=no\n")
    script = (
        'for path in "$@"; do echo $$ > "$path/cgroup.procs" || exit; done;'
        "exec unshare --mount --propagation private sh -c 'mount -t tmpfs -o mode=755 none /run"
        " && mkdir -p /run/systemd/system && exec /lib/systemd/systemd --user'"
    )
    manager = subprocess.Popen(
        ["sh", "-c", script, "-", *map(str, own)],
        env={
            **os.environ,
            "XDG_RUNTIME_DIR": str(directory),
            "SYSTEMD_UNIT_PATH": str(units),
            "SYSTEMD_LOG_TARGET": "console",
        },
        stderr=subprocess.DEVNULL,
    )
    until(lambda: manager.poll() is not None or (directory / "systemd/private").exists())
    return manager if manager.poll() is None else None


@pytest.fixture
def scopes() -> Iterator[dict[str, str] | None]:
    """The environment in which scopes can be made; None where that cannot be."""
    booted = Path("/run/systemd/system").exists()
    if booted:
        probe = ["systemd-run", "--user", "--scope", "--quiet", "true"]
        yield {} if subprocess.run(probe, capture_output=True).returncode == 0 else None
        return
    # The name of a socket has room for 107 bytes.
    directory = Path(f"/tmp/rtot-scopes-{os.getpid()}")
    directory.mkdir(mode=0o700)
    manager = _user_manager(directory) if os.geteuid() == 0 else None
    yield None if manager is None else {"XDG_RUNTIME_DIR": str(directory)}
    if manager is not None:
        manager.send_signal(signal.SIGKILL)
        manager.wait()
    for root in ("systemd", "unified"):
        _remove_cgroup(Path(f"/sys/fs/cgroup/{root}/rtot-{os.getpid()}"))
    shutil.rmtree(directory)


def _remove_cgroup(path: Path) -> None:
    """Remove an empty cgroup, and those in it."""
    if path.is_dir():
        for inner in path.iterdir():
            if inner.is_dir():
                _remove_cgroup(inner)
        deadline = time.monotonic() + 5
        while True:
            try:
                path.rmdir()
            except OSError:
                # Processes that were killed are still leaving it.
                assert time.monotonic() < deadline, path
                time.sleep(0.01)
            else:
                return


@needs("systemd-run")
def test_a_scope(start: Start, scopes: dict[str, str] | None) -> None:
    """Where no service manager can be had, what is told is tried."""
    rtot = start(*printed("scope"), **(scopes or {}))
    job = rtot.run(b"cat /proc/self/cgroup; exit 3", "&fields=out,err,code")
    if scopes is None:
        assert job["code"] == 1
        assert job["err"]
        return
    assert job["code"] == 3
    assert re.search(r"/rtot-[0-9a-f]{16}-0\.scope", job["out"])
    # systemd-run becomes the script: signals are exact, and there is no process of its own.
    killed = rtot.run(b"kill -9 $$", "&fields=signal")
    assert killed["signal"] == "SIGKILL"
    job_id = rtot.submit(TRAP)
    ready(rtot, job_id)
    receipt = rtot.json(f"/jobs/{job_id}/kill?grace=20", "-X", "POST")
    assert (receipt["escalated"], receipt["surviving"]) == ([], [])
    (job,) = rtot.json(f"/jobs/{job_id}?fields=out,code")["jobs"]
    assert (job["out"], job["code"]) == ("ready\ntrapped\ncleaned\n", 5)


def test_recipes_are_command_lines_that_rtot_takes(start: Start) -> None:
    """No more than that."""
    rtot = start(*printed("recipe"))
    assert json.loads(rtot.curl(f"{rtot.url}/"))["launchers"] == ["docker", "podman", "pod"]
