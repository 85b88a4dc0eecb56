"""Tails: compared at random with what the whole stream would give."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rtot.jobs.output import Output, Stream
from rtot.jobs.tail import Tail, tail_start
from tests.world import MemoryDisk


def written(data: bytes, limit: int = 1 << 30, keep_end: int = 0, piece: int = 7) -> Output:
    output = Output(MemoryDisk(), "7", limit=limit, memory=10, keep_end=keep_end)
    for at in range(0, len(data), piece):
        output.append(Stream.OUT, data[at : at + piece], at)
    return output


def told(output: Output, tail: Tail) -> bytes:
    at, data = tail_start(output, Stream.OUT, tail), b""
    while at < output.written(Stream.OUT):
        piece, at = output.read_written(Stream.OUT, at, 5)
        assert piece
        data += piece
    return data


def expected(data: bytes, tail: Tail) -> bytes:
    """The tail of a stream of which nothing was dropped."""
    if tail.size is not None:
        return data[max(0, len(data) - tail.size) :]
    lines = data.splitlines(keepends=True) if b"\r" not in data else []
    return b"".join(lines[-tail.lines :]) if tail.lines else b""


LINES = st.lists(st.sampled_from([b"", b"a", b"bcd", b"efghijklmnop"]), max_size=30).map(b"\n".join)
TAILS = st.one_of(
    st.integers(0, 40).map(lambda n: Tail(lines=n)), st.integers(0, 200).map(lambda n: Tail(size=n))
)


@given(LINES, st.booleans(), TAILS)
@example(b"", True, Tail(lines=1))
@example(b"a", False, Tail(lines=1))
def test_a_tail_of_a_whole_stream(data: bytes, ended: bool, tail: Tail) -> None:
    data += b"\n" if ended else b""
    assert told(written(data), tail) == expected(data, tail)


@given(LINES, TAILS, st.integers(0, 60), st.integers(0, 60), st.integers(1, 20))
@example(b"a\n" * 20, Tail(lines=3), 4, 6, 3)
@example(b"a\n" * 20, Tail(lines=4), 4, 6, 3)
@example(b"a\n" * 20, Tail(size=6), 4, 6, 3)
def test_a_tail_of_a_cut_stream(
    data: bytes, tail: Tail, limit: int, keep_end: int, piece: int
) -> None:
    output = written(data, limit, keep_end, piece)
    assert output.written(Stream.OUT) == len(data)
    whole = expected(data, tail)
    found = told(output, tail)
    gap = output.gap(Stream.OUT)
    if gap is None:
        assert found == whole
        return
    first, last = gap
    assert (first, len(data) - last) == (limit, keep_end)
    # A line that begins with what was kept may have begun before that.
    if len(whole) < keep_end + (tail.lines is None) or not whole:
        assert found == whole
    else:
        # It ends at the hole, and says so.
        missing, _, rest = found.partition(b" bytes are missing here\n")
        assert missing == b"rtot: %d" % (last - first)
        assert rest == data[last:]


def test_lines_are_looked_for_in_blocks() -> None:
    data = b"".join(b"%06d\n" % i for i in range(100_000))
    output = Output(MemoryDisk(), "7", limit=1 << 30, memory=1 << 16)
    output.append(Stream.OUT, data, 1)
    for lines in (1, 10, 20_000, 100_000, 200_000):
        start = tail_start(output, Stream.OUT, Tail(lines=lines))
        assert start == max(0, len(data) - 7 * lines)


def test_a_stream_without_lines_is_not_read_whole() -> None:
    output = Output(MemoryDisk(), "7", limit=1 << 30, memory=10)
    output.append(Stream.OUT, b"x" * 9_000_000, 1)
    assert tail_start(output, Stream.OUT, Tail(lines=1)) == 9_000_000 - (8 << 20)


def test_what_comes_after_a_full_disk_is_in_the_tail_once() -> None:
    disk = MemoryDisk(room=20)
    output = Output(disk, "7", limit=1 << 30, memory=4, keep_end=1000)
    text = b"".join(b"line %d\n" % i for i in range(10))
    for at in range(0, 70, 7):
        if at == 35:
            disk.room = 1 << 20
        output.append(Stream.OUT, text[at : at + 7], at)
    assert output.lost(Stream.OUT) > 0
    assert told(output, Tail(size=1000)) == text
    assert output.gap(Stream.OUT) is None


@pytest.mark.parametrize("keep_end", [0, 5])
def test_the_streams_have_ends_of_their_own(keep_end: int) -> None:
    output = Output(MemoryDisk(), "7", limit=4, memory=10, keep_end=keep_end)
    output.append(Stream.OUT, b"abc", 1)
    output.append(Stream.ERR, b"0123456789", 2)
    assert (output.written(Stream.OUT), output.gap(Stream.OUT)) == (3, None)
    assert (output.written(Stream.ERR), output.gap(Stream.ERR)) == (10, (1, 10 - keep_end))
