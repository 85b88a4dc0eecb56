from hypothesis import example, given
from hypothesis import strategies as st

from rtot.deadlines import Deadlines

Steps = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.integers(0, 5), st.integers(0, 50)),
        st.tuples(st.just("clear"), st.integers(0, 5), st.just(0)),
        st.tuples(st.just("due"), st.just(0), st.integers(0, 60)),
    ),
    max_size=200,
)


@given(Steps)
@example([("set", 0, 1), ("set", 0, 0), ("set", 0, 1), ("due", 0, 1)])
def test_like_a_dictionary_that_is_searched(steps: list[tuple[str, int, int]]) -> None:
    deadlines: Deadlines[int] = Deadlines()
    model: dict[int, float] = {}
    for step, key, when in steps:
        if step == "set":
            deadlines.set(key, when)
            model[key] = when
        elif step == "clear":
            deadlines.clear(key)
            model.pop(key, None)
        else:
            expected = {k for k, w in model.items() if w <= when}
            assert set(deadlines.due(when)) == expected
            model = {k: w for k, w in model.items() if k not in expected}
        assert deadlines.next() == min(model.values(), default=None)
        assert len(deadlines) == len(model)


def test_it_does_not_grow_with_what_is_cleared() -> None:
    deadlines: Deadlines[int] = Deadlines()
    for key in range(10_000):
        deadlines.set(key, key + 75.0)
        deadlines.clear(key)
    assert len(deadlines._heap) < 200


def test_the_living_stay_when_the_cleared_are_swept() -> None:
    deadlines: Deadlines[int] = Deadlines()
    deadlines.set(-1, 5.0)
    for key in range(100):
        deadlines.set(key, 1.0)
        deadlines.clear(key)
    assert deadlines.next() == 5.0


def test_moving_later_costs_no_heap_entry() -> None:
    deadlines: Deadlines[str] = Deadlines()
    for when in range(1000):
        deadlines.set("a", float(when))
    assert len(deadlines._heap) == 1
    assert list(deadlines.due(998.0)) == []
    assert list(deadlines.due(999.0)) == ["a"]


def test_each_key_is_due_once() -> None:
    deadlines: Deadlines[str] = Deadlines()
    deadlines.set("a", 5.0)
    deadlines.set("a", 3.0)
    assert list(deadlines.due(10.0)) == ["a"]
    assert deadlines.next() is None


def test_what_is_left_of_the_cleared_is_swept_when_it_outweighs_the_living() -> None:
    deadlines: Deadlines[int] = Deadlines()
    for key in range(100):
        deadlines.set(key, 1.0 + key)
    for key in range(100, 264):
        deadlines.set(key, 1.0 + key)
        deadlines.clear(key)
    assert len(deadlines._heap) == 264
    deadlines.set(264, 0.5)
    deadlines.clear(264)
    assert len(deadlines._heap) == 100


def test_an_earlier_time_is_not_told_again_later() -> None:
    deadlines: Deadlines[str] = Deadlines()
    deadlines.set("a", 9.0)
    deadlines.set("a", 3.0)
    assert list(deadlines.due(3.0)) == ["a"]
    deadlines.set("a", 12.0)
    assert list(deadlines.due(10.0)) == []
    assert deadlines.next() == 12.0
