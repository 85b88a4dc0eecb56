import heapq

from hypothesis import given
from hypothesis import strategies as st

from rtot.config import Settings
from rtot.jobs.job import PLAIN, Blocked, Job, Options, State
from rtot.jobs.output import Output
from rtot.jobs.queue import STARTING, Queue
from rtot.metrics import render
from tests.world import MemoryDisk

DISK = MemoryDisk()


def next_time(queue: Queue) -> float:
    time = queue.next_time()
    assert time is not None
    return time


def make_job(job_id: int, group: str | None = None, *, blocked: bool = False) -> Job:
    options = PLAIN if group is None else Options(group=group)
    output = Output(DISK, str(job_id), limit=1, memory=1)
    return Job(job_id, options, output, 1, blocked=Blocked([], 1.0) if blocked else None)


def make_jobs(count: int) -> list[Job]:
    return [make_job(i) for i in range(count)]


def move(queue: Queue, job: Job, after: State) -> None:
    before, job.state = job.state, after
    queue.moved(job, before, after)


def take(queue: Queue, now: float = 0.0) -> Job | None:
    """As the job table does it."""
    job = queue.take(now)
    if job is not None:
        move(queue, job, State.STARTING)
    return job


def test_first_come_first_served() -> None:
    queue = Queue(Settings(max_starting=10))
    jobs = make_jobs(3)
    for job in jobs:
        queue.add(job)
    move(queue, jobs[1], State.COMPLETE)
    assert [take(queue), take(queue), take(queue)] == [jobs[0], jobs[2], None]


def test_few_are_in_their_first_moments() -> None:
    queue = Queue(Settings(max_starting=2))
    jobs = make_jobs(5)
    for job in jobs:
        queue.add(job)
    for job in jobs[:2]:
        assert next_time(queue) <= 1.0
        assert take(queue, 1.0) is job
        queue.started(job, 1.0)
    assert take(queue, 1.0) is None
    assert queue.next_time() == 1.0 + STARTING
    queue.ended(0)
    queue.ended(99)
    assert take(queue, 1.001) is jobs[2]
    queue.started(jobs[2], 1.001)
    assert take(queue, 1.002) is None
    assert take(queue, 1.0 + STARTING) is jobs[3]


def test_after_a_failure_all_wait_longer_each_time() -> None:
    queue = Queue(Settings(max_starting=2))
    first, second = make_jobs(2)
    queue.add(first)
    queue.add(second)
    now = 0.0
    waits = []
    for attempt in range(8):
        assert take(queue, now) is first
        assert queue.put_back(now) == (attempt == 0)
        move(queue, first, State.NEW)
        assert take(queue, now) is None
        waits.append(next_time(queue) - now)
        now = next_time(queue)
    assert waits == sorted(waits)
    assert 0 < waits[0] < waits[-1] <= 2.0
    assert take(queue, now) is first
    queue.started(first, now)
    assert take(queue, now) is second
    assert queue.put_back(now)


def test_those_that_are_put_back_keep_their_order() -> None:
    for order in ((0, 1, 2), (2, 1, 0), (1, 0, 2)):
        queue = Queue(Settings(max_starting=10))
        jobs = make_jobs(4)
        for job in jobs:
            queue.add(job)
        taken = [take(queue) for _ in range(3)]
        assert taken == jobs[:3]
        for index in order:
            queue.put_back(0.0)
            move(queue, jobs[index], State.NEW)
        assert [take(queue, 100.0) for _ in range(5)] == [*jobs, None]


def test_no_more_run_than_may() -> None:
    queue = Queue(Settings(max_starting=9, max_running=1, max_queued=2))
    jobs = make_jobs(4)
    assert (queue.next_time(), unfinished(queue), has_room(queue)) == (None, 0, True)
    for index, job in enumerate(jobs[:3]):
        assert has_room(queue)
        queue.add(job)
        assert unfinished(queue) == index + 1
    # One can run at once and two may wait.
    assert not has_room(queue)
    assert take(queue) is jobs[0]
    assert (take(queue), queue.next_time(), has_room(queue)) == (None, None, False)
    move(queue, jobs[0], State.RUNNING)
    assert (take(queue), unfinished(queue)) == (None, 3)
    move(queue, jobs[0], State.HELD)
    assert (unfinished(queue), has_room(queue), queue.next_time()) == (2, True, 0.0)
    move(queue, jobs[0], State.COMPLETE)
    assert unfinished(queue) == 2
    assert take(queue) is jobs[1]


