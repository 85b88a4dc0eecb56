"""The end of a stream: the last lines or bytes that were written, whether they were kept or not.

Positions here are those of the stream as it was written. Those up to the first byte that was
dropped are the offsets of the stream as it was kept. What lies between that byte and the last
bytes, which are kept apart, is gone: a tail does not reach over it.
"""

from typing import NamedTuple

from rtot.jobs.output import Output, Stream

_BLOCK = 64 * 1024
# Lines are looked for in so many bytes at most, since a stream may have none.
_LONGEST = 8 * 1024 * 1024


class Tail(NamedTuple):
    """So many lines, or so many bytes."""

    lines: int | None = None
    size: int | None = None


def tail_start(output: Output, stream: Stream, tail: Tail) -> int:
    """Where the tail begins. It is where the gap begins if the tail would reach into that."""
    end = output.written(stream)
    gap = output.gap(stream)
    first = gap[1] if gap is not None else 0
    if tail.size is not None:
        start = end - tail.size
        reaches = start < first
    else:
        start = _line_start(output, stream, tail.lines or 0, max(first, end - _LONGEST), end)
        # A line that begins behind the gap may have begun in it.
        reaches = start <= first and bool(tail.lines)
    if gap is not None and reaches:
        return gap[0]
    return max(start, 0)


def _line_start(output: Output, stream: Stream, lines: int, first: int, end: int) -> int:
    """Where the last lines begin, at `first` at the earliest."""
    if not lines:
        return end
    at = end
    # The newline that ends the last line is none between two.
    missing = lines
    while at > first:
        begin = max(first, at - _BLOCK)
        block = _read(output, stream, begin, at)
        if at == end and block.endswith(b"\n"):
            block = block[:-1]
        found = len(block)
        while missing and (found := block.rfind(b"\n", 0, found)) >= 0:
            missing -= 1
        if not missing:
            return begin + found + 1
        at = begin
    return first


def _read(output: Output, stream: Stream, begin: int, end: int) -> bytes:
    data = b""
    while len(data) < end - begin:
        piece, _ = output.read_written(stream, begin + len(data), end - begin - len(data))
        data += piece
    return data
