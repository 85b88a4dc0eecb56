"""When to try again, and what to say about it.

Pauses double from 0.2 to 10 s, by half of them at random, lest the clients of a server that comes
back do so at once. The first three seconds pass without a word.
"""

from collections.abc import Callable
from typing import Protocol

from rtot.client.failures import GaveUpError

_SHORTEST, _LONGEST = 0.2, 10.0
_QUIET = 3.0


class Clock(Protocol):
    """Seconds, of which nobody sets the beginning."""

    def now(self) -> float: ...
    def sleep(self, seconds: float) -> None: ...
    def wake(self) -> None:
        """End a sleep, and those to come. Another thread may call it."""


class Retries:
    """Of one session. Say what was `lost`, and when there is progress: `back`."""

    def __init__(
        self,
        limit: float,
        clock: Clock,
        tell: Callable[[str], None],
        chance: Callable[[], float],
        end: float | None = None,
    ) -> None:
        """Try for `limit` seconds, and not beyond `end` of the clock.

        `tell` takes lines for the user, `chance` gives 0.0 to 1.0.
        """
        self._limit = limit
        self._end = end
        self._stopped = False
        self._clock = clock
        self._tell = tell
        self._chance = chance
        self._since: float | None = None
        self._tries = 0
        self._told = False

    def lost(self, why: str, at_least: float = 0.0) -> None:
        """Return when it is time to try again, mostly not before `at_least` seconds are over.

        The last try is when the limit is reached. Raises GaveUpError.
        """
        now = self._clock.now()
        if self._since is None:
            self._since = now
        last = self._since + self._limit
        if self._end is not None:
            last = min(last, self._end)
        if now >= last or self._stopped:
            raise GaveUpError(why)
        pause = min(_LONGEST, _SHORTEST * 2**self._tries) * (1 + self._chance()) / 2
        end = min(now + max(pause, at_least), last)
        self._tries += 1
        if not self._told and end >= self._since + _QUIET:
            self._sleep(self._since + _QUIET)
            self._told = True
            self._tell(f"{why}; trying again for up to {self._limit:g} s")
        self._sleep(end)
        if self._stopped:
            raise GaveUpError(why)

    def stop(self) -> None:
        """Do not try again. Another thread may call it."""
        self._stopped = True
        self._clock.wake()

    def at_most(self, silence: float | None) -> float | None:
        """How long a server may say nothing, if not until the end."""
        if self._end is None:
            return silence
        left = max(0.1, self._end - self._clock.now())
        return left if silence is None else min(silence, left)

    def back(self) -> None:
        """The server has answered, and more than that it cannot."""
        if self._told:
            self._tell("connected again")
        self._since = None
        self._tries = 0
        self._told = False

    def _sleep(self, until: float) -> None:
        seconds = until - self._clock.now()
        if seconds > 0:
            self._clock.sleep(seconds)
