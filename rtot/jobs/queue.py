"""The jobs that wait to be started: which is next, and when.

First come, first served, of those that may be started now. Jobs of a group run so many at a time,
one unless the operator says otherwise, in order of their ids; all others are in a group without a
limit. A group whose next job may be started takes part with the id of that job, so that neither a
long group nor many of them delays a job that was submitted earlier. What is not BLOCKED any more
takes the place that its id gives it.

Only a few jobs (`max_starting`) may be starting at a time: a new process uses the processor at
first, so more of them would only slow each other down. When a job cannot be started for lack of a
resource, all jobs wait, longer after each failure.
"""

import heapq
import math
from collections.abc import Iterator

from rtot.config import Settings
from rtot.jobs.job import OVER, Job, State
from rtot.metrics import Family, gauge

# About how long, in seconds, a new process uses the processor before it waits for something.
STARTING = 0.02
_FIRST_RETRY = 0.1
_LONGEST_RETRY = 2.0
_QUEUED = frozenset({State.BLOCKED, State.NEW})
_BUSY = frozenset(State) - _QUEUED - OVER
# A heap is swept when it has more entries than this beyond twice the live ones.
_SLACK = 64


class QueueFullError(Exception):
    """The job was not accepted: too many are waiting."""


class _Group:
    """Jobs of which at most `limit` are `busy`: being started, or running."""

    __slots__ = ("busy", "ids", "jobs", "limit", "name", "new", "ready")

    def __init__(self, name: str | None, limit: float) -> None:
        self.name = name
        self.limit = limit
        self.busy = 0
        # Those that wait, blocked ones too.
        self.jobs: dict[int, Job] = {}
        # A heap of the ids of those that are not blocked, and of some that wait no more.
        self.ids: list[int] = []
        # How many are not blocked; and how many of these could be started now.
        self.new = 0
        self.ready = 0

    def next_id(self) -> int | None:
        """The job that may be started now, if there is one."""
        ids = self.ids
        while ids and ids[0] not in self.jobs:
            heapq.heappop(ids)
        return ids[0] if ids and self.busy < self.limit else None

    def sweep(self) -> None:
        if len(self.ids) > _SLACK + 2 * len(self.jobs):
            self.ids = sorted(i for i in self.ids if i in self.jobs)


