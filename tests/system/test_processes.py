"""Processes that are started, found and signalled. What they do is tested end to end."""

import itertools
import os
import signal
import time
from collections.abc import Callable

import pytest

from rtot.jobs.examination import Examination
from rtot.jobs.stop import Scope
from rtot.system.pipes import close_pipes, read_pipe, write_pipe
from rtot.system.proc import Census, catches, read_status
from rtot.system.processes import NotStartedError, Processes, Target, TryLaterError
from tests.harness import until

TERM = int(signal.SIGTERM)


@pytest.fixture
def processes() -> Processes:
    return Processes("cafe", {"PATH": os.environ["PATH"]}, 1 << 20)


def start(processes: Processes, *argv: str, cwd: str | None = None, job_id: int = 7) -> int:
    pipes = processes.open_pipes(stdin=False)
    try:
        words = [word.encode() for word in argv]
        pid = processes.spawn(job_id, words, {}, cwd.encode() if cwd is not None else None, pipes)
    except (NotStartedError, TryLaterError):
        close_pipes(pipes)
        raise
    for pipe in pipes:
        os.close(pipe.ours)
    return pid


@pytest.mark.parametrize(
    ("argv", "cwd", "why"),
    [
        (("/bin/a\0b",), None, "fork/exec /bin/a\0b: invalid argument"),
        (("/bin/true",), "/a\0b", "chdir /a\0b: invalid argument"),
        (("/nonexistent",), None, "fork/exec /nonexistent: no such file or directory"),
        (("/",), None, "fork/exec /: permission denied"),
        (("/bin/true",), "/etc/passwd", "chdir /etc/passwd: not a directory"),
    ],
)
def test_what_cannot_be_started(
    processes: Processes, argv: tuple[str, ...], cwd: str | None, why: str
) -> None:
    with pytest.raises(NotStartedError) as caught:
        start(processes, *argv, cwd=cwd)
    assert str(caught.value) == why


