"""Jobs that run where no signal of the server's gets: stop commands, on a live server.

`elsewhere` is here another session, in which nothing tells that it is a job's: the server's walk of
/proc does not find it, as it would not find what runs on another machine.
"""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import Rtot, is_alive, until

Start = Callable[..., Rtot]

LAUNCH = r"""
base=$1; shift
mkfifo "$base.out"
env -i PATH="$PATH" setsid -f bash -c '
    trap : TERM
    echo $$ > "$0.new"; mv "$0.new" "$0.pid"
    "$@"
    echo $? > "$0.code"' "$base" "$@" < /dev/null > "$base.out" 2>&1 &
cat "$base.out"
exit "$(cat "$base.code")"
"""
STOP = 'kill -s "$2" -- "-$(cat "$1.pid")"'


class Elsewhere:
    """A place, and the flags for it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.launch = directory / "launch.sh"
        self.launch.write_text(LAUNCH)
        self.stop = directory / "stop.sh"
        self.stop.write_text(STOP)
        base = f"{directory}/rtot-{{server}}-{{id}}"
        self.launcher = f"--launcher=default=bash {self.launch} {base}"
        self.flags = (self.launcher, f"--stop=default=bash {self.stop} {base} {{signal}}")

    def pids(self) -> list[int]:
        """The leaders there, dead or alive."""
        return sorted(int(path.read_text()) for path in self.directory.glob("rtot-*.pid"))


@pytest.fixture
def there(tmp_path: Path) -> Elsewhere:
    (tmp_path / "there").mkdir()
    return Elsewhere(tmp_path / "there")


TRAP = b"trap 'echo trapped; sleep 0.2; exit 5' TERM; echo ready; sleep 1000 & wait"


def ready(rtot: Rtot, job_id: int = 0) -> None:
    until(lambda: b"ready" in rtot.curl(f"/jobs/{job_id}/out"))


def test_it_runs_and_its_exit_is_told(start: Start, there: Elsewhere) -> None:
    rtot = start(*there.flags)
    job = rtot.run(b"echo $1 $RTOT_JOB_ID; exit 3", "&arg=a%20b&fields=out,code")
    assert (job["out"], job["code"]) == ("a b\n", 3)
    assert json.loads(rtot.curl(f"{rtot.url}/"))["launchers"] == ["default"]


def test_without_a_stop_command_it_survives(start: Start, there: Elsewhere) -> None:
    rtot = start(there.launcher, "--grace=1")
    rtot.submit(TRAP)
    ready(rtot)
    receipt = rtot.json("/jobs/0/kill", "-X", "POST")
    assert "stop" not in receipt
    (pid,) = there.pids()
    assert is_alive(pid)
    os.killpg(pid, signal.SIGKILL)


def test_its_trap_runs_and_it_has_its_grace(start: Start, there: Elsewhere) -> None:
    rtot = start(*there.flags)
    rtot.submit(TRAP)
    ready(rtot)
    receipt = rtot.json("/jobs/0/kill?grace=20", "-X", "POST")
    assert receipt["stop"] == [{"signal": "SIGTERM", "exit": "0", "text": ""}]
    assert (receipt["signalled"], receipt["escalated"], receipt["surviving"]) == ([], [], [])
    (job,) = rtot.json("/jobs/0?fields=out,code,reason")["jobs"]
    assert (job["out"], job["code"], job["reason"]) == ("ready\ntrapped\n", 5, "killed")
    assert "stop command failed" not in rtot.log


def test_who_is_deaf_is_killed_after_the_grace(start: Start, there: Elsewhere) -> None:
    rtot = start(*there.flags)
    rtot.submit(b"trap '' TERM; echo ready; while :; do sleep 1; done")
    ready(rtot)
    receipt = rtot.json("/jobs/0/kill?grace=0.3", "-X", "POST")
    assert [each["signal"] for each in receipt["stop"]] == ["SIGTERM", "SIGKILL"]
    (pid,) = there.pids()
    assert not is_alive(pid)


@pytest.mark.parametrize("how", ["DELETE", "timeout", "lease", "SIGTERM"])
def test_every_end_gets_there(start: Start, there: Elsewhere, how: str) -> None:
    rtot = start(*there.flags, "--grace=2")
    if how == "lease":
        with rtot.ask("POST", "/jobs?wait=60&lease", TRAP):
            ready(rtot)
    else:
        rtot.submit(TRAP, "timeout=1" if how == "timeout" else "")
        ready(rtot)
    if how == "DELETE":
        rtot.curl("-X", "DELETE", "/jobs/0")
    elif how == "SIGTERM":
        assert rtot.end() == 0
    (pid,) = there.pids()
    until(lambda: not is_alive(pid))
    code = next(there.directory.glob("*.code")).read_text()
    assert code == "5\n"


def test_a_stop_command_that_fails_is_told(start: Start, there: Elsewhere) -> None:
    there.stop.write_text("echo no route to host >&2; exit 3")
    rtot = start(*there.flags, "-f=json")
    rtot.submit(b"echo ready; exec sleep 1000")
    ready(rtot)
    receipt = rtot.json("/jobs/0/kill?signal=KILL", "-X", "POST")
    failed = {"signal": "SIGKILL", "exit": "exit status 3", "text": "no route to host"}
    assert receipt["stop"] == [failed]
    # What stands for it here is gone.
    assert rtot.json("/jobs/0?fields=reason")["jobs"][0]["state"] == "complete"
    lines = [json.loads(line) for line in rtot.log.splitlines()]
    (line,) = [line for line in lines if line["msg"] == "stop command failed"]
    assert (line["job"], line["exit"], line["text"]) == (0, "exit status 3", "no route to host")
    os.killpg(there.pids()[0], signal.SIGKILL)


def test_the_next_server_ends_what_a_killed_one_has_left(
    start: Start, there: Elsewhere, tmp_path: Path
) -> None:
    first = start(*there.flags)
    for _ in range(3):
        first.submit(b"trap '' TERM; echo ready; while :; do sleep 1; done")
    for job_id in range(3):
        ready(first, job_id)
    first.run(b"echo done")
    first.end(signal.SIGKILL)
    pids = there.pids()[:]
    alive = [pid for pid in pids if is_alive(pid)]
    assert len(alive) == 3
    # What stands for them here goes on, too.
    second = start(*there.flags, TMPDIR=str(first.spool))
    until(lambda: not any(map(is_alive, alive)))
    until(lambda: second.log.count("job of a killed server stopped") == 3)
    until(lambda: len(list(first.spool.iterdir())) == 1)


def test_what_cannot_be_stopped_is_tried_by_the_one_after_that(
    start: Start, there: Elsewhere
) -> None:
    first = start(*there.flags)
    first.submit(b"echo ready; exec sleep 1000")
    ready(first)
    first.end(signal.SIGKILL)
    (pid,) = there.pids()
    there.stop.rename(f"{there.stop}.away")
    second = start(*there.flags, TMPDIR=str(first.spool))
    until(lambda: "stop command failed" in second.log)
    second.end()
    assert is_alive(pid)
    Path(f"{there.stop}.away").rename(there.stop)
    third = start(*there.flags, TMPDIR=str(first.spool))
    until(lambda: not is_alive(pid))
    until(lambda: "job of a killed server stopped" in third.log)
