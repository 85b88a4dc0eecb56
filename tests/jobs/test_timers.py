from rtot.jobs.job import PLAIN, Job, Running
from rtot.jobs.output import Output
from rtot.jobs.timers import Due, Timers
from tests.world import MemoryDisk


def running(job_id: int, timeout: float | None) -> Job:
    job = Job(job_id, PLAIN, Output(MemoryDisk(), str(job_id), limit=9, memory=9, keep_end=9), 1)
    job.timeout = timeout
    job.running = Running(10.0, PLAIN)
    return job


def due(timers: Timers, now: float) -> list[tuple[int, Due]]:
    return [(job.id, what) for job, what in timers.due(now)]


def test_a_timeout_counts_from_the_start() -> None:
    timers = Timers()
    job, other = running(0, 5.0), running(1, None)
    timers.set_timeout(job)
    timers.set_timeout(other)
    assert timers.next() == 15.0
    assert due(timers, 14.9) == []
    job.timeout = 7.0
    timers.set_timeout(job)
    assert due(timers, 16.9) == []
    assert due(timers, 17.0) == [(0, Due.TIMEOUT)]
    assert due(timers, 99.0) == []
    assert timers.next() is None


def test_a_timeout_may_be_taken_back() -> None:
    timers = Timers()
    job = running(0, 5.0)
    timers.set_timeout(job)
    job.timeout = None
    timers.set_timeout(job)
    assert timers.next() is None


def test_after_the_exit_only_the_pipes_are_waited_for() -> None:
    timers = Timers()
    job = running(0, 5.0)
    timers.set_timeout(job)
    timers.exited(job, 20.0)
    assert timers.next() == 20.0
    assert due(timers, 20.0) == [(0, Due.DRAIN)]
    assert timers.next() is None


def test_a_finished_job_has_none() -> None:
    timers = Timers()
    job = running(0, 5.0)
    timers.set_timeout(job)
    timers.clear(job)
    job.running = None
    assert due(timers, 99.0) == []
