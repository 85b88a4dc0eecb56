"""Jobs that are not in the queue yet: they are to come after other jobs, or after some time.

What a job waits for is its own (`Blocked`). This knows who waits for which job. When that one is
complete those who wait are looked at, so many in a turn: thousands may wait for one, and each that
can never run ends those who wait for it in the same way.
"""

from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice

from rtot.deadlines import Deadlines
from rtot.jobs.job import Blocked, Job, Options

# How many jobs are looked at in a turn.
_MOST = 200
_SLACK = 64


class UnknownJobError(Exception):
    """The job was not accepted: it is to come after a job that does not exist."""

    def __init__(self, job_id: int) -> None:
        super().__init__(job_id)
        self.job_id = job_id


def prerequisites(
    options: Options, get: Callable[[int], Job | None], now: float
) -> tuple[Blocked | None, int | None]:
    """What a new job waits for, None for nothing; and the job that rules it out, if one does.

    Raises UnknownJobError.
    """
    pending = []
    failed = None
    for each in options.after:
        job = get(each.job_id)
        if job is None:
            raise UnknownJobError(each.job_id)
        if not job.over:
            pending.append(each)
        elif job.failed and not each.anyhow and failed is None:
            failed = each.job_id
    if not pending and not options.delay and failed is None:
        return None, None
    until = now + options.delay if options.delay else None
    return Blocked(pending, until), failed


class BlockedJobs:
    """Jobs in the state BLOCKED.

    The owner's duty: `add` each, say which jobs have `ended`, call `settle` at `next_deadline`,
    release or end those that it names, and `remove` each that is not BLOCKED any more.
    """

    __slots__ = ("_count", "_ended", "_entries", "_until", "_waiting", "reduced")

    def __init__(self) -> None:
        # By the job that they wait for; some of them wait no more.
        self._waiting: dict[int, list[Job]] = {}
        # Of jobs whose time has not come.
        self._until: Deadlines[Job] = Deadlines()
        # The jobs that have ended, and whether well, while there are some who wait for them.
        self._ended: deque[tuple[int, bool]] = deque()
        # How many are in all lists, and how many of these still wait.
        self._entries = 0
        self._count = 0
        self.reduced: list[Job] = []
        """Those that wait for fewer jobs than before; for the owner to clear."""

    def add(self, job: Job) -> None:
        """The job is BLOCKED."""
        blocked = job.blocked
        assert blocked is not None
        for prerequisite in blocked.pending:
            self._waiting.setdefault(prerequisite.job_id, []).append(job)
        self._entries += len(blocked.pending)
        self._count += len(blocked.pending)
        if blocked.until is not None:
            self._until.set(job, blocked.until)

    def remove(self, job: Job) -> None:
        """The job waits for nothing of this any more."""
        blocked = job.blocked
        assert blocked is not None
        job.blocked = None
        self._until.clear(job)
        self._count -= len(blocked.pending)
        if self._entries > _SLACK + 2 * self._count:
            self._sweep()

    def ended(self, job_id: int, *, well: bool) -> None:
        """The job is complete, and has succeeded or not."""
        if (waiting := self._waiting.get(job_id)) is not None:
            # Those that came first are looked at first.
            waiting.reverse()
            self._ended.append((job_id, well))

    def settle(self, now: float) -> Iterator[tuple[Job, int | None]]:
        """The jobs that wait no more, some of them: each with the job that has ruled it out.

        None: it may run.
        """
        for job in islice(self._until.due(now), _MOST):
            assert job.blocked is not None
            job.blocked.until = None
            if not job.blocked.pending:
                yield job, None
        for _ in range(_MOST):
            if not self._ended:
                return
            job_id, well = self._ended[0]
            waiting = self._waiting[job_id]
            job = waiting.pop()
            self._entries -= 1
            if not waiting:
                del self._waiting[job_id]
                self._ended.popleft()
            if job.blocked is not None:
                yield from self._settle_one(job, job_id, well=well)

    def _settle_one(self, job: Job, job_id: int, *, well: bool) -> Iterator[tuple[Job, int | None]]:
        blocked = job.blocked
        assert blocked is not None
        met = [each for each in blocked.pending if each.job_id == job_id]
        if not well and not all(each.anyhow for each in met):
            yield job, job_id
            return
        blocked.pending = [each for each in blocked.pending if each.job_id != job_id]
        self.reduced.append(job)
        self._count -= len(met)
        if not blocked.pending and blocked.until is None:
            yield job, None

    def next_deadline(self) -> float | None:
        """When to call `settle` (monotonic)."""
        return 0.0 if self._ended else self._until.next()

    def _sweep(self) -> None:
        """Drop the entries of jobs that wait no more."""
        self._entries = 0
        for job_id, waiting in list(self._waiting.items()):
            kept = [job for job in waiting if job.blocked is not None]
            self._waiting[job_id] = kept
            self._entries += len(kept)
            if not kept:
                del self._waiting[job_id]
        self._ended = deque(each for each in self._ended if each[0] in self._waiting)