def test_a_long_queue_is_full_too() -> None:
    queue = Queue(Settings(max_running=300, max_queued=300))
    jobs = make_jobs(601)
    for job in jobs[:600]:
        assert has_room(queue)
        queue.add(job)
    assert not has_room(queue)
    queue.add(jobs[600])
    assert not has_room(queue)


def test_a_group_has_one_job_at_a_time_or_as_many_as_was_said() -> None:
    queue = Queue(Settings(groups=(("wide", 2),), max_starting=100))
    names = ["deploy", "deploy", "wide", "wide", "wide", None, "deploy"]
    jobs = [make_job(i, name) for i, name in enumerate(names)]
    for job in jobs:
        queue.add(job)
    taken = [take(queue) for _ in jobs]
    assert [j and j.id for j in taken] == [0, 2, 3, 5, None, None, None]
    # Nothing is to be done until one of a group ends: the loop would spin otherwise.
    assert queue.next_time() is None
    move(queue, jobs[0], State.RUNNING)
    assert take(queue) is None
    move(queue, jobs[0], State.COMPLETE)
    assert queue.next_time() == 0.0
    assert take(queue) is jobs[1]
    move(queue, jobs[3], State.HELD)
    assert take(queue) is jobs[4]
    assert take(queue) is None


def test_a_job_without_a_group_waits_for_none() -> None:
    queue = Queue(Settings(max_starting=100, max_running=2))
    jobs = [make_job(i, "g" if i < 1000 else None) for i in range(1001)]
    for job in jobs:
        queue.add(job)
    assert [take(queue), take(queue)] == [jobs[0], jobs[1000]]


def test_a_job_that_was_blocked_takes_its_place() -> None:
    queue = Queue(Settings(max_starting=100))
    jobs = [make_job(0, "g", blocked=True), make_job(1, "g"), make_job(2), make_job(3, "g")]
    for job in jobs:
        queue.add(job)
    assert take(queue) is jobs[1]
    move(queue, jobs[0], State.NEW)
    assert take(queue) is jobs[2]
    move(queue, jobs[1], State.COMPLETE)
    assert take(queue) is jobs[0]
    move(queue, jobs[0], State.COMPLETE)
    assert take(queue) is jobs[3]


def test_one_of_a_group_that_comes_before_the_next_one_replaces_it() -> None:
    queue = Queue(Settings(max_starting=100))
    early, late = make_job(0, "g", blocked=True), make_job(1, "g")
    queue.add(early)
    queue.add(late)
    move(queue, early, State.NEW)
    assert take(queue) is early
    assert (take(queue), queue.next_time()) == (None, None)


def test_who_waits_in_a_group() -> None:
    queue = Queue(Settings(max_starting=100))
    jobs = [make_job(0, "g"), make_job(1, "g", blocked=True), make_job(2, "h"), make_job(3, "g")]
    for job in jobs:
        queue.add(job)
    assert queue.waiting("g") == [jobs[0], jobs[1], jobs[3]]
    assert queue.waiting("none") == []
    assert take(queue) is jobs[0]
    move(queue, jobs[1], State.COMPLETE)
    assert queue.waiting("g") == [jobs[3]]
    move(queue, jobs[3], State.COMPLETE)
    move(queue, jobs[0], State.COMPLETE)
    # The group is forgotten with its last job.
    assert set(queue._groups) == {None, "h"}


def test_a_queue_that_is_paused() -> None:
    queue = Queue(Settings(max_running=1, max_queued=1))
    queue.add(make_job(0))
    assert has_room(queue)
    queue.paused = True
    assert (take(queue), queue.next_time(), has_room(queue)) == (None, None, False)
    text = b"".join(render([queue])).decode()
    assert "\nrtot_queue_length 1\n" in text
    assert "\nrtot_queue_paused 1\n" in text
    queue.paused = False
    assert queue.next_time() == 0.0
    assert take(queue) is not None


def test_what_is_left_of_removed_jobs_stays_small() -> None:
    queue = Queue(Settings(max_running=1))
    for i in range(1000):
        queue.add(make_job(i, f"{i % 10}"))
    queue.paused = True
    for group in range(10):
        for job in queue.waiting(f"{group}")[:-1]:
            move(queue, job, State.COMPLETE)
    assert len(queue._ready) <= 64 + 2 * 11
    assert sum(len(group.ids) for group in queue._groups.values()) <= 10 * 67
    queue.paused = False
    taken = take(queue)
    assert taken is not None
    assert taken.id == 990


