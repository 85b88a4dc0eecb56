"""Token buckets: limits on how often something may happen, on average and in a burst.

A bucket holds up to `burst` tokens and gains `rate` tokens a second; each event takes one. There
is no timer: the level is computed from the time since the last look.
"""

from collections.abc import Hashable


class Bucket:
    """One thing's tokens."""

    __slots__ = ("_at", "_burst", "_rate", "_tokens")

    def __init__(self, burst: float, rate: float) -> None:
        """Full: `burst` tokens, and `rate` more a second."""
        self._burst = burst
        self._rate = rate
        self._tokens = burst
        self._at: float | None = None

    def level(self, now: float) -> float:
        """How many tokens there are at the time `now` (monotonic)."""
        if self._at is not None:
            gained = (now - self._at) * self._rate
            self._tokens = min(self._burst, self._tokens + gained)
        self._at = now
        return self._tokens

    def take(self, now: float) -> bool:
        """Take a token; whether there was one."""
        if self.level(now) < 1:
            return False
        self._tokens -= 1
        return True


class Throttle:
    """A bucket for each key. Only the `most` keys that last took a token are kept."""

    __slots__ = ("_buckets", "_burst", "_most", "_rate")

    def __init__(self, burst: float, rate: float, most: int) -> None:
        self._burst = burst
        self._rate = rate
        self._most = most
        self._buckets: dict[Hashable, Bucket] = {}

    def __len__(self) -> int:
        return len(self._buckets)

    def is_empty(self, key: Hashable, now: float) -> bool:
        """Whether the key's bucket has no token."""
        bucket = self._buckets.get(key)
        return bucket is not None and bucket.level(now) < 1

    def take(self, key: Hashable, now: float) -> None:
        """Take one of the key's tokens, if there is one."""
        bucket = self._buckets.pop(key, None) or Bucket(self._burst, self._rate)
        bucket.take(now)
        if len(self._buckets) >= self._most:
            del self._buckets[next(iter(self._buckets))]
        self._buckets[key] = bucket
