import math
from itertools import pairwise
from signal import Signals

import pytest

from rtot.jobs.stop import (
    MOMENT,
    REAP,
    TRANSITIONS,
    CommandOutcome,
    Event,
    Phase,
    RunStopCommand,
    Scope,
    Signal,
    Stop,
    StopOrder,
    Survey,
)
from tests.tables import drawn

TERM, KILL, HUP = Signals.SIGTERM, Signals.SIGKILL, Signals.SIGHUP


def stop(signal: Signals = TERM, grace: float | None = 5.0) -> Stop:
    return Stop(0, 100, signal, grace, Scope.TREE, 0.0)


TABLE = drawn(
    """
                    GRACE_OVER        MOMENT_OVER REAP_OVER GRACE_CANCELLED   NONE_LEFT COMMAND_ENDED
NOTIFIED            -                 SURVIVED    -         ALL_KILLED        GONE      -
ASKED               LEADER_KILLED     -           -         ALL_KILLED        GONE      -
NOTIFYING_ELSEWHERE -                 -           -         KILLING_ELSEWHERE GONE      NOTIFIED_ELSEWHERE
NOTIFIED_ELSEWHERE  -                 SURVIVED    -         KILLING_ELSEWHERE GONE      -
ASKED_ELSEWHERE     KILLING_ELSEWHERE -           -         KILLING_ELSEWHERE GONE      ASKED_ELSEWHERE
KILLING_ELSEWHERE   -                 -           -         KILLING_ELSEWHERE GONE      LEADER_KILLED
LEADER_KILLED       -                 ALL_KILLED  -         ALL_KILLED        GONE      -
ALL_KILLED          -                 -           SURVIVED  ALL_KILLED        GONE      -
GONE                -                 -           -         GONE              GONE      GONE
SURVIVED            -                 -           -         SURVIVED          SURVIVED  -
""",  # noqa: E501
    Phase,
    Event,
)


def test_the_table_is_the_one_that_was_drawn() -> None:
    assert TRANSITIONS == TABLE


def test_who_obeys_is_not_killed() -> None:
    s = stop()
    assert s.begin() == [Signal(s, TERM, Scope.TREE)]
    s.delivered({100: "job"}, TERM)
    assert s.expire(s.due) == [Survey(s, Scope.TREE)]
    assert s.surveyed({}, 0.02) == []
    assert s.over
    assert (s.signalled, s.escalated, s.surviving) == ({100: "job"}, {}, {})


def test_who_does_not_is_killed_the_leader_first() -> None:
    s = stop()
    s.begin()
    s.delivered({100: "job", 101: "child"}, TERM)
    assert s.expire(5.0) == [Signal(s, KILL, Scope.LEADER)]
    s.delivered({100: "job"}, KILL)
    assert s.expire(5.0 + MOMENT) == [Signal(s, KILL, Scope.TREE)]
    s.delivered({101: "child"}, KILL)
    assert s.surveyed({}, 5.3) == []
    assert s.over
    assert s.escalated == {100: "job", 101: "child"}


def test_who_survives_is_named() -> None:
    s = stop(KILL)
    assert s.begin() == [Signal(s, KILL, Scope.TREE)]
    s.delivered({100: "job"}, KILL)
    assert s.expire(0.01) == [Survey(s, Scope.TREE)]
    assert s.surveyed({100: "job"}, 0.01) == []
    assert s.expire(REAP) == []
    assert s.over
    assert s.surviving == {100: "job"}


def test_who_is_born_while_dying_is_killed_too() -> None:
    s = stop(KILL)
    s.begin()
    s.delivered({100: "job"}, KILL)
    assert s.surveyed({102: "late"}, 0.01) == [Signal(s, KILL, Scope.TREE)]


def test_who_is_born_in_the_grace_is_left_until_it_is_over() -> None:
    s = stop()
    s.begin()
    s.delivered({100: "job"}, TERM)
    assert s.surveyed({102: "cleanup"}, 0.01) == []
    assert not s.over


