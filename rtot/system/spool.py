"""The server's private directory: scripts waiting to be run, and output too big to keep.

One directory, mode 0700, named by chance in `--spool-dir`; everything in it is reached
through its descriptor, created O_EXCL and O_NOFOLLOW, so that nothing planted in a shared
/tmp is ever followed. It is removed at exit. Its owner holds a lock on it for as long as it
lives; a directory of ours that nobody locks belonged to a server that was killed, and the
next server removes it (`leftovers`). It is named by the server's id, so that the next server knows
that too, and a job that may run elsewhere is marked in it.

A script has a file of its own from its submission to its job's end, and no other script ever
gets that file: a process that a job has left behind may open its script at any time.

Output files keep their names. An unlinked file would need an open descriptor for as long as its
job is kept, so the limit on open files would limit the number of complete jobs. The file of a
complete job is closed; a few that are being read are kept open.
"""

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Callable, Container
from typing import TypeVar

from rtot.storage import StorageError
from rtot.text import is_number, reason

T = TypeVar("T")

_OPEN_FILES = 32
# Servers that start at the same time may collide, but not many times in a row.
_ATTEMPTS = 10
PREFIX = "rtot-"
_MARK = "elsewhere-"


class SpoolFile:
    """One stream of one job, beyond what is kept in memory."""

    __slots__ = ("_fd", "_name", "_sealed", "_size", "_spool")

    def __init__(self, spool: "Spool", name: str, fd: int) -> None:
        self._spool = spool
        self._name = name
        self._fd = fd
        self._size = 0
        self._sealed = False

    def append(self, data: bytes) -> int:
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
        return self._spool.reopen(self._name) if self._sealed else self._fd

    def seal(self) -> None:
        if not self._sealed:
            self._sealed = True
            _close(self._fd)

    def remove(self) -> None:
        self.seal()
        self._spool.remove(self._name)


class Spool:
    """The directory, from its creation to its removal."""

    __slots__ = ("_directory", "_marks", "_open", "path", "server_id")

    def __init__(self, parent: str) -> None:
        """Create it inside `parent`; OSError when that cannot be done."""
        parent = os.path.abspath(parent)
        self._open: dict[str, int] = {}
        self._marks: dict[int, str] = {}
        for _ in range(_ATTEMPTS):
            self.server_id = os.urandom(8).hex()
            """Of this server's life."""
            self.path = os.path.join(parent, f"{PREFIX}{os.geteuid()}-{self.server_id}")
            os.mkdir(self.path, 0o700)
            try:
                self._directory = open_private(self.path)
            except FileNotFoundError:
                # Another server, which is starting too, took it for a leftover.
                continue
            try:
                fcntl.flock(self._directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.stat(self.path)
            except (BlockingIOError, FileNotFoundError):
                # The same a moment later.
                os.close(self._directory)
                continue
            return
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN), parent)

    @property
    def allows_execution(self) -> bool:
        """Whether a script can be executed where it is."""
        return not os.fstatvfs(self._directory).f_flag & os.ST_NOEXEC

    def store_script(self, job_id: int, script: bytes) -> None:
        name = f"job-{job_id}"
        try:
            fd = self._open_new(name, os.O_WRONLY, 0o700)
            try:
                rest = memoryview(script)
                while rest:
                    rest = rest[os.write(fd, rest) :]
            finally:
                # Some file systems tell only here that they could not store it.
                os.close(fd)
        except OSError as error:
            self.remove(name)
            raise StorageError(reason(error)) from error

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
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(self._directory)
        self._directory = directory
        for job_id, launcher in self._marks.items():
            os.symlink(launcher, mark_name(job_id), dir_fd=directory)

    def script_path(self, job_id: int) -> str:
        return f"{self.path}/job-{job_id}"

    def read_script(self, job_id: int, limit: int) -> bytes:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            fd = os.open(f"job-{job_id}", flags, dir_fd=self._directory)
        except OSError:
            return b""
        try:
            return os.read(fd, limit)
        except OSError:
            return b""
        finally:
            _close(fd)

    def remove_script(self, job_id: int) -> None:
        self.remove(f"job-{job_id}")

    def mark(self, job_id: int, launcher: str) -> None:
        if job_id in self._marks:
            return
        name = mark_name(job_id)
        try:
            self._make_new(name, lambda: os.symlink(launcher, name, dir_fd=self._directory))
        except OSError as error:
            raise StorageError(reason(error)) from error
        self._marks[job_id] = launcher

    def unmark(self, job_id: int) -> None:
        if self._marks.pop(job_id, None) is not None:
            self.remove(mark_name(job_id))

    def create(self, name: str) -> SpoolFile:
        try:
            fd = self._open_new(name, os.O_RDWR, 0o600)
        except OSError as error:
            raise StorageError(reason(error)) from error
        return SpoolFile(self, name, fd)

    def reopen(self, name: str) -> int:
        """A descriptor of a sealed file. The least recently used ones are closed again."""
        fd = self._open.pop(name, None)
        if fd is None:
            # A job may have put a FIFO there, for which an open would wait.
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            fd = os.open(name, flags, dir_fd=self._directory)
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                _close(fd)
                raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), name)
            if len(self._open) >= _OPEN_FILES:
                _close(self._open.pop(next(iter(self._open))))
        self._open[name] = fd
        return fd

    def remove(self, name: str) -> None:
        """Delete a file; one that is gone already is no error."""
        fd = self._open.pop(name, None)
        if fd is not None:
            _close(fd)
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=self._directory)

    def close(self) -> None:
        """Remove the directory and all that is in it, but marks of jobs that may run elsewhere."""
        for fd in self._open.values():
            _close(fd)
        self._open.clear()
        if not self._marks:
            remove_tree(self.path, self._directory)
        os.close(self._directory)


def open_private(path: str) -> int:
    """Open a directory that is ours alone, or raise OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    status = os.fstat(fd)
    if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
        os.close(fd)
        raise OSError(errno.EPERM, "not a private directory", path)
    return fd


def mark_name(job_id: int) -> str:
    """The name of a job's mark.

    A mark is a symbolic link to the name of a launcher, which takes neither a descriptor nor a
    block.
    """
    return f"{_MARK}{job_id}"


def read_marks(directory: int) -> dict[int, str]:
    """The jobs that are marked in that directory, and the names of their launchers."""
    marks = {}
    with contextlib.suppress(OSError):
        for name in os.listdir(directory):
            number = name.removeprefix(_MARK)
            if name != number and is_number(number):
                with contextlib.suppress(OSError):
                    marks[int(number)] = os.readlink(name, dir_fd=directory)
    return marks


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


def _close(fd: int) -> None:
    """Close a file. What could not be stored was counted when it was written."""
    with contextlib.suppress(OSError):
        os.close(fd)
