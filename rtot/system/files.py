"""A private directory: append-only files that are reached through its descriptor.

Everything is created O_EXCL and O_NOFOLLOW, so that nothing that a job or a stranger has planted is
ever followed. What a failure has left, or a job has planted, is moved out of the way.

Files keep their names. An unlinked file would need an open descriptor for as long as it is kept, so
the limit on open files would limit the number of complete jobs. A sealed file is closed; a few that
are being read are kept open.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Container
from typing import TypeVar

from rtot.storage import StorageError
from rtot.text import reason

T = TypeVar("T")

_OPEN_FILES = 32


class StoredFile:
    """One file: of a stream of a job, beyond what is kept in memory."""

    __slots__ = ("_directory", "_fd", "_name", "_size")

    def __init__(self, directory: "PrivateDirectory", name: str, fd: int | None) -> None:
        """`fd` is open for reading and writing; None for a file that is sealed."""
        self._directory = directory
        self._name = name
        self._fd = fd
        self._size = 0

    def append(self, data: bytes) -> int:
        assert self._fd is not None, "sealed"
        try:
            stored = os.pwrite(self._fd, data, self._size)
        except OSError:
            # ENOSPC, EDQUOT, EIO, EFBIG: the caller counts what is lost and tries the next
            # piece again, so that a disk with room again is used again.
            return 0
        self._size += stored
        return stored

    def read(self, offset: int, limit: int) -> bytes:
        try:
            return os.pread(self.fileno(), limit, offset)
        except OSError:
            return b""

    def fileno(self) -> int:
        return self._directory.reopen(self._name) if self._fd is None else self._fd

    def seal(self) -> None:
        if self._fd is not None:
            close_file(self._fd)
            self._fd = None

    def remove(self) -> None:
        self.seal()
        self._directory.remove(self._name)


class PrivateDirectory:
    """A directory that is ours alone, open."""

    __slots__ = ("_directory", "_open", "path")

    def __init__(self, path: str, directory: int) -> None:
        """`directory` is `path`, open (`open_private`)."""
        self.path = path
        self._directory = directory
        self._open: dict[str, int] = {}

    def create(self, name: str) -> StoredFile:
        """As Storage.create."""
        try:
            fd = self._open_new(name, os.O_RDWR, 0o600)
        except OSError as error:
            raise StorageError(reason(error)) from error
        return StoredFile(self, name, fd)

    def names(self) -> list[str]:
        """Of all files; empty if they cannot be told."""
        with contextlib.suppress(OSError):
            return os.listdir(self._directory)
        return []

    def open(self, name: str) -> tuple[StoredFile, int] | None:
        """As Storage.open."""
        try:
            status = os.stat(name, dir_fd=self._directory, follow_symlinks=False)
        except OSError:
            return None
        if not stat.S_ISREG(status.st_mode):
            return None
        return StoredFile(self, name, None), status.st_size

    def _open_new(self, name: str, access: int, mode: int) -> int:
        """A new file, in place of whatever a failure left or a job planted there."""
        flags = access | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        return self._make_new(name, lambda: os.open(name, flags, mode, dir_fd=self._directory))

    def _make_new(self, name: str, make: Callable[[], T]) -> T:
        """What `make` makes of that name, once nothing is in its way."""
        try:
            return make()
        except FileExistsError:
            self._clear(name)
        except FileNotFoundError:
            # Somebody has cleaned /tmp. What was in the directory is lost, and told as such.
            self._make_again()
        return make()

    def _clear(self, name: str) -> None:
        try:
            os.unlink(name, dir_fd=self._directory)
        except OSError:
            # A directory. It may be a large one: out of the way is enough.
            aside = f"planted-{os.urandom(6).hex()}"
            os.rename(name, aside, src_dir_fd=self._directory, dst_dir_fd=self._directory)

    def _make_again(self) -> None:
        os.mkdir(self.path, 0o700)
        directory = open_private(self.path)
        os.close(self._directory)
        self._directory = directory

    def reopen(self, name: str) -> int:
        """A descriptor of a sealed file. The least recently used ones are closed again."""
        fd = self._open.pop(name, None)
        if fd is None:
            # A job may have put a FIFO there, for which an open would wait.
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            fd = os.open(name, flags, dir_fd=self._directory)
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                close_file(fd)
                raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), name)
            if len(self._open) >= _OPEN_FILES:
                close_file(self._open.pop(next(iter(self._open))))
        self._open[name] = fd
        return fd

    def remove(self, name: str) -> None:
        """Delete a file; one that is gone already is no error."""
        fd = self._open.pop(name, None)
        if fd is not None:
            close_file(fd)
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=self._directory)

    def close(self) -> None:
        """Close it, and leave what is in it."""
        for fd in self._open.values():
            close_file(fd)
        self._open.clear()
        os.close(self._directory)


def open_private(path: str) -> int:
    """Open a directory that is ours alone, or raise OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    status = os.fstat(fd)
    if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
        os.close(fd)
        raise OSError(errno.EPERM, "not a private directory", path)
    return fd


def remove_files(directory: int, spared: Container[str] = ()) -> None:
    """Remove the files of a directory; what cannot be is left."""
    with contextlib.suppress(OSError):
        for name in os.listdir(directory):
            if name not in spared:
                with contextlib.suppress(OSError):
                    os.unlink(name, dir_fd=directory)


def remove_tree(path: str, directory: int) -> None:
    """Remove the directory `path`, open as `directory`; what cannot be is left."""
    remove_files(directory)
    try:
        os.rmdir(path)
    except OSError:
        # Some job has made a directory in it.
        import shutil

        shutil.rmtree(path, ignore_errors=True)


def close_file(fd: int) -> None:
    """Close a file. What could not be stored was counted when it was written."""
    with contextlib.suppress(OSError):
        os.close(fd)