def test_a_message_kills_nobody() -> None:
    s = stop(HUP, None)
    assert s.begin() == [Signal(s, HUP, Scope.TREE)]
    s.delivered({100: "job"}, HUP)
    s.surveyed({100: "job"}, 0.01)
    assert s.expire(MOMENT) == []
    assert s.over
    assert s.surviving == {100: "job"}


@pytest.mark.parametrize("grace", [5.0, None])
def test_no_more_grace(grace: float | None) -> None:
    s = stop(TERM, grace)
    s.begin()
    assert s.cancel_grace(1.0) == [Signal(s, KILL, Scope.TREE)]
    assert s.cancel_grace(1.1) == []


def test_looks_become_rarer_and_stay_bounded() -> None:
    s = stop(TERM, 1000.0)
    s.begin()
    times = []
    for _ in range(20):
        times.append(s.due)
        assert s.expire(s.due) == [Survey(s, Scope.TREE)]
    gaps = [b - a for a, b in pairwise(times)]
    assert gaps == sorted(gaps)
    assert gaps[-1] == pytest.approx(0.25)


def test_too_early_is_nothing() -> None:
    s = stop()
    s.begin()
    assert s.expire(0.0) == []


def test_the_times_of_an_end() -> None:
    """Each step has its own deadline, and looks begin anew after KILL."""
    s = stop(TERM, 5.0)
    s.begin()
    assert s.due == 0.01
    assert s.expire(4.99) == [Survey(s, Scope.TREE)]
    assert s.expire(5.0) == [Signal(s, KILL, Scope.LEADER)]
    assert s.expire(5.0 + MOMENT) == [Signal(s, KILL, Scope.TREE)]
    killed = 5.0 + MOMENT
    assert s.due == pytest.approx(killed + 0.01)
    assert s.expire(killed + 0.01) == [Survey(s, Scope.TREE)]
    assert s.due == pytest.approx(killed + 0.03)
    assert s.expire(killed + REAP - 0.001) == [Survey(s, Scope.TREE)]
    assert not s.over
    assert s.expire(killed + REAP) == []
    assert s.over


def test_who_was_killed_and_is_still_there_is_not_killed_again() -> None:
    s = stop(KILL)
    s.begin()
    s.delivered({100: "job", 101: "gone"}, KILL)
    assert s.surveyed({100: "job"}, 0.01) == []
    assert s.surviving == {100: "job"}


def test_a_message_has_a_moment_to_arrive() -> None:
    s = stop(HUP, None)
    s.begin()
    assert s.expire(MOMENT - 0.001) == [Survey(s, Scope.TREE)]
    assert not s.over


def test_moments_are_counted_from_when_they_begin() -> None:
    s = Stop(0, 100, TERM, 5.0, Scope.TREE, 1000.0)
    s.begin()
    assert s.expire(1005.0) == [Signal(s, KILL, Scope.LEADER)]
    s.surveyed({100: "job"}, 1005.0)
    while not (commands := s.expire(s.due)) or isinstance(commands[0], Survey):
        assert s.due <= 1005.0 + MOMENT
    assert commands == [Signal(s, KILL, Scope.TREE)]


def test_a_survey_that_comes_late_has_no_effect() -> None:
    s = stop()
    assert s.surveyed({}, 1.0) == s.surveyed({}, 1.1) == s.cancel_grace(1.2) == []
    assert s.over


def test_a_stop_that_is_over_does_not_expire() -> None:
    s = stop()
    s.surveyed({}, 1.0)
    with pytest.raises(AssertionError):
        s.expire(99.0)
    with pytest.raises(AssertionError, match="GRACE_OVER of a stop that is GONE"):
        s._advance(Event.GRACE_OVER, 99.0)


def elsewhere(signal: Signals = TERM, grace: float | None = 5.0) -> Stop:
    return Stop(0, 100, signal, grace, Scope.TREE, 0.0, launcher="slurm")


