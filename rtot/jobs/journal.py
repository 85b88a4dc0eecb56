"""What has happened to jobs, for the operator: a line of the log for each fact, and counts.

Jobs that were deleted count too: they ran.
"""

from collections.abc import Iterator
from enum import Enum, auto
from typing import NamedTuple

from rtot.jobs.job import SHOWN, Job, Reason, State
from rtot.jobs.output import Stream
from rtot.jobs.stop import Stop
from rtot.metrics import Family, Histogram, counter, labelled

# Seconds: from a job that is started at once to one that waits, or runs, for a day.
_BOUNDS = (0.01, 0.1, 1.0, 10.0, 60.0, 300.0, 1800.0, 3600.0, 21600.0, 86400.0)
_STATES = tuple(dict.fromkeys(SHOWN.values()))


class Fact(Enum):
    """What has happened to a job."""

    ACCEPTED = auto()
    STARTED = auto()
    COMPLETED = auto()
    KILLED = auto()


class Entry(NamedTuple):
    """Something that the log is to tell of a job.

    `stop`: by which it was KILLED. `kept`: bytes of its output, which may be gone by now.
    """

    fact: Fact
    job: Job
    stop: Stop | None = None
    kept: int = 0


class Journal:
    """The job table says what happens; the owner takes the entries in each turn."""

    __slots__ = (
        "_accepted",
        "_completed",
        "_dropped",
        "_entries",
        "_failed",
        "_kept",
        "_running",
        "_states",
        "_waiting",
    )

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._states = dict.fromkeys(_STATES, 0)
        self._accepted = 0
        self._completed = dict.fromkeys(Reason, 0)
        self._failed = 0
        self._waiting = Histogram(_BOUNDS)
        self._running = Histogram(_BOUNDS)
        self._kept = dict.fromkeys(Stream, 0)
        self._dropped = dict.fromkeys(Stream, 0)

    def accepted(self, job: Job) -> None:
        self._accepted += 1
        self._states[SHOWN[State.NEW]] += 1
        self._entries.append(Entry(Fact.ACCEPTED, job))

    def restored(self, job: Job) -> None:
        """A server before this one had accepted it."""
        self._states[SHOWN[job.state]] += 1

    def retained(self, count: int) -> None:
        """So many were complete when this server started."""
        self._states[SHOWN[State.COMPLETE]] += count

    def refused(self, job: Job) -> None:
        """It could not be kept: there is nothing to tell of it."""
        self._entries = [entry for entry in self._entries if entry.job is not job]

    def started(self, job: Job) -> None:
        self._entries.append(Entry(Fact.STARTED, job))
        # A clock may have been set back meanwhile.
        self._waiting.observe(max(0, job.start - job.create) / 1e9)

    def completed(self, job: Job) -> None:
        assert job.reason is not None
        self._completed[job.reason] += 1
        self._failed += job.failed
        if job.pid is not None:
            self._running.observe(max(0, job.complete - job.start) / 1e9)
        kept = sum(map(job.output.size, Stream))
        self._entries.append(Entry(Fact.COMPLETED, job, kept=kept))

    def stopped(self, job: Job, stop: Stop) -> None:
        """A stop is over. The last one that was to end the job is told of."""
        if stop is job.stop:
            self._entries.append(Entry(Fact.KILLED, job, stop))

    def moved(self, before: State, after: State) -> None:
        """Clients see the job in another state."""
        self._states[SHOWN[before]] -= 1
        self._states[SHOWN[after]] += 1

    def deleted(self, job: Job) -> None:
        """Clients do not see the job any more."""
        self._states[SHOWN[job.state]] -= 1

    def output(self, stream: Stream, kept: int, dropped: int) -> None:
        """A job wrote so many bytes."""
        self._kept[stream] += kept
        self._dropped[stream] += dropped

    def take(self) -> list[Entry]:
        """What is to be told since the last call."""
        entries, self._entries = self._entries, []
        return entries

    def families(self) -> Iterator[Family]:
        """As metrics.Source."""
        yield Family(
            "rtot_jobs",
            "gauge",
            "Jobs that are there, by state.",
            labelled("state", self._states.items()),
        )
        yield counter("rtot_jobs_accepted_total", "Jobs that were accepted.", self._accepted)
        completed = [(reason.value, count) for reason, count in self._completed.items()]
        yield Family(
            "rtot_jobs_completed_total",
            "counter",
            "Jobs that ended, by the reason.",
            labelled("reason", completed),
        )
        yield counter("rtot_jobs_failed_total", "Jobs that ended and had failed.", self._failed)
        for name, histogram, help in (
            ("waiting", self._waiting, "Time from being accepted to being started."),
            ("running", self._running, "Time from being started to being complete."),
        ):
            yield Family(f"rtot_job_{name}_seconds", "histogram", help, histogram.samples())
        for name, counts, help in (
            ("output", self._kept, "Output of jobs that was kept."),
            ("dropped", self._dropped, "Output of jobs that was dropped."),
        ):
            samples = labelled("stream", [(s.name.lower(), counts[s]) for s in Stream])
            yield Family(f"rtot_job_{name}_bytes_total", "counter", help, samples)
