import pytest

from rtot.jobs.blocked import BlockedJobs, UnknownJobError, prerequisites
from rtot.jobs.job import PLAIN, Blocked, Job, Options, Prerequisite, Reason, State
from rtot.jobs.output import Output
from tests.world import MemoryDisk

DISK = MemoryDisk()


def make_job(job_id: int, *after: Prerequisite, until: float | None = None) -> Job:
    blocked = Blocked(list(after), until)
    output = Output(DISK, str(job_id), limit=1, memory=1)
    return Job(job_id, Options(after=after), output, 1, blocked=blocked)


def settled(blocked: BlockedJobs, now: float = 0.0) -> list[tuple[int, int | None]]:
    """Who waits no more, as the job table takes it."""
    found = []
    for job, failed in blocked.settle(now):
        blocked.remove(job)
        found.append((job.id, failed))
    return found


ONE, TWO, ANY = Prerequisite(1), Prerequisite(2), Prerequisite(1, anyhow=True)


@pytest.mark.parametrize(
    ("after", "well", "expected"),
    [
        ((ONE,), True, [(9, None)]),
        ((ONE,), False, [(9, 1)]),
        ((ANY,), True, [(9, None)]),
        ((ANY,), False, [(9, None)]),
        ((ONE, ANY), True, [(9, None)]),
        ((ONE, ANY), False, [(9, 1)]),
        ((ONE, ONE), True, [(9, None)]),
        ((ONE, TWO), True, []),
        ((ONE, TWO), False, [(9, 1)]),
        ((ANY, TWO), False, []),
    ],
)
def test_a_job_that_comes_after_others(
    after: tuple[Prerequisite, ...], well: bool, expected: list[tuple[int, int | None]]
) -> None:
    blocked = BlockedJobs()
    job = make_job(9, *after)
    blocked.add(job)
    assert blocked.next_deadline() is None
    blocked.ended(7, well=False)
    assert (blocked.next_deadline(), settled(blocked)) == (None, [])
    blocked.ended(1, well=well)
    assert blocked.next_deadline() == 0.0
    assert settled(blocked) == expected
    if not expected:
        assert job.waits_for == (2,)
        blocked.ended(2, well=True)
        assert settled(blocked) == [(9, None)]
    assert (job.blocked, job.waits_for, blocked.next_deadline()) == (None, (), None)


def test_a_time_and_a_job() -> None:
    blocked = BlockedJobs()
    first, second = make_job(8, ONE, until=5.0), make_job(9, ONE, until=7.0)
    blocked.add(first)
    blocked.add(second)
    assert blocked.next_deadline() == 5.0
    assert settled(blocked, 5.0) == []
    blocked.ended(1, well=True)
    assert settled(blocked, 6.0) == [(8, None)]
    assert (second.waits_for, blocked.next_deadline()) == ((), 7.0)
    assert settled(blocked, 6.9) == []
    assert settled(blocked, 7.0) == [(9, None)]


def test_who_came_first_is_looked_at_first_and_so_many_in_a_turn() -> None:
    blocked = BlockedJobs()
    for i in range(1000):
        blocked.add(make_job(10 + i, ONE))
    blocked.ended(1, well=False)
    turns = []
    while blocked.next_deadline() is not None:
        turns.append(settled(blocked))
    assert [job_id for turn in turns for job_id, _ in turn] == list(range(10, 1010))
    assert max(map(len, turns)) <= 200
    assert blocked._waiting == {}


def test_so_many_whose_time_has_come_in_a_turn() -> None:
    blocked = BlockedJobs()
    for i in range(300):
        blocked.add(make_job(i, until=1.0))
    assert len(settled(blocked, 2.0)) == 200
    assert blocked.next_deadline() == 1.0
    assert len(settled(blocked, 2.0)) == 100
    assert blocked.next_deadline() is None


def test_those_that_were_cancelled_are_passed_over_and_leave_nothing() -> None:
    blocked = BlockedJobs()
    jobs = [make_job(10 + i, ONE, TWO, until=3.0) for i in range(500)]
    for job in jobs:
        blocked.add(job)
    for job in jobs[:-1]:
        blocked.remove(job)
    assert sum(map(len, blocked._waiting.values())) <= 64 + 2 * 2
    blocked.ended(1, well=True)
    blocked.remove(jobs[-1])
    assert settled(blocked, 5.0) == []
    blocked.ended(2, well=False)
    while blocked.next_deadline() is not None:
        assert settled(blocked) == []
    assert blocked._waiting == {}


def test_a_sweep_forgets_those_that_nobody_waits_for() -> None:
    blocked = BlockedJobs()
    jobs = [make_job(10 + i, ONE) for i in range(500)]
    for job in jobs:
        blocked.add(job)
    blocked.ended(1, well=True)
    for job in jobs:
        blocked.remove(job)
    while blocked.next_deadline() is not None:
        assert settled(blocked) == []
    assert blocked._waiting == {}


def test_what_a_new_job_waits_for() -> None:
    jobs = {i: make_job(i) for i in range(4)}
    jobs[1].state = State.COMPLETE
    jobs[1].reason = Reason.EXITED
    jobs[2].state = State.HELD
    jobs[2].reason = Reason.KILLED

    def found(options: Options) -> tuple[list[int] | None, float | None, int | None]:
        blocked, failed = prerequisites(options, jobs.get, 10.0)
        if blocked is None:
            return None, None, failed
        return [each.job_id for each in blocked.pending], blocked.until, failed

    def after(*ids: int) -> tuple[Prerequisite, ...]:
        return tuple(map(Prerequisite, ids))

    assert found(PLAIN) == (None, None, None)
    assert found(Options(delay=0.0)) == (None, None, None)
    assert found(Options(delay=5.0)) == ([], 15.0, None)
    assert found(Options(after=after(1))) == (None, None, None)
    assert found(Options(after=after(1, 0, 3))) == ([0, 3], None, None)
    assert found(Options(after=after(2))) == ([], None, 2)
    assert found(Options(after=after(0, 2, 1))) == ([0], None, 2)
    assert found(Options(after=(Prerequisite(2, anyhow=True),))) == (None, None, None)
    with pytest.raises(UnknownJobError) as unknown:
        found(Options(after=after(2, 4)))
    assert unknown.value.job_id == 4
