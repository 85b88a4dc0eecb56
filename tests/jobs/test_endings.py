from signal import Signals

from rtot.jobs.endings import Endings
from rtot.jobs.stop import Scope, Stop


def stop(job_id: int = 0, grace: float = 5.0) -> Stop:
    return Stop(job_id, 100 + job_id, Signals.SIGTERM, grace, Scope.TREE, 0.0)


def test_a_stop_is_due_until_it_is_over() -> None:
    endings = Endings()
    first = stop()
    endings.track(first)
    assert endings
    assert endings.next_deadline() == first.due
    assert endings.due(first.due - 0.001) == []
    assert endings.due(first.due) == [first]
    # Given out once, and again only after it was tracked.
    assert endings.due(first.due) == []
    first.expire(first.due)
    endings.track(first)
    assert endings.next_deadline() == first.due
    first.surveyed({}, 1.0)
    assert first.over
    endings.track(first)
    assert not endings
    assert endings.next_deadline() is None


def test_several_of_one_job() -> None:
    endings = Endings()
    one, two, other = stop(), stop(), stop(1)
    for each in (one, two, other, one):
        endings.track(each)
    assert endings.all() == [one, two, other]
    one.surveyed({}, 1.0)
    endings.track(one)
    assert endings.all() == [two, other]
    two.surveyed({}, 1.0)
    other.surveyed({}, 1.0)
    endings.track(two)
    endings.track(other)
    assert endings.all() == []


def test_one_that_is_over_at_once() -> None:
    endings = Endings()
    over = stop()
    over.surveyed({}, 0.0)
    endings.track(over)
    assert not endings
