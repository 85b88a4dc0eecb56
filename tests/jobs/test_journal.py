"""What the operator is told of jobs, and what is counted."""

from signal import Signals

import pytest

from rtot.config import Settings
from rtot.jobs.archive import MemoryArchive
from rtot.jobs.job import Job, Options, Reason
from rtot.jobs.journal import Fact
from rtot.jobs.output import Stream
from rtot.jobs.table import JobTable
from rtot.metrics import render
from tests.world import WHY, MemoryDisk, PaperProcesses, at

SCRIPT = b"#!/bin/sh\n"


class Told:
    """A job table whose journal is read after each step."""

    def __init__(self, **settings: object) -> None:
        self.disk = MemoryDisk()
        self.jobs = JobTable(Settings(**settings), self.disk, MemoryArchive())  # type: ignore[arg-type]
        self.world = PaperProcesses(self.jobs)

    def facts(self) -> list[tuple[int, Fact]]:
        return [(entry.job.id, entry.fact) for entry in self.jobs.journal.take()]

    def run(self, **options: object) -> Job:
        job = self.jobs.submit(SCRIPT, at(1), Options(**options), by="ada")  # type: ignore[arg-type]
        self.world.obey(at(3))
        return job

    def counts(self) -> dict[str, float]:
        """Each series that is not 0."""
        lines = b"".join(render([self.jobs.journal])).decode().splitlines()
        pairs = [line.rsplit(" ", 1) for line in lines if not line.startswith("#")]
        return {name: float(value) for name, value in pairs if float(value)}


@pytest.fixture(name="told")
def _told() -> Told:
    return Told()


def test_a_job_from_its_beginning_to_its_end(told: Told) -> None:
    told.jobs.submit(SCRIPT, at(1))
    assert told.facts() == [(0, Fact.ACCEPTED)]
    assert told.facts() == []
    told.world.obey(at(3))
    assert told.facts() == [(0, Fact.STARTED)]
    told.jobs.output_received(0, Stream.ERR, b"hello", at(4))
    told.world.end(0, 3 << 8, at(8))
    (entry,) = told.jobs.journal.take()
    assert (entry.fact, entry.kept, entry.job.id) == (Fact.COMPLETED, 5, 0)
    told.jobs.forget(entry.job, at(9))
    assert told.facts() == []


def test_a_kill_is_told_once_its_stop_is_over(told: Told) -> None:
    job = told.run()
    told.facts()
    told.world.obstinate = True
    told.jobs.kill(job, at(4), Signals.SIGTERM, 5.0, WHY)
    told.world.obey(at(4))
    assert told.facts() == []
    for seconds in (9, 9.3, 9.4, 9.5, 9.6):
        told.jobs.expire(at(seconds))
        told.world.obey(at(seconds))
    completed, killed = told.jobs.journal.take()
    assert (completed.fact, completed.job.reason) == (Fact.COMPLETED, Reason.KILLED)
    assert (killed.fact, killed.stop) == (Fact.KILLED, job.stop)


def test_of_two_kills_the_last_is_told(told: Told) -> None:
    job = told.run()
    told.facts()
    told.jobs.kill(job, at(4), Signals.SIGTERM, 5.0, WHY)
    told.jobs.kill(job, at(4), Signals.SIGHUP, None, WHY)
    told.jobs.kill(job, at(4), Signals.SIGTERM, 5.0, WHY)
    for seconds in (4, 4.1, 4.2):
        told.jobs.expire(at(seconds))
        told.world.obey(at(seconds))
    assert sorted(told.facts(), key=str) == [(0, Fact.COMPLETED), (0, Fact.KILLED)]


@pytest.mark.parametrize("started", [True, False])
def test_a_job_that_is_deleted_was_killed(told: Told, started: bool) -> None:
    job = told.jobs.submit(SCRIPT, at(1), by="ada")
    if started:
        told.world.obey(at(3))
    told.facts()
    told.jobs.forget(job, at(4))
    for seconds in (4, 4.1):
        told.jobs.expire(at(seconds))
        told.world.obey(at(seconds))
    facts = [(entry.fact, entry.job.reason, entry.job.by) for entry in told.jobs.journal.take()]
    assert (Fact.COMPLETED, Reason.KILLED, "ada") in facts
    assert ((Fact.KILLED, Reason.KILLED, "ada") in facts) == started
    counts = told.counts()
    assert counts['rtot_jobs_completed_total{reason="killed"}'] == 1
    assert not any(name.startswith("rtot_jobs{") for name in counts)


def test_nothing_has_happened(told: Told) -> None:
    assert told.counts() == {}
    names = [family.name for family in told.jobs.journal.families()]
    assert len(set(names)) == len(names) == 8


def test_counts() -> None:
    told = Told(max_running=1, max_output=6)
    told.run()
    told.run()
    assert told.counts()['rtot_jobs{state="new"}'] == 1
    assert told.counts()['rtot_jobs{state="running"}'] == 1
    told.jobs.output_received(0, Stream.OUT, b"abc", at(4))
    told.jobs.output_received(0, Stream.ERR, b"abcdef", at(4))
    told.world.end(0, 0, at(5))
    told.world.obey(at(101))
    told.world.end(1, 9, at(102))
    counts = {n: v for n, v in told.counts().items() if "_bucket" not in n}
    assert counts == {
        'rtot_jobs{state="complete"}': 2,
        "rtot_jobs_accepted_total": 2,
        'rtot_jobs_completed_total{reason="exited"}': 1,
        'rtot_jobs_completed_total{reason="signaled"}': 1,
        "rtot_jobs_failed_total": 1,
        "rtot_job_waiting_seconds_sum": 102,
        "rtot_job_waiting_seconds_count": 2,
        "rtot_job_running_seconds_sum": 3,
        "rtot_job_running_seconds_count": 2,
        'rtot_job_output_bytes_total{stream="out"}': 3,
        'rtot_job_output_bytes_total{stream="err"}': 3,
        'rtot_job_dropped_bytes_total{stream="err"}': 3,
    }
    assert told.counts()['rtot_job_waiting_seconds_bucket{le="10.0"}'] == 1
    assert told.counts()['rtot_job_waiting_seconds_bucket{le="300.0"}'] == 2


def test_a_job_that_cannot_be_started_has_not_run(told: Told) -> None:
    job = told.jobs.submit(SCRIPT, at(1))
    assert told.jobs.take_job(at(2)) is job
    told.jobs.not_started(job, "no such file", at(2))
    assert told.facts() == [(0, Fact.ACCEPTED), (0, Fact.COMPLETED)]
    counts = told.counts()
    assert counts['rtot_jobs_completed_total{reason="not started"}'] == 1
    assert counts["rtot_jobs_failed_total"] == 1
    assert not any("running" in name for name in counts)


def test_a_clock_that_was_set_back(told: Told) -> None:
    told.jobs.submit(SCRIPT, at(9))
    told.world.obey(at(3))
    told.world.end(0, 0, at(2))
    assert "rtot_job_running_seconds_sum" not in told.counts()
    assert told.counts()["rtot_job_running_seconds_count"] == 1
