from signal import Signals

from rtot.api.job_lines import job_line
from rtot.jobs.job import Job, Options, Reason, State, Usage
from rtot.jobs.journal import Entry, Fact
from rtot.jobs.output import Output, Stream
from rtot.jobs.stop import Cause, Scope, Stop, Why
from tests.world import EPOCH, MemoryDisk

SECOND = 1_000_000_000


def make_job(by: str | None = "ada", group: str | None = None) -> Job:
    output = Output(MemoryDisk(), "7", limit=3, memory=9, keep_end=0)
    job = Job(7, Options(labels=("a", "b"), group=group), output, EPOCH, "", "make all", by)
    job.pid = 42
    job.start = EPOCH + SECOND // 4
    return job


def test_accepted_and_started() -> None:
    job = make_job()
    assert job_line(Entry(Fact.ACCEPTED, job)) == (
        "job accepted",
        {"by": "ada", "job": 7, "labels": ("a", "b"), "title": "make all"},
    )
    assert job_line(Entry(Fact.STARTED, job)) == (
        "job started",
        {"by": "ada", "job": 7, "pid": 42, "waited": 0.25},
    )
    assert job_line(Entry(Fact.STARTED, make_job(None)))[1]["by"] == "-"


def test_complete() -> None:
    job = make_job()
    job.complete = job.start + 2 * SECOND
    job.state, job.reason, job.status = State.COMPLETE, Reason.TIMEOUT, 15
    job.usage = Usage(1, 2, 4096)
    job.output.append(Stream.OUT, b"abcde", EPOCH)
    assert job_line(Entry(Fact.COMPLETED, job, kept=3)) == (
        "job complete",
        {
            "by": "ada",
            "job": 7,
            "labels": ("a", "b"),
            "title": "make all",
            "reason": "timeout",
            "exit": "signal: terminated",
            "seconds": 2.0,
            "bytes": 3,
            "dropped": 2,
            "peak": 4096,
        },
    )


def test_complete_and_never_started() -> None:
    job = make_job()
    job.start, job.complete = 0, EPOCH
    job.state, job.reason = State.COMPLETE, Reason.KILLED
    pairs = job_line(Entry(Fact.COMPLETED, job))[1]
    assert (pairs["exit"], pairs["seconds"], pairs["bytes"]) == ("0", 0.0, 0)
    assert "peak" not in pairs


def test_killed() -> None:
    job = make_job()
    stop = Stop(7, 42, Signals.SIGTERM, 5.0, Scope.TREE, 0.0)
    stop.why = Why(Cause.DELETE, "rudi")
    stop.signalled = {42: "sh", 43: "sl eep"}
    stop.escalated = {43: "sl eep"}
    assert job_line(Entry(Fact.KILLED, job, stop)) == (
        "job killed",
        {
            "by": "ada",
            "job": 7,
            "cause": "delete",
            "killed_by": "rudi",
            "signal": "SIGTERM",
            "signalled": ("42 sh", "43 sl eep"),
            "escalated": ("43 sl eep",),
            "surviving": (),
        },
    )


def test_the_group_is_told_if_there_is_one() -> None:
    job = make_job(group="deploy")
    _, pairs = job_line(Entry(Fact.ACCEPTED, job))
    assert pairs["group"] == "deploy"
    _, pairs = job_line(Entry(Fact.ACCEPTED, make_job()))
    assert "group" not in pairs
