"""What servers of this user that were killed have left behind, each a directory of its spool.

Nobody holds the lock on such a directory. It is removed, unless jobs are marked in it that may run
elsewhere, for as long as these have not been stopped. Then this server holds the lock, so that no
other one tries the same; what it cannot stop is left to the next one.
"""

import contextlib
import fcntl
import os
import re

from rtot.system.files import open_private, remove_files, remove_tree
from rtot.system.spool import PREFIX, mark_name, read_marks


class Leftover:
    """The directory of a server that was killed."""

    __slots__ = ("_directory", "_path", "jobs", "server_id")

    def __init__(self, path: str, directory: int, server_id: str) -> None:
        """`directory` is `path`, open and locked. Takes what is not needed any more away."""
        self._path = path
        self._directory = directory
        self.server_id = server_id
        self.jobs = read_marks(directory)
        """The jobs that may run elsewhere, and the names of their launchers."""
        remove_files(directory, {mark_name(job_id) for job_id in self.jobs})
        self._remove_if_empty()

    def stopped(self, job_id: int) -> None:
        """The job does not run any more."""
        with contextlib.suppress(OSError):
            os.unlink(mark_name(job_id), dir_fd=self._directory)
        del self.jobs[job_id]
        self._remove_if_empty()

    def _remove_if_empty(self) -> None:
        if not self.jobs:
            remove_tree(self._path, self._directory)
            os.close(self._directory)


def take_leftovers(parent: str) -> list[Leftover]:
    """Remove what dead servers of this user have left in `parent`; what has to be stopped first."""
    ours = re.compile(f"{PREFIX}{os.geteuid()}-((?:[0-9a-f]{{4}}){{3,4}})")
    found = []
    try:
        names = os.listdir(parent)
    except OSError:
        return []
    for name in names:
        match = ours.fullmatch(name)
        if match is None:
            continue
        path = os.path.join(parent, name)
        try:
            directory = open_private(path)
        except OSError:
            continue
        try:
            fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            # Its server is alive.
            os.close(directory)
            continue
        leftover = Leftover(path, directory, match[1])
        if leftover.jobs:
            found.append(leftover)
    return found
