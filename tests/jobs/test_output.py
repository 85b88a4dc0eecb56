import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from rtot.jobs.output import Output, Stream, UnreadableError
from tests.world import MemoryDisk

MILLISECOND = 1_000_000


def story(output: Output) -> list[tuple[int, int, int]]:
    return [(a.wall, a.out_end, a.err_end) for a in map(output.arrival, range(output.arrivals()))]


def test_an_empty_log() -> None:
    output = Output(MemoryDisk(), "0", limit=100, memory=10)
    assert output.size(Stream.OUT) == output.size(Stream.ERR) == output.arrivals() == 0
    assert output.read(Stream.OUT, 0, 10) == b""
    assert output.stored(Stream.ERR, 0) is None
    output.seal()
    output.remove()


def test_streams_are_separate() -> None:
    output = Output(MemoryDisk(), "0", limit=100, memory=10)
    output.append(Stream.OUT, b"out", 1)
    output.append(Stream.ERR, b"error", 2)
    assert output.read(Stream.OUT, 0, 9) == b"out"
    assert output.read(Stream.ERR, 2, 2) == b"ro"


def test_what_is_beyond_memory_is_in_a_file() -> None:
    disk = MemoryDisk()
    output = Output(disk, "7", limit=1000, memory=10)
    output.append(Stream.OUT, b"0123456", 1)
    assert disk.files == {}
    output.append(Stream.OUT, b"789abc", 2)
    assert disk.files["7.out"].data == b"0123456789abc"
    output.append(Stream.OUT, b"d", 3)
    assert output.read(Stream.OUT, 0, 99) == b"0123456789abc"
    assert output.read(Stream.OUT, 13, 99) == b"d"
    assert output.stored(Stream.OUT, 10) == (disk.files["7.out"], 3)
    assert output.stored(Stream.OUT, 13) is None
    output.seal()
    assert disk.files["7.out"].sealed
    assert disk.files["7.out"].data == b"0123456789abcd"
    assert output.read(Stream.OUT, 13, 99) == b"d"
    output.remove()
    assert disk.files == {}
    with pytest.raises(UnreadableError):
        output.read(Stream.OUT, 0, 99)


def test_what_is_only_in_memory_is_removed_too() -> None:
    output = Output(MemoryDisk(), "0", limit=100, memory=10)
    output.append(Stream.OUT, b"x", 1)
    output.remove()
    assert output.read(Stream.OUT, 0, 9) == b""


def test_the_limit_is_for_both_streams() -> None:
    output = Output(MemoryDisk(), "0", limit=10, memory=100)
    assert output.append(Stream.OUT, b"123456", 1) == 6
    assert not output.full
    assert output.append(Stream.ERR, b"123456", 2) == 4
    assert output.full
    assert output.append(Stream.OUT, b"7", 3) == 0
    assert output.dropped == (1, 2)
    assert output.read(Stream.ERR, 0, 99) == b"1234"


def test_not_full_before_both_streams_together_reach_the_limit() -> None:
    output = Output(MemoryDisk(), "0", limit=10, memory=100)
    output.append(Stream.OUT, b"12345", 1)
    output.append(Stream.ERR, b"1234", 2)
    assert not output.full


def test_a_full_disk_drops_and_counts_and_recovers() -> None:
    disk = MemoryDisk(room=5)
    output = Output(disk, "0", limit=1000, memory=4)
    assert output.append(Stream.OUT, b"abcdefgh", 1) == 8
    assert output.append(Stream.OUT, b"ijklm", 2) == 1
    assert output.dropped == (4, 0)
    assert not output.full
    disk.room = 100
    assert output.append(Stream.OUT, b"nopqr", 3) == 5
    assert output.read(Stream.OUT, 0, 5) + output.read(Stream.OUT, 5, 99) == b"abcdefghinopqr"


def test_a_file_that_cannot_be_made_drops_and_counts() -> None:
    disk = MemoryDisk()
    disk.broken = True
    output = Output(disk, "0", limit=1000, memory=4)
    assert output.append(Stream.ERR, b"abcdef", 1) == 4
    assert output.dropped == (0, 2)


def test_arrivals_tell_the_order() -> None:
    output = Output(MemoryDisk(), "0", limit=1000, memory=100)
    output.append(Stream.OUT, b"aa", 1 * MILLISECOND)
    output.append(Stream.OUT, b"a", 1 * MILLISECOND + 5)
    output.append(Stream.ERR, b"bb", 1 * MILLISECOND + 6)
    output.append(Stream.OUT, b"c", 9 * MILLISECOND)
    assert story(output) == [
        (1 * MILLISECOND, 3, 0),
        (1 * MILLISECOND + 6, 3, 2),
        (9 * MILLISECOND, 4, 2),
    ]


