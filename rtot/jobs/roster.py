"""Every job there is: alive, or complete and in the archive; and those that were deleted.

A job is alive as long as something can still happen to it. One that is deleted before that is
forgotten: no client sees it any more, and the job table keeps it only until it is over.
"""

from rtot.jobs.archive import Archive, JobsById, Page, merge
from rtot.jobs.changes import Changes
from rtot.jobs.job import Job, Key
from rtot.jobs.keys import Keys
from rtot.jobs.selection import Selection


class Roster:
    """Where each job is. It changes no job."""

    __slots__ = ("_alive", "_archive", "_forgotten", "_keys", "changes")

    def __init__(self, archive: Archive, first_change: int) -> None:
        self._archive = archive
        self._alive = JobsById()
        self._forgotten: dict[int, Job] = {}
        self._keys = Keys(archive)
        self.changes = Changes(self._alive, archive, first_change)

    def __len__(self) -> int:
        """How many jobs clients see."""
        return len(self._alive) + len(self._archive)

    def get(self, job_id: int) -> Job | None:
        """The job of that id, or None for one never made or forgotten."""
        return self._alive.get(job_id) or self._archive.get(job_id)

    def find(self, job_id: int) -> Job | None:
        """The job of that id if something can still happen to it, forgotten or not."""
        return self._alive.get(job_id) or self._forgotten.get(job_id)

    def forgotten(self, job_id: int) -> Job | None:
        """The job of that id if it was forgotten and is not over."""
        return self._forgotten.get(job_id)

    def page(
        self, selection: Selection, first: int, limit: int, look: int, *, down: bool = False
    ) -> Page:
        """As Archive.page, of all jobs; about twice `look` of them are looked at."""
        alive = self._alive.page(selection, first, limit, look, down=down)
        if selection.state in ("new", "running"):
            return alive
        archived = self._archive.page(selection, first, limit, look, down=down)
        return merge(alive, archived, limit, down=down)

    def alive(self) -> list[Job]:
        """The jobs to which something can still happen, in order of id."""
        return self._alive.all()

    def unfinished(self) -> list[Job]:
        """The jobs that are not complete, in order of id."""
        return [job for job in self._alive.all() if not job.over]

    def by_key(self, key: Key, fingerprint: bytes) -> Job | None:
        """The job that was submitted under that key; as Keys.find."""
        return self._keys.find(key, fingerprint)

    def add(self, job: Job, key: Key | None, fingerprint: bytes) -> None:
        """The job was accepted."""
        self._alive.add(job)
        self.changes.changed(job)
        if key is not None:
            self._keys.add(job, key, fingerprint)

    def archived(self, job: Job) -> bool:
        """Whether the job is in the archive, or was."""
        return self._alive.get(job.id) is not job and job.id not in self._forgotten

    def restore(self, job: Job) -> None:
        """The job was accepted by a server before this one."""
        self._alive.add(job)
        self.changes.restore(job)
        if job.key is not None:
            self._keys.add(job, job.key, job.fingerprint)

    def finish(self, job: Job, now: float) -> bool:
        """Nothing more can happen to the job. Return whether it was forgotten before."""
        if self._forgotten.pop(job.id, None) is not None:
            return True
        self._leave(job)
        self._archive.add(job, now)
        return False

    def forget(self, job: Job) -> None:
        """The job was deleted while something can still happen to it, or its end is not kept."""
        self._leave(job)
        self._forgotten[job.id] = job
        self.changes.deleted(job)

    def remove(self, job: Job) -> None:
        """The job was deleted. It is in the archive."""
        self._archive.remove(job)
        self.changes.deleted(job)

    def _leave(self, job: Job) -> None:
        self._alive.remove(job.id)
        self._keys.remove(job)
