"""Leases: jobs that end when nobody is connected who has asked for that.

Several clients may hold a lease on a job. When the last of them goes, the time begins that it
has asked for; none at all ends the job at once. Whoever takes a lease meanwhile stops that time.
"""

from typing import NamedTuple

from rtot.deadlines import Deadlines


class Lease(NamedTuple):
    """A client wants the job to end so many seconds after it has gone."""

    job_id: int
    seconds: float


class Leases:
    """The leases of jobs that are not complete.

    The owner's duty: end the jobs that `release` and, at `next_deadline`, `due` name; `clear` a
    job that is complete.
    """

    __slots__ = ("_deadlines", "_held", "_until")

    def __init__(self) -> None:
        self._held: dict[int, int] = {}
        # When the time of those that have gone is over.
        self._until: dict[int, float] = {}
        self._deadlines: Deadlines[int] = Deadlines()

    def take(self, job_id: int) -> None:
        """A client that is connected wants the job to end with it."""
        self._held[job_id] = self._held.get(job_id, 0) + 1
        self._deadlines.clear(job_id)

    def give_back(self, job_id: int) -> None:
        """Such a client is content with what it has got."""
        if job_id not in self._held:
            return
        self._held[job_id] -= 1
        if not self._held[job_id] and job_id in self._until:
            # The time of others, who have gone, goes on.
            self._deadlines.set(job_id, self._until[job_id])

    def release(self, lease: Lease, now: float) -> bool:
        """Such a client has gone. Return whether the job is to be ended now."""
        job_id = lease.job_id
        if job_id not in self._held:
            # The job is complete.
            return False
        self._held[job_id] -= 1
        until = self._until[job_id] = max(now + lease.seconds, self._until.get(job_id, 0.0))
        if self._held[job_id]:
            return False
        if until <= now:
            self.clear(job_id)
            return True
        self._deadlines.set(job_id, until)
        return False

    def due(self, now: float) -> list[int]:
        """The jobs that are to be ended now."""
        due = list(self._deadlines.due(now))
        for job_id in due:
            self.clear(job_id)
        return due

    def next_deadline(self) -> float | None:
        """When a job will be due (monotonic)."""
        return self._deadlines.next()

    def clear(self, job_id: int) -> None:
        """The job is complete, or is being ended."""
        self._held.pop(job_id, None)
        self._until.pop(job_id, None)
        self._deadlines.clear(job_id)
