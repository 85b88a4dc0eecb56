"""A job's output: two append-only streams, read at absolute offsets by any number of readers.

Rules. A byte keeps its offset in its stream for good, so a reader is just an offset and costs
nothing. At most the last `memory` bytes of each stream are held in memory, the rest is in a
file. Bytes over the job's limit, or that do not fit on a full disk, are dropped and counted, so
that a job never blocks on its output. Dropped bytes have no offset.

The order of arrival is stored too: one record for each piece, with its time and the ends of both
streams, so that the two streams can be shown in one sequence.

If jobs are to survive the server, the owner calls `store` before anybody is told of new bytes:
what is in a file survives, what is in memory does not. `keep` says at a job's end what is to be
kept elsewhere, because it is too small for a file, and `restore` makes an output of that again.
"""

import struct
from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple

from rtot.jobs.sequence import SMALL, End, LazySequence, Sequence
from rtot.storage import File, Storage


class Stream(IntEnum):
    """Which output; the value is the file descriptor it has in the job."""

    OUT = 1
    ERR = 2


class Arrival(NamedTuple):
    """After the piece that arrived at `wall` (ns), the streams ended at these offsets."""

    wall: int
    out_end: int
    err_end: int


class UnreadableError(Exception):
    """Bytes that were stored cannot be had any more."""


NOTHING_DROPPED = (0, 0)

_RECORD = struct.Struct("<qqq")
# Pieces of one stream that arrive within this many nanoseconds of the first share a record, so
# that a job that writes byte by byte does not cost a record of 24 bytes for each.
_TOGETHER = 1_000_000
# No record covers more bytes than this, so that a reader need not take more at once.
_MOST_TOGETHER = 64 * 1024


# Bits of `Kept.files`, with the ends of the names of files.
FILES = {1: "out", 2: "err", 4: "arrivals"}


class Small(NamedTuple):
    """The content of each sequence that has no file, None for one that has; and of kept ends."""

    out: bytes | None
    err: bytes | None
    arrivals: bytes | None
    out_end: bytes | None
    err_end: bytes | None


class Kept(NamedTuple):
    """What is kept of an output: the sizes of its sequences, and those that are `FILES`.

    `newest`: the time of the newest piece (ns); `unrecorded`: it has no record of its arrival.
    """

    out: int = 0
    err: int = 0
    arrivals: int = 0
    out_dropped: int = 0
    err_dropped: int = 0
    cut_at: int = 0
    newest: int = 0
    unrecorded: bool = False
    files: int = 0


_NOTHING = Kept()
_NOTHING_SMALL = Small(b"", b"", b"", None, None)


