"""Stop commands: processes of the operator's, by which a signal gets to where a job runs.

They are no job's: nothing of them is marked, and none is ended with a job. So many of a launcher
run at a time, so that a place that does not answer holds up no other. Each has so long from its
start; then it is killed, and has failed. Those that deliver KILL come first, and one that was to
ask a job is not started any more when the same job is to be killed. What a command writes is in the
pipe until its end, where there is room for 64 KB.
"""

import os
import signal
from collections.abc import Iterator
from typing import NamedTuple

from rtot.clock import Now
from rtot.deadlines import Deadlines
from rtot.jobs.stop import RunStopCommand, Stop
from rtot.system.leftovers import Leftover
from rtot.system.pipes import close_pipes, read_pipe
from rtot.system.processes import Exit, NotStartedError, Processes, TryLaterError, kill_group
from rtot.text import decode, format_status

# Seconds from the start to the end.
LIMIT = 10.0
MOST_AT_A_TIME = 16
# A start takes a millisecond.
_STARTS_PER_TURN = 4
_RETRY = 0.1
_MOST_TEXT = 1024


class LeftoverJob(NamedTuple):
    """A job of a server that was killed, which may still run elsewhere under that launcher."""

    leftover: Leftover
    job_id: int
    launcher: str


class StopCommand:
    """A stop command: for whom, and its words."""

    __slots__ = ("argv", "fd", "pid", "subject")

    def __init__(self, subject: RunStopCommand | LeftoverJob, argv: list[str]) -> None:
        self.subject = subject
        self.argv = argv
        self.pid = 0
        """0 as long as it is not started."""
        self.fd = -1

    @property
    def launcher(self) -> str:
        match self.subject:
            case RunStopCommand(stop):
                return stop.launcher or ""
            case LeftoverJob(launcher=launcher):
                return launcher

    @property
    def kills(self) -> bool:
        match self.subject:
            case RunStopCommand(signal=number):
                return number is signal.Signals.SIGKILL
            case LeftoverJob():
                return True

    @property
    def stop(self) -> Stop | None:
        """That which it belongs to."""
        return self.subject.stop if isinstance(self.subject, RunStopCommand) else None


class Ended(NamedTuple):
    """What became of one: `exit` as a job's, empty for 0, and what it wrote."""

    command: StopCommand
    exit: str
    text: str


class StopCommands:
    """Those that wait, and those that run.

    The owner's duty: `start` in each turn, `expire` at `next_deadline`, tell of children that have
    `exited`, and `kill` in the end. Each returns what has ended by that; every command ends once.
    """

    __slots__ = (
        "_asking",
        "_counts",
        "_deadlines",
        "_processes",
        "_retry_at",
        "_running",
        "_waiting",
    )

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        # By launcher, those that kill and the others, in their order.
        self._waiting: dict[tuple[str, bool], dict[StopCommand, None]] = {}
        # By the stop that they belong to, the others.
        self._asking: dict[Stop, StopCommand] = {}
        # By pid; and how many of each launcher.
        self._running: dict[int, StopCommand] = {}
        self._counts: dict[str, int] = {}
        self._deadlines: Deadlines[StopCommand] = Deadlines()
        self._retry_at = 0.0

    def add(self, subject: RunStopCommand | LeftoverJob, argv: list[str]) -> list[Ended]:
        """Run it as soon as there is room. Those that it makes superfluous have ended."""
        command = StopCommand(subject, argv)
        self._waiting.setdefault((command.launcher, command.kills), {})[command] = None
        if command.stop is None:
            return []
        if not command.kills:
            self._asking[command.stop] = command
            return []
        other = self._asking.get(command.stop)
        if other is None:
            return []
        self._remove(other)
        return [Ended(other, "not started before KILL", "")]

    def next_deadline(self) -> float | None:
        """When to call `start` and `expire` (monotonic)."""
        return self._deadlines.next() if self._next() is None else self._retry_at

    def start(self, now: Now) -> Iterator[Ended]:
        """Start some of those that wait."""
        for _ in range(_STARTS_PER_TURN):
            command = self._next()
            if command is None or self._retry_at > now.monotonic:
                return
            try:
                self._start(command)
            except TryLaterError:
                self._retry_at = now.monotonic + _RETRY
            except NotStartedError as failure:
                self._remove(command)
                yield Ended(command, str(failure), "")
            else:
                self._remove(command)
                self._deadlines.set(command, now.monotonic + LIMIT)

    def expire(self, now: Now) -> Iterator[Ended]:
        """Kill those whose time is over."""
        for command in self._deadlines.due(now.monotonic):
            kill_group(command.pid)
            self._forget(command)
            yield Ended(command, f"not ended after {LIMIT:g} s", self._read(command))

    def kill(self) -> None:
        """Kill all that run: the server ends."""
        for command in self._running.values():
            kill_group(command.pid)

    def exited(self, exit: Exit) -> Ended | None:
        """A child is gone; None if it was none of these."""
        command = self._running.get(exit.pid)
        if command is None:
            return None
        self._forget(command)
        self._deadlines.clear(command)
        return Ended(command, format_status(exit.status), self._read(command))

    def _next(self) -> StopCommand | None:
        """The one to be started next."""
        for kills in (True, False):
            for (launcher, kill), commands in self._waiting.items():
                if kill is kills and self._counts.get(launcher, 0) < MOST_AT_A_TIME:
                    return next(iter(commands))
        return None

    def _remove(self, command: StopCommand) -> None:
        """It waits no more."""
        key = command.launcher, command.kills
        del self._waiting[key][command]
        if not self._waiting[key]:
            del self._waiting[key]
        if command.stop is not None and not command.kills:
            self._asking.pop(command.stop, None)

    def _forget(self, command: StopCommand) -> None:
        """It runs no more."""
        del self._running[command.pid]
        self._counts[command.launcher] -= 1

    def _start(self, command: StopCommand) -> None:
        pipes = self._processes.open_pipes(stdin=False, stderr=False)
        argv = [os.fsencode(word) for word in command.argv]
        try:
            command.pid = self._processes.spawn(None, argv, {}, None, pipes)
        except Exception:
            close_pipes(pipes)
            raise
        command.fd = pipes[0].ours
        self._running[command.pid] = command
        self._counts[command.launcher] = self._counts.get(command.launcher, 0) + 1

    def _read(self, command: StopCommand) -> str:
        """The beginning of what it wrote."""
        data = read_pipe(command.fd) or b""
        os.close(command.fd)
        return decode(data[:_MOST_TEXT]).strip()
