"""Pauses between tries, and what is said about them."""

import pytest

from rtot.client.failures import GaveUpError
from rtot.client.retries import Retries
from tests.client.script import Clock


def retries(limit: float, clock: Clock, told: list[str], chance: float = 1.0) -> Retries:
    return Retries(limit, clock, told.append, lambda: chance)


def test_pauses_double_up_to_ten_seconds() -> None:
    clock, told = Clock(), list[str]()
    trying = retries(1000, clock, told)
    begin = clock.time
    times = []
    for _ in range(9):
        trying.lost("gone")
        times.append(round(clock.time - begin, 3))
    assert times == [0.2, 0.6, 1.4, 3.0, 6.2, 12.6, 22.6, 32.6, 42.6]


def test_half_of_a_pause_is_chance() -> None:
    clock = Clock()
    retries(1000, clock, [], chance=0.0).lost("gone")
    assert clock.slept == [0.1]


def test_three_seconds_pass_without_a_word() -> None:
    clock, told = Clock(), list[str]()
    trying = retries(300, clock, told)
    for _ in range(3):
        trying.lost("gone")
    assert told == []
    trying.back()
    assert told == []
    for _ in range(4):
        trying.lost("gone")
    assert told == ["gone; trying again for up to 300 s"]
    trying.lost("gone")
    trying.back()
    assert told == ["gone; trying again for up to 300 s", "connected again"]


def test_the_line_comes_in_time_even_if_the_pause_is_longer() -> None:
    clock = Clock()
    said_at = []
    trying = Retries(300, clock, lambda _: said_at.append(clock.time), lambda: 1.0)
    begin = clock.time
    trying.lost("no room", at_least=20.0)
    assert said_at == [begin + 3]
    assert clock.time == begin + 20


def test_it_gives_up() -> None:
    clock = Clock()
    trying = retries(1.0, clock, [])
    for _ in range(3):
        trying.lost("gone")
    assert clock.slept == [0.2, 0.4, 0.4]
    with pytest.raises(GaveUpError, match="gone"):
        trying.lost("gone")
    with pytest.raises(GaveUpError):
        retries(0.0, clock, []).lost("gone")


def test_it_begins_anew_after_progress() -> None:
    clock = Clock()
    trying = retries(1.0, clock, [])
    for _ in range(20):
        trying.lost("gone")
        trying.back()
    assert set(clock.slept) == {0.2}


def test_it_ends_when_there_is_no_time_left() -> None:
    clock = Clock()
    trying = Retries(300, clock, list[str]().append, lambda: 1.0, end=clock.time + 1)
    assert (trying.at_most(45), trying.at_most(None), trying.at_most(0.5)) == (1, 1, 0.5)
    for _ in range(3):
        trying.lost("gone")
    with pytest.raises(GaveUpError):
        trying.lost("gone")
    assert clock.slept == [0.2, 0.4, 0.4]
    assert retries(1, clock, []).at_most(45) == 45
