"""Sequences of bytes that only grow, and the end of one that was cut.

The newest bytes are in memory, all before them in a file. A sequence that is kept elsewhere is
loaded when somebody reads it.
"""

import struct
from collections.abc import Callable

from rtot.storage import File, StorageError

# Sequences below this are kept without a file. It is less than what is sent as a span of a file.
SMALL = 32 * 1024
_ENDING = struct.Struct("<qq")


class Sequence:
    """One append-only sequence of bytes: a file, and behind it the newest bytes in memory."""

    __slots__ = ("_file", "_stored", "_tail", "sealed")

    def __init__(self) -> None:
        self._file: File | None = None
        self.sealed = False
        """Whether its file takes nothing more."""
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

    @property
    def has_file(self) -> bool:
        return self._file is not None

    @classmethod
    def of_file(cls, file: File, size: int) -> "Sequence":
        """What is in a file that was sealed."""
        sequence = cls()
        sequence._file, sequence._stored = file, size
        sequence.sealed = True
        return sequence

    def flush(self, create: Callable[[], File]) -> None:
        """Move as much into the file as there is room for."""
        if self._tail:
            self._flush(create)

    def store(self, create: Callable[[], File]) -> bytes:
        """Move all into the file; return the end that there was no room for, which is dropped."""
        if not self._tail or self._flush(create):
            return b""
        lost = bytes(self._tail)
        self._tail = bytearray()
        return lost

    def keep(self) -> bytes | None:
        """All of it if it is small, None if it is to stay in its file, where it is all stored."""
        if self._file is not None and self.size >= SMALL:
            return None
        data = self.read(0, self._stored)
        if len(data) < self._stored:
            # It cannot be read, now.
            return None
        return data + bytes(self._tail)

    def drop_file(self) -> None:
        """What `keep` returned is kept elsewhere: hold that, and no file."""
        if self._file is not None and (data := self.keep()) is not None:
            self._tail = data
            self._stored = 0
            self._file.remove()
            self._file = None

    def seal(self) -> None:
        if self._file is not None:
            # With a file no memory is needed any more.
            if self._tail:
                moved = self._file.append(bytes(self._tail))
                self._stored += moved
                self._tail = self._tail[moved:]
            self._file.seal()
            self.sealed = True
        self._tail = bytes(self._tail)

    def remove(self) -> None:
        self._tail = b""
        if self._file is not None:
            self._file.remove()
            self._file = None


class LazySequence(Sequence):
    """One that is kept elsewhere, and loaded when it is read."""

    __slots__ = ("_load", "_size")

    def __init__(self, size: int, load: Callable[[], bytes]) -> None:
        super().__init__()
        self._size = size
        self._load: Callable[[], bytes] | None = load

    @property
    def size(self) -> int:
        return self._size

    def read(self, offset: int, limit: int) -> bytes:
        if self._load is not None:
            self._tail = self._load()
            self._load = None
        return super().read(offset, limit)


class End:
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

    @property
    def tail(self) -> bytes:
        """The last of them."""
        return bytes(self._data)

    def keep(self) -> bytes:
        """What `restore` makes the same of."""
        return _ENDING.pack(self.start, self.count) + bytes(self._data[-self._most :])

    @classmethod
    def restore(cls, kept: bytes) -> "End":
        """One that `keep` was called of."""
        start, count = _ENDING.unpack_from(kept)
        data = kept[_ENDING.size :]
        end = cls(start, len(data))
        end._data += data
        end.count = count
        return end
