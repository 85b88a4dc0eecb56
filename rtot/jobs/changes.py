"""Changes have numbers: every change of a state that clients see, and every deletion.

There is one counter. It begins where no earlier server has been, so that a number of another
server is seen to be one. A client that has seen everything up to a number asks for what came after
it. That costs as much as has changed, however many jobs there are.
"""

from collections import deque
from collections.abc import Iterable

from rtot.jobs.archive import Archive, ByChange, JobsById
from rtot.jobs.job import Job

# Whoever waits for a change of any job waits for this, instead of the id of one.
ANY_JOB = -1
# How many deletions are remembered.
MOST_DELETIONS = 10_000


class Changes:
    """The counter, and which jobs have changed and were deleted after a number."""

    __slots__ = ("_alive", "_archive", "_by_change", "_deletions", "last")

    def __init__(self, alive: JobsById, archive: Archive, first: int) -> None:
        """All numbers are above `first`."""
        self._alive = alive
        self._archive = archive
        # Of the jobs that are alive.
        self._by_change = ByChange()
        self._deletions = Deletions(first)
        self.last = first
        """The number that was given last."""

    def changed(self, job: Job) -> None:
        """Clients see the job, which is alive, in another state or for the first time."""
        self.last += 1
        job.change = self.last
        self._by_change.add(job)
        self._by_change.sweep(len(self._alive), self._alive.get)

    def restore(self, job: Job) -> None:
        """The job, which is alive, had its last change under a server before this one."""
        self._by_change.add(job)

    def restore_deletions(self, deletions: Iterable[tuple[int, int]], first: int) -> None:
        """Numbers and ids of all after `first`, in order, under servers before this one."""
        self._deletions = Deletions(first)
        for number, job_id in deletions:
            self._deletions.add(number, job_id)

    def deleted(self, job: Job) -> None:
        """Clients do not see the job any more."""
        self.last += 1
        self._deletions.add(self.last, job.id)

    def after(self, number: int, limit: int) -> list[Job]:
        """The first `limit` jobs whose last change came after that number, in that order."""
        alive = self._by_change.after(number, limit, self._alive.get)
        archived = self._archive.changed_after(number, limit)
        return sorted((*alive, *archived), key=lambda job: job.change)[:limit]

    def deletions_after(self, number: int) -> list[tuple[int, int]] | None:
        """Number and id of each deletion after that number, the newest first.

        None if not all of them are remembered.
        """
        return self._deletions.after(number)


class Deletions:
    """The newest deletions, by their numbers."""

    __slots__ = ("_forgotten", "_ids", "_numbers")

    def __init__(self, first: int) -> None:
        self._numbers: deque[int] = deque()
        self._ids: deque[int] = deque()
        # The newest deletion that is not remembered, or the end of what is known of other servers.
        self._forgotten = first

    def add(self, number: int, job_id: int) -> None:
        """The job was deleted."""
        self._numbers.append(number)
        self._ids.append(job_id)
        if len(self._ids) > MOST_DELETIONS:
            self._forgotten = self._numbers.popleft()
            self._ids.popleft()

    def after(self, number: int) -> list[tuple[int, int]] | None:
        """As Changes.deletions_after."""
        if number < self._forgotten:
            return None
        found = []
        for deleted, job_id in zip(reversed(self._numbers), reversed(self._ids), strict=True):
            if deleted <= number:
                break
            found.append((deleted, job_id))
        return found
