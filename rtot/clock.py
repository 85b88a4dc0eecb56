"""What time it is: a value that is handed down, never asked for.

Two readings travel together because they answer different questions. Deadlines are
reckoned on the monotonic clock, which nobody can step; what people read is the wall
clock, which NTP may step by years on a machine that boots without a battery.
"""

from typing import NamedTuple


class Now(NamedTuple):
    """One reading of both clocks, taken by the loop once a turn.

    `monotonic` is seconds from an arbitrary start (clock_gettime(2), CLOCK_MONOTONIC);
    `wall` is nanoseconds since the epoch (CLOCK_REALTIME).
    """

    monotonic: float
    wall: int
