"""What has happened and is not durable yet: noted as it happens, and kept once a turn.

Without a store nothing of it is noted, and a job is in the archive as soon as it is complete. With
one, a job stays among the living until its end is kept. What cannot be kept stays noted, and is
tried again; but a new job is refused then, and output for which there is no room is dropped, so
that nobody is ever told what a crash would take back.
"""

from typing import NamedTuple

from rtot.clock import Now
from rtot.jobs.archive import Store, Turn
from rtot.jobs.job import Job, State
from rtot.storage import StorageError

# Seconds until what could not be kept is tried again.
_RETRY = 1.0


class Refused(NamedTuple):
    """A turn that could not be kept: why, and the jobs that were accepted in it."""

    why: str
    jobs: list[Job]


class Unkept:
    """The notes of one job table.

    The owner's duty: note what happens; `store_output` before anybody is told of it; `keep` at
    the end of each turn, and then take the jobs that are `kept` to the archive.
    """

    __slots__ = (
        "_buried",
        "_changed",
        "_deleted",
        "_ended",
        "_new",
        "_paused",
        "_retry_at",
        "_store",
        "_written",
        "why",
    )

    def __init__(self, store: Store | None) -> None:
        self._store = store
        self._new: dict[int, bytes] = {}
        self._changed: dict[int, Job] = {}
        self._ended: dict[int, Job] = {}
        self._deleted: dict[int, int] = {}
        # Deleted jobs to which nothing more can happen.
        self._buried: list[Job] = []
        self._written: dict[int, Job] = {}
        self._paused = False
        self._retry_at: float | None = None
        self.why = ""
        """Why something could not be kept; empty if nothing is wrong."""

    @property
    def count(self) -> int:
        """How many jobs would not be what they are after a crash."""
        return len(self._changed.keys() | self._deleted.keys())

    def accepted(self, job: Job, script: bytes) -> None:
        """The job is new."""
        if self._store is None:
            return
        self._new[job.id] = script
        self._changed[job.id] = job

    def check(self) -> None:
        """Raise StorageError while nothing can be kept."""
        if self.why:
            raise StorageError(self.why)

    def changed(self, job: Job) -> None:
        """Something of the job is to be kept anew."""
        if self._store is not None and job.id not in self._deleted:
            self._changed[job.id] = job

    def ended(self, job: Job, *, deleted: bool) -> bool:
        """Nothing more can happen to the job. Return whether something is to be kept first.

        If it was `deleted`, that is its deletion.
        """
        if self._store is None:
            return False
        if deleted:
            self._buried.append(job)
        else:
            self._ended[job.id] = job
        return True

    def deleted(self, job_id: int, number: int) -> None:
        """The job was deleted, which is the change of that number."""
        if self._store is None:
            return
        self._new.pop(job_id, None)
        self._changed.pop(job_id, None)
        self._deleted[job_id] = number
        ended = self._ended.pop(job_id, None)
        if ended is not None:
            self._buried.append(ended)

    def written(self, job: Job) -> None:
        """The job wrote something."""
        if self._store is not None:
            self._written[job.id] = job

    def script(self, job_id: int) -> bytes | None:
        """The job's script, None if it was not kept. Raises StorageError."""
        if self._store is None:
            return None
        script = self._new.get(job_id)
        return self._store.script(job_id) if script is None else script

    def store_output(self, wall: int) -> list[Job]:
        """Store what jobs wrote that go on; the jobs of which some had to be dropped."""
        if not self._written:
            return []
        written, self._written = self._written, {}
        return [
            job
            for job in written.values()
            # The output of a job that has ended is kept with its end.
            if job.state is not State.COMPLETE and not job.output.store(wall)
        ]

    def next_deadline(self) -> float | None:
        """When to call `keep`, whatever happens."""
        if self._retry_at is not None:
            return self._retry_at
        more = self._store is not None and self._store.has_work
        noted = self._changed or self._deleted or self._ended or self._buried
        return 0.0 if more or noted else None

    def keep(self, last_id: int, last_change: int, paused: bool, now: Now) -> Refused | None:
        """Keep it all; or say what was refused, and keep the rest in mind."""
        store = self._store
        if store is None:
            return None
        noted = self._changed or self._deleted or self._ended or self._buried
        if not (noted or paused != self._paused or store.has_work or self.why):
            return None
        if self._retry_at is not None and now.monotonic < self._retry_at:
            return Refused(self.why, [])
        ended = {i: job.output.keep(now.wall) for i, job in self._ended.items()}
        deleted = [(number, i) for i, number in self._deleted.items()]
        changed = list(self._changed.values())
        try:
            store.keep(Turn(self._new, changed, ended, deleted, last_id, last_change, paused))
        except StorageError as failure:
            return self.refuse(str(failure), now)
        self._new.clear()
        self._changed.clear()
        self._deleted.clear()
        self._paused = paused
        self._retry_at = None
        self.why = ""
        return None

    def kept(self) -> list[Job]:
        """The jobs whose end, or deletion, is kept since the last call."""
        if self.why or not (self._ended or self._buried):
            return []
        ended = [*self._ended.values(), *self._buried]
        self._ended, self._buried = {}, []
        return ended

    def refuse(self, why: str, now: Now) -> Refused:
        """Keep nothing of what was noted, for now; what is refused for good."""
        self.why = why
        self._retry_at = now.monotonic + _RETRY
        refused = [self._changed.pop(job_id) for job_id in self._new]
        self._new.clear()
        for job in self._ended.values():
            # It is told of now, although its end cannot be kept.
            job.output.store(now.wall)
        return Refused(why, refused)
