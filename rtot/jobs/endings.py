"""The ends of jobs that are under way: several of one job may be, and each has its deadlines."""

from rtot.deadlines import Deadlines
from rtot.jobs.stop import Stop


class Endings:
    """Stops that are not over. `track` each after every step that it takes."""

    __slots__ = ("_deadlines", "_stops")

    def __init__(self) -> None:
        self._stops: dict[int, list[Stop]] = {}
        self._deadlines: Deadlines[Stop] = Deadlines()

    def __bool__(self) -> bool:
        return bool(self._stops)

    def all(self) -> list[Stop]:
        return [stop for stops in self._stops.values() for stop in stops]

    def track(self, stop: Stop) -> None:
        """Remember the stop, or forget one that is over."""
        stops = self._stops.setdefault(stop.job_id, [])
        if not stop.over:
            if stop not in stops:
                stops.append(stop)
            self._deadlines.set(stop, stop.due)
            return
        self._deadlines.clear(stop)
        if stop in stops:
            stops.remove(stop)
        if not stops:
            del self._stops[stop.job_id]

    def next_deadline(self) -> float | None:
        """When one of them is due (monotonic)."""
        return self._deadlines.next()

    def due(self, now: float) -> list[Stop]:
        """Those that are to expire now."""
        return list(self._deadlines.due(now))
