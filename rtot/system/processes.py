"""Processes: spawning, pipes, exits, signals to all of a job's descendants. No HTTP, no jobs.

A job's processes are its leader (a session and group of its own) and whatever descends from
it. Who left the group is found by three marks: being a child of one that was found, being in
the leader's session, and the two variables in /proc/PID/environ that every descendant
inherits and that name this server and this job (proc(5)). /proc is walked only when
processes have to be signalled or named.

A signal never goes to a reused pid. The leader's pid stays valid until it is reaped. For all
others a pidfd is opened, and then the process is checked again (pidfd_open(2)). So it does not
matter when a process is reaped, and one wait4(2) both reports an exit and reaps the process.
"""

import contextlib
import errno
import os
import signal
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from rtot.jobs.examination import Examination, ProcessStatus
from rtot.jobs.stop import Scope
from rtot.system.pipes import Pipe, close_pipes
from rtot.system.proc import (
    JOB,
    SERVER,
    Census,
    Process,
    catches,
    holds_pipe,
    initial_environ,
    read_status,
    signal_process,
)
from rtot.text import decode, reason

# How often to look again for processes forked while their parents were signalled.
_ROUNDS = 5
_EXAMINED = 1.0
# More do not fit into an answer.
_MOST_EXAMINED = 500
# Variables that a service manager sets for the server, and not for its jobs.
_FOR_THE_SERVER = frozenset(
    {"CREDENTIALS_DIRECTORY", "LISTEN_FDNAMES", "LISTEN_FDS", "LISTEN_PID", "LISTEN_PIDFDID"}
    | {"INVOCATION_ID", "JOURNAL_STREAM", "MEMORY_PRESSURE_WATCH", "MEMORY_PRESSURE_WRITE"}
    | {"NOTIFY_SOCKET", "SYSTEMD_EXEC_PID", "WATCHDOG_PID", "WATCHDOG_USEC"}
)


class NotStartedError(Exception):
    """The process cannot be started, now or later; the text says why."""


class TryLaterError(Exception):
    """The process cannot be started now, for want of something that may come back."""


_PASSING = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE})


class Exit(NamedTuple):
    """A process that is gone: wait status, times in microseconds, memory in bytes."""

    pid: int
    status: int
    user: int
    system: int
    peak: int


class Target(NamedTuple):
    """The processes of a job within `scope`. `pid` is the leader's; it may have exited."""

    job_id: int
    pid: int
    scope: Scope


