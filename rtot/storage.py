"""The protocols through which the cores store files. They do no other file I/O."""

from typing import Protocol


class StorageError(Exception):
    """A file could not be stored; the text is strerror(3)'s, for people."""


class File(Protocol):
    """An append-only file, read at any offset."""

    def append(self, data: bytes) -> int:
        """Store what fits and return how many bytes that was; 0 when the disk is full."""

    def read(self, offset: int, limit: int) -> bytes:
        """Up to `limit` bytes from `offset`; empty past the end."""

    def fileno(self) -> int:
        """A descriptor for sendfile(2), valid until the next call of a File or Storage method."""

    def seal(self) -> None:
        """Nothing more will be appended: let the descriptor go."""

    def remove(self) -> None:
        """Delete the file."""


class Storage(Protocol):
    """What the job table needs of a disk."""

    def store_script(self, job_id: int, script: bytes) -> None:
        """Write an executable file, or raise StorageError."""

    def script_path(self, job_id: int) -> str:
        """The absolute path of a script's file."""

    def read_script(self, job_id: int, limit: int) -> bytes:
        """The beginning of a script; empty if it cannot be read."""

    def remove_script(self, job_id: int) -> None:
        """Delete a script's file."""

    def mark(self, job_id: int, launcher: str) -> None:
        """Have the next server know, if this one is killed, that the job may run elsewhere.

        Raises StorageError.
        """

    def unmark(self, job_id: int) -> None:
        """The job does not run."""

    def create(self, name: str) -> File:
        """A new, empty file, or raise StorageError."""

    def open(self, name: str) -> tuple[File, int] | None:
        """A file that a server before this one has made, and its size; None if it is not there."""

    def names(self) -> list[str]:
        """Of all files of output."""

    def remove(self, name: str) -> None:
        """Delete a file of output; one that is gone already is no error."""


class FileSpan:
    """A piece of a file, to be sent as it is; valid for as long as its body is."""

    __slots__ = ("file", "length", "offset")

    def __init__(self, file: File, offset: int, length: int) -> None:
        self.file = file
        self.offset = offset
        self.length = length

    def __len__(self) -> int:
        return self.length
