"""Leases: who holds one, and when a job ends for want of one."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from rtot.jobs.leases import Lease, Leases


def test_a_lease_without_time_ends_with_its_client() -> None:
    leases = Leases()
    leases.take(1)
    assert leases.release(Lease(1, 0.0), 5.0)
    assert leases.next_deadline() is None
    # The job is being ended.
    assert not leases.release(Lease(1, 0.0), 6.0)


def test_a_lease_survives_a_hiccup() -> None:
    leases = Leases()
    leases.take(1)
    assert not leases.release(Lease(1, 60.0), 5.0)
    assert leases.next_deadline() == 65.0
    assert leases.due(64.0) == []
    leases.take(1)
    assert leases.next_deadline() is None
    assert not leases.release(Lease(1, 60.0), 100.0)
    assert leases.due(159.9) == []
    assert leases.due(160.0) == [1]
    assert leases.due(999.0) == []


def test_the_last_of_several_counts() -> None:
    leases = Leases()
    for _ in range(3):
        leases.take(1)
    assert not leases.release(Lease(1, 0.0), 1.0)
    assert not leases.release(Lease(1, 30.0), 2.0)
    assert leases.next_deadline() is None
    # The one before wanted it to live until 32.
    assert not leases.release(Lease(1, 0.0), 3.0)
    assert leases.next_deadline() == 32.0


def test_who_has_its_answer_ends_nothing() -> None:
    leases = Leases()
    leases.take(1)
    leases.give_back(1)
    leases.give_back(2)
    assert leases.next_deadline() is None
    leases.take(1)
    assert leases.release(Lease(1, 0.0), 1.0)


def test_who_has_its_answer_stops_nobody_s_time() -> None:
    leases = Leases()
    leases.take(1)
    assert not leases.release(Lease(1, 2.0), 1.0)
    leases.take(1)
    leases.give_back(1)
    assert leases.due(3.0) == [1]


def test_a_job_that_is_complete_has_none() -> None:
    leases = Leases()
    leases.take(1)
    leases.take(1)
    leases.release(Lease(1, 9.0), 1.0)
    leases.clear(1)
    assert not leases.release(Lease(1, 0.0), 2.0)
    assert leases.due(99.0) == []


class LeasesMachine(RuleBasedStateMachine):
    """A job ends when, and only when, nobody has been there for as long as was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.leases = Leases()
        self.now = 0.0
        self.held = 0
        self.until = -1.0
        self.ended = False

    @precondition(lambda self: not self.ended)
    @rule()
    def take(self) -> None:
        self.leases.take(7)
        self.held += 1

    @precondition(lambda self: self.held and not self.ended)
    @rule(seconds=st.sampled_from([0.0, 1.0, 5.0]))
    def release(self, seconds: float) -> None:
        self.held -= 1
        self.until = max(self.until, self.now + seconds)
        self.ended = self.leases.release(Lease(7, seconds), self.now)
        assert self.ended == (not self.held and self.until <= self.now)

    @precondition(lambda self: self.held and not self.ended)
    @rule()
    def give_back(self) -> None:
        self.held -= 1
        self.leases.give_back(7)

    @rule(seconds=st.sampled_from([0.5, 1.0, 3.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        over = not self.ended and not self.held and 0 <= self.until <= self.now
        assert self.leases.due(self.now) == ([7] if over else [])
        self.ended |= over

    @invariant()
    def nothing_is_left_of_the_dead(self) -> None:
        if self.ended:
            assert self.leases.next_deadline() is None
            assert (self.leases._held, self.leases._until) == ({}, {})


TestLeases = LeasesMachine.TestCase
