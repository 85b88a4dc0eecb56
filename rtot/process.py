"""Processes: spawning, pipes, exits, signals to all of a job's descendants. No HTTP, no jobs.

A job's processes are its leader (a session and group of its own) and whatever descends from
it. Who left the group is found by three marks: being a child of one that was found, being in
the leader's session, and the two variables in /proc/PID/environ that every descendant
inherits and that name this server and this job (proc(5)). /proc is walked only when
something is to be signalled or named.

A pid is only ever signalled while something pins it: the leader until it is reaped, all
others through a pidfd opened before they are looked at a second time (pidfd_open(2)). So
nothing hangs on the moment of the reaping, and one wait4(2) tells of an exit and ends it.
"""

import contextlib
import errno
import os
import resource
import signal
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from rtot.stop import Scope

_JOB = "RTOT_JOB_ID"
_SERVER = "RTOT_SERVER_ID"
READ = 64 * 1024
# What a service manager means for the server, and for nobody that it starts.
_FOR_THE_SERVER = frozenset(
    {"CREDENTIALS_DIRECTORY", "LISTEN_FDNAMES", "LISTEN_FDS", "LISTEN_PID"}
    | {"NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"}
)


class NotStartedError(Exception):
    """The process cannot be started, now or later; the text says why."""


class TryLaterError(Exception):
    """The process cannot be started now, for want of something that may come back."""


_PASSING = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE})


class Child(NamedTuple):
    """A started process and our ends of its pipes."""

    pid: int
    out: int
    err: int
    stdin: int | None


class Exit(NamedTuple):
    """A process that is gone: wait status, times in microseconds, memory in bytes."""

    pid: int
    status: int
    user: int
    system: int
    peak: int


class _Process(NamedTuple):
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


