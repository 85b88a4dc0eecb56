"""Which complete jobs are to be forgotten: the oldest, beyond a number or an age."""

from collections.abc import Container

from rtot.config import Settings
from rtot.jobs.archive import Archive
from rtot.jobs.job import Job

# How many jobs are named in a turn: there may be a million, if the operator wants less than before.
MOST = 50


class Retention:
    """The rule. It looks at the archive's oldest jobs and at nothing else.

    A job that a client still waits for or reads is spared until that client has its answer.
    """

    __slots__ = ("_archive", "_keep", "_left", "_ttl")

    def __init__(self, settings: Settings, archive: Archive) -> None:
        self._archive = archive
        self._keep = settings.keep
        self._ttl = settings.ttl
        # How many more may be named before others get their turn.
        self._left = MOST

    def begin(self) -> None:
        """A turn has begun."""
        self._left = MOST

    def overdue(self, now: float, watched: Container[int]) -> Job | None:
        """The job to be forgotten now, if there is one; ask again after that."""
        if self._keep is None and self._ttl is None:
            return None
        archive = self._archive
        while (oldest := archive.oldest()) is not None:
            job_id, since = oldest
            too_many = self._keep is not None and len(archive) - archive.spared > self._keep
            too_old = self._ttl is not None and since + self._ttl <= now
            if not too_many and not too_old:
                return None
            if not self._left:
                return None
            if job_id not in watched:
                self._left -= 1
                return archive.get(job_id)
            archive.spare(job_id)
        return None

    def unwatched(self, job_id: int) -> None:
        """Nobody watches the job any more."""
        self._archive.unspare(job_id)

    def next_deadline(self) -> float | None:
        """When a job will be too old (monotonic), or is to be named in the next turn."""
        if not self._left:
            return 0.0
        oldest = self._archive.oldest() if self._ttl is not None else None
        return None if oldest is None or self._ttl is None else oldest[1] + self._ttl
