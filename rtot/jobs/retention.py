"""Which complete jobs are to be forgotten: the oldest, beyond a number or an age."""

from rtot.config import Settings
from rtot.jobs.archive import Archive
from rtot.jobs.job import Job


class Retention:
    """The rule. It looks at the archive's oldest job and at nothing else."""

    __slots__ = ("_archive", "_keep", "_ttl")

    def __init__(self, settings: Settings, archive: Archive) -> None:
        self._archive = archive
        self._keep = settings.keep
        self._ttl = settings.ttl

    def overdue(self, now: float) -> Job | None:
        """The job to be forgotten now, if there is one; ask again after that."""
        if self._keep is None and self._ttl is None:
            return None
        oldest = self._archive.oldest()
        if oldest is None:
            return None
        job_id, since = oldest
        too_many = self._keep is not None and len(self._archive) > self._keep
        too_old = self._ttl is not None and since + self._ttl <= now
        return self._archive.get(job_id) if too_many or too_old else None

    def next_deadline(self) -> float | None:
        """When a job will be too old (monotonic)."""
        oldest = self._archive.oldest() if self._ttl is not None else None
        return None if oldest is None or self._ttl is None else oldest[1] + self._ttl
