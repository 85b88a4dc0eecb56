from rtot.config import Settings
from rtot.jobs.job import PLAIN, Job, State
from rtot.jobs.output import Output
from rtot.jobs.queue import STARTING, Queue
from tests.world import MemoryDisk

DISK = MemoryDisk()


def next_time(queue: Queue) -> float:
    time = queue.next_time()
    assert time is not None
    return time


def make_jobs(count: int) -> list[Job]:
    return [Job(i, PLAIN, Output(DISK, str(i), limit=1, memory=1), 1) for i in range(count)]


def test_first_come_first_served() -> None:
    queue = Queue(Settings(max_starting=10))
    jobs = make_jobs(3)
    for job in jobs:
        queue.add(job)
    jobs[1].state = State.COMPLETE
    assert [queue.take(0.0), queue.take(0.0), queue.take(0.0)] == [jobs[0], jobs[2], None]


def test_few_are_in_their_first_moments() -> None:
    queue = Queue(Settings(max_starting=2))
    jobs = make_jobs(5)
    for job in jobs:
        queue.add(job)
    for job in jobs[:2]:
        assert next_time(queue) <= 1.0
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
    queue = Queue(Settings(max_starting=2))
    first, second = make_jobs(2)
    queue.add(first)
    queue.add(second)
    now = 0.0
    waits = []
    for attempt in range(8):
        assert queue.take(now) is first
        assert queue.put_back(first, now) == (attempt == 0)
        assert queue.take(now) is None
        waits.append(next_time(queue) - now)
        now = next_time(queue)
    assert waits == sorted(waits)
    assert 0 < waits[0] < waits[-1] <= 2.0
    assert queue.take(now) is first
    queue.started(first, now)
    assert queue.take(now) is second
    assert queue.put_back(second, now)


def test_those_that_are_put_back_keep_their_order() -> None:
    for order in ((0, 1, 2), (2, 1, 0), (1, 0, 2)):
        queue = Queue(Settings(max_starting=10))
        jobs = make_jobs(4)
        for job in jobs:
            queue.add(job)
        taken = [queue.take(0.0) for _ in range(3)]
        assert taken == jobs[:3]
        for index in order:
            queue.put_back(jobs[index], 0.0)
        assert [queue.take(100.0) for _ in range(5)] == [*jobs, None]


def test_no_more_run_than_may() -> None:
    queue = Queue(Settings(max_starting=9, max_running=1, max_queued=2))
    jobs = make_jobs(4)
    assert (queue.next_time(), queue.unfinished, queue.full) == (None, 0, False)
    for index, job in enumerate(jobs[:3]):
        assert not queue.full
        queue.add(job)
        assert queue.unfinished == index + 1
    # One can run at once and two may wait.
    assert queue.full
    assert queue.take(0.0) is jobs[0]
    queue.moved(State.NEW, State.STARTING)
    assert (queue.take(0.0), queue.next_time(), queue.full) == (None, None, True)
    queue.moved(State.STARTING, State.RUNNING)
    assert (queue.take(0.0), queue.unfinished) == (None, 3)
    queue.moved(State.RUNNING, State.HELD)
    assert (queue.unfinished, queue.full, queue.next_time()) == (2, False, 0.0)
    queue.moved(State.HELD, State.COMPLETE)
    assert queue.unfinished == 2
    assert queue.take(0.0) is jobs[1]


def test_a_long_queue_is_full_too() -> None:
    queue = Queue(Settings(max_running=300, max_queued=300))
    for job in make_jobs(600):
        assert not queue.full
        queue.add(job)
    assert queue.full
    queue.add(job)
    assert queue.full
