"""Deadlines by key: which is due next, at a cost that does not grow with the idle keys.

Most deadlines are moved later (a connection is used, a job makes progress), so a move to a later
time does not touch the heap. The old heap entry stays; when it reaches the top, it is pushed
again with its current time. A key has at most one live entry; entries
left behind by cleared keys are swept when they outnumber the live ones.
"""

import heapq
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class _Entry(Generic[K]):
    __slots__ = ("armed", "key", "when")

    def __init__(self, key: K, when: float) -> None:
        self.key: K | None = key
        self.when = when
        self.armed = when


class Deadlines(Generic[K]):
    """A time for each key, on whatever clock the caller reckons with."""

    __slots__ = ("_entries", "_heap", "_pushed")

    def __init__(self) -> None:
        self._entries: dict[K, _Entry[K]] = {}
        self._heap: list[tuple[float, int, _Entry[K]]] = []
        self._pushed = 0

    def __len__(self) -> int:
        return len(self._entries)

    def set(self, key: K, when: float) -> None:
        """Make `key` due at `when`, whatever it was due at before."""
        entry = self._entries.get(key)
        if entry is None:
            self._entries[key] = entry = _Entry(key, when)
            self._push(entry, when)
        else:
            entry.when = when
            if when < entry.armed:
                self._push(entry, when)

    def clear(self, key: K) -> None:
        """Forget `key`; one that is not there is no error."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            entry.key = None
            if len(self._heap) > 64 + 2 * len(self._entries):
                self._sweep()

    def next(self) -> float | None:
        """The earliest deadline, None where there is none."""
        while self._heap:
            at, _, entry = self._heap[0]
            if entry.key is not None and entry.armed == at:
                if entry.when == at:
                    return at
                heapq.heappop(self._heap)
                self._push(entry, entry.when)
            else:
                heapq.heappop(self._heap)
        return None

    def due(self, now: float) -> Iterator[K]:
        """Yield the keys that are due, and remove each."""
        while self._heap and self._heap[0][0] <= now:
            at, _, entry = heapq.heappop(self._heap)
            key = entry.key
            if key is None or entry.armed != at:
                continue
            if entry.when > now:
                self._push(entry, entry.when)
            else:
                del self._entries[key]
                # The heap may hold a second entry for the same time.
                entry.key = None
                yield key

    def _push(self, entry: _Entry[K], when: float) -> None:
        entry.armed = when
        self._pushed += 1
        heapq.heappush(self._heap, (when, self._pushed, entry))

    def _sweep(self) -> None:
        self._heap = []
        for entry in self._entries.values():
            self._push(entry, entry.when)
