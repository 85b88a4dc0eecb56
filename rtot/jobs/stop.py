"""The order in which a job is ended: one machine for kill, DELETE, timeout and shutdown.

The requested signal goes to every process of the job. When the grace is over, KILL goes to the
leader first, and a moment later to all processes that are left, so that a launcher's helper
that sees its child die can clean up.

A job whose launcher has a stop command runs elsewhere. The command delivers the signal, and KILL
after the grace; the job's processes here, which only stand for it, get KILL when that has ended.

The server is not the parent of most of these processes,
so it is not told when they exit and has to look for them. That costs a walk of /proc. It is done
at growing intervals, and only while a job is being ended.
"""

import math
from dataclasses import dataclass
from enum import Enum, auto
from signal import Signals
from typing import NamedTuple

# Between KILL to the leader and KILL to all that is left.
MOMENT = 0.2
# How long killed processes may take to exit (uninterruptible sleep) before they are `surviving`.
REAP = 1.0
_FIRST_LOOK = 0.01
_LONGEST_LOOK = 0.25


class Scope(Enum):
    """To which of a job's processes a signal goes."""

    LEADER = auto()
    GROUP = auto()
    TREE = auto()


class Cause(Enum):
    """Why a job is ended."""

    KILL = "kill"
    DELETE = "delete"
    TIMEOUT = "timeout"
    LEASE = "lease"
    SHUTDOWN = "shutdown"
    LOST = "lost"
    """The server that had started it was killed."""


class Why(NamedTuple):
    """Why a job is ended, and the name of whoever wants it."""

    cause: Cause
    by: str | None = None


class Phase(Enum):
    NOTIFIED = auto()
    ASKED = auto()
    NOTIFYING_ELSEWHERE = auto()
    NOTIFIED_ELSEWHERE = auto()
    ASKED_ELSEWHERE = auto()
    KILLING_ELSEWHERE = auto()
    LEADER_KILLED = auto()
    ALL_KILLED = auto()
    GONE = auto()
    SURVIVED = auto()


class Event(Enum):
    GRACE_OVER = auto()
    MOMENT_OVER = auto()
    REAP_OVER = auto()
    GRACE_CANCELLED = auto()
    NONE_LEFT = auto()
    COMMAND_ENDED = auto()
    """The last stop command."""


# A transition that is not listed is a bug in the caller, and raises. One that leads to the same
# phase has no effect: KILL was sent already, or a second survey was under way.
TRANSITIONS: dict[Phase, dict[Event, Phase]] = {
    Phase.NOTIFIED: {
        Event.MOMENT_OVER: Phase.SURVIVED,
        Event.GRACE_CANCELLED: Phase.ALL_KILLED,
        Event.NONE_LEFT: Phase.GONE,
    },
    Phase.ASKED: {
        Event.GRACE_OVER: Phase.LEADER_KILLED,
        Event.GRACE_CANCELLED: Phase.ALL_KILLED,
        Event.NONE_LEFT: Phase.GONE,
    },
    Phase.NOTIFYING_ELSEWHERE: {
        Event.COMMAND_ENDED: Phase.NOTIFIED_ELSEWHERE,
        Event.GRACE_CANCELLED: Phase.KILLING_ELSEWHERE,
        Event.NONE_LEFT: Phase.GONE,
    },
    Phase.NOTIFIED_ELSEWHERE: {
        Event.MOMENT_OVER: Phase.SURVIVED,
        Event.GRACE_CANCELLED: Phase.KILLING_ELSEWHERE,
        Event.NONE_LEFT: Phase.GONE,
    },
    Phase.ASKED_ELSEWHERE: {
        Event.COMMAND_ENDED: Phase.ASKED_ELSEWHERE,
        Event.GRACE_OVER: Phase.KILLING_ELSEWHERE,
        Event.GRACE_CANCELLED: Phase.KILLING_ELSEWHERE,
        Event.NONE_LEFT: Phase.GONE,
    },
    Phase.KILLING_ELSEWHERE: {
        Event.COMMAND_ENDED: Phase.LEADER_KILLED,
        Event.GRACE_CANCELLED: Phase.KILLING_ELSEWHERE,
        Event.NONE_LEFT: Phase.GONE,
    },
    Phase.LEADER_KILLED: {
        Event.MOMENT_OVER: Phase.ALL_KILLED,
        Event.GRACE_CANCELLED: Phase.ALL_KILLED,
        Event.NONE_LEFT: Phase.GONE,
    },
    Phase.ALL_KILLED: {
        Event.REAP_OVER: Phase.SURVIVED,
        Event.GRACE_CANCELLED: Phase.ALL_KILLED,
        Event.NONE_LEFT: Phase.GONE,
    },
    Phase.GONE: {
        Event.GRACE_CANCELLED: Phase.GONE,
        Event.NONE_LEFT: Phase.GONE,
        Event.COMMAND_ENDED: Phase.GONE,
    },
    Phase.SURVIVED: {Event.GRACE_CANCELLED: Phase.SURVIVED, Event.NONE_LEFT: Phase.SURVIVED},
}

