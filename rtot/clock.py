"""The current time, as a value that is passed as an argument.

It holds the readings of two clocks. Deadlines use the monotonic clock, which cannot be set.
Times shown to people use the wall clock, which NTP may step by years on a machine whose
hardware clock has no battery.
"""

from typing import NamedTuple


class Now(NamedTuple):
    """One reading of both clocks, taken by the loop once a turn.

    `monotonic` is seconds from an arbitrary start (clock_gettime(2), CLOCK_MONOTONIC);
    `wall` is nanoseconds since the epoch (CLOCK_REALTIME).
    """

    monotonic: float
    wall: int