def unfinished(queue: Queue) -> int:
    return queue.busy + queue._queued


def has_room(queue: Queue, group: str | None = None, *, blocked: bool = False) -> bool:
    return queue.has_room(group, blocked=blocked)


def test_what_cannot_be_started_at_once_counts_as_waiting() -> None:
    queue = Queue(Settings(max_running=20, max_queued=2))
    for i in range(3):
        queue.add(make_job(i, "g"))
    # One of the group may run, and two wait.
    assert not has_room(queue, "g")
    assert not has_room(queue, blocked=True)
    # These would not wait.
    assert has_room(queue)
    assert has_room(queue, "h")
    queue.paused = True
    assert not has_room(queue)
    queue = Queue(Settings(max_running=1, max_queued=2))
    for i in range(2):
        queue.add(make_job(i, blocked=True))
    assert not has_room(queue, blocked=True)
    assert has_room(queue)
    queue.add(make_job(2))
    assert not has_room(queue)


def test_a_place_is_kept_while_what_is_left_is_being_ended() -> None:
    queue = Queue(Settings())
    first, second, other = make_job(0, "g"), make_job(1, "g"), make_job(2)
    for job in (first, second, other):
        queue.add(job)
    assert take(queue) is first
    assert take(queue) is other
    queue.hold(first)
    queue.hold(first)
    queue.hold(other)
    move(queue, first, State.COMPLETE)
    move(queue, other, State.COMPLETE)
    assert (take(queue), queue.next_time()) == (None, None)
    for _ in range(2):
        queue.let_go(first)
        queue.let_go(other)
    assert take(queue) is second
    move(queue, second, State.COMPLETE)
    assert set(queue._groups) == {None}
    assert unfinished(queue) == 0


class Model:
    """The same by looking at every job."""

    def __init__(self, limits: dict[str | None, int]) -> None:
        self.limits = limits
        self.jobs: list[Job] = []

    def ready(self) -> int:
        """How many could be started, one after the other."""
        count = 0
        for group in {job.options.group for job in self.jobs}:
            mine = [job.state for job in self.jobs if job.options.group == group]
            free = self.limits.get(group, 1) - mine.count(State.STARTING)
            count += mine.count(State.NEW) if group is None else min(mine.count(State.NEW), free)
        return count

    def next(self) -> Job | None:
        busy = [j.options.group for j in self.jobs if j.state is State.STARTING]
        for job in self.jobs:
            group = job.options.group
            free = group is None or busy.count(group) < self.limits.get(group, 1)
            if job.state is State.NEW and free:
                return job
        return None


@given(
    st.lists(
        st.tuples(st.sampled_from("abrecp"), st.integers(0, 9), st.sampled_from([None, *"xyz"])),
        max_size=60,
    )
)
def test_it_is_what_one_would_find_by_looking_at_every_job(
    steps: list[tuple[str, int, str | None]],
) -> None:
    queue = Queue(Settings(max_starting=1000, groups=(("x", 2),)))
    model = Model({"x": 2})
    for step, index, group in steps:
        job = model.jobs[index % len(model.jobs)] if model.jobs else None
        match step:
            case "a" | "b":
                job = make_job(len(model.jobs), group, blocked=step == "b")
                model.jobs.append(job)
                queue.add(job)
            case "r" if job is not None and job.state is State.BLOCKED:
                move(queue, job, State.NEW)
            case "p" if job is not None and job.state is State.STARTING:
                move(queue, job, State.NEW)
            case "e" if job is not None and job.state is not State.COMPLETE:
                move(queue, job, State.COMPLETE)
            case _:
                expected = model.next()
                assert (queue.next_time() is None) == (expected is None)
                assert take(queue) is expected
        waiting = [j for j in model.jobs if j.state in (State.BLOCKED, State.NEW)]
        running = [j for j in model.jobs if j.state is State.STARTING]
        assert unfinished(queue) == len(waiting) + len(running)
        assert f"rtot_queue_ready {model.ready()}\n".encode() in b"".join(render([queue]))
        for each in queue._groups.values():
            assert heapq.nsmallest(1, each.ids) == each.ids[:1]
            assert each.busy == sum(j.options.group == each.name for j in running)
