"""Where complete jobs are kept: in memory here, or behind the same protocol in a database.

An archive returns a job by id or by idempotency key, the oldest job, or a page of the jobs that
match a selection. It never returns all jobs at once: there may be a million.
"""

import bisect
from collections import deque
from collections.abc import Callable
from typing import NamedTuple, Protocol

from rtot.clock import Now
from rtot.jobs.job import Job, Key
from rtot.jobs.output import Small
from rtot.jobs.selection import Selection


class Page(NamedTuple):
    """Some jobs in order of id, up or down, and the id at which the next page begins."""

    jobs: list[Job]
    next: int | None


class Archive(Protocol):
    """Jobs to which nothing more can happen. The job table adds, reads and removes them."""

    def __len__(self) -> int:
        """How many there are."""

    def add(self, job: Job, now: float) -> None:
        """The job is complete. Calls come in order of time (monotonic)."""

    def get(self, job_id: int) -> Job | None:
        """The job of that id."""

    def page(
        self, selection: Selection, first: int, limit: int, look: int, *, down: bool = False
    ) -> Page:
        """At most `limit` of the jobs that match `selection`, with an id of at least `first`.

        `down`: in descending order, with an id of at most `first`. At most `look` jobs are
        examined, so a page may be short without being the last one.
        """

    def changed_after(self, number: int, limit: int) -> list[Job]:
        """The first `limit` jobs whose last change came after that number, in that order."""

    def by_key(self, key: Key) -> Job | None:
        """The job that was submitted under that idempotency key."""

    def oldest(self) -> tuple[int, float] | None:
        """The job that was added first, and when. Those that are spared do not count."""

    def spare(self, job_id: int) -> None:
        """Pass over the job, which is the oldest, from now on."""

    def unspare(self, job_id: int) -> None:
        """It counts again, as the oldest, if it is there and was spared."""

    @property
    def spared(self) -> int:
        """How many are spared."""

    def remove(self, job: Job) -> None:
        """Forget the job, and remove its output."""


class Turn(NamedTuple):
    """What has happened since what was kept last.

    `new` jobs, with their scripts; `changed` jobs, new ones too; of those that have ended what is
    not in files of their output (`ended`); the ids of the `deleted`, each behind the number of that
    change; what is `paused`, the ids and numbers of changes that were given.
    """

    new: dict[int, bytes]
    changed: list[Job]
    ended: dict[int, Small]
    deleted: list[tuple[int, int]]
    last_id: int
    last_change: int
    paused: bool


class Recovered(NamedTuple):
    """What a server before this one has kept, but for the jobs that were complete.

    `waiting` jobs, and those that were `started`, or may have been, in order of id. `rebooted`:
    the machine was meanwhile. `sure`: every job that was started is among those. `deletions` are
    all that came after the change of the number `deletions_from`.
    """

    waiting: list[Job]
    started: list[Job]
    next_id: int
    next_change: int
    deletions: list[tuple[int, int]]
    deletions_from: int
    paused: bool
    rebooted: bool
    sure: bool


class Store(Archive, Protocol):
    """An archive that outlives the server, and keeps the jobs that are not complete too."""

    def recover(self, now: Now) -> Recovered:
        """What there is. Call it once, before anything else."""

    def keep(self, turn: Turn) -> None:
        """Make it all durable, at once; or raise StorageError, having kept nothing.

        Call `add` for the jobs that are complete after that.
        """

    @property
    def has_work(self) -> bool:
        """Whether `keep` is to be called even if nothing has happened."""

    def script(self, job_id: int) -> bytes | None:
        """A script that was kept. Raises StorageError."""


class JobsById:
    """Jobs in order of id, at a cost that does not grow with their number."""

    __slots__ = ("_ids", "_jobs", "_start")

    def __init__(self) -> None:
        self._jobs: dict[int, Job] = {}
        # In order, including removed jobs. All ids before `_start` are of removed jobs.
        self._ids: list[int] = []
        self._start = 0

    def __len__(self) -> int:
        return len(self._jobs)

    def add(self, job: Job) -> None:
        self._jobs[job.id] = job
        if not self._ids or job.id > self._ids[-1]:
            self._ids.append(job.id)
        else:
            bisect.insort(self._ids, job.id, self._start)

    def get(self, job_id: int) -> Job | None:
        return self._jobs.get(job_id)

    def all(self) -> list[Job]:
        """All of them, in the order in which they were added."""
        return list(self._jobs.values())

    def remove(self, job_id: int) -> None:
        """Forget the job. It must be there."""
        del self._jobs[job_id]
        ids = self._ids
        while self._start < len(ids) and ids[self._start] not in self._jobs:
            self._start += 1
        if 2 * self._start >= len(ids):
            del ids[: self._start]
            self._start = 0
        if len(ids) - self._start > 64 + 2 * len(self._jobs):
            self._ids = [i for i in ids if i in self._jobs]
            self._start = 0

    def page(
        self, selection: Selection, first: int, limit: int, look: int, *, down: bool = False
    ) -> Page:
        """As Archive.page."""
        found: list[Job] = []
        ids = self._ids
        if down:
            indices = range(bisect.bisect(ids, first, self._start) - 1, self._start - 1, -1)
        else:
            indices = range(bisect.bisect_left(ids, first, self._start), len(ids))
        for index in indices:
            job = self._jobs.get(self._ids[index])
            if job is None:
                continue
            if len(found) == limit or not look:
                return Page(found, job.id)
            look -= 1
            if selection.matches(job):
                found.append(job)
        return Page(found, None)