def command(orders: list[StopOrder], signal: Signals) -> RunStopCommand:
    """The one order that there is."""
    (order,) = orders
    assert isinstance(order, RunStopCommand)
    assert order.signal is signal
    return order


def test_a_stop_command_is_run_in_place_of_signals() -> None:
    s = elsewhere()
    asked = command(s.begin(), TERM)
    assert s.command_ended(asked, "", "", 0.1) == []
    assert s.expire(s.due) == [Survey(s, Scope.TREE)]
    assert s.surveyed({100: "srun"}, 0.2) == []
    assert s.surveyed({}, 1.0) == []
    assert s.over
    assert s.outcomes == [CommandOutcome(TERM, "", "")]
    assert (s.signalled, s.escalated, s.surviving) == ({}, {}, {})


def test_what_stands_for_it_here_is_killed_after_that() -> None:
    s = elsewhere()
    s.command_ended(command(s.begin(), TERM), "", "", 0.1)
    killing = command(s.expire(5.0), KILL)
    # However long that takes: whoever runs it has a limit.
    assert s.expire(14.9) == [Survey(s, Scope.TREE)]
    assert s.surveyed({100: "srun"}, 14.9) == []
    assert s.command_ended(killing, "exit status 1", "no route", 15.0) == [
        Signal(s, KILL, Scope.LEADER)
    ]
    s.delivered({100: "srun"}, KILL)
    assert s.expire(15.0 + MOMENT) == [Signal(s, KILL, Scope.TREE)]
    assert s.surveyed({}, 15.3) == []
    assert s.over
    assert s.outcomes[1] == CommandOutcome(KILL, "exit status 1", "no route")
    assert s.escalated == {100: "srun"}


def test_kill_at_once_elsewhere() -> None:
    s = elsewhere(KILL)
    killing = command(s.begin(), KILL)
    assert s.command_ended(killing, "", "", 0.1) == [Signal(s, KILL, Scope.LEADER)]


def test_the_end_of_an_earlier_command_is_not_that_of_the_last() -> None:
    s = elsewhere()
    asked = command(s.begin(), TERM)
    killing = command(s.expire(5.0), KILL)
    assert s.command_ended(asked, "not ended after 10 s", "", 10.0) == []
    assert s.command_ended(killing, "", "", 10.1) == [Signal(s, KILL, Scope.LEADER)]


def test_a_stop_is_over_when_its_commands_are() -> None:
    """The receipt tells what became of each."""
    s = elsewhere()
    asked = command(s.begin(), TERM)
    assert s.surveyed({}, 0.1) == []
    assert not s.over
    assert s.expire(s.due) == []
    assert s.due == math.inf
    assert s.cancel_grace(1.0) == []
    assert s.command_ended(asked, "signal: killed", "", 10.0) == []
    assert s.over


def test_a_signal_that_is_only_delivered_elsewhere() -> None:
    s = elsewhere(HUP, None)
    assert not s.kills
    telling = command(s.begin(), HUP)
    assert s.expire(60.0) == [Survey(s, Scope.TREE)]
    assert s.command_ended(telling, "", "", 61.0) == []
    assert not s.over
    assert s.expire(61.0 + MOMENT) == []
    assert s.over


@pytest.mark.parametrize("grace", [None, 5.0])
@pytest.mark.parametrize("told", [False, True])
def test_who_has_no_grace_left_elsewhere(grace: float | None, told: bool) -> None:
    s = elsewhere(TERM, grace)
    asked = command(s.begin(), TERM)
    if told:
        s.command_ended(asked, "", "", 0.1)
    killing = command(s.cancel_grace(0.2), KILL)
    assert s.cancel_grace(0.3) == []
    assert s.command_ended(killing, "", "", 0.4) == [Signal(s, KILL, Scope.LEADER)]
    assert s.cancel_grace(0.5) == [Signal(s, KILL, Scope.TREE)]
