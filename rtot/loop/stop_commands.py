"""Stop commands: processes of the operator's, by which a signal gets to where a job runs.

They are no job's: nothing of them is marked, and none is ended with a job. So many run at a time.
Each has so long, from when it was asked for, to begin and to end; then it is killed, and has
failed. What it writes is in the pipe until its end, where there is room for 64 KB.
"""

import os
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from rtot.clock import Now
from rtot.deadlines import Deadlines
from rtot.jobs.stop import RunStopCommand
from rtot.system.leftovers import Leftover
from rtot.system.processes import (
    Exit,
    NotStartedError,
    Processes,
    TryLaterError,
    close_pipes,
    kill_session,
    read_pipe,
)
from rtot.text import decode, format_status

# Seconds from being asked for to the end.
LIMIT = 10.0
MOST_AT_A_TIME = 16
# A start takes a millisecond.
_STARTS_PER_TURN = 4
_RETRY = 0.1
_MOST_TEXT = 1024


class LeftoverJob(NamedTuple):
    """A job of a server that was killed, which may still run elsewhere."""

    leftover: Leftover
    job_id: int


class StopCommand:
    """A stop command: for whom, its words, and when its time is over (monotonic)."""

    __slots__ = ("argv", "deadline", "fd", "pid", "subject")

    def __init__(
        self, subject: RunStopCommand | LeftoverJob, argv: list[str], deadline: float
    ) -> None:
        self.subject = subject
        self.argv = argv
        self.deadline = deadline
        self.pid = 0
        """0 as long as it is not started."""
        self.fd = -1


class Ended(NamedTuple):
    """What became of one: `exit` as a job's, empty for 0, and what it wrote."""

    command: StopCommand
    exit: str
    text: str


class StopCommands:
    """Those that wait, and those that run.

    The owner's duty: `start` in each turn, `expire` at `next_deadline`, and tell of children that
    have `exited`. Each returns what has ended by that; every command ends once.
    """

    __slots__ = ("_deadlines", "_processes", "_retry_at", "_running", "_waiting")

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._waiting: deque[StopCommand] = deque()
        # By pid.
        self._running: dict[int, StopCommand] = {}
        self._deadlines: Deadlines[StopCommand] = Deadlines()
        self._retry_at = 0.0

    def add(self, subject: RunStopCommand | LeftoverJob, argv: list[str], now: Now) -> None:
        """Run it as soon as there is room."""
        command = StopCommand(subject, argv, now.monotonic + LIMIT)
        self._waiting.append(command)
        self._deadlines.set(command, command.deadline)

    def next_deadline(self) -> float | None:
        """When to call `start` and `expire` (monotonic)."""
        if self._waiting and len(self._running) < MOST_AT_A_TIME:
            return self._retry_at
        return self._deadlines.next()

    def start(self, now: Now) -> Iterator[Ended]:
        """Start some of those that wait."""
        for _ in range(_STARTS_PER_TURN):
            full = len(self._running) >= MOST_AT_A_TIME
            if not self._waiting or full or self._retry_at > now.monotonic:
                return
            command = self._waiting.popleft()
            try:
                self._start(command)
            except TryLaterError:
                self._waiting.appendleft(command)
                self._retry_at = now.monotonic + _RETRY
            except NotStartedError as failure:
                self._deadlines.clear(command)
                yield Ended(command, str(failure), "")

    def expire(self, now: Now) -> Iterator[Ended]:
        """Kill those whose time is over."""
        for command in self._deadlines.due(now.monotonic):
            if command.pid:
                kill_session(command.pid)
                del self._running[command.pid]
                yield Ended(command, f"not ended after {LIMIT:g} s", self._read(command))
            else:
                self._waiting.remove(command)
                yield Ended(command, f"not started in {LIMIT:g} s", "")

    def exited(self, exit: Exit) -> Ended | None:
        """A child is gone; None if it was none of these."""
        command = self._running.pop(exit.pid, None)
        if command is None:
            return None
        self._deadlines.clear(command)
        return Ended(command, format_status(exit.status), self._read(command))

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

    def _read(self, command: StopCommand) -> str:
        """The beginning of what it wrote."""
        data = read_pipe(command.fd) or b""
        os.close(command.fd)
        return decode(data[:_MOST_TEXT]).strip()
