"""What servers of this user that were killed have left behind, each a directory of its spool.

Nobody holds the lock on such a directory. It is removed, unless jobs are marked in it that may run
elsewhere, for as long as these have not been stopped. Then this server holds the lock, so that no
other one tries the same; what it cannot stop is left to the next one.

The processes of its jobs that run here are ended at once, since nobody reads what they write or
will ever tell what became of them; but not those of jobs that were complete. A job that is not
complete has its script there.
"""

import contextlib
import fcntl
import os
import re
import signal
from collections.abc import Iterable

from rtot.system.files import open_private, remove_files, remove_tree
from rtot.system.proc import Census, signal_process
from rtot.system.spool import PREFIX, mark_name, read_marks, read_scripts, read_server

# How often to look for processes that were forked while their parents were killed.
_ROUNDS = 5


class Leftover:
    """The directory of a server that was killed."""

    __slots__ = ("_directory", "_path", "jobs", "killed", "server_id")

    def __init__(self, path: str, directory: int, server_id: str, ours: str | None) -> None:
        """`directory` is `path`, open and locked. Takes what is not needed any more away.

        `ours`: of our state directory, whose jobs are ended by whoever knows of them.
        """
        self._path = path
        self._directory = directory
        self.server_id = read_server(directory) or server_id
        known = self.server_id == ours
        self.killed = {} if known else kill_jobs(self.server_id, read_scripts(directory))
        """By the job: pids and commands of processes that were still running."""
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


def take_leftovers(parent: str, ours: str | None = None) -> list[Leftover]:
    """Remove what dead servers of this user have left in `parent`; what has to be stopped first.

    `ours`: the id of our state directory.
    """
    pattern = re.compile(f"{PREFIX}{os.geteuid()}-((?:[0-9a-f]{{4}}){{3,4}})")
    found = []
    try:
        names = os.listdir(parent)
    except OSError:
        return []
    for name in names:
        match = pattern.fullmatch(name)
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
        leftover = Leftover(path, directory, match[1], ours)
        if leftover.jobs or leftover.killed:
            found.append(leftover)
    return found


def kill_jobs(server_id: str, job_ids: Iterable[int]) -> dict[int, dict[int, str]]:
    """KILL what runs of these jobs of a server that is dead: by job, pids and commands."""
    killed: dict[int, dict[int, str]] = {}
    pending = set(job_ids)
    for _ in range(_ROUNDS):
        if not pending:
            break
        census = Census(server_id)
        for job_id in sorted(pending):
            found = census.left_of(job_id)
            if not found:
                pending.discard(job_id)
            for process in found:
                if signal_process(process, signal.SIGKILL):
                    killed.setdefault(job_id, {})[process.pid] = process.command
    return killed
