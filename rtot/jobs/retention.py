"""Which complete jobs are to be forgotten: the oldest, beyond a number or an age."""

from collections.abc import Container

from rtot.config import Settings
from rtot.jobs.archive import Archive
from rtot.jobs.job import Job


class Retention:
    """The rule. It looks at the archive's oldest jobs and at nothing else.

    A job that a client still waits for or reads is spared until that client has its answer.
    """

    __slots__ = ("_archive", "_keep", "_spared", "_ttl")

    def __init__(self, settings: Settings, archive: Archive) -> None:
        self._archive = archive
        self._keep = settings.keep
        self._ttl = settings.ttl
        # Jobs that are overdue, and watched.
        self._spared: dict[int, None] = {}

    def overdue(self, now: float, watched: Container[int]) -> Job | None:
        """The job to be forgotten now, if there is one; ask again after that."""
        if self._keep is None and self._ttl is None:
            return None
        for job_id in list(self._spared):
            job = self._archive.get(job_id)
            if job is None or job_id not in watched:
                del self._spared[job_id]
                if job is not None:
                    return job
        while (oldest := self._archive.oldest(self._spared)) is not None:
            job_id, since = oldest
            kept = len(self._archive) - len(self._spared)
            too_many = self._keep is not None and kept > self._keep
            too_old = self._ttl is not None and since + self._ttl <= now
            if not too_many and not too_old:
                return None
            if job_id not in watched:
                return self._archive.get(job_id)
            self._spared[job_id] = None
        return None

    def next_deadline(self) -> float | None:
        """When a job will be too old (monotonic)."""
        oldest = self._archive.oldest(self._spared) if self._ttl is not None else None
        return None if oldest is None or self._ttl is None else oldest[1] + self._ttl