@pytest.mark.parametrize("name", ["posix_spawn", "pipe2"])
def test_what_may_come_back(
    processes: Processes, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(11, os.strerror(11))

    monkeypatch.setattr(os, name, fail)
    with pytest.raises(TryLaterError, match="resource temporarily unavailable"):
        start(processes, "/bin/true")


def test_the_second_pipe_cannot_be_had(
    processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = len(os.listdir("/proc/self/fd"))
    pipe2: Callable[[int], tuple[int, int]] = os.pipe2
    made: list[int] = []

    def once(flags: int) -> tuple[int, int]:
        if made:
            raise OSError(24, os.strerror(24))
        made.append(flags)
        return pipe2(flags)

    monkeypatch.setattr(os, "pipe2", once)
    with pytest.raises(TryLaterError, match="too many open files"):
        processes.open_pipes(stdin=True)
    assert len(os.listdir("/proc/self/fd")) == before


def test_who_is_found_and_signalled(processes: Processes) -> None:
    pid = start(processes, "sleep", "100")
    for scope in Scope:
        assert processes.find(Target(7, pid, scope)) == {pid: "sleep"}
    assert processes.signal([Target(7, pid, Scope.TREE)], [TERM]) == [{pid: "sleep"}]
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    processes.drop_census()
    # A zombie is nobody's process any more.
    assert processes.find(Target(7, pid, Scope.LEADER)) == {}
    assert (pid, TERM) in [(exit.pid, exit.status) for exit in processes.reap()]
    processes.drop_census()
    for scope in Scope:
        assert processes.find(Target(7, pid, scope)) == {}
    assert processes.signal([Target(7, pid, Scope.TREE)], [TERM]) == [{}]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_what_a_handler_runs_is_spared_but_for_kill(
    processes: Processes, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    pid = start(processes, "/bin/bash", "-c", "trap 'sleep 98; exit' TERM; while :; do :; done")
    children = f"/proc/{pid}/task/{pid}/children"
    kill = os.kill

    def kill_and_wait(pid: int, sent: int) -> None:
        # The handler has begun before anybody looks again.
        kill(pid, TERM)
        until(lambda: bool(read(children)), "the handler")
        kill(pid, sent)

    monkeypatch.setattr(os, "kill", kill_and_wait)
    until(lambda: catches(pid, TERM))
    (signalled,) = processes.signal([Target(7, pid, Scope.TREE)], [number])
    assert signalled[pid] == "bash"
    assert ("sleep" in signalled.values()) == (number is signal.SIGKILL)
    monkeypatch.undo()
    processes.drop_census()
    processes.signal([Target(7, pid, Scope.TREE)], [signal.SIGKILL])
    os.waitpid(pid, 0)


def read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


def test_a_pid_that_is_another_s_by_now_is_spared(processes: Processes) -> None:
    pid = start(processes, "sleep", "100")
    target = Target(7, pid, Scope.TREE)
    assert processes.find(target)
    # As if the leader had been reaped, and then the pid been given to somebody else.
    processes._leaders.clear()
    assert processes._census is not None
    before = processes._census.everyone[pid]
    processes._census.everyone[pid] = before._replace(started=before.started + 1)
    assert not processes._signal_one(pid, target, TERM)
    del processes._census.everyone[pid]
    assert not processes._signal_one(pid, target, TERM)
    assert os.waitpid(pid, os.WNOHANG) == (0, 0)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    processes.drop_census()
    assert not processes._signal_one(pid, target, TERM)
    processes._leaders[pid] = 7
    assert not processes._signal_one(pid, target, TERM)


def test_a_pid_that_another_job_s_leader_has_by_now(processes: Processes) -> None:
    pid = start(processes, "sleep", "100")
    # Job 3 had that pid before.
    earlier = Target(3, pid, Scope.TREE)
    try:
        for scope in Scope:
            assert processes.find(earlier._replace(scope=scope)) == {}
        assert processes.signal([earlier], [TERM]) == [{}]
        assert processes.find(Target(7, pid, Scope.TREE))
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_pipes_at_their_end(processes: Processes) -> None:
    pipes = {pipe.number: pipe for pipe in processes.open_pipes(stdin=True)}
    assert read_pipe(pipes[1].ours) is None
    os.write(pipes[1].theirs, b"x")
    assert read_pipe(pipes[1].ours) == b"x"
    os.close(pipes[1].theirs)
    assert read_pipe(pipes[1].ours) == b""
    assert write_pipe(pipes[0].ours, bytearray(b"hello")) == 5
    while write_pipe(pipes[0].ours, bytearray(65536)):
        pass
    assert write_pipe(pipes[0].ours, bytearray(b"x")) == 0
    os.close(pipes[0].theirs)
    assert write_pipe(pipes[0].ours, bytearray(b"x")) is None
    assert read_pipe(pipes[0].ours) == b""
    close_pipes([pipes[2]])
    for number in (0, 1):
        os.close(pipes[number].ours)


def test_what_a_process_is_doing(processes: Processes) -> None:
    pid = start(processes, "/bin/sh", "-c", "sleep 1000 & while :; do :; done")
    examination = Examination(7, pid)
    target = Target(7, pid, Scope.TREE)

    def busy() -> bool:
        processes.drop_census()
        # The walk is a new one each time.
        processes.examine(examination, target, time.monotonic() + 1e6 * next(later))
        return examination.count == 2 and examination.found[0].cpu > 0  # type: ignore[index]

    later = itertools.count()
    try:
        until(busy)
        assert examination.found is not None
        shell, sleep = sorted(examination.found, key=lambda status: status.pid)
        assert (shell.pid, shell.parent, shell.state) == (pid, os.getpid(), "R")
        assert shell.argv == ("/bin/sh", "-c", "sleep 1000 & while :; do :; done")
        assert (sleep.parent, sleep.state, sleep.command) == (pid, "S", "sleep")
        assert sleep.argv == ("sleep", "1000")
        assert 0 < sleep.seconds < 60
        assert sleep.cpu < shell.cpu < 60
        assert 4096 <= sleep.memory < 100_000_000
    finally:
        processes.signal([target], [signal.SIGKILL])
        os.waitpid(pid, 0)


def test_examinations_share_a_walk_for_a_second(
    processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    walks = []

    class Walk(Census):
        def __init__(self, server_id: str) -> None:
            walks.append(server_id)
            super().__init__(server_id)

    monkeypatch.setattr("rtot.system.processes.Census", Walk)
    pid = start(processes, "/bin/sleep", "1000")
    target = Target(7, pid, Scope.TREE)
    counts = []
    try:
        for now, turn in ((0.0, False), (0.0, False), (0.9, True), (1.0, True), (1.5, True)):
            if turn:
                processes.drop_census()
            examination = Examination(7, pid)
            processes.examine(examination, target, now)
            assert examination.found is not None
            assert [status.pid for status in examination.found] == [pid]
            counts.append(len(walks))
        # A signal does not rely on what was seen a while ago.
        processes.drop_census()
        processes.find(target)
        counts.append(len(walks))
    finally:
        processes.signal([target], [signal.SIGKILL])
        os.waitpid(pid, 0)
    assert counts == [1, 1, 1, 2, 2, 3]
    # It is gone, which the last walk does not know.
    processes.examine(examination, target, 1.6)
    assert (examination.count, examination.found) == (0, [])


def test_a_job_that_is_younger_than_the_walk(processes: Processes) -> None:
    first = start(processes, "/bin/sleep", "1000")
    processes.examine(Examination(7, first), Target(7, first, Scope.TREE), 0.0)
    processes.drop_census()
    second = start(processes, "/bin/sleep", "1000", job_id=8)
    examination = Examination(8, second)
    target = Target(8, second, Scope.TREE)
    processes.examine(examination, target, 0.1)
    processes.signal([target, Target(7, first, Scope.TREE)], [signal.SIGKILL, signal.SIGKILL])
    for pid in (first, second):
        os.waitpid(pid, 0)
    assert examination.count == 1


def test_all_who_ask_for_one_job_share_what_was_seen(
    processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []

    def look(pid: int) -> object:
        looks.append(pid)
        return read_status(pid)

    monkeypatch.setattr("rtot.system.processes.read_status", look)
    pid = start(processes, "/bin/sleep", "1000")
    target = Target(7, pid, Scope.TREE)
    try:
        for now in (0.0, 0.5, 0.9, 1.5):
            processes.drop_census()
            examination = Examination(7, pid)
            processes.examine(examination, target, now)
            assert examination.count == 1
    finally:
        processes.signal([target], [signal.SIGKILL])
        os.waitpid(pid, 0)
    assert looks == [pid, pid]