class Queue:
    """Jobs in the states BLOCKED and NEW, and how many are being started or run."""

    __slots__ = (
        "_busy",
        "_groups",
        "_held",
        "_limits",
        "_queued",
        "_ready",
        "_ready_jobs",
        "_retry_after",
        "_retry_at",
        "_settings",
        "_starting",
        "paused",
    )

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._limits = dict(settings.groups)
        # How many jobs wait, how many of these wait for nothing but a place among those that run,
        # and how many are being started or run.
        self._queued = 0
        self._ready_jobs = 0
        self._busy = 0
        # Complete jobs that still have their place in their group.
        self._held: set[int] = set()
        # Those that have jobs.
        self._groups: dict[str | None, _Group] = {None: _Group(None, math.inf)}
        # A heap of groups by the id of their next job; and of some whose next job is another.
        self._ready: list[tuple[int, _Group]] = []
        # The jobs that count as starting, and until when, in order of time.
        self._starting: dict[int, float] = {}
        self._retry_at = 0.0
        self._retry_after = 0.0
        self.paused = False
        """Whether nothing is started, as the operator wants. It is no state of any job."""

    def has_room(self, group: str | None, *, blocked: bool) -> bool:
        """Whether a further job is accepted. Jobs that can be started at once do not count."""
        free = 0 if self.paused else max(0, self._settings.max_running - self._busy)
        if self._queued - min(free, self._ready_jobs) < self._settings.max_queued:
            return True
        found = self._groups.get(group)
        at_once = found is None or found.busy + found.new < found.limit
        return not blocked and at_once and self._ready_jobs < free

    @property
    def busy(self) -> int:
        """How many jobs are being started or run."""
        return self._busy

    def waiting(self, group: str) -> list[Job]:
        """The jobs of that group that wait, blocked ones too."""
        found = self._groups.get(group)
        return [] if found is None else list(found.jobs.values())

    def add(self, job: Job) -> None:
        """The job was accepted, and is BLOCKED or NEW."""
        self._queued += 1
        self._enter(job)

    def moved(self, job: Job, before: State, after: State) -> None:
        """A job that was added has changed its state."""
        self._queued += (after in _QUEUED) - (before in _QUEUED)
        if after in _QUEUED:
            self._enter(job)
        more = (after in _BUSY) - (before in _BUSY)
        if not more and before not in _QUEUED:
            return
        self._busy += more
        group = self._groups[job.options.group]
        group.busy += more
        if before in _QUEUED and after not in _QUEUED:
            group.jobs.pop(job.id, None)
            group.new -= before is State.NEW
            group.sweep()
        self._changed(group)

    def hold(self, job: Job) -> None:
        """The job is complete, and what is left of it is being ended: keep its place in its group.

        Otherwise the next one of the group would run beside that. Call `let_go` in the end.
        """
        if job.options.group is not None and job.id not in self._held:
            self._held.add(job.id)
            self._groups[job.options.group].busy += 1

    def let_go(self, job: Job) -> None:
        """Nothing of the job is being ended any more."""
        if job.id in self._held:
            self._held.remove(job.id)
            group = self._groups[job.options.group]
            group.busy -= 1
            self._changed(group)

    def take(self, now: float) -> Job | None:
        """The job to be started now, if there is one; then report the outcome.

        Call `started`, and `ended` when the process is gone; or `put_back`; or neither, if the
        job cannot be started at all.
        """
        if self.paused or self._busy >= self._settings.max_running:
            return None
        while self._starting and next(iter(self._starting.values())) <= now:
            del self._starting[next(iter(self._starting))]
        if len(self._starting) >= self._settings.max_starting or self._retry_at > now:
            return None
        group = self._next_group()
        if group is None:
            return None
        heapq.heappop(self._ready)
        return group.jobs.pop(heapq.heappop(group.ids))

    def next_time(self) -> float | None:
        """When to call `take` next; None if something else has to change first."""
        if self.paused or self._busy >= self._settings.max_running or self._next_group() is None:
            return None
        if len(self._starting) < self._settings.max_starting:
            return self._retry_at
        return max(self._retry_at, next(iter(self._starting.values())))

    def started(self, job: Job, now: float) -> None:
        """The job runs."""
        self._retry_after = 0.0
        self._starting[job.id] = now + STARTING

    def ended(self, job_id: int) -> None:
        """The job's process is gone."""
        self._starting.pop(job_id, None)

    def put_back(self, now: float) -> bool:
        """A job could not be started now. Returns whether it is the first in a row."""
        news = not self._retry_after
        self._retry_after = min(max(_FIRST_RETRY, self._retry_after * 2), _LONGEST_RETRY)
        self._retry_at = now + self._retry_after
        return news

    def families(self) -> Iterator[Family]:
        """As metrics.Source."""
        yield gauge("rtot_queue_length", "Jobs that wait.", self._queued)
        ready = "Jobs that wait for nothing but a place among those that run."
        yield gauge("rtot_queue_ready", ready, self._ready_jobs)
        yield gauge("rtot_queue_paused", "1 if nothing is started.", int(self.paused))

    def _enter(self, job: Job) -> None:
        name = job.options.group
        group = self._groups.get(name)
        if group is None:
            assert name is not None
            group = self._groups[name] = _Group(name, self._limits.get(name, 1))
        group.jobs[job.id] = job
        if job.state is State.NEW:
            heapq.heappush(group.ids, job.id)
            group.new += 1
            self._count(group)
            if group.ids[0] == job.id:
                self._announce(group)

    def _changed(self, group: _Group) -> None:
        """One of the group has come to an end, or waits no more."""
        self._count(group)
        if group.busy or group.jobs or group.name is None:
            self._announce(group)
        else:
            del self._groups[group.name]

    def _count(self, group: _Group) -> None:
        ready = int(min(group.new, max(0, group.limit - group.busy)))
        self._ready_jobs += ready - group.ready
        group.ready = ready

    def _announce(self, group: _Group) -> None:
        """Have the group take part with its next job, if that may be started."""
        job_id = group.next_id()
        if job_id is None:
            return
        heapq.heappush(self._ready, (job_id, group))
        if len(self._ready) > _SLACK + 2 * len(self._groups):
            heads = [(each.next_id(), each) for each in self._groups.values()]
            self._ready = [(first, each) for first, each in heads if first is not None]
            heapq.heapify(self._ready)

    def _next_group(self) -> _Group | None:
        """The group whose next job is the next of all."""
        ready = self._ready
        while ready:
            job_id, group = ready[0]
            if group.next_id() == job_id:
                return group
            heapq.heappop(ready)
        return None
