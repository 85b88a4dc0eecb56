"""Counts of what the loop does: its turns, and its connections."""

from collections.abc import Iterator

from rtot import __version__
from rtot.metrics import Family, Histogram, counter, gauge, labelled

_BOUNDS = (0.0001, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0)


class Vitals:
    """Counts of one server."""

    __slots__ = ("_turns", "accepted", "connected")

    def __init__(self) -> None:
        self._turns = Histogram(_BOUNDS)
        self.accepted = 0
        """How many connections were accepted."""
        self.connected = 0
        """How many there are."""

    def turned(self, seconds: float) -> None:
        """A turn took so long."""
        self._turns.observe(seconds)

    def families(self) -> Iterator[Family]:
        """As metrics.Source."""
        yield Family(
            "rtot_build_info",
            "gauge",
            "The version that runs.",
            labelled("version", [(__version__, 1)]),
        )
        yield gauge("rtot_connections", "Clients that are connected.", self.connected)
        yield counter("rtot_connections_total", "Clients that have connected.", self.accepted)
        yield Family(
            "rtot_turn_seconds",
            "histogram",
            "What a turn of the loop took, without waiting for something to do.",
            self._turns.samples(),
        )
