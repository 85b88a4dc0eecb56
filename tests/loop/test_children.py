"""Jobs' processes and pipes: real ones, with a clock that is set by hand."""

import errno
import os
import selectors
from collections.abc import Iterator
from pathlib import Path
from signal import Signals

import pytest

from rtot.clock import Now
from rtot.config import Settings
from rtot.jobs.archive import MemoryArchive
from rtot.jobs.job import Job, Options, Reason, State
from rtot.jobs.output import Stream
from rtot.jobs.table import JobTable
from rtot.loop.children import Children
from rtot.loop.run import Descriptor
from rtot.system.leftovers import take_leftovers
from rtot.system.log import Log
from rtot.system.processes import Processes
from rtot.system.spool import Spool
from tests.harness import is_alive, until
from tests.world import WHY, at

SHELL = b"#!/bin/sh\n"


class Side:
    """The jobs' half of a server."""

    def __init__(self, directory: Path, first_reserved: int = 1 << 20, **settings: object) -> None:
        chosen = Settings(**{"drain": 1.0, **settings})  # type: ignore[arg-type]
        self.spool = Spool(str(directory))
        self.jobs = JobTable(chosen, self.spool, MemoryArchive())
        self.processes = Processes(
            self.spool.server_id, {"PATH": os.environ["PATH"]}, first_reserved
        )
        self.selector = selectors.DefaultSelector()
        self.log_path = directory / "log"
        self.log_fd = os.open(self.log_path, os.O_WRONLY | os.O_CREAT, 0o600)
        self.log = Log(self.log_fd, as_json=False)
        self.children = Children(chosen, self.jobs, self.processes, self.selector, self.log)
        self.now = at(1)

    def start(self, script: bytes, **options: object) -> Job:
        job = self.jobs.submit(SHELL + script, self.now, Options(**options))  # type: ignore[arg-type]
        assert self.jobs.take_job(self.now) is job
        self.children.start(job, self.now)
        return job

    def act(self) -> None:
        self.children.begin_turn()
        while commands := self.jobs.take_commands():
            self.children.carry_out(commands, self.now)

    def observe(self, timeout: float | None = None) -> bool:
        """What the selector tells, once there is something; whether there was."""
        ready = self.selector.select(timeout)
        for key, _ in ready:
            descriptor = key.data
            assert isinstance(descriptor, Descriptor)
            if descriptor.number == 0:
                self.children.write_input(descriptor)
            else:
                self.children.read_output(descriptor, self.now)
        return bool(ready)

    def observe_until(self, job: Job, expected: bytes) -> None:
        """Until that is the job's stdout."""
        while output(job) != expected:
            self.observe()

    def exit(self, job: Job) -> None:
        """Wait for the end of the job's leader, and see to it."""
        assert job.pid is not None
        os.waitid(os.P_PID, job.pid, os.WEXITED | os.WNOWAIT)
        self.children.reap(self.now)
        self.act()

    def advance(self, seconds: float) -> Now:
        self.now = at(self.now.monotonic + seconds)
        self.jobs.expire(self.now)
        self.children.expire(self.now)
        self.act()
        return self.now

    def told(self) -> str:
        self.log.flush(self.now)
        return self.log_path.read_text()

    def close(self) -> None:
        self.jobs.shut_down(self.now)
        self.act()
        self.jobs.cancel_grace(self.now)
        self.act()
        self.selector.close()
        self.spool.close()
        os.close(self.log_fd)


@pytest.fixture
def side(tmp_path: Path) -> Iterator[Side]:
    made = Side(tmp_path)
    yield made
    made.close()


def output(job: Job, stream: Stream = Stream.OUT) -> bytes:
    return job.output.read(stream, 0, 1 << 20)