_CLOCK_EVENT = {
    Phase.NOTIFIED: Event.MOMENT_OVER,
    Phase.ASKED: Event.GRACE_OVER,
    Phase.ASKED_ELSEWHERE: Event.GRACE_OVER,
    Phase.NOTIFIED_ELSEWHERE: Event.MOMENT_OVER,
    Phase.LEADER_KILLED: Event.MOMENT_OVER,
    Phase.ALL_KILLED: Event.REAP_OVER,
}


@dataclass(frozen=True, slots=True)
class Signal:
    """Signal the stop's processes; the outcome is `signalled`."""

    stop: "Stop"
    signal: Signals
    scope: Scope


@dataclass(frozen=True, slots=True)
class Survey:
    """See which of the stop's processes are left; the outcome is `surveyed`."""

    stop: "Stop"
    scope: Scope


@dataclass(frozen=True, slots=True)
class RunStopCommand:
    """Run the stop command of the job's launcher; the outcome is `stop_command_ended`."""

    stop: "Stop"
    signal: Signals


StopOrder = Signal | Survey | RunStopCommand


class CommandOutcome(NamedTuple):
    """What became of a stop command: `exit` as a job's, empty for 0, and what it wrote."""

    signal: Signals
    exit: str
    text: str


class Stop:
    """One job's end, from the first signal to the receipt.

    The owner carries out `begin`'s commands at once, calls `expire` when `due` has come,
    `surveyed` with the outcome of every Survey, `delivered` with that of every Signal, and
    `command_ended` with that of every RunStopCommand, which always comes; all but `delivered` may
    return more commands. `over` is True when nothing is left to do.
    """

    __slots__ = (
        "_command",
        "_commands_left",
        "_deadline",
        "_interval",
        "_kills",
        "_look_at",
        "_phase",
        "escalated",
        "job_id",
        "launcher",
        "outcomes",
        "pid",
        "scope",
        "signal",
        "signalled",
        "surviving",
        "why",
    )

    def __init__(
        self,
        job_id: int,
        pid: int,
        signal: Signals,
        grace: float | None,
        scope: Scope,
        now: float,
        *,
        launcher: str | None = None,
    ) -> None:
        """`pid` is the leader's, dead or alive.

        `launcher`: the one whose stop command is used; None: rtot signals the processes.

        `grace` in seconds; None: only deliver the signal, and do not KILL survivors.
        """
        self.job_id = job_id
        self.pid = pid
        self.signal = signal
        self.scope = scope
        self.why = Why(Cause.KILL)
        """For the log."""
        self.signalled: dict[int, str] = {}
        self.escalated: dict[int, str] = {}
        self.surviving: dict[int, str] = {}
        self.launcher = launcher
        self.outcomes: list[CommandOutcome] = []
        """Of the stop commands, in the order of their ends."""
        # The last stop command, and how many have not ended.
        self._command: RunStopCommand | None = None
        self._commands_left = 0
        self._kills = grace is not None or signal is Signals.SIGKILL
        self._interval = _FIRST_LOOK
        self._look_at = now + _FIRST_LOOK
        if signal is Signals.SIGKILL:
            self._phase, self._deadline = Phase.ALL_KILLED, now + REAP
            there = Phase.KILLING_ELSEWHERE
        elif grace is None:
            self._phase, self._deadline = Phase.NOTIFIED, now + MOMENT
            there = Phase.NOTIFYING_ELSEWHERE
        else:
            self._phase, self._deadline = Phase.ASKED, now + grace
            there = Phase.ASKED_ELSEWHERE
        if launcher is not None:
            self._phase = there
            # For the command, which has a limit of its own.
            if there is not Phase.ASKED_ELSEWHERE:
                self._deadline = math.inf

    @classmethod
    def restore(cls, job_id: int, pid: int, signal: Signals, launcher: str | None) -> "Stop":
        """One that is over, without what it did."""
        stop = cls(job_id, pid, signal, None, Scope.TREE, 0.0, launcher=launcher)
        stop._phase = Phase.GONE
        return stop

    def begin(self) -> list[StopOrder]:
        """What to do first."""
        if self.launcher is not None:
            return self._run_command(self.signal)
        return [Signal(self, self.signal, self.scope)]

    @property
    def kills(self) -> bool:
        """Whether it ends the processes, and does not only deliver a signal."""
        return self._kills

    @property
    def failed_elsewhere(self) -> bool:
        """Whether the job may still run elsewhere, since the command that was to KILL it failed."""
        return any(o.exit for o in self.outcomes if o.signal is Signals.SIGKILL)

    @property
    def over(self) -> bool:
        return self._phase in (Phase.GONE, Phase.SURVIVED) and not self._commands_left

    @property
    def due(self) -> float:
        """When to call `expire`."""
        return min(self._look_at, self._deadline)

    def expire(self, now: float) -> list[StopOrder]:
        """The time of `due` has come."""
        if self._phase in (Phase.GONE, Phase.SURVIVED):
            assert self._commands_left, "it is over"
            self._look_at = self._deadline = math.inf
            return []
        if now >= self._deadline:
            return self._advance(_CLOCK_EVENT[self._phase], now)
        if now >= self._look_at:
            self._interval = min(self._interval * 2, _LONGEST_LOOK)
            self._look_at = now + self._interval
            return [Survey(self, self.scope)]
        return []

    def cancel_grace(self, now: float) -> list[StopOrder]:
        """No more grace: KILL at once."""
        return self._advance(Event.GRACE_CANCELLED, now)

    def delivered(self, found: dict[int, str], signal: Signals) -> None:
        """A Signal was carried out: these pids and commands got the signal."""
        (self.signalled if signal is self.signal else self.escalated).update(found)

    def command_ended(
        self, command: RunStopCommand, exit: str, text: str, now: float
    ) -> list[StopOrder]:
        """A stop command has ended: `exit` as a job's, empty for 0, and what it wrote."""
        self.outcomes.append(CommandOutcome(command.signal, exit, text))
        self._commands_left -= 1
        # An earlier one may still have been under way.
        return self._advance(Event.COMMAND_ENDED, now) if command is self._command else []

    def surveyed(self, found: dict[int, str], now: float) -> list[StopOrder]:
        """A Survey was carried out: pids and commands that are still there."""
        self.surviving = found
        if not found:
            return self._advance(Event.NONE_LEFT, now)
        killed = self.signalled if self.signal is Signals.SIGKILL else self.escalated
        if self._phase is Phase.ALL_KILLED and found.keys() - killed.keys():
            # These were forked while their parents were being killed.
            return [Signal(self, Signals.SIGKILL, self.scope)]
        return []

    def _run_command(self, signal: Signals) -> list[StopOrder]:
        self._command = RunStopCommand(self, signal)
        self._commands_left += 1
        return [self._command]

    def _advance(self, event: Event, now: float) -> list[StopOrder]:
        before = self._phase
        phase = TRANSITIONS[before].get(event)
        if phase is None:
            raise AssertionError(f"{event.name} of a stop that is {before.name}")
        self._phase = phase
        if phase is before:
            return []
        match phase:
            case Phase.NOTIFIED_ELSEWHERE:
                self._deadline = now + MOMENT
                return []
            case Phase.KILLING_ELSEWHERE:
                self._deadline = math.inf
                return self._run_command(Signals.SIGKILL)
            case Phase.LEADER_KILLED:
                self._deadline = now + MOMENT
                return [Signal(self, Signals.SIGKILL, Scope.LEADER)]
            case Phase.ALL_KILLED:
                self._deadline = now + REAP
                self._interval = _FIRST_LOOK
                self._look_at = now + _FIRST_LOOK
                return [Signal(self, Signals.SIGKILL, self.scope)]
            case _:
                return []
