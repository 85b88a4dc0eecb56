"""When something of a running job is due: its timeout, or the end of its drain time.

The times are the job's own (`Running`). This knows the nearest of each job.
"""

from collections.abc import Iterator
from enum import Enum, auto

from rtot.deadlines import Deadlines
from rtot.jobs.job import Job


class Due(Enum):
    TIMEOUT = auto()
    DRAIN = auto()


class Timers:
    """The deadlines of running jobs. All times are monotonic, all periods in seconds."""

    __slots__ = ("_deadlines",)

    def __init__(self) -> None:
        self._deadlines: Deadlines[Job] = Deadlines()

    def set_timeout(self, job: Job) -> None:
        """The job runs, and its timeout is another one, or none."""
        assert job.running is not None
        timeout = job.timeout
        job.running.timeout_at = None if timeout is None else job.running.started + timeout
        self._arm(job)

    def exited(self, job: Job, drain_at: float) -> None:
        """The job's leader is gone; its pipes are waited for until then."""
        assert job.running is not None
        job.running.timeout_at = None
        job.running.drain_at = drain_at
        self._arm(job)

    def clear(self, job: Job) -> None:
        """Nothing of the job is due any more."""
        self._deadlines.clear(job)

    def due(self, now: float) -> Iterator[tuple[Job, Due]]:
        """What is due of which job, once each."""
        for job in self._deadlines.due(now):
            run = job.running
            # A job that is finished has no deadline.
            assert run is not None
            if run.timeout_at is not None and run.timeout_at <= now:
                run.timeout_at = None
                yield job, Due.TIMEOUT
            if run.drain_at is not None and run.drain_at <= now:
                run.drain_at = None
                yield job, Due.DRAIN
            self._arm(job)

    def next(self) -> float | None:
        """When something will next be due."""
        return self._deadlines.next()

    def _arm(self, job: Job) -> None:
        deadline = job.running.deadline if job.running is not None else None
        if deadline is None:
            self._deadlines.clear(job)
        else:
            self._deadlines.set(job, deadline)