def fds() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_short_job_costs_the_selector_nothing(side: Side) -> None:
    before = fds()
    job = side.start(b"echo out; echo err >&2; exit 3")
    assert job.state is State.RUNNING
    side.exit(job)
    assert (output(job), output(job, Stream.ERR)) == (b"out\n", b"err\n")
    assert (job.state, job.status, job.reason) == (State.COMPLETE, 3 << 8, Reason.EXITED)
    assert job.usage is not None
    assert len(side.selector.get_map()) == 0
    assert side.children.next_deadline() is None
    assert fds() == before
    assert side.children._runs == side.children._pids == {}


def test_the_output_of_a_longer_job_is_told_as_it_comes(side: Side) -> None:
    job = side.start(b"echo one; read x; echo two", stdin_open=True)
    side.advance(0.02)
    side.observe_until(job, b"one\n")
    side.jobs.inputs.write(job.id, b"\n")
    side.act()
    side.observe_until(job, b"one\ntwo\n")
    side.exit(job)
    assert job.state is State.COMPLETE


def test_more_than_a_pipe_holds(side: Side) -> None:
    job = side.start(b"head -c 1000000 /dev/zero; echo end")
    side.advance(0.02)
    while len(output(job)) < 64 * 1024:
        side.observe()
    while job.running is not None and job.running.open:
        side.observe()
    side.exit(job)
    assert job.output.out_size == 1_000_004


def test_stdin_is_written_as_the_pipe_takes_it(side: Side) -> None:
    job = side.start(b"read go; wc -c", stdin_open=True)
    side.jobs.inputs.write(job.id, b"go\n")
    side.act()
    sent = 0
    while sent < 300_000:
        if room := side.jobs.inputs.room(job.id):
            side.jobs.inputs.write(job.id, b"x" * min(room, 300_000 - sent))
            sent += min(room, 300_000 - sent)
            side.act()
        else:
            side.observe()
    side.jobs.inputs.end(job.id)
    while side.jobs.inputs.pending(job.id):
        side.act()
        side.observe(0.1)
    side.act()
    side.exit(job)
    assert output(job).strip() == b"300000"


def test_a_job_that_closes_its_stdin(side: Side) -> None:
    job = side.start(b"exec 0<&-; echo closed; sleep 100", stdin_open=True)
    side.advance(0.02)
    side.observe_until(job, b"closed\n")
    side.jobs.inputs.write(job.id, b"x")
    side.act()
    # Closed now: nothing is sent twice.
    side.act()
    assert side.jobs.inputs.pending(job.id) == b""


def test_who_holds_the_outputs_is_named(side: Side) -> None:
    wait = b'until [ "$(cat /proc/$!/comm)" = sleep ]; do :; done'
    job = side.start(b"sleep 100 & " + wait + b"; echo started")
    side.exit(job)
    assert (job.state, output(job)) == (State.DRAINING, b"started\n")
    side.advance(1.0)
    assert job.state is State.HELD
    assert list(job.holders.values()) == ["sleep"]
    # Its end is seen by what the selector tells.
    (pid,) = job.holders
    os.kill(pid, Signals.SIGKILL)
    while job.state is not State.COMPLETE:
        side.observe()


def test_a_forgotten_job_that_is_held_is_let_go(side: Side) -> None:
    before = fds()
    job = side.start(b"trap '' TERM; setsid sleep 100 & exit 0")
    side.exit(job)
    side.advance(1.0)
    assert job.state is State.HELD
    side.jobs.forget(job, side.now)
    side.act()
    while job.state is not State.COMPLETE:
        side.advance(0.01)
    assert fds() == before


def test_a_kill_reaches_all_and_is_told_by_whom(side: Side) -> None:
    job = side.start(b"sleep 100 & setsid sleep 100 & echo; wait")
    side.advance(0.02)
    side.observe_until(job, b"\n")
    stop = side.jobs.kill(job, side.now, Signals.SIGTERM, 5.0, WHY)
    assert stop is not None
    side.act()
    side.exit(job)
    while job.state is not State.COMPLETE:
        side.observe()
    # The clock that is set by hand goes faster than processes die.
    until(lambda: not any(map(is_alive, stop.signalled)))
    while not stop.over:
        side.advance(0.01)
    # The shell and both its children, of whatever name they were when the signal came.
    assert len(stop.signalled) == 3
    assert stop.surviving == {}
    assert (job.state, job.reason) == (State.COMPLETE, Reason.KILLED)


