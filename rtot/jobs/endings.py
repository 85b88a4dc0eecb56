"""The stops in progress. A job may have several at a time, each with its own deadlines."""

from signal import Signals

from rtot.deadlines import Deadlines
from rtot.jobs.commands import Outbox
from rtot.jobs.stop import Scope, Signal, Stop, Survey


class Endings:
    """Stops that are not over.

    The owner carries out their commands. It reports a Signal with `Stop.delivered`, a Survey with
    `surveyed` here, and calls `expire` at `next_deadline`. The end of each stop is reported once.
    """

    __slots__ = ("_deadlines", "_outbox", "_stops")

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        # In the order in which they began.
        self._stops: dict[Stop, None] = {}
        self._deadlines: Deadlines[Stop] = Deadlines()

    def __bool__(self) -> bool:
        return bool(self._stops)

    def begin(
        self, job_id: int, pid: int, signal: Signals, grace: float | None, scope: Scope, now: float
    ) -> Stop:
        """End the job whose leader is `pid`, or signal it, as Stop says."""
        stop = Stop(job_id, pid, signal, grace, scope, now)
        self._stops[stop] = None
        self._follow(stop, stop.begin())
        return stop

    def surveyed(self, stop: Stop, found: dict[int, str], now: float) -> bool:
        """A Survey was carried out; whether the stop is over."""
        return self._follow(stop, stop.surveyed(found, now))

    def expire(self, now: float) -> list[int]:
        """Do what is due; the jobs whose stop is over."""
        due = list(self._deadlines.due(now))
        return [stop.job_id for stop in due if self._follow(stop, stop.expire(now))]

    def cancel_grace(self, now: float) -> None:
        """End the grace of every stop: send KILL at once."""
        for stop in list(self._stops):
            self._follow(stop, stop.cancel_grace(now))

    def next_deadline(self) -> float | None:
        """When `expire` will next have something to do (monotonic)."""
        return self._deadlines.next()

    def _follow(self, stop: Stop, commands: list[Signal | Survey]) -> bool:
        """Queue the stop's commands and its deadline; return whether the stop has just ended."""
        self._outbox.command(*commands)
        if not stop.over:
            self._deadlines.set(stop, stop.due)
            return False
        if stop not in self._stops:
            return False
        self._deadlines.clear(stop)
        del self._stops[stop]
        self._outbox.changed(stop.job_id)
        return True