class Processes:
    """All processes of one server."""

    __slots__ = (
        "_adopted",
        "_census",
        "_devnull",
        "_environ",
        "_examine_again",
        "_examined",
        "_first_reserved",
        "_here",
        "_ignored",
        "_leaders",
        "_looks",
        "_mark",
        "server_id",
    )

    def __init__(self, server_id: str, environ: Mapping[str, str], first_reserved: int) -> None:
        """`environ` is what jobs get, less what is for the server.

        Pipes get no descriptor of `first_reserved` or above.
        """
        self.server_id = server_id
        # Encoded once, and not at every spawn.
        self._environ = {
            os.fsencode(name): os.fsencode(value)
            for name, value in environ.items()
            if not name.startswith("RTOT_") and name not in _FOR_THE_SERVER
        }
        self._mark = {SERVER.encode(): self.server_id.encode()}
        if b"\0LC_CTYPE=" not in initial_environ():
            # Python itself has set it (PEP 538).
            self._environ.pop(b"LC_CTYPE", None)
        self._devnull = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._here = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        # By pid, until they are reaped: the job of each leader.
        self._leaders: dict[int, int] = {}
        # Of jobs that a killed server had started: the pid of the leader, and its start.
        self._adopted: dict[int, tuple[int, int]] = {}
        self._census: Census | None = None
        # The walk that examinations share, until when.
        self._examined: Census | None = None
        self._examine_again = 0.0
        self._looks: dict[int, tuple[int, list[ProcessStatus]]] = {}
        self._first_reserved = first_reserved
        # exec(3) resets signals that are handled, and not those that are ignored.
        self._ignored = [s for s in signal.valid_signals() if signal.getsignal(s) is signal.SIG_IGN]

    def open_pipes(self, *, stdin: bool, stderr: bool = True) -> list[Pipe]:
        """The pipes of a process that is to be spawned. Raises TryLaterError, having kept none.

        Without a pipe of its own stderr goes where stdout goes.

        The owner closes them (`close_pipes`), or has `spawn` close the process's ends and
        closes its own when they have ended.
        """
        pipes: list[Pipe] = []
        try:
            for number in (1, *((2,) if stderr else ()), *((0,) if stdin else ())):
                pipe = Pipe.open(number)
                pipes.append(pipe)
        except OSError as error:
            close_pipes(pipes)
            raise TryLaterError(reason(error)) from error
        if max(pipe.ours for pipe in pipes) >= self._first_reserved:
            # The remaining descriptors are for clients.
            close_pipes(pipes)
            raise TryLaterError(os.strerror(errno.EMFILE).lower())
        return pipes

    def spawn(
        self,
        job_id: int | None,
        argv: list[bytes],
        env: Mapping[bytes, bytes],
        cwd: bytes | None,
        pipes: Sequence[Pipe],
    ) -> int:
        """Start argv[0] in a new session, connected to the pipes, and return its pid.

        Without a job it is not marked as one's.

        It is looked for in PATH if it has no slash. The process's ends are closed then.

        Raises NotStartedError or TryLaterError.
        """
        environ = {**self._environ, **env}
        if job_id is not None:
            environ |= self._mark
            environ[JOB.encode()] = b"%d" % job_id
        # Where a pipe is stdin, its action comes after this one.
        actions = [(os.POSIX_SPAWN_DUP2, self._devnull, 0)]
        actions += [(os.POSIX_SPAWN_DUP2, pipe.theirs, pipe.number) for pipe in pipes]
        if not any(pipe.number == 2 for pipe in pipes):
            # One pipe for both, so that the kernel keeps their order.
            actions.append((os.POSIX_SPAWN_DUP2, 1, 2))
        with contextlib.nullcontext() if cwd is None else self._working_directory(cwd):
            try:
                # A launcher is looked for in PATH, a script has a path of its own.
                spawn = os.posix_spawn if b"/" in argv[0] else os.posix_spawnp
                pid = spawn(
                    argv[0],
                    argv,
                    environ,
                    file_actions=actions,
                    setsid=True,
                    setsigmask=(),
                    setsigdef=self._ignored,
                )
            except ValueError as error:
                raise NotStartedError(f"fork/exec {decode(argv[0])}: invalid argument") from error
            except OSError as error:
                raise _refusal(error, f"fork/exec {decode(argv[0])}") from error
        if job_id is not None:
            self._leaders[pid] = job_id
        for pipe in pipes:
            os.close(pipe.theirs)
        return pid

    @contextlib.contextmanager
    def _working_directory(self, cwd: bytes) -> Iterator[None]:
        """Change to that directory for a moment. There is only one thread to notice."""
        try:
            os.chdir(cwd)
        except ValueError as error:
            raise NotStartedError(f"chdir {decode(cwd)}: invalid argument") from error
        except OSError as error:
            raise _refusal(error, f"chdir {decode(cwd)}") from error
        try:
            yield
        finally:
            os.fchdir(self._here)

    def adopt(self, job_id: int, pid: int, started: int) -> None:
        """The job was started by a server that was killed: its leader, and when that was started.

        In ticks since the boot (`proc.read_start`).
        """
        self._adopted[job_id] = pid, started

    def reap(self) -> Iterator[Exit]:
        """The processes that have ended since the last call; as PID 1, orphans among them."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            self._leaders.pop(pid, None)
            yield Exit(
                pid,
                status,
                int(usage.ru_utime * 1e6),
                int(usage.ru_stime * 1e6),
                usage.ru_maxrss * 1024,
            )

    def drop_census(self) -> None:
        """Forget what was read of /proc: a new turn has begun."""
        self._census = None

    def signal(self, targets: Sequence[Target], numbers: Sequence[int]) -> list[dict[int, str]]:
        """Signal each target's processes; the pids and commands that got its signal.

        Processes forked meanwhile are looked for again, a few times. But those of a process that
        has a handler may be what this runs to clean up, so they are spared, except by KILL. All
        targets are looked for together, since each look walks over all processes of the machine.
        """
        signalled: list[dict[int, str]] = [{} for _ in targets]
        pending = list(range(len(targets)))
        for _ in range(_ROUNDS):
            again = []
            for index in pending:
                target = targets[index]
                found = self.find(target)
                told = signalled[index]
                handled = self._run_by_handlers(told, numbers[index])
                new = {p: name for p, name in found.items() if p not in told and p not in handled}
                for pid, name in new.items():
                    if self._signal_one(pid, target, numbers[index]):
                        told[pid] = name
                if new and target.scope is not Scope.LEADER:
                    again.append(index)
            if not again:
                break
            pending = again
            self._census = None
        return signalled

    def _run_by_handlers(self, pids: Iterable[int], number: int) -> set[int]:
        """The children of those that have a handler for the signal."""
        children = self._walk().children
        parents = [pid for pid in pids if pid in children and catches(pid, number)]
        return {child.pid for pid in parents for child in children[pid]}

    def find(self, target: Target) -> dict[int, str]:
        """The target's processes that are alive: pids and commands."""
        census = self._walk()
        pid = target.pid
        if target.job_id in self._adopted:
            return self._find_adopted(target.job_id, census)
        led = self._leads(target)
        if target.scope is Scope.LEADER:
            leader = census.everyone.get(pid) if led else None
            return {pid: leader.command} if leader is not None and not leader.zombie else {}
        found: dict[int, Process] = {}
        # A session whose leader was reaped is the job's unless the pid has a new owner.
        if led or pid not in census.everyone:
            kin = census.groups if target.scope is Scope.GROUP else census.sessions
            found = {process.pid: process for process in kin.get(pid, ())}
        if target.scope is Scope.TREE:
            marked = census.jobs.get(str(target.job_id), ())
            found = census.tree((*found.values(), *marked))
        return {p.pid: p.command for p in found.values() if not p.zombie}

    def _find_adopted(self, job_id: int, census: Census) -> dict[int, str]:
        """What is left of a job whose server was killed, whatever the scope."""
        pid, started = self._adopted[job_id]
        leader = census.everyone.get(pid)
        leaders = (leader,) if leader is not None and leader.started == started else ()
        return {p.pid: p.command for p in census.left_of(job_id, *leaders)}

    def examine(self, examination: Examination, target: Target, now: float) -> None:
        """Fill in what is alive of the target. All who ask within a second share one walk."""
        known = self._examined
        if (
            self._census is None
            and known is not None
            and now < self._examine_again
            # It does not know a job that was started later.
            and (target.pid in known.everyone or not self._leads(target))
        ):
            self._census = known
        found = self.find(target)
        if self._census is not self._examined:
            self._examined, self._examine_again = self._census, now + _EXAMINED
            self._looks.clear()
        if target.job_id not in self._looks:
            looks = [read_status(pid) for pid in list(found)[:_MOST_EXAMINED]]
            # Without those that have gone since the walk.
            alive = [look for look in looks if look is not None and look.state not in "ZX"]
            self._looks[target.job_id] = (len(found) - len(looks) + len(alive), alive)
        examination.count, examination.found = self._looks[target.job_id]

    def holders(self, fds: Sequence[int]) -> dict[int, str]:
        """The processes that hold the other ends of these pipes: pids and commands."""
        pipes = set()
        for fd in fds:
            with contextlib.suppress(OSError):
                pipes.add(os.readlink(f"/proc/self/fd/{fd}"))
        found = {}
        for process in self._walk().everyone.values():
            if process.pid != os.getpid() and holds_pipe(process.pid, pipes):
                found[process.pid] = process.command
        return found

    def _walk(self) -> Census:
        if self._census is None:
            self._census = Census(self.server_id)
        return self._census

    def _leads(self, target: Target) -> bool:
        """Whether the pid is still the job's: another job's leader may have got it."""
        return self._leaders.get(target.pid) == target.job_id

    def _signal_one(self, pid: int, target: Target, number: int) -> bool:
        if pid == target.pid and self._leads(target):
            # Not reaped yet, so the pid is still the leader's.
            try:
                os.kill(pid, number)
            except OSError:
                return False
            return True
        process = self._walk().everyone.get(pid)
        return process is not None and signal_process(process, number)


def kill_group(pid: int) -> None:
    """KILL what a child that is not reaped has started in its group."""
    with contextlib.suppress(OSError):
        os.killpg(pid, signal.SIGKILL)


def close_all_on_exec() -> None:
    """Keep descriptors that this process has inherited away from its jobs."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2:
            with contextlib.suppress(OSError):
                os.set_inheritable(int(name), False)


def _refusal(error: OSError, what: str) -> NotStartedError | TryLaterError:
    """The exception for `error`: TryLaterError if it may work later."""
    if error.errno in _PASSING:
        return TryLaterError(reason(error))
    return NotStartedError(f"{what}: {reason(error)}")