class Output:
    """The output of one job.

    The caller appends what arrives, seals it when nothing more will, and removes it
    when the job is forgotten. Reading is possible from the first to the last of these.
    """

    __slots__ = (
        "_arrivals",
        "_ends",
        "_err",
        "_keep_end",
        "_limit",
        "_memory",
        "_name",
        "_newest_start",
        "_newest_stream",
        "_newest_wall",
        "_out",
        "_storage",
        "cut_at",
        "dropped",
    )

    def __init__(
        self, storage: Storage, name: str, *, limit: int, memory: int, keep_end: int = 0
    ) -> None:
        """`limit` is for both streams together, `memory` for each.

        Of a stream of which bytes are dropped the last `keep_end` are kept, too, in memory.
        """
        self._keep_end = keep_end
        self._ends: dict[Stream, End] | None = None
        self._storage = storage
        self._name = name
        self._limit = limit
        self._memory = memory
        # Made when needed: most jobs leave one of the three empty, and many leave all.
        self._out: Sequence | None = None
        self._err: Sequence | None = None
        self._arrivals: Sequence | None = None
        # The newest record may still grow, and is written when the next one begins.
        self._newest_stream: Stream | None = None
        self._newest_wall = 0
        self._newest_start = 0
        self.dropped = NOTHING_DROPPED
        self.cut_at = 0
        """When bytes were dropped first (ns since the epoch), 0 for never."""

    @property
    def out_size(self) -> int:
        return self._out.size if self._out else 0

    @property
    def err_size(self) -> int:
        return self._err.size if self._err else 0

    def size(self, stream: Stream) -> int:
        """Where the stream ends now."""
        return self.out_size if stream is Stream.OUT else self.err_size

    def append(self, stream: Stream, data: bytes, wall: int) -> int:
        """Keep what fits of `data`, which arrived at `wall` (ns); return how many bytes did.

        Less than all of it means that the limit is reached or the disk is full. The rest is
        counted in `dropped`.
        """
        total = self.out_size + self.err_size
        room = self._limit - total
        kept = 0
        if room > 0:
            self._begin_record(stream, len(data), total, wall)
            sequence = self._sequence(stream)
            kept = sequence.append(data[:room], self._memory, lambda: self._create(stream.name))
        end = self._ends.get(stream) if self._ends is not None else None
        if end is not None:
            end.append(data)
        elif kept < len(data):
            self._ends = self._ends or {}
            end = self._ends[stream] = End(self.size(stream), self._keep_end)
            end.append(data[kept:])
        if kept < len(data):
            self._drop(stream, len(data) - kept, wall)
        return kept

    def _drop(self, stream: Stream, count: int, wall: int) -> None:
        out, err = self.dropped
        self.cut_at = self.cut_at or wall
        self.dropped = (out + count, err) if stream is Stream.OUT else (out, err + count)

    def store(self, wall: int) -> bool:
        """Move what is in memory into files; whether there was room for all of it."""
        whole = True
        for stream, sequence in ((Stream.OUT, self._out), (Stream.ERR, self._err)):
            lost = b"" if sequence is None else self._store(sequence, stream)
            if not lost:
                continue
            whole = False
            self._cut(stream, lost)
            self._drop(stream, len(lost), wall)
        if self._arrivals is not None:
            self._arrivals.flush(lambda: self._create("arrivals"))
        return whole

    def _cut(self, stream: Stream, lost: bytes) -> None:
        """Those bytes, which were the stream's last, are dropped."""
        later = (self._ends or {}).get(stream)
        end = End(self.size(stream), self._keep_end)
        if later is not None:
            # What was written since the first byte was dropped is in there, kept or not.
            lost = lost[: max(0, later.start - end.start)]
            if not lost:
                return
        end.append(lost)
        if later is not None:
            end.append(later.tail)
            end.count = len(lost) + later.count
        self._ends = {**(self._ends or {}), stream: end}

    def _store(self, sequence: Sequence, stream: Stream) -> bytes:
        return sequence.store(lambda: self._create(stream.name))

    def keep(self, wall: int) -> Small:
        """What is to be kept elsewhere, now that nothing more will be appended."""
        if self._out is None and self._err is None and self._ends is None:
            return _NOTHING_SMALL
        restored = self._arrivals is not None and self._arrivals.sealed
        if self._newest_stream is not None and not restored:
            # It does not grow any more.
            ended = _RECORD.pack(self._newest_wall, self.out_size, self.err_size)
            self._arrivals = self._arrivals or Sequence()
            if self._arrivals.append_whole(ended, self._memory, lambda: self._create("arrivals")):
                self._newest_stream = None
        if self.kept.files or max(self.out_size, self.err_size) >= SMALL:
            # What stays in its file is to be there whole.
            self.store(wall)
        ends = self._ends or {}
        out_end, err_end = (ends[s].keep() if s in ends else None for s in Stream)
        out, err, arrivals = (
            b"" if sequence is None else sequence.keep()
            for sequence in (self._out, self._err, self._arrivals)
        )
        return Small(out, err, arrivals, out_end, err_end)

    @property
    def kept(self) -> Kept:
        """What there is to be kept of it, besides what `keep` has."""
        if self._out is None and self._err is None and self.dropped == NOTHING_DROPPED:
            return _NOTHING
        sequences = (self._out, self._err, self._arrivals)
        files = sum(
            bit for bit, each in zip(FILES, sequences, strict=True) if each and each.has_file
        )
        return Kept(
            self.out_size,
            self.err_size,
            self._arrivals.size if self._arrivals else 0,
            *self.dropped,
            self.cut_at,
            self._newest_wall,
            self._newest_stream is not None,
            files,
        )

    def drop_files(self) -> None:
        """What `keep` returned is kept: remove the files of that."""
        for sequence in (self._out, self._err, self._arrivals):
            if sequence is not None:
                sequence.drop_file()

    @classmethod
    def restore(
        cls, storage: Storage, name: str, kept: Kept, load: Callable[[], Small | None]
    ) -> "Output":
        """The output of which that was kept; `load` what is not in files, once that is read.

        A file has what it has: if that is less than what was kept, the rest was dropped.
        """
        output = cls(storage, name, limit=0, memory=0)
        output.dropped = (kept.out_dropped, kept.err_dropped)
        output.cut_at = kept.cut_at
        output._newest_wall = kept.newest
        output._newest_stream = Stream.OUT if kept.unrecorded else None
        loaded: list[Small | None] = []

        def small(index: int) -> bytes:
            if not loaded:
                loaded.append(load())
            return (loaded[0][index] if loaded[0] is not None else None) or b""

        def restored(index: int, bit: int, size: int) -> Sequence | None:
            if not kept.files & bit:
                return LazySequence(size, lambda: small(index)) if size else None
            found = storage.open(f"{name}.{FILES[bit]}")
            return None if found is None else Sequence.of_file(*found)

        output._out, output._err, output._arrivals = (
            restored(index, bit, size)
            for index, (bit, size) in enumerate(zip(FILES, kept, strict=False))
        )
        for stream, size in ((Stream.OUT, kept.out), (Stream.ERR, kept.err)):
            if output.size(stream) < size:
                output._drop(stream, size - output.size(stream), kept.newest)
        if kept.out_dropped or kept.err_dropped:
            ends = {stream: small(3 + index) for index, stream in enumerate(Stream)}
            output._ends = {stream: End.restore(end) for stream, end in ends.items() if end}
        return output

    def recover(self, wall: int) -> None:
        """The server was killed: what has no record of its arrival is told as one piece."""
        count = self.arrivals()
        last = self.arrival(count - 1) if count else Arrival(0, 0, 0)
        if (last.out_end, last.err_end) != (self.out_size, self.err_size):
            self._newest_stream = Stream.OUT
            self._newest_wall = wall

    def lost(self, stream: Stream) -> int:
        """How many bytes of the stream were dropped."""
        return self.dropped[stream is Stream.ERR]

    @property
    def full(self) -> bool:
        """Whether the limit is reached. If not, bytes are dropped because the disk is full."""
        return self.out_size + self.err_size >= self._limit

    def read(self, stream: Stream, offset: int, limit: int) -> bytes:
        """Some bytes of the stream from `offset` on, at most `limit`; empty at the end.

        Raises UnreadableError where there should be some.
        """
        sequence = self._out if stream is Stream.OUT else self._err
        data = sequence.read(offset, limit) if sequence else b""
        if not data and limit and offset < self.size(stream):
            raise UnreadableError
        return data

    def written(self, stream: Stream) -> int:
        """How many bytes the job has written to the stream."""
        end = self._ends.get(stream) if self._ends is not None else None
        return self.size(stream) if end is None else end.start + end.count

    def gap(self, stream: Stream) -> tuple[int, int] | None:
        """Where bytes of the stream as it was written are gone; None if none are."""
        end = self._ends.get(stream) if self._ends is not None else None
        return None if end is None or end.first == end.start else (end.start, end.first)

    def first_dropped(self, stream: Stream) -> int | None:
        """Where the first byte was that was dropped; None if none was."""
        end = self._ends.get(stream) if self._ends is not None else None
        return None if end is None else end.start

    def read_written(self, stream: Stream, at: int, limit: int) -> tuple[bytes, int]:
        """Some bytes of the stream as it was written, at most `limit`, and where they end.

        A line of rtot's own stands for those that are gone. Raises UnreadableError.
        """
        end = self._ends.get(stream) if self._ends is not None else None
        if end is None or at < end.start:
            most = limit if end is None else min(limit, end.start - at)
            data = self.read(stream, at, most)
            return data, at + len(data)
        if at < end.first:
            return f"rtot: {end.first - at} bytes are missing here\n".encode(), end.first
        data = end.read(at, limit)
        return data, at + len(data)

    def stored(self, stream: Stream, offset: int) -> tuple[File, int] | None:
        """The file that holds the stream at `offset` and how many bytes on from there it has.

        None where the bytes are in memory. Offsets in the file are those of the stream.
        """
        sequence = self._out if stream is Stream.OUT else self._err
        return sequence.stored(offset) if sequence else None

    def arrivals(self) -> int:
        """How many records there are."""
        written = self._arrivals.size // _RECORD.size if self._arrivals else 0
        return written + (self._newest_stream is not None)

    def arrival(self, index: int) -> Arrival:
        """The record of that number, from 0. The newest one may still grow."""
        if self._arrivals is not None and index < self._arrivals.size // _RECORD.size:
            start = index * _RECORD.size
            record = self._arrivals.read(start, _RECORD.size)
            # A record may lie across the end of the file.
            record += self._arrivals.read(start + len(record), _RECORD.size - len(record))
            if len(record) == _RECORD.size:
                return Arrival(*_RECORD.unpack(record))
        # The newest one; or one that cannot be read, which is then told together with it.
        return Arrival(self._newest_wall, self.out_size, self.err_size)

    def _begin_record(self, stream: Stream, length: int, total: int, wall: int) -> None:
        """Begin a record of arrival for the next piece, unless it can share the newest one."""
        if (
            stream is self._newest_stream
            and 0 <= wall - self._newest_wall < _TOGETHER
            and total + length - self._newest_start <= _MOST_TOGETHER
        ):
            return
        if total > self._newest_start:
            ended = _RECORD.pack(self._newest_wall, self.out_size, self.err_size)
            self._arrivals = self._arrivals or Sequence()
            if not self._arrivals.append_whole(
                ended, self._memory, lambda: self._create("arrivals")
            ):
                # No room: the pieces are told as one, in the order out, err.
                return
        self._newest_stream = stream
        self._newest_wall = wall
        self._newest_start = total

    def seal(self) -> None:
        """Nothing more will be appended: release what only writing needed. Call it once."""
        for sequence in (self._out, self._err, self._arrivals):
            if sequence is not None:
                sequence.seal()

    def remove(self) -> None:
        """Delete all files."""
        for sequence in (self._out, self._err, self._arrivals):
            if sequence is not None:
                sequence.remove()
        self._ends = None

    def _sequence(self, stream: Stream) -> Sequence:
        if stream is Stream.OUT:
            self._out = self._out or Sequence()
            return self._out
        self._err = self._err or Sequence()
        return self._err

    def _create(self, suffix: str) -> File:
        return self._storage.create(f"{self._name}.{suffix.lower()}")
