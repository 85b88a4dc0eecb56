"""Stop commands: real processes, with a clock that is set by hand."""

import os
from collections.abc import Iterator
from pathlib import Path
from signal import Signals

import pytest

from rtot.jobs.stop import RunStopCommand, Scope, Stop
from rtot.loop.stop_commands import LIMIT, MOST_AT_A_TIME, Ended, StopCommands
from rtot.system.processes import Exit, Processes
from tests.harness import is_alive, until
from tests.world import at

ORDER = RunStopCommand(
    Stop(0, 1, Signals.SIGTERM, 5.0, Scope.TREE, 0.0, launcher="l"), Signals.SIGTERM
)


class Desk:
    def __init__(self, first_reserved: int = 1 << 20) -> None:
        environ = {"PATH": os.environ["PATH"], "A": "1"}
        self.processes = Processes("cafe", environ, first_reserved)
        self.commands = StopCommands(self.processes)
        self.ended: list[Ended] = []

    def add(self, *argv: str) -> None:
        self.ended += self.commands.add(ORDER, list(argv))

    def start(self, seconds: float = 0.0) -> None:
        self.ended += self.commands.start(at(seconds))

    def reap(self, count: int) -> None:
        """Until so many have exited."""

        def reaped() -> bool:
            for exit in self.processes.reap():
                if (ended := self.commands.exited(exit)) is not None:
                    self.ended.append(ended)
            return len(self.ended) >= count

        until(reaped)

    @property
    def told(self) -> list[tuple[str, str]]:
        return [(ended.exit, ended.text) for ended in self.ended]


def reaped(desk: Desk) -> list[Exit]:
    """The exits of all that have ended by the clock, of which the commands are not told."""
    pids = {ended.command.pid for ended in desk.ended} - {0}
    exits: list[Exit] = []

    def enough() -> bool:
        # Other tests may have left children, too.
        exits.extend(exit for exit in desk.processes.reap() if exit.pid in pids)
        return len(exits) == len(pids)

    until(enough)
    return exits


@pytest.fixture
def desk() -> Iterator[Desk]:
    before = len(os.listdir("/proc/self/fd"))
    made = Desk()
    yield made
    os.close(made.processes._devnull)
    os.close(made.processes._here)
    assert len(os.listdir("/proc/self/fd")) == before
    assert made.commands.next_deadline() is None


def test_what_became_of_it(desk: Desk) -> None:
    desk.add("sh", "-c", "echo out; echo err >&2; exit 3")
    desk.add("true")
    desk.add("sh", "-c", "kill -9 $$")
    assert desk.commands.next_deadline() == 0.0
    desk.start()
    assert desk.commands.next_deadline() == LIMIT
    desk.reap(3)
    assert sorted(desk.told) == [("", ""), ("exit status 3", "out\nerr"), ("signal: killed", "")]
    assert all(ended.command.subject is ORDER for ended in desk.ended)


def test_it_is_no_job_of_the_server(desk: Desk) -> None:
    """Or it would be killed with one."""
    desk.add("sh", "-c", "echo $A,$RTOT_SERVER_ID,$RTOT_JOB_ID")
    desk.start()
    desk.reap(1)
    assert desk.told == [("", "1,,")]


def test_what_cannot_be_run(desk: Desk) -> None:
    desk.add("/does/not/exist", "x")
    desk.add("a\0b")
    desk.start()
    assert desk.told == [
        ("fork/exec /does/not/exist: no such file or directory", ""),
        ("fork/exec a\0b: invalid argument", ""),
    ]


def test_what_takes_too_long_is_killed_with_all_that_it_started(desk: Desk, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    desk.add("sh", "-c", f"echo trying; sleep 1000 & echo $! > {pid}.new; mv {pid}.new {pid}; wait")
    desk.start()
    until(pid.exists)
    assert list(desk.commands.expire(at(LIMIT - 0.1))) == []
    desk.ended += desk.commands.expire(at(LIMIT))
    assert desk.told == [("not ended after 10 s", "trying")]
    until(lambda: not is_alive(int(pid.read_text())))
    (exit,) = reaped(desk)
    assert desk.commands.exited(exit) is None


def test_so_many_of_a_launcher_at_a_time_and_so_many_in_a_turn(desk: Desk) -> None:
    for _ in range(MOST_AT_A_TIME + 2):
        desk.add("sleep", "1000")
    desk.start()
    assert len(desk.commands._running) == 4
    assert desk.commands.next_deadline() == 0.0
    for _ in range(9):
        desk.start()
    assert len(desk.commands._running) == MOST_AT_A_TIME
    assert desk.commands.next_deadline() == LIMIT
    # Another launcher does not wait for this one.
    other = Stop(1, 1, Signals.SIGTERM, 5.0, Scope.TREE, 0.0, launcher="other")
    desk.commands.add(RunStopCommand(other, Signals.SIGTERM), ["true"])
    assert desk.commands.next_deadline() == 0.0
    desk.start()
    desk.reap(1)
    desk.ended.clear()
    desk.ended += desk.commands.expire(at(LIMIT))
    assert desk.told == [("not ended after 10 s", "")] * MOST_AT_A_TIME
    assert len(reaped(desk)) == MOST_AT_A_TIME
    # Their time begins with their start, however long they have waited.
    desk.ended.clear()
    desk.start(3 * LIMIT)
    assert desk.commands.next_deadline() == 4 * LIMIT
    desk.ended += desk.commands.expire(at(4 * LIMIT))
    assert len(reaped(desk)) == 2


def test_kill_comes_first_and_takes_the_place_of_what_was_to_ask(desk: Desk) -> None:
    first = Stop(1, 1, Signals.SIGTERM, 5.0, Scope.TREE, 0.0, launcher="l")
    second = Stop(2, 1, Signals.SIGTERM, 5.0, Scope.TREE, 0.0, launcher="l")
    orders = [
        RunStopCommand(first, Signals.SIGTERM),
        RunStopCommand(second, Signals.SIGTERM),
        RunStopCommand(second, Signals.SIGKILL),
    ]
    for order in orders:
        desk.ended += desk.commands.add(order, ["true"])
    assert desk.told == [("not started before KILL", "")]
    assert desk.ended[0].command.subject is orders[1]
    command = desk.commands._next()
    assert command is not None
    assert command.subject is orders[2]
    desk.start()
    desk.reap(3)
    assert {id(ended.command.subject) for ended in desk.ended} == {id(each) for each in orders}


def test_none_outlives_the_server(desk: Desk) -> None:
    desk.add("sleep", "1000")
    desk.start()
    desk.commands.kill()
    desk.reap(1)
    assert desk.told == [("signal: killed", "")]


def test_without_a_descriptor_it_waits() -> None:
    desk = Desk(first_reserved=3)
    desk.add("true")
    desk.start(1.0)
    assert (desk.ended, desk.commands.next_deadline()) == ([], 1.1)
    desk.start(1.05)
    assert desk.commands.next_deadline() == 1.1
    desk.processes._first_reserved = 1 << 20
    desk.start(1.1)
    desk.reap(1)
    assert desk.told == [("", "")]


def test_only_the_beginning_of_what_it_wrote(desk: Desk) -> None:
    desk.add("sh", "-c", "printf '\\377'; head -c 5000 /dev/zero | tr '\\0' x")
    desk.start()
    desk.reap(1)
    assert desk.told == [("", "\ufffd" + "x" * 1023)]


def test_an_exit_of_another_process(desk: Desk) -> None:
    pid = desk.processes.spawn(None, [b"true"], {}, None, [])
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert [desk.commands.exited(e) for e in desk.processes.reap() if e.pid == pid] == [None]
