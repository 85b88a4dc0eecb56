"""What a run is at, and what a signal means then."""

import signal

import pytest

from rtot.client.phases import TRANSITIONS, Event, Phase, Reaction, reaction
from tests.tables import drawn

TABLE = drawn(
    """
           BEGUN      MET        SUBMITTED ENDED
WAITING    CONNECTING -          -         OVER
CONNECTING -          SUBMITTING -         OVER
SUBMITTING -          -          RUNNING   OVER
RUNNING    -          -          -         OVER
OVER       -          -          -         -
""",
    Phase,
    Event,
)


def test_the_table_is_the_one_that_was_drawn() -> None:
    assert TRANSITIONS == TABLE


@pytest.mark.parametrize(
    ("phase", "interrupts"),
    [
        (Phase.WAITING, "LEAVE LEAVE LEAVE LEAVE"),
        (Phase.CONNECTING, "LEAVE LEAVE LEAVE LEAVE"),
        (Phase.SUBMITTING, "HOLD LEAVE LEAVE LEAVE"),
        (Phase.RUNNING, "DELIVER KILL LEAVE LEAVE"),
        (Phase.OVER, "NOTHING NOTHING NOTHING NOTHING"),
    ],
)
def test_every_signal_in_every_phase(phase: Phase, interrupts: str) -> None:
    wanted = [Reaction[name] for name in interrupts.split()]
    assert [reaction(phase, signal.SIGINT, count) for count in range(4)] == wanted
    for number in (signal.SIGTERM, signal.SIGHUP):
        assert [reaction(phase, number, count) for count in range(4)] == wanted[:1] * 4