class ByChange:
    """Ids of jobs in the order of their last change. Entries of earlier changes are passed over."""

    __slots__ = ("_ids", "_numbers")

    def __init__(self) -> None:
        self._numbers: list[int] = []
        self._ids: list[int] = []

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, job: Job) -> None:
        """The job has changed, or has come here after its last change."""
        if not self._numbers or job.change > self._numbers[-1]:
            self._numbers.append(job.change)
            self._ids.append(job.id)
        else:
            at = bisect.bisect(self._numbers, job.change)
            self._numbers.insert(at, job.change)
            self._ids.insert(at, job.id)

    def after(self, number: int, limit: int, get: Callable[[int], Job | None]) -> list[Job]:
        """The first `limit` of the jobs whose last change came after that number."""
        found: list[Job] = []
        for at in range(bisect.bisect(self._numbers, number), len(self._numbers)):
            job = get(self._ids[at])
            if job is not None and job.change == self._numbers[at]:
                found.append(job)
                if len(found) == limit:
                    break
        return found

    def sweep(self, alive: int, get: Callable[[int], Job | None]) -> None:
        """Drop the entries that are passed over, if they are many beside those of `alive` jobs."""
        if len(self._ids) <= 64 + 3 * alive:
            return
        numbers, ids = self._numbers, self._ids
        self._numbers, self._ids = [], []
        for number, job_id in zip(numbers, ids, strict=True):
            job = get(job_id)
            if job is not None and job.change == number:
                self._numbers.append(number)
                self._ids.append(job_id)


def merge(one: Page, other: Page, limit: int, *, down: bool = False) -> Page:
    """The beginning of two pages as one page. No job is on both."""
    ends = [page.next for page in (one, other) if page.next is not None]
    horizon = (max(ends) if down else min(ends)) if ends else None
    jobs = sorted((*one.jobs, *other.jobs), key=lambda job: job.id, reverse=down)
    if horizon is not None:
        jobs = [job for job in jobs if (job.id > horizon if down else job.id < horizon)]
    if len(jobs) > limit:
        return Page(jobs[:limit], jobs[limit].id)
    return Page(jobs, horizon)


class MemoryArchive:
    """An Archive that lasts as long as the process."""

    __slots__ = ("_added", "_by_change", "_jobs", "_keys", "_spared", "_times")

    def __init__(self) -> None:
        self._jobs = JobsById()
        self._keys: dict[Key, Job] = {}
        self._by_change = ByChange()
        # The ids that were added, and when; including jobs that were removed since.
        self._added: deque[int] = deque()
        self._times: deque[float] = deque()
        self._spared: dict[int, float] = {}

    def __len__(self) -> int:
        return len(self._jobs)

    def add(self, job: Job, now: float) -> None:
        self._jobs.add(job)
        self._added.append(job.id)
        self._times.append(now)
        self._by_change.add(job)
        if job.key is not None:
            self._keys[job.key] = job

    def get(self, job_id: int) -> Job | None:
        return self._jobs.get(job_id)

    def page(
        self, selection: Selection, first: int, limit: int, look: int, *, down: bool = False
    ) -> Page:
        return self._jobs.page(selection, first, limit, look, down=down)

    def changed_after(self, number: int, limit: int) -> list[Job]:
        return self._by_change.after(number, limit, self._jobs.get)

    def by_key(self, key: Key) -> Job | None:
        return self._keys.get(key)

    def oldest(self) -> tuple[int, float] | None:
        self._drop_removed()
        return (self._added[0], self._times[0]) if self._added else None

    def spare(self, job_id: int) -> None:
        assert self._added[0] == job_id
        self._added.popleft()
        self._spared[job_id] = self._times.popleft()

    def unspare(self, job_id: int) -> None:
        time = self._spared.pop(job_id, None)
        if time is not None:
            self._added.appendleft(job_id)
            self._times.appendleft(time)

    @property
    def spared(self) -> int:
        return len(self._spared)

    def remove(self, job: Job) -> None:
        self._jobs.remove(job.id)
        if job.key is not None:
            del self._keys[job.key]
        job.output.remove()
        self._by_change.sweep(len(self._jobs), self._jobs.get)
        self._spared.pop(job.id, None)
        self._drop_removed()
        if len(self._added) > 64 + 2 * len(self._jobs):
            kept = [(i, t) for i, t in zip(self._added, self._times, strict=True) if self.get(i)]
            self._added, self._times = deque(i for i, _ in kept), deque(t for _, t in kept)

    def _drop_removed(self) -> None:
        while self._added and self._jobs.get(self._added[0]) is None:
            self._added.popleft()
            self._times.popleft()
