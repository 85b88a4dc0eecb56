from rtot.jobs.job import PLAIN, Job, State
from rtot.jobs.output import Output
from rtot.jobs.queue import STARTING, Queue
from tests.world import MemoryDisk

DISK = MemoryDisk()


def make_jobs(count: int) -> list[Job]:
    return [Job(i, PLAIN, Output(DISK, str(i), limit=1, memory=1), 1) for i in range(count)]


def test_first_come_first_served() -> None:
    queue = Queue(10)
    jobs = make_jobs(3)
    for job in jobs:
        queue.add(job)
    jobs[1].state = State.COMPLETE
    assert [queue.take(0.0), queue.take(0.0), queue.take(0.0)] == [jobs[0], jobs[2], None]


def test_few_are_in_their_first_moments() -> None:
    queue = Queue(2)
    jobs = make_jobs(5)
    for job in jobs:
        queue.add(job)
    for job in jobs[:2]:
        assert queue.next_time() <= 1.0
        assert queue.take(1.0) is job
        queue.started(job, 1.0)
    assert queue.take(1.0) is None
    assert queue.next_time() == 1.0 + STARTING
    queue.ended(0)
    queue.ended(99)
    assert queue.take(1.001) is jobs[2]
    queue.started(jobs[2], 1.001)
    assert queue.take(1.002) is None
    assert queue.take(1.0 + STARTING) is jobs[3]


def test_after_a_failure_all_wait_longer_each_time() -> None:
    queue = Queue(2)
    first, second = make_jobs(2)
    queue.add(first)
    queue.add(second)
    now = 0.0
    waits = []
    for attempt in range(8):
        assert queue.take(now) is first
        assert queue.put_back(first, now) == (attempt == 0)
        assert queue.take(now) is None
        waits.append(queue.next_time() - now)
        now = queue.next_time()
    assert waits == sorted(waits)
    assert 0 < waits[0] < waits[-1] <= 2.0
    assert queue.take(now) is first
    queue.started(first, now)
    assert queue.take(now) is second
    assert queue.put_back(second, now)


def test_those_that_are_put_back_keep_their_order() -> None:
    for order in ((0, 1, 2), (2, 1, 0), (1, 0, 2)):
        queue = Queue(10)
        jobs = make_jobs(4)
        for job in jobs:
            queue.add(job)
        taken = [queue.take(0.0) for _ in range(3)]
        assert taken == jobs[:3]
        for index in order:
            queue.put_back(jobs[index], 0.0)
        assert [queue.take(100.0) for _ in range(5)] == [*jobs, None]