@pytest.mark.parametrize(
    ("script", "options", "failure"),
    [
        (b"#!/nonexistent\n", {}, "no such file or directory"),
        (b"", {"cwd": "/nonexistent"}, "chdir /nonexistent: no such file or directory"),
        (b"", {"cwd": "/\udcff"}, "no such file or directory"),
        (b"", {"launcher": "missing"}, "fork/exec no-such-program: no such file or directory"),
    ],
)
def test_what_cannot_be_started(
    tmp_path: Path, script: bytes, options: dict[str, str], failure: str
) -> None:
    side = Side(tmp_path, launchers=(("missing", ("no-such-program",)),))
    before = fds()
    job = side.jobs.submit(script or SHELL, side.now, Options(**options))  # type: ignore[arg-type]
    side.jobs.take_job(side.now)
    side.children.start(job, side.now)
    assert (job.state, job.reason) == (State.COMPLETE, Reason.NOT_STARTED)
    assert failure in job.failure
    assert fds() == before
    side.close()


def test_without_descriptors_a_job_waits(tmp_path: Path) -> None:
    side = Side(tmp_path, first_reserved=4)
    before = fds()
    job = side.jobs.submit(SHELL, side.now)
    side.jobs.take_job(side.now)
    side.children.start(job, side.now)
    side.act()
    side.log.flush(side.now)
    assert job.state is State.NEW
    assert "cannot start jobs for now: too many open files" in side.log_path.read_text()
    assert fds() == before
    side.close()


