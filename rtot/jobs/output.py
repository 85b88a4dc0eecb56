"""A job's output: two append-only streams, read at absolute offsets by any number of readers.

Rules. A byte keeps its offset in its stream for good, so a reader is just an offset and costs
nothing. At most the last `memory` bytes of each stream are held in memory, the rest is in a
file. Bytes over the job's limit, or that do not fit on a full disk, are dropped and counted, so
that a job never blocks on its output. Dropped bytes have no offset.

The order of arrival is stored too: one record for each piece, with its time and the ends of both
streams, so that the two streams can be shown in one sequence.
"""

import struct
from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple

from rtot.storage import File, Storage, StorageError


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


class _Sequence:
    """One append-only sequence of bytes: a file, and behind it the newest bytes in memory."""

    __slots__ = ("_file", "_stored", "_tail")

    def __init__(self) -> None:
        self._file: File | None = None
        self._stored = 0
        self._tail: bytearray | bytes = bytearray()

    @property
    def size(self) -> int:
        return self._stored + len(self._tail)

    def append(self, data: bytes, memory: int, create: Callable[[], File]) -> int:
        """Keep `data`, or as much of it as there is room for; return how much that was."""
        kept = 0
        if len(self._tail) + len(data) > memory and (file := self._flush(create)):
            # Large data goes straight to the file.
            kept = file.append(data)
            self._stored += kept
            if kept == len(data):
                return kept
        more = data[kept : kept + memory - len(self._tail)]
        self._tail += more
        return kept + len(more)

    def append_whole(self, data: bytes, memory: int, create: Callable[[], File]) -> bool:
        """Keep all of `data`, or none of it if there is no room; return whether it was kept."""
        if len(self._tail) + len(data) > memory and not self._flush(create):
            return False
        self._tail += data
        return True

    def _flush(self, create: Callable[[], File]) -> File | None:
        """Move the memory into the file; None if not all of it could be moved."""
        if self._file is None:
            try:
                self._file = create()
            except StorageError:
                return None
        if self._tail:
            moved = self._file.append(bytes(self._tail))
            self._stored += moved
            self._tail = self._tail[moved:]
        return None if self._tail else self._file

    def read(self, offset: int, limit: int) -> bytes:
        """Some bytes from `offset` on, at most `limit`; empty at the end."""
        if offset < self._stored and self._file is not None:
            return self._file.read(offset, min(limit, self._stored - offset))
        start = offset - self._stored
        return bytes(self._tail[start : start + limit])

    def stored(self, offset: int) -> tuple[File, int] | None:
        """The file and how much of it can be sent as it is from `offset` on."""
        if self._file is None or offset >= self._stored:
            return None
        return self._file, self._stored - offset

    def seal(self) -> None:
        if self._file is not None:
            # With a file no memory is needed any more.
            moved = self._file.append(bytes(self._tail))
            self._stored += moved
            self._tail = self._tail[moved:]
            self._file.seal()
        self._tail = bytes(self._tail)

    def remove(self) -> None:
        self._tail = b""
        if self._file is not None:
            self._file.remove()
            self._file = None


class _End:
    """The last bytes of a stream from the first one on that was dropped."""

    __slots__ = ("_data", "_most", "count", "start")

    def __init__(self, start: int, most: int) -> None:
        self.start = start
        self.count = 0
        """How many bytes there were."""
        self._data = bytearray()
        self._most = most

    @property
    def first(self) -> int:
        """Where what is kept of them begins."""
        return self.start + self.count - min(len(self._data), self._most)

    def append(self, data: bytes) -> None:
        self.count += len(data)
        self._data += data[-self._most :] if self._most else b""
        if len(self._data) > 2 * self._most:
            # Now and then, as it moves all of them.
            del self._data[: -self._most]

    def read(self, at: int, limit: int) -> bytes:
        begin = len(self._data) - (self.start + self.count - at)
        return bytes(self._data[begin : begin + limit])


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
        self._ends: dict[Stream, _End] | None = None
        self._storage = storage
        self._name = name
        self._limit = limit
        self._memory = memory
        # Made when needed: most jobs leave one of the three empty, and many leave all.
        self._out: _Sequence | None = None
        self._err: _Sequence | None = None
        self._arrivals: _Sequence | None = None
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
            end = self._ends[stream] = _End(self.size(stream), self._keep_end)
            end.append(data[kept:])
        if kept < len(data):
            out, err = self.dropped
            self.cut_at = self.cut_at or wall
            lost = len(data) - kept
            self.dropped = (out + lost, err) if stream is Stream.OUT else (out, err + lost)
        return kept

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
            self._arrivals = self._arrivals or _Sequence()
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

    def _sequence(self, stream: Stream) -> _Sequence:
        if stream is Stream.OUT:
            self._out = self._out or _Sequence()
            return self._out
        self._err = self._err or _Sequence()
        return self._err

    def _create(self, suffix: str) -> File:
        return self._storage.create(f"{self._name}.{suffix.lower()}")