def reserved_descriptors(limit: int) -> int:
    """Those of `limit` that jobs do not get: requests are answered however many jobs run."""
    return min(32, limit // 4)


class Processes:
    """All processes of one server."""

    __slots__ = ("_census", "_devnull", "_environ", "_ignored", "_leaders", "_limit", "server_id")

    def __init__(self, environ: Mapping[str, str]) -> None:
        """`environ` is what jobs get, less what is for the server."""
        self.server_id = os.urandom(8).hex()
        # As bytes once, and not at every spawn.
        self._environ = {
            os.fsencode(name): os.fsencode(value)
            for name, value in environ.items()
            if not name.startswith("RTOT_") and name not in _FOR_THE_SERVER
        }
        self._environ[_SERVER.encode()] = self.server_id.encode()
        self._devnull = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._leaders: set[int] = set()
        self._census: dict[int, _Process] | None = None
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._limit = limit - reserved_descriptors(limit)
        # What we ignore, exec would not set back to its default; what we handle, it does.
        self._ignored = [s for s in signal.valid_signals() if signal.getsignal(s) is signal.SIG_IGN]

    def spawn(
        self,
        job_id: int,
        argv: tuple[str, ...],
        env: Mapping[str, str],
        cwd: str | None,
        *,
        stdin_open: bool,
    ) -> Child:
        """Start argv[0] in a session of its own, with pipes as stdout and stderr.

        It is looked for in PATH if it has no slash.

        Raises NotStartedError or TryLaterError, having kept nothing.
        """
        fds: list[int] = []
        try:
            out, out_write = _pipe(fds)
            err, err_write = _pipe(fds)
            stdin_read, stdin = _pipe(fds) if stdin_open else (self._devnull, None)
            if max(fds) >= self._limit:
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            os.set_blocking(out, False)
            os.set_blocking(err, False)
            if stdin is not None:
                os.set_blocking(stdin, False)
        except OSError as error:
            _close(fds)
            raise TryLaterError(_reason(error)) from error
        environ = self._environ.copy()
        for name, value in env.items():
            environ[os.fsencode(name)] = os.fsencode(value)
        environ[_JOB.encode()] = b"%d" % job_id
        actions = (
            (os.POSIX_SPAWN_DUP2, stdin_read, 0),
            (os.POSIX_SPAWN_DUP2, out_write, 1),
            (os.POSIX_SPAWN_DUP2, err_write, 2),
        )
        try:
            with contextlib.nullcontext() if cwd is None else _inside(cwd):
                try:
                    # A launcher is looked for in PATH, a script has a path of its own.
                    spawn = os.posix_spawn if "/" in argv[0] else os.posix_spawnp
                    pid = spawn(
                        argv[0],
                        argv,
                        environ,
                        file_actions=actions,
                        setsid=True,
                        setsigmask=(),
                        setsigdef=self._ignored,
                    )
                except (OSError, ValueError) as error:
                    _close(fds)
                    if not isinstance(error, OSError):
                        raise NotStartedError(f"fork/exec {argv[0]}: invalid argument") from error
                    if error.errno in _PASSING:
                        raise TryLaterError(_reason(error)) from error
                    raise NotStartedError(f"fork/exec {argv[0]}: {_reason(error)}") from error
        except _CannotEnterError as error:
            _close(fds)
            raise NotStartedError(str(error)) from error
        self._leaders.add(pid)
        ours = {out, err, stdin}
        _close([fd for fd in fds if fd not in ours])
        return Child(pid, out, err, stdin)

    def reap(self) -> Iterator[Exit]:
        """The processes that have ended since the last call; as PID 1, orphans among them."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            self._leaders.discard(pid)
            yield Exit(
                pid,
                status,
                int(usage.ru_utime * 1e6),
                int(usage.ru_stime * 1e6),
                usage.ru_maxrss * 1024,
            )

    def look_again(self) -> None:
        """What was seen of /proc is old: a new turn has begun."""
        self._census = None

    def signal(self, job_id: int, pid: int, number: int, scope: Scope) -> dict[int, str]:
        """Signal the job's processes; return the pids and commands that got it.

        `pid` is the leader's, who may be gone. Those who are born meanwhile are looked for
        again, a few times over.
        """
        signalled: dict[int, str] = {}
        for _ in range(5):
            found = self.find(job_id, pid, scope)
            new = {p: name for p, name in found.items() if p not in signalled}
            if not new:
                break
            signalled.update(
                (target, name)
                for target, name in new.items()
                if self._signal_one(target, pid, number)
            )
            self._census = None
            if scope is Scope.LEADER:
                break
        return signalled

    def find(self, job_id: int, pid: int, scope: Scope) -> dict[int, str]:
        """The job's processes that are alive: pids and commands."""
        led = pid in self._leaders
        everyone = list(self._walk().values())
        if scope is Scope.LEADER:
            return {p.pid: p.command for p in everyone if led and p.pid == pid and not p.zombie}
        # A session whose leader was reaped is the job's unless the pid has a new owner.
        ours = led or pid not in self._walk()
        found = {
            p.pid: p
            for p in everyone
            if (ours and (p.group == pid if scope is Scope.GROUP else p.session == pid))
            or (scope is Scope.TREE and p.server == self.server_id and p.job == str(job_id))
        }
        if scope is Scope.TREE:
            _add_descendants(found, everyone)
        return {p.pid: p.command for p in found.values() if not p.zombie}

    def holders(self, fds: Sequence[int]) -> dict[int, str]:
        """The processes that hold the other ends of these pipes: pids and commands."""
        pipes = set()
        for fd in fds:
            with contextlib.suppress(OSError):
                pipes.add(os.readlink(f"/proc/self/fd/{fd}"))
        found = {}
        for process in self._walk().values():
            if process.pid != os.getpid() and _holds(process.pid, pipes):
                found[process.pid] = process.command
        return found

    def _walk(self) -> dict[int, _Process]:
        if self._census is None:
            self._census = {
                process.pid: process
                for name in os.listdir("/proc")
                if name.isdigit() and (process := _inspect(int(name))) is not None
            }
        return self._census

    def _signal_one(self, target: int, pid: int, number: int) -> bool:
        if target == pid and pid in self._leaders:
            # Not reaped, so the pid is still its own.
            try:
                os.kill(pid, number)
            except OSError:
                return False
            return True
        before = self._walk().get(target)
        try:
            pidfd = os.pidfd_open(target)
        except OSError:
            return False
        try:
            now = _inspect(target)
            if before is None or now is None or now.started != before.started:
                return False
            signal.pidfd_send_signal(pidfd, number)
        except OSError:
            return False
        finally:
            os.close(pidfd)
        return True


def read_pipe(fd: int) -> bytes | None:
    """What is in the pipe; empty at its end, None for nothing yet."""
    try:
        return os.read(fd, READ)
    except BlockingIOError:
        return None
    except OSError:
        return b""


def write_pipe(fd: int, data: bytearray) -> int | None:
    """Write what the pipe takes and return how much that was; None if nobody reads it."""
    try:
        return os.write(fd, data)
    except BlockingIOError:
        return 0
    except OSError:
        return None


def close_all_on_exec() -> None:
    """Keep descriptors that this process has inherited away from its jobs."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2:
            with contextlib.suppress(OSError):
                os.set_inheritable(int(name), False)


class _CannotEnterError(Exception):
    pass


@contextlib.contextmanager
def _inside(cwd: str) -> Iterator[None]:
    """Be in that directory for a moment. One thread: nobody else notices."""
    try:
        here = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise _CannotEnterError(f"chdir {cwd}: {_reason(error)}") from error
    try:
        try:
            os.chdir(cwd)
        except (OSError, ValueError) as error:
            why = _reason(error) if isinstance(error, OSError) else "invalid argument"
            raise _CannotEnterError(f"chdir {cwd}: {why}") from error
        try:
            yield
        finally:
            os.fchdir(here)
    finally:
        os.close(here)


def _pipe(fds: list[int]) -> tuple[int, int]:
    read, write = os.pipe2(os.O_CLOEXEC)
    fds += (read, write)
    return read, write


def _close(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)


def _inspect(pid: int) -> _Process | None:
    """What /proc tells of a process; None if it is gone."""
    try:
        stat = _slurp(f"/proc/{pid}/stat")
    except OSError:
        return None
    # The command stands in parentheses and may contain some itself.
    command = stat[stat.index("(") + 1 : stat.rindex(")")]
    fields = stat[stat.rindex(")") + 2 :].split()
    try:
        environ = _slurp(f"/proc/{pid}/environ")
    except OSError:
        # Another user's, a zombie's, or a kernel thread's.
        environ = ""
    marks = dict(
        entry.partition("=")[::2] for entry in environ.split("\0") if entry.startswith("RTOT_")
    )
    return _Process(
        pid=pid,
        parent=int(fields[1]),
        group=int(fields[2]),
        session=int(fields[3]),
        started=int(fields[19]),
        zombie=fields[0] in "ZX",
        command=command,
        server=marks.get(_SERVER, ""),
        job=marks.get(_JOB, ""),
    )


def _slurp(path: str) -> str:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = b""
        while piece := os.read(fd, READ):
            data += piece
    finally:
        os.close(fd)
    return data.decode("utf-8", "replace")


def _add_descendants(found: dict[int, _Process], everyone: list[_Process]) -> None:
    grown = True
    while grown:
        grown = False
        for process in everyone:
            if process.pid not in found and process.parent in found:
                found[process.pid] = process
                grown = True


def _holds(pid: int, pipes: set[str]) -> bool:
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            if os.readlink(f"/proc/{pid}/fd/{name}") in pipes:
                return True
    except OSError:
        return False
    return False


def _reason(error: OSError) -> str:
    return os.strerror(error.errno or 0).lower()