def test_a_bug_in_a_start_is_told_and_leaves_nothing(
    side: Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spawn(*_: object, **__: object) -> int:
        raise RuntimeError("ours")

    monkeypatch.setattr(os, "posix_spawn", spawn)
    before = fds()
    job = side.start(b"")
    side.log.flush(side.now)
    assert (job.state, job.failure) == (State.COMPLETE, "internal server error")
    assert "RuntimeError: ours" in side.log_path.read_text()
    assert fds() == before


def test_a_selector_without_room_is_asked_again(
    side: Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    def register(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    job = side.start(b"echo hello; sleep 100")
    with monkeypatch.context() as patch:
        patch.setattr(side.selector, "register", register)
        side.advance(0.02)
    assert len(side.selector.get_map()) == 0
    side.advance(0.1)
    assert len(side.selector.get_map()) == 2
    side.observe_until(job, b"hello\n")


def test_a_job_that_was_ended_since_it_was_chosen(side: Side) -> None:
    job = side.jobs.submit(SHELL, side.now)
    assert side.jobs.take_job(side.now) is job
    side.jobs.kill(job, side.now, Signals.SIGTERM, 5.0, WHY)
    side.children.start(job, side.now)
    assert (job.pid, job.state) == (None, State.COMPLETE)


def test_a_child_that_is_nobody_s(side: Side) -> None:
    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    side.children.reap(side.now)
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def test_a_bug_is_logged_with_its_traceback(side: Side) -> None:
    side.jobs.note_bug(ZeroDivisionError("a bug"))
    side.act()
    side.log.flush(side.now)
    assert "ZeroDivisionError: a bug" in side.log_path.read_text()


def stops(directory: Path, argv: str) -> Side:
    """Whose jobs of the launcher `there` have that stop command."""
    words = tuple(argv.split())
    launchers = (("there", ("env", "NAME=rtot-{server}-{id}")),)
    return Side(directory, launchers=launchers, stop_commands=(("there", words),))


def finish_commands(side: Side) -> None:
    """Start the stop commands, and see to their ends."""
    side.children.start_stop_commands(side.now)

    def done() -> bool:
        side.children.reap(side.now)
        side.act()
        return not side.children._stop_commands._running

    until(done)


def wait_for_exit(side: Side, job: Job) -> None:
    """Of a leader that may have been reaped already."""

    def ended() -> bool:
        side.children.reap(side.now)
        side.act()
        return job.usage is not None

    until(ended)


def test_a_launcher_is_told_which_job_it_starts(tmp_path: Path) -> None:
    side = stops(tmp_path, "true")
    job = side.start(b"echo $NAME", launcher="there")
    side.exit(job)
    assert output(job) == f"rtot-{side.spool.server_id}-0\n".encode()
    side.close()


def test_a_stop_command_gets_the_signal(tmp_path: Path) -> None:
    told = tmp_path / "told"
    side = stops(tmp_path, f"cp /dev/null {told}-{{signal}}-{{id}}-{{server}}")
    job = side.start(b"echo; sleep 1000", launcher="there")
    side.advance(0.02)
    side.observe_until(job, b"\n")
    stop = side.jobs.kill(job, side.now, Signals.SIGUSR1, None, WHY)
    assert stop is not None
    side.act()
    finish_commands(side)
    assert Path(f"{told}-USR1-0-{side.spool.server_id}").exists()
    assert [(o.signal, o.exit, o.text) for o in stop.outcomes] == [(Signals.SIGUSR1, "", "")]
    assert job.state is State.RUNNING
    assert "stop command failed" not in side.told()
    side.jobs.forget(job, side.now)
    side.act()
    finish_commands(side)
    side.jobs.cancel_grace(side.now)
    side.act()
    finish_commands(side)
    wait_for_exit(side, job)
    side.close()


def test_a_stop_command_that_fails_is_told(tmp_path: Path) -> None:
    side = stops(tmp_path, "cp /does/not/exist .")
    job = side.start(b"echo; sleep 1000", launcher="there")
    side.advance(0.02)
    side.observe_until(job, b"\n")
    stop = side.jobs.kill(job, side.now, Signals.SIGKILL, 0.0, WHY)
    assert stop is not None
    side.act()
    finish_commands(side)
    (outcome,) = stop.outcomes
    assert outcome.exit == "exit status 1"
    assert "/does/not/exist" in outcome.text
    log = side.told()
    assert 'msg="stop command failed" job=0 command="cp /does/not/exist ." exit="exit' in log
    # What is here is killed all the same.
    wait_for_exit(side, job)
    assert (job.reason, job.status) == (Reason.KILLED, 9)
    side.close()


def test_the_jobs_of_a_killed_server_are_stopped(tmp_path: Path) -> None:
    dead = Spool(str(tmp_path))
    for job_id, launcher in ((3, "there"), (4, "there"), (5, "gone")):
        dead.mark(job_id, launcher)
    os.close(dead._directory)
    (leftover,) = take_leftovers(str(tmp_path))
    (tmp_path / "runs-3").touch()
    side = stops(tmp_path, f"mv {tmp_path}/runs-{{id}} {tmp_path}/{{server}}-{{signal}}-{{id}}")
    side.children.end_leftover(leftover, side.now)
    finish_commands(side)
    assert (tmp_path / f"{dead.server_id}-KILL-3").exists()
    log = side.told()
    assert f'msg="job of a killed server stopped" job=3 server="{dead.server_id}"' in log
    assert f'msg="stop command failed" job=4 server="{dead.server_id}"' in log
    assert 'its launcher has no --stop" job=5' in log
    # What could not be stopped is tried again, after a while, and left to the next server.
    assert os.listdir(dead.path) == ["elsewhere-4"]
    (tmp_path / "runs-4").touch()
    side.advance(29)
    assert not side.children._stop_commands._waiting
    side.advance(1)
    finish_commands(side)
    assert (tmp_path / f"{dead.server_id}-KILL-4").exists()
    assert not os.path.exists(dead.path)
    side.close()