def test_arrivals_of_one_stream_are_apart_when_time_passes() -> None:
    output = Output(MemoryDisk(), "0", limit=1000, memory=100)
    output.append(Stream.OUT, b"a", 0)
    output.append(Stream.OUT, b"b", MILLISECOND)
    output.append(Stream.OUT, b"c", 0)
    assert story(output) == [(0, 1, 0), (MILLISECOND, 2, 0), (0, 3, 0)]


def test_arrivals_without_room_are_told_together() -> None:
    disk = MemoryDisk(room=0)
    output = Output(disk, "0", limit=1000, memory=24)
    for i in range(3):
        output.append(Stream.OUT, b"o", 2 * i * MILLISECOND)
        output.append(Stream.ERR, b"e", (2 * i + 1) * MILLISECOND)
    assert story(output) == [(0, 1, 0), (MILLISECOND, 3, 3)]


def test_an_arrival_that_cannot_be_read_is_told_with_all_the_rest() -> None:
    disk = MemoryDisk()
    output = Output(disk, "0", limit=1000, memory=24)
    for i in range(3):
        output.append(Stream.OUT, b"o", 2 * i * MILLISECOND)
    assert output.arrival(0) == (0, 1, 0)
    disk.files["0.arrivals"].data = b""
    assert output.arrival(0) == (4 * MILLISECOND, 3, 0)


class LogMachine(RuleBasedStateMachine):
    """Against a bytes model, with a disk that fills up and readers that are anywhere."""

    @initialize(limit=st.integers(0, 300), memory=st.integers(0, 40), room=st.integers(0, 200))
    def begin(self, limit: int, memory: int, room: int) -> None:
        self.disk = MemoryDisk(room)
        self.output = Output(self.disk, "0", limit=limit, memory=memory)
        self.limit = limit
        self.memory = memory
        self.model = {Stream.OUT: b"", Stream.ERR: b""}
        self.lost = {Stream.OUT: 0, Stream.ERR: 0}
        self.wall = 0
        self.sealed = False

    @rule(stream=st.sampled_from(Stream), data=st.binary(max_size=60), passed=st.integers(0, 3))
    def append(self, stream: Stream, data: bytes, passed: int) -> None:
        if self.sealed:
            return
        self.wall += passed * 400_000
        kept = self.output.append(stream, data, self.wall)
        total = sum(map(len, self.model.values()))
        assert 0 <= kept <= min(len(data), max(0, self.limit - total))
        if self.disk.room and not self.disk.broken:
            assert kept == min(len(data), max(0, self.limit - total))
        self.model[stream] += data[:kept]
        self.lost[stream] += len(data) - kept

    @rule(room=st.integers(0, 200), broken=st.booleans())
    def change_disk(self, room: int, broken: bool) -> None:
        self.disk.room = room
        self.disk.broken = broken

    @rule()
    def seal(self) -> None:
        if self.sealed:
            return
        self.output.seal()
        self.sealed = True

    @rule(stream=st.sampled_from(Stream), start=st.integers(0, 320), step=st.integers(1, 70))
    def read(self, stream: Stream, start: int, step: int) -> None:
        expected = self.model[stream][start:]
        got = b""
        while piece := self.output.read(stream, start + len(got), step):
            assert len(piece) <= step
            got += piece
        assert got == expected

    @rule(stream=st.sampled_from(Stream), start=st.integers(0, 320))
    def send_file(self, stream: Stream, start: int) -> None:
        stored = self.output.stored(stream, start)
        if stored is not None:
            file, length = stored
            assert file.read(start, length) == self.model[stream][start : start + length]

    @invariant()
    def sizes(self) -> None:
        for stream, data in self.model.items():
            assert self.output.size(stream) == len(data)
        assert self.output.dropped == (self.lost[Stream.OUT], self.lost[Stream.ERR])

    @invariant()
    def the_story_is_complete_and_in_order(self) -> None:
        told = story(self.output)
        ends = [(out, err) for _, out, err in told]
        assert ends == sorted(ends)
        out, err = ends[-1] if ends else (0, 0)
        assert (out, err) == (len(self.model[Stream.OUT]), len(self.model[Stream.ERR]))

    @invariant()
    def memory_is_bounded(self) -> None:
        for output in (self.output._out, self.output._err, self.output._arrivals):
            assert output is None or len(output._tail) <= max(self.memory, 24)


