"""What has happened to a job, as a line of the log. README's samples for jq ask for these names."""

from rtot.api.job_json import exit_text
from rtot.jobs.job import Job
from rtot.jobs.journal import Entry, Fact
from rtot.jobs.stop import Stop

Pairs = dict[str, str | int | float | tuple[str, ...]]
# What stands for a name where there is none. It is no name.
NOBODY = "-"


def job_line(entry: Entry) -> tuple[str, Pairs]:
    """The message, and what is to be told with it."""
    job = entry.job
    pairs: Pairs = {"by": job.by or NOBODY, "job": job.id}
    match entry.fact:
        case Fact.ACCEPTED:
            return "job accepted", pairs | _nature(job)
        case Fact.STARTED:
            waited = _seconds(job.create, job.start)
            return "job started", pairs | {"pid": job.pid or 0, "waited": waited}
        case Fact.COMPLETED:
            return "job complete", pairs | _nature(job) | _outcome(job, entry.kept)
        case _:
            assert entry.stop is not None
            return "job killed", pairs | _receipt(entry.stop)


def _nature(job: Job) -> Pairs:
    pairs: Pairs = {"labels": job.options.labels, "title": job.title}
    if job.options.group is not None:
        pairs["group"] = job.options.group
    return pairs


def _outcome(job: Job, kept: int) -> Pairs:
    assert job.reason is not None
    pairs: Pairs = {
        "reason": job.reason.value,
        "exit": exit_text(job) or "0",
        "seconds": _seconds(job.start, job.complete) if job.start else 0.0,
        "bytes": kept,
    }
    if job.cut:
        pairs["dropped"] = sum(job.output.dropped)
    if job.usage is not None:
        pairs["peak"] = job.usage.peak
    return pairs


def _receipt(stop: Stop) -> Pairs:
    return {
        "cause": stop.why.cause.value,
        "killed_by": stop.why.by or NOBODY,
        "signal": stop.signal.name,
        "signalled": _processes(stop.signalled),
        "escalated": _processes(stop.escalated),
        "surviving": _processes(stop.surviving),
    }


def _processes(found: dict[int, str]) -> tuple[str, ...]:
    return tuple(f"{pid} {command}" for pid, command in found.items())


def _seconds(start: int, end: int) -> float:
    # A clock may have been set back meanwhile.
    return round(max(0, end - start) / 1e9, 6)
