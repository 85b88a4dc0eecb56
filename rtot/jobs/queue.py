"""The jobs that wait to be started: which is next, and when.

First come, first served. Only a few jobs (`max_starting`) may be starting at a time: a new
process uses the processor at first, so more of them would only slow each other down. When a job
cannot be started for lack of a resource, all jobs wait, longer after each failure.
"""

from collections import deque

from rtot.config import Settings
from rtot.jobs.job import OVER, Job, State

# About how long, in seconds, a new process uses the processor before it waits for something.
STARTING = 0.02
_FIRST_RETRY = 0.1
_LONGEST_RETRY = 2.0
_QUEUED = frozenset({State.NEW})
_BUSY = frozenset(State) - _QUEUED - OVER


class QueueFullError(Exception):
    """The job was not accepted: too many are waiting."""


class Queue:
    """Jobs in the state NEW. Those that have left it are skipped."""

    __slots__ = ("_busy", "_jobs", "_queued", "_retry_after", "_retry_at", "_settings", "_starting")

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        # How many jobs wait, and how many are being started or run.
        self._queued = 0
        self._busy = 0
        self._jobs: deque[Job] = deque()
        # The jobs that count as starting, and until when, in order of time.
        self._starting: dict[int, float] = {}
        self._retry_at = 0.0
        self._retry_after = 0.0

    @property
    def full(self) -> bool:
        """Whether no further job is accepted. Jobs that can be started at once do not count."""
        free = max(0, self._settings.max_running - self._busy)
        return self._queued >= self._settings.max_queued + free

    @property
    def unfinished(self) -> int:
        """How many jobs wait or run."""
        return self._queued + self._busy

    def add(self, job: Job) -> None:
        """The job is the last."""
        self._jobs.append(job)
        self._queued += 1

    def moved(self, before: State, after: State) -> None:
        """A job has changed its state."""
        self._queued += (after in _QUEUED) - (before in _QUEUED)
        self._busy += (after in _BUSY) - (before in _BUSY)

    def take(self, now: float) -> Job | None:
        """The job to be started now, if there is one; then report the outcome.

        Call `started`, and `ended` when the process is gone; or `put_back`; or neither, if the
        job cannot be started at all.
        """
        if self._busy >= self._settings.max_running:
            return None
        while self._starting and next(iter(self._starting.values())) <= now:
            del self._starting[next(iter(self._starting))]
        if len(self._starting) >= self._settings.max_starting or self._retry_at > now:
            return None
        while self._jobs:
            job = self._jobs.popleft()
            if job.state is State.NEW:
                return job
        return None

    def next_time(self) -> float | None:
        """When to call `take` next; None if something else has to change first."""
        if not self._queued or self._busy >= self._settings.max_running:
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

    def put_back(self, job: Job, now: float) -> bool:
        """The job could not be started now. Returns whether it is the first in a row."""
        news = not self._retry_after
        self._retry_after = min(max(_FIRST_RETRY, self._retry_after * 2), _LONGEST_RETRY)
        self._retry_at = now + self._retry_after
        # Behind those that were put back before it.
        ahead = []
        while self._jobs and self._jobs[0].id < job.id:
            ahead.append(self._jobs.popleft())
        self._jobs.extendleft(reversed([*ahead, job]))
        return news