TestLog = LogMachine.TestCase


@given(st.lists(st.binary(min_size=1, max_size=5), max_size=30), st.integers(1, 7))
@example([b"ab", b"c"], 1)
def test_a_slow_reader_reads_what_a_fast_one_does(pieces: list[bytes], step: int) -> None:
    output = Output(MemoryDisk(), "0", limit=1000, memory=8)
    slow = fast = b""
    for piece in pieces:
        output.append(Stream.OUT, piece, 0)
        fast += output.read(Stream.OUT, len(fast), 99)
        slow += output.read(Stream.OUT, len(slow), step)
    while rest := output.read(Stream.OUT, len(slow), step):
        slow += rest
    while rest := output.read(Stream.OUT, len(fast), 99):
        fast += rest
    assert slow == fast == b"".join(pieces)


def test_what_does_not_fit_at_the_end_stays_in_memory() -> None:
    disk = MemoryDisk()
    output = Output(disk, "7", limit=1000, memory=10)
    output.append(Stream.OUT, b"0123456789abc", 1)
    output.append(Stream.OUT, b"defg", 2)
    disk.room = 1
    output.seal()
    assert disk.files["7.out"].data == b"0123456789abcd"
    assert output.read(Stream.OUT, 0, 99) + output.read(Stream.OUT, 14, 99) == b"0123456789abcdefg"


def test_what_arrives_together_is_told_together_up_to_a_limit() -> None:
    """64 KB and a millisecond: then another record begins."""
    for first, second, records in ((1 << 15, 1 << 15, 1), (1 << 15, (1 << 15) + 1, 2)):
        output = Output(MemoryDisk(), "0", limit=1 << 30, memory=1 << 20)
        output.append(Stream.ERR, b"before", 0)
        output.append(Stream.OUT, b"x" * first, 1)
        output.append(Stream.OUT, b"y" * second, 2)
        assert output.arrivals() == 1 + records
    output = Output(MemoryDisk(), "0", limit=1 << 30, memory=1 << 20)
    for wall in (0, MILLISECOND - 1, 2 * MILLISECOND - 2, 2 * MILLISECOND - 1):
        output.append(Stream.OUT, b"x", wall)
    assert story(output) == [(0, 2, 0), (2 * MILLISECOND - 2, 4, 0)]


def test_a_stream_that_has_just_enough_memory_has_no_file() -> None:
    disk = MemoryDisk()
    output = Output(disk, "0", limit=100, memory=4)
    output.append(Stream.OUT, b"abcd", 1)
    assert disk.files == {}
    output.append(Stream.OUT, b"e", 1)
    assert disk.files["0.out"].data == b"abcde"
    output.append(Stream.OUT, b"fghi", 1)
    assert disk.files["0.out"].data == b"abcde"


def test_what_was_kept_in_part_goes_on_where_it_ended() -> None:
    disk = MemoryDisk(room=6)
    output = Output(disk, "0", limit=100, memory=4)
    assert output.append(Stream.OUT, b"abcd", 1) == 4
    # Four go from memory into the file, two more fit there, and four into memory.
    assert output.append(Stream.OUT, b"efghijklm", 1) == 6
    assert output.dropped == (3, 0)
    assert output.size(Stream.OUT) == 10
    data = output.read(Stream.OUT, 0, 99) + output.read(Stream.OUT, 6, 99)
    assert data == b"abcdefghij"


def test_a_record_of_arrival_that_lies_across_the_end_of_the_file() -> None:
    # The file ends in the middle of the second record, for the disk was full then.
    disk = MemoryDisk(room=30)
    output = Output(disk, "0", limit=10_000, memory=100)
    for second in range(1, 8):
        output.append(Stream.OUT, b"x", second * 1_000_000_000)
    (file,) = disk.files.values()
    assert len(file.data) == 30
    assert output.arrival(0) == (1_000_000_000, 1, 0)
    assert output.arrival(1) == (2_000_000_000, 2, 0)
    assert output.arrival(2) == (3_000_000_000, 3, 0)


def test_the_end_of_a_cut_stream_costs_little() -> None:
    output = Output(MemoryDisk(), "7", limit=0, memory=10, keep_end=1000)
    for index in range(5000):
        output.append(Stream.OUT, b"%04d\n" % index, index)
    assert output.gap(Stream.OUT) == (0, 24_000)
    assert output.read_written(Stream.OUT, 24_995, 99) == (b"4999\n", 25_000)
    assert output._ends is not None
    assert len(output._ends[Stream.OUT]._data) <= 2000
