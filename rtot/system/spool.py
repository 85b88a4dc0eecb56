"""The server's private directory: scripts waiting to be run, and output too big to keep.

One directory, mode 0700, named by chance in `--spool-dir`. It is removed at exit. Its owner holds a
lock on it for as long as it lives; a directory of ours that nobody locks belonged to a server that
was killed, and the next server removes it (`leftovers`). It is named by the server's id, so that
the next server knows that too, and a job that may run elsewhere is marked in it.

A script has a file of its own from its submission to its job's end, and no other script ever
gets that file: a process that a job has left behind may open its script at any time.
"""

import contextlib
import errno
import fcntl
import os

from rtot.storage import StorageError
from rtot.system.files import PrivateDirectory, close_file, open_private, remove_tree
from rtot.text import is_number, reason

# Servers that start at the same time may collide, but not many times in a row.
_ATTEMPTS = 10
PREFIX = "rtot-"
_MARK = "elsewhere-"
_SCRIPT = "job-"
_SERVER = "server"


class Spool(PrivateDirectory):
    """The directory, from its creation to its removal."""

    __slots__ = ("_marks", "server_id")

    def __init__(self, parent: str) -> None:
        """Create it inside `parent`; OSError when that cannot be done."""
        parent = os.path.abspath(parent)
        self._marks: dict[int, str] = {}
        for _ in range(_ATTEMPTS):
            self.server_id = os.urandom(8).hex()
            """Of this server's life."""
            path = os.path.join(parent, f"{PREFIX}{os.geteuid()}-{self.server_id}")
            os.mkdir(path, 0o700)
            try:
                directory = open_private(path)
            except FileNotFoundError:
                # Another server, which is starting too, took it for a leftover.
                continue
            try:
                fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.stat(path)
            except (BlockingIOError, FileNotFoundError):
                # The same a moment later.
                os.close(directory)
                continue
            super().__init__(path, directory)
            return
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN), parent)

    @property
    def allows_execution(self) -> bool:
        """Whether a script can be executed where it is."""
        return not os.fstatvfs(self._directory).f_flag & os.ST_NOEXEC

    def store_script(self, job_id: int, script: bytes) -> None:
        name = f"{_SCRIPT}{job_id}"
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

    def _make_again(self) -> None:
        super()._make_again()
        fcntl.flock(self._directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for job_id, launcher in self._marks.items():
            os.symlink(launcher, mark_name(job_id), dir_fd=self._directory)

    def script_path(self, job_id: int) -> str:
        return f"{self.path}/{_SCRIPT}{job_id}"

    def read_script(self, job_id: int, limit: int) -> bytes:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            fd = os.open(f"{_SCRIPT}{job_id}", flags, dir_fd=self._directory)
        except OSError:
            return b""
        try:
            return os.read(fd, limit)
        except OSError:
            return b""
        finally:
            close_file(fd)

    def remove_script(self, job_id: int) -> None:
        self.remove(f"{_SCRIPT}{job_id}")

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

    def stand_for(self, server_id: str) -> None:
        """Jobs are marked with that id, of a state directory. Raises OSError."""
        os.symlink(server_id, _SERVER, dir_fd=self._directory)

    def close(self) -> None:
        """Remove the directory and all that is in it, but marks of jobs that may run elsewhere."""
        if not self._marks:
            remove_tree(self.path, self._directory)
        super().close()


def mark_name(job_id: int) -> str:
    """The name of a job's mark.

    A mark is a symbolic link to the name of a launcher, which takes neither a descriptor nor a
    block.
    """
    return f"{_MARK}{job_id}"


def read_scripts(directory: int) -> list[int]:
    """The jobs whose scripts are in that directory: those that were not complete."""
    return list(_numbered(directory, _SCRIPT).values())


def read_server(directory: int) -> str | None:
    """The id that jobs of the server were marked with, if it was not that of the directory."""
    with contextlib.suppress(OSError):
        return os.readlink(_SERVER, dir_fd=directory)
    return None


def read_marks(directory: int) -> dict[int, str]:
    """The jobs that are marked in that directory, and the names of their launchers."""
    marks = {}
    for name, job_id in _numbered(directory, _MARK).items():
        with contextlib.suppress(OSError):
            marks[job_id] = os.readlink(name, dir_fd=directory)
    return marks


def _numbered(directory: int, prefix: str) -> dict[str, int]:
    """The names in a directory that begin so and end with a number; empty if it cannot be read."""
    names: list[str] = []
    with contextlib.suppress(OSError):
        names = [name for name in os.listdir(directory) if name.startswith(prefix)]
    ends = {name: name.removeprefix(prefix) for name in names}
    return {name: int(end) for name, end in ends.items() if is_number(end)}
