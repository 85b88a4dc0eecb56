"""What /proc tells of the machine's processes (proc(5)): parents, sessions, and who holds a pipe.

A walk costs some microseconds for every process of the machine, so it is taken only when
something is to be signalled or named, and shared by all who ask in the same turn.
"""

import os
import signal
import time
from collections.abc import Container, Iterable
from typing import NamedTuple

from rtot.jobs.examination import ProcessStatus

JOB = "RTOT_JOB_ID"
SERVER = "RTOT_SERVER_ID"
_READ = 64 * 1024
_LONGEST_COMMAND = 4096


class Process(NamedTuple):
    """One line of /proc/PID/stat, and the marks of /proc/PID/environ."""

    pid: int
    parent: int
    group: int
    session: int
    started: int
    zombie: bool
    command: str
    server: str
    job: str


class Census:
    """All processes of the machine at one moment, found by what makes them a job's."""

    __slots__ = ("children", "everyone", "groups", "jobs", "sessions")

    def __init__(self, server_id: str) -> None:
        self.everyone: dict[int, Process] = {}
        self.children: dict[int, list[Process]] = {}
        self.groups: dict[int, list[Process]] = {}
        self.sessions: dict[int, list[Process]] = {}
        self.jobs: dict[str, list[Process]] = {}
        for name in os.listdir("/proc"):
            process = read_process(int(name)) if name.isdigit() else None
            if process is None:
                continue
            self.everyone[process.pid] = process
            self.children.setdefault(process.parent, []).append(process)
            self.groups.setdefault(process.group, []).append(process)
            self.sessions.setdefault(process.session, []).append(process)
            if process.server == server_id:
                self.jobs.setdefault(process.job, []).append(process)

    def left_of(self, job_id: int, *leaders: Process) -> list[Process]:
        """What is alive of a job whose server is dead.

        It is found by its mark, by the session of one that is marked or a leader, and by descent.
        The number of a session alone tells nothing: that may be somebody else's by now.
        """
        roots = (*leaders, *self.jobs.get(str(job_id), ()))
        kin = [p for root in roots for p in self.sessions.get(root.session, ())]
        # Such a job may have started this very server.
        found = self.tree((*roots, *kin), spared={os.getpid()})
        return [process for process in found.values() if not process.zombie]

    def tree(self, roots: Iterable[Process], spared: Container[int] = ()) -> dict[int, Process]:
        """These and all that descends from them, by pid, without the `spared` and theirs."""
        found = {process.pid: process for process in roots if process.pid not in spared}
        pending = list(found)
        while pending:
            for child in self.children.get(pending.pop(), ()):
                if child.pid not in found and child.pid not in spared:
                    found[child.pid] = child
                    pending.append(child.pid)
        return found


def read_process(pid: int) -> Process | None:
    """What /proc tells of a process; None if it is gone."""
    try:
        stat = _slurp(f"/proc/{pid}/stat")
    except OSError:
        return None
    # The command stands in parentheses and may contain some itself.
    command = stat[stat.index("(") + 1 : stat.rindex(")")]
    columns = stat[stat.rindex(")") + 2 :].split()
    try:
        environ = _slurp(f"/proc/{pid}/environ")
    except OSError:
        # Another user's, a zombie's, or a kernel thread's.
        environ = ""
    marks = dict(
        entry.partition("=")[::2] for entry in environ.split("\0") if entry.startswith("RTOT_")
    )
    return Process(
        pid=pid,
        parent=int(columns[1]),
        group=int(columns[2]),
        session=int(columns[3]),
        started=int(columns[19]),
        zombie=columns[0] in "ZX",
        command=command,
        server=marks.get(SERVER, ""),
        job=marks.get(JOB, ""),
    )


def read_start(pid: int) -> int:
    """When a process was started, in ticks since the boot; 0 if it is gone."""
    try:
        stat = _slurp(f"/proc/{pid}/stat")
    except OSError:
        return 0
    return int(stat[stat.rindex(")") + 2 :].split()[19])


def signal_process(process: Process, number: int) -> bool:
    """Signal it, and nobody who may have got its pid since it was read; whether that was done."""
    try:
        pidfd = os.pidfd_open(process.pid)
    except OSError:
        return False
    try:
        now = read_process(process.pid)
        if now is None or now.started != process.started:
            return False
        signal.pidfd_send_signal(pidfd, number)
    except OSError:
        return False
    finally:
        os.close(pidfd)
    return True


def catches(pid: int, number: int) -> bool:
    """Whether the process has a handler for that signal (proc(5), SigCgt)."""
    try:
        status = _slurp(f"/proc/{pid}/status")
    except OSError:
        return False
    caught = status.partition("\nSigCgt:")[2].partition("\n")[0]
    return bool(int(caught or "0", 16) >> (number - 1) & 1)


def read_status(pid: int) -> ProcessStatus | None:
    """More of what /proc tells of a process; None if it is gone."""
    try:
        stat = _slurp(f"/proc/{pid}/stat")
        words = _slurp(f"/proc/{pid}/cmdline", _LONGEST_COMMAND)
    except OSError:
        return None
    columns = stat[stat.rindex(")") + 2 :].split()
    ticks = os.sysconf("SC_CLK_TCK")
    return ProcessStatus(
        pid=pid,
        parent=int(columns[1]),
        state=columns[0],
        command=stat[stat.index("(") + 1 : stat.rindex(")")],
        argv=tuple(words.removesuffix("\0").split("\0")) if words else (),
        seconds=time.clock_gettime(time.CLOCK_BOOTTIME) - int(columns[19]) / ticks,
        cpu=(int(columns[11]) + int(columns[12])) / ticks,
        memory=int(columns[21]) * os.sysconf("SC_PAGE_SIZE"),
    )


class OwnUsage(NamedTuple):
    """This process: processor seconds, bytes, and when it was started after the boot (s)."""

    cpu: float
    started: float
    virtual: int
    resident: int


def read_usage() -> OwnUsage:
    """What this process has used. Raises OSError."""
    stat = _slurp("/proc/self/stat")
    columns = stat[stat.rindex(")") + 2 :].split()
    ticks = os.sysconf("SC_CLK_TCK")
    return OwnUsage(
        cpu=(int(columns[11]) + int(columns[12])) / ticks,
        started=int(columns[19]) / ticks,
        virtual=int(columns[20]),
        resident=int(columns[21]) * os.sysconf("SC_PAGE_SIZE"),
    )


def boot_time() -> int:
    """When the machine was booted, in seconds since the epoch. Raises OSError."""
    for line in _slurp("/proc/stat").splitlines():
        if line.startswith("btime "):
            return int(line.split()[1])
    raise OSError("/proc/stat has no btime")


def _slurp(path: str, limit: int | None = None) -> str:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = b""
        while piece := os.read(fd, limit or _READ):
            data += piece
            if limit is not None:
                break
    finally:
        os.close(fd)
    return data.decode("utf-8", "replace")


def holds_pipe(pid: int, pipes: set[str]) -> bool:
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            if os.readlink(f"/proc/{pid}/fd/{name}") in pipes:
                return True
    except OSError:
        return False
    return False


def initial_environ() -> bytes:
    """What this process was started with."""
    try:
        return b"\0" + _slurp("/proc/self/environ").encode()
    except OSError:
        return b""
