"""The stops in progress. A job may have several at a time, each with its own deadlines."""

from signal import Signals

from rtot.config import Settings
from rtot.deadlines import Deadlines
from rtot.jobs.commands import Outbox
from rtot.jobs.job import Job
from rtot.jobs.stop import RunStopCommand, Scope, Stop, StopOrder, Why

# The pid of a leader that is not known, as the server was killed when it had just started it.
_NOBODY = -1


class Endings:
    """Stops that are not over.

    The owner carries out their commands. It reports a Signal with `Stop.delivered`, a Survey with
    `surveyed` here, a RunStopCommand with `command_ended`, and calls `expire` at `next_deadline`.
    The end of each stop is reported once.
    """

    __slots__ = ("_counts", "_deadlines", "_outbox", "_settings", "_stops")

    def __init__(self, settings: Settings, outbox: Outbox) -> None:
        self._settings = settings
        self._outbox = outbox
        # By the stop, in the order in which they began.
        self._stops: dict[Stop, Job] = {}
        # By the id of the job, how many.
        self._counts: dict[int, int] = {}
        self._deadlines: Deadlines[Stop] = Deadlines()

    def __contains__(self, job: Job) -> bool:
        """Whether something of the job is being ended or signalled."""
        return job.id in self._counts

    def __bool__(self) -> bool:
        return bool(self._stops)

    def begin(
        self,
        job: Job,
        signal: Signals,
        grace: float | None,
        why: Why,
        now: float,
        *,
        tree: bool = True,
    ) -> Stop:
        """End the job, which was started, or signal it, as Stop says.

        Without `tree` those are spared that have left the group.
        """
        pid = _NOBODY if job.pid is None else job.pid
        scope = Scope.TREE if tree else Scope.GROUP
        launcher = job.options.launcher
        if not self._settings.stop_command(launcher):
            # What runs here is the job itself.
            launcher = None
        stop = Stop(job.id, pid, signal, grace, scope, now, launcher=launcher)
        stop.why = why
        if stop.kills:
            job.stop = stop
        self._stops[stop] = job
        self._counts[job.id] = self._counts.get(job.id, 0) + 1
        self._follow(stop, stop.begin())
        return stop

    def end(self, job: Job, why: Why, now: float, *, tree: bool = True) -> None:
        """With TERM, and KILL after the grace that the operator gives."""
        self.begin(job, Signals.SIGTERM, self._settings.grace, why, now, tree=tree)

    def surveyed(self, stop: Stop, found: dict[int, str], now: float) -> Job | None:
        """A Survey was carried out; the job if its stop is over now."""
        return self._follow(stop, stop.surveyed(found, now))

    def command_ended(
        self, command: RunStopCommand, exit: str, text: str, now: float
    ) -> Job | None:
        """A stop command has ended; the job if its stop is over now."""
        return self._follow(command.stop, command.stop.command_ended(command, exit, text, now))

    def expire(self, now: float) -> list[tuple[Job, Stop]]:
        """Do what is due; the stops that are over now, each with its job."""
        over = [(self._follow(s, s.expire(now)), s) for s in list(self._deadlines.due(now))]
        return [(job, stop) for job, stop in over if job is not None]

    def cancel_grace(self, now: float) -> None:
        """End the grace of every stop: send KILL at once."""
        for stop in list(self._stops):
            self._follow(stop, stop.cancel_grace(now))

    def next_deadline(self) -> float | None:
        """When `expire` will next have something to do (monotonic)."""
        return self._deadlines.next()

    def _follow(self, stop: Stop, commands: list[StopOrder]) -> Job | None:
        """Queue the stop's commands and its deadline; return its job if it has just ended."""
        self._outbox.command(*commands)
        if not stop.over:
            self._deadlines.set(stop, stop.due)
            return None
        job = self._stops.pop(stop, None)
        if job is not None:
            self._deadlines.clear(stop)
            self._counts[job.id] -= 1
            if not self._counts[job.id]:
                del self._counts[job.id]
            self._outbox.changed(stop.job_id)
        return job
