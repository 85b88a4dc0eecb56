from hypothesis import given
from hypothesis import strategies as st

from rtot.throttle import Bucket, Throttle


def test_a_bucket_is_full_at_first_and_fills_with_time() -> None:
    bucket = Bucket(2, 0.5)
    assert [bucket.take(100.0) for _ in range(3)] == [True, True, False]
    assert not bucket.take(101.0)
    assert bucket.take(102.0)
    assert [bucket.take(1e9) for _ in range(3)] == [True, True, False]


@given(st.lists(st.floats(0, 100), max_size=200))
def test_never_more_than_burst_and_rate_allow(steps: list[float]) -> None:
    bucket = Bucket(5, 2.0)
    now = 0.0
    taken = 0
    for step in steps:
        now += step
        taken += bucket.take(now)
        assert taken <= 5 + 2.0 * now + 1e-6


def test_keys_have_buckets_of_their_own() -> None:
    throttle = Throttle(1, 1.0, 10)
    assert not throttle.is_empty("a", 0)
    throttle.take("a", 0)
    throttle.take("a", 0)
    assert throttle.is_empty("a", 0)
    assert not throttle.is_empty("b", 0)
    assert not throttle.is_empty("a", 1)


def test_the_keys_seen_last_are_remembered() -> None:
    throttle = Throttle(1, 1.0, 10)
    for key in range(10):
        throttle.take(key, 0)
    throttle.take(0, 0)
    for key in range(10, 15):
        throttle.take(key, 0)
    assert len(throttle) == 10
    assert throttle.is_empty(0, 0)
    assert not throttle.is_empty(1, 0)
