"""Counts that a monitoring system reads, and the text it reads them in.

The text format is Prometheus' 0.0.4, the names and units are those of its conventions. Whoever
counts something has a `families` method that tells of it. All series are there from the start,
and there are no others, whatever clients send.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Sample(NamedTuple):
    """One line: what follows the family's name, `a="b",c="d"` or nothing, and the value."""

    suffix: str
    labels: str
    value: float


class Family(NamedTuple):
    """One metric. `kind` is counter, gauge or histogram."""

    name: str
    kind: str
    help: str
    samples: Iterable[Sample]


class Source(Protocol):
    """Somebody who counts."""

    def families(self) -> Iterator[Family]:
        """What there is to tell now."""


class Histogram:
    """How many values were at most so large, for some sizes in rising order, and their sum."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """There was one more."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def samples(self, labels: str = "") -> Iterator[Sample]:
        """As a family of that kind has them."""
        before = f"{labels}," if labels else ""
        count = 0
        for bound, more in zip((*self._bounds, "+Inf"), self._counts, strict=True):
            count += more
            yield Sample("_bucket", f'{before}le="{bound}"', count)
        yield Sample("_sum", labels, self._sum)
        yield Sample("_count", labels, count)


def counter(name: str, help: str, value: float) -> Family:
    """A counter without labels."""
    return Family(name, "counter", help, [Sample("", "", value)])


def gauge(name: str, help: str, value: float) -> Family:
    """A gauge without labels."""
    return Family(name, "gauge", help, [Sample("", "", value)])


def labelled(name: str, values: Iterable[tuple[str, float]]) -> list[Sample]:
    """A sample for each value of the one label of that name."""
    return [Sample("", f'{name}="{text}"', value) for text, value in values]


def render(sources: Iterable[Source]) -> Iterator[bytes]:
    """The text, a family at a time."""
    for source in sources:
        for name, kind, help, samples in source.families():
            lines = [f"# HELP {name} {help}\n# TYPE {name} {kind}\n"]
            for suffix, labels, value in samples:
                lines.append(f"{name}{suffix}{f'{{{labels}}}' if labels else ''} {value!r}\n")
            yield "".join(lines).encode()
