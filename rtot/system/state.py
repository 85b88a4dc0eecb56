"""The state directory: a database, the files of larger outputs, and a lock.

It is ours alone (0700), and of one server at a time, which holds the lock for as long as it lives.
Whoever only reads the database, or makes a copy with `.backup`, is welcome. A database that is
damaged is reported and left as it is.
"""

import contextlib
import fcntl
import os
import sqlite3

from rtot.clock import Now
from rtot.config import SetupError
from rtot.jobs.job import Job
from rtot.jobs.table import JobTable
from rtot.storage import StorageError
from rtot.system.database import Database
from rtot.system.files import PrivateDirectory, open_private
from rtot.system.schema import ForeignError, NewerError
from rtot.system.spool import Spool
from rtot.text import reason

_BOOT = "/proc/sys/kernel/random/boot_id"


class StateStorage:
    """Scripts in the spool, as long as they are needed, and output in the directory.

    What runs elsewhere is in the database, so that nothing need be marked.
    """

    __slots__ = (
        *("script_path", "store_script", "read_script", "remove_script"),
        *("create", "open", "names", "remove"),
    )

    def __init__(self, spool: Spool, outputs: PrivateDirectory) -> None:
        self.script_path = spool.script_path
        self.store_script = spool.store_script
        self.read_script = spool.read_script
        self.remove_script = spool.remove_script
        self.create = outputs.create
        self.open = outputs.open
        self.names = outputs.names
        self.remove = outputs.remove

    def mark(self, job_id: int, launcher: str) -> None:
        """The database has it."""

    def unmark(self, job_id: int) -> None:
        """The database has it."""


class State:
    """The directory, from its opening to its end."""

    def __init__(self, path: str, spool: Spool, *, full: bool) -> None:
        """Open it, or make it. `full`: every commit is on the disk. Raises SetupError."""
        self._path = path = os.path.abspath(path)
        self._lock = _lock(path)
        try:
            self._outputs = _outputs(path)
            self.storage = StateStorage(spool, self._outputs)
            self.database = self._open_database(full)
            with contextlib.suppress(OSError):
                # For a server that has the spool and not this directory. It is not needed here.
                spool.stand_for(self.database.server_id)
        except BaseException:
            os.close(self._lock)
            raise

    def _open_database(self, full: bool) -> Database:
        path = os.path.join(self._path, "rtot.db")
        try:
            with open(_BOOT) as boot:
                boot_id = boot.read().strip()
        except OSError as error:
            raise SetupError(f"cannot read {_BOOT}: {reason(error)}") from error
        try:
            return Database(path, self.storage, boot_id, full=full)
        except NewerError as newer:
            what = f"was written by a newer rtot (version {newer} of its tables)"
            raise SetupError(f"{path} {what}: see README, Downgrades") from newer
        except ForeignError as foreign:
            raise SetupError(f"{path} is no database of rtot's") from foreign
        except sqlite3.Error as error:
            raise SetupError(f"cannot use {path}: {error} (see README, State)") from error

    def restore(self, jobs: JobTable, now: Now) -> list[Job]:
        """As JobTable.restore. Raises SetupError."""
        try:
            return jobs.restore(now)
        except (sqlite3.Error, StorageError, ValueError, TypeError) as error:
            # What is in it makes no sense.
            raise SetupError(f"cannot use {self._path}: {error} (see README, State)") from error

    def close(self) -> None:
        """The server ends."""
        with contextlib.suppress(sqlite3.Error):
            self.database.close()
        self._outputs.close()
        os.close(self._lock)


def _lock(path: str) -> int:
    """Make the directory if there is none, and lock it. Raises SetupError."""
    try:
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o700)
        os.close(open_private(path))
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        lock = os.open(os.path.join(path, "lock"), flags, 0o600)
    except OSError as error:
        raise SetupError(f"cannot use {path}: {reason(error)}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise SetupError(f"cannot use {path}: another server uses it") from error
    return lock


def _outputs(path: str) -> PrivateDirectory:
    """The directory of output. Raises SetupError."""
    outputs = os.path.join(path, "output")
    try:
        with contextlib.suppress(FileExistsError):
            os.mkdir(outputs, 0o700)
        return PrivateDirectory(outputs, open_private(outputs))
    except OSError as error:
        raise SetupError(f"cannot use {outputs}: {reason(error)}") from error
