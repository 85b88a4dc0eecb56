from signal import Signals

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)

from rtot.clock import Now
from rtot.config import Settings
from rtot.jobs.archive import MemoryArchive
from rtot.jobs.blocked import UnknownJobError
from rtot.jobs.changes import ANY_JOB, MOST_DELETIONS
from rtot.jobs.commands import CloseOutputs, CloseStdin, FindHolders, Report, WriteStdin
from rtot.jobs.job import (
    SHOWN,
    TRANSITIONS,
    Event,
    IllegalTransitionError,
    Job,
    Key,
    Options,
    Prerequisite,
    Reason,
    State,
)
from rtot.jobs.journal import Fact
from rtot.jobs.keys import KeyConflictError
from rtot.jobs.leases import Lease
from rtot.jobs.output import Stream
from rtot.jobs.queue import STARTING, QueueFullError
from rtot.jobs.selection import Selection
from rtot.jobs.stdin import BUFFER, StdinClosedError
from rtot.jobs.stop import RunStopCommand, Scope, Signal, Survey
from rtot.jobs.table import (
    ClosingError,
    JobTable,
)
from rtot.storage import StorageError
from tests.tables import drawn
from tests.world import USAGE, WHY, MemoryDisk, PaperProcesses, at

START = at(0)
SCRIPT = b"#!/bin/sh\n"


class Table:
    """A job table with everything that it talks to."""

    def __init__(self, **settings: object) -> None:
        self.disk = MemoryDisk()
        chosen = Settings(**{"max_starting": 100, **settings})  # type: ignore[arg-type]
        self.jobs = JobTable(chosen, self.disk, MemoryArchive())
        self.world = PaperProcesses(self.jobs)

    def submit(self, now: Now = START, **options: object) -> Job:
        return self.jobs.submit(SCRIPT, now, Options(**options))  # type: ignore[arg-type]

    def run(self, now: Now = START, **options: object) -> Job:
        job = self.submit(now, **options)
        self.world.obey(now)
        return job


def ids(jobs: JobTable, first: int = 0, limit: int = 1000) -> list[int]:
    return [job.id for job in jobs.roster.page(Selection(), first, limit, 1000).jobs]


@pytest.fixture
def table() -> Table:
    return Table()


TABLE = drawn(
    """
         RELEASED DISPATCHED DEFERRED STARTED REFUSED  CANCELLED OUTPUTS_CLOSED EXITED   DRAIN_EXPIRED
BLOCKED  NEW      -          -        -       -        COMPLETE  -              -        -
NEW      -        STARTING   -        -       -        COMPLETE  -              -        -
STARTING -        -          NEW      RUNNING COMPLETE COMPLETE  -              -        -
RUNNING  -        -          -        -       -        -         MUTE           DRAINING -
MUTE     -        -          -        -       -        -         -              COMPLETE -
DRAINING -        -          -        -       -        -         COMPLETE       -        HELD
HELD     -        -          -        -       -        -         COMPLETE       -        -
COMPLETE -        -          -        -       -        -         -              -        -
""",  # noqa: E501
    State,
    Event,
)


def test_the_table_is_the_one_that_was_drawn() -> None:
    assert TRANSITIONS == TABLE


@pytest.mark.parametrize(
    ("state", "shown", "over"),
    [
        (State.BLOCKED, "new", False),
        (State.NEW, "new", False),
        (State.STARTING, "new", False),
        (State.RUNNING, "running", False),
        (State.MUTE, "running", False),
        (State.DRAINING, "running", False),
        (State.HELD, "complete", True),
        (State.COMPLETE, "complete", True),
    ],
)
def test_what_the_world_is_told_of_a_state(
    state: State, shown: str, over: bool, table: Table
) -> None:
    job = table.submit()
    job.state = state
    assert (SHOWN[state], job.over) == (shown, over)


@pytest.mark.parametrize(
    ("state", "event"), [(s, e) for s in State for e in Event if e not in TABLE[s]]
)
def test_illegal_facts_raise(state: State, event: Event, table: Table) -> None:
    job = table.run()
    job.state = state
    with pytest.raises(IllegalTransitionError):
        table.jobs._transition(job, event, at(1))


def test_a_job_that_just_runs(table: Table) -> None:
    job = table.submit(at(1))
    assert (job.id, job.state, job.create) == (0, State.NEW, at(1).wall)
    assert table.disk.scripts == {0: SCRIPT}
    assert table.jobs.take_job(at(2)) is job
    table.jobs.started(job, 1000, at(2))
    table.jobs.output_received(0, Stream.OUT, b"hi\n", at(3))
    table.jobs.exited(0, 3 << 8, USAGE, at(4))
    assert SHOWN[job.state] == "running"
    table.jobs.output_closed(0, Stream.OUT, at(4))
    table.jobs.output_closed(0, Stream.ERR, at(5))
    assert (job.state, job.status, job.reason) == (State.COMPLETE, 3 << 8, Reason.EXITED)
    assert (job.start, job.complete) == (at(2).wall, at(5).wall)
    assert job.output.read(Stream.OUT, 0, 9) == b"hi\n"
    assert table.disk.scripts == {}
    assert job.failed
    assert table.jobs.next_deadline() == 0.0
    assert table.jobs.take_changes() == {0, ANY_JOB}
    assert table.jobs.next_deadline() is None


def test_pipes_may_close_before_the_exit(table: Table) -> None:
    job = table.run()
    for stream in Stream:
        table.jobs.output_closed(0, stream, at(1))
    assert job.state is State.MUTE
    table.jobs.exited(0, 9, USAGE, at(2))
    assert (job.state, job.reason) == (State.COMPLETE, Reason.SIGNALED)


def test_a_held_pipe_is_waited_for_only_so_long(table: Table) -> None:
    job = table.run()
    table.jobs.exited(0, 0, USAGE, at(1))
    table.jobs.take_changes()
    assert table.jobs.next_deadline() == 2.0
    table.jobs.expire(at(2))
    assert job.state is State.HELD
    assert table.jobs.take_commands() == [FindHolders(0)]
    table.jobs.holders_found(0, {42: "sleep"})
    assert job.holders == {42: "sleep"}
    table.jobs.output_received(0, Stream.OUT, b"late", at(3))
    assert job.output.read(Stream.OUT, 0, 9) == b"late"
    for stream in Stream:
        table.jobs.output_closed(0, stream, at(4))
    assert job.state is State.COMPLETE
    assert job.complete == at(2).wall


def test_a_job_that_cannot_start(table: Table) -> None:
    job = table.submit()
    assert table.jobs.take_job(at(1)) is job
    table.jobs.not_started(job, "fork/exec x: no such file or directory", at(1))
    assert (job.state, job.reason) == (State.COMPLETE, Reason.NOT_STARTED)
    assert job.failed
    assert table.disk.scripts == {}


def test_first_in_first_out_and_never_too_many() -> None:
    table = Table(max_running=2)
    jobs = [table.submit() for _ in range(5)]
    table.world.obey(at(0))
    assert [j.state for j in jobs] == [State.RUNNING] * 2 + [State.NEW] * 3
    table.world.end(1, 0, at(1))
    table.world.obey(at(1))
    assert [j.id for j in jobs if j.state is State.RUNNING] == [0, 2]


def test_few_jobs_that_have_just_begun() -> None:
    table = Table(max_running=100, max_starting=2)
    for _ in range(5):
        table.submit()
    for job_id in range(2):
        table.jobs.take_changes()
        assert table.jobs.next_deadline() == 0.0
        job = table.jobs.take_job(at(1))
        assert job is not None
        assert job.id == job_id
        table.jobs.started(job, 1000 + job_id, at(1))
    assert table.jobs.take_job(at(1)) is None
    table.jobs.take_changes()
    assert table.jobs.next_deadline() == 1 + STARTING
    # One that has ended makes room, and so does time.
    for stream in Stream:
        table.jobs.output_closed(0, stream, at(1.001))
    table.jobs.exited(0, 0, USAGE, at(1.001))
    third = table.jobs.take_job(at(1.002))
    assert third is not None
    table.jobs.started(third, 1002, at(1.002))
    assert table.jobs.take_job(at(1.003)) is None
    fourth = table.jobs.take_job(at(1 + STARTING))
    assert fourth is not None
    table.jobs.started(fourth, 1003, at(1 + STARTING))
    assert table.jobs.take_job(at(1 + STARTING)) is None


def test_the_queue_has_an_end() -> None:
    table = Table(max_running=1, max_queued=2)
    for _ in range(3):
        table.submit()
    with pytest.raises(QueueFullError):
        table.submit()
    assert table.jobs.last_id == 2
    assert set(table.disk.scripts) == {0, 1, 2}


def test_a_script_that_cannot_be_stored_is_no_job(table: Table) -> None:
    table.disk.broken = True
    with pytest.raises(StorageError):
        table.submit()
    table.disk.broken = False
    assert len(table.jobs) == 0
    assert table.submit().id == 0


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_what_cannot_be_started_now_is_started_later(table: Table, order: tuple[int, ...]) -> None:
    jobs = [table.submit() for _ in range(3)]
    assert [table.jobs.take_job(at(0)) for _ in jobs] == jobs
    for index in order:
        table.jobs.deferred(jobs[index], "resource temporarily unavailable", at(0))
    reports = table.jobs.take_commands()
    assert reports == [Report("cannot start jobs for now: resource temporarily unavailable")]
    table.jobs.take_changes()
    retry = table.jobs.next_deadline()
    assert retry is not None
    assert retry > 0
    assert table.jobs.take_job(at(retry)) is jobs[0]
    table.jobs.deferred(jobs[0], "again", at(retry))
    table.jobs.take_changes()
    later = table.jobs.next_deadline()
    assert later is not None
    assert later > retry
    assert table.jobs.take_job(at(later)) is jobs[0]
    table.jobs.started(jobs[0], 1, at(later))
    assert table.jobs.take_job(at(later)) is jobs[1]
    assert table.jobs.take_job(at(later)) is jobs[2]


def test_forget_a_running_job(table: Table) -> None:
    job = table.run()
    table.jobs.forget(job, at(1))
    assert table.jobs.get(0) is None
    assert table.world.alive == {0: job}
    table.world.obey(at(1))
    assert table.world.alive == {}
    table.jobs.expire(at(2))
    table.world.obey(at(2))
    table.jobs.take_changes()
    assert table.jobs.next_deadline() is None
    assert (table.disk.scripts, table.disk.files) == ({}, {})
    table.jobs.output_received(0, Stream.OUT, b"x", at(3))
    table.jobs.output_closed(0, Stream.OUT, at(3))
    table.jobs.exited(0, 0, USAGE, at(3))
    table.jobs.holders_found(0, {})
    table.jobs.inputs.written(0, 1)
    table.jobs.inputs.broken(0)


def test_forget_a_queued_job() -> None:
    table = Table(max_running=1)
    table.submit()
    second = table.submit()
    table.world.obey(at(0))
    table.jobs.forget(second, at(1))
    table.world.end(0, 0, at(2))
    assert table.jobs.take_job(at(2)) is None
    assert set(table.disk.scripts) == set()


def test_forget_a_complete_job_with_much_output() -> None:
    table = Table(max_memory=4)
    job = table.run()
    table.jobs.output_received(0, Stream.OUT, b"much more", at(1))
    assert set(table.disk.files) == {"0.out"}
    table.world.end(0, 0, at(2))
    table.jobs.forget(job, at(3))
    assert table.disk.files == {}


def test_forget_a_job_that_is_held_by_somebody_spared(table: Table) -> None:
    job = table.run()
    table.jobs.exited(0, 0, USAGE, at(1))
    table.jobs.expire(at(2))
    table.world.alive.clear()
    table.world.obey(at(2))
    table.jobs.forget(job, at(3), tree=False)
    assert [c.scope for c in table.jobs.take_commands() if isinstance(c, Signal)] == [Scope.GROUP]
    table.jobs.expire(at(3.1))
    table.world.obey(at(3.1))
    assert CloseOutputs(0) in table.world.commands
    assert job.state is State.COMPLETE


def test_a_forgotten_job_that_is_held_is_let_go(table: Table) -> None:
    job = table.run()
    table.jobs.forget(job, at(0))
    table.jobs.take_commands()
    table.jobs.exited(0, 15, USAGE, at(1))
    table.jobs.expire(at(2))
    table.world.alive.clear()
    table.world.obey(at(2))
    assert CloseOutputs(0) in table.world.commands
    assert job.state is State.COMPLETE


def test_forget_many(table: Table) -> None:
    jobs = [table.run() for _ in range(10)]
    for job in jobs[2:8]:
        table.jobs.forget(job, at(1))
    assert ids(table.jobs, 0, 100) == [0, 1, 8, 9]
    assert ids(table.jobs, 3, 1) == [8]
    assert [j.id for j in table.jobs.roster.unfinished()] == [0, 1, 8, 9]


def test_kill_keeps_the_entry(table: Table) -> None:
    job = table.run()
    stop = table.jobs.kill(job, at(1), Signals.SIGTERM, 5.0, WHY)
    assert stop is not None
    table.world.obey(at(1))
    table.jobs.expire(at(1.01))
    table.world.obey(at(1.01))
    assert stop.over
    assert stop.signalled == {1000: "job-0"}
    assert (job.state, job.reason) == (State.COMPLETE, Reason.KILLED)
    assert table.jobs.get(0) is job


def test_kill_escalates(table: Table) -> None:
    table.world.obstinate = True
    job = table.run()
    stop = table.jobs.kill(job, at(0), Signals.SIGTERM, 5.0, WHY)
    assert stop is not None
    table.world.obey(at(0))
    table.jobs.expire(at(5))
    table.world.obey(at(5))
    table.jobs.expire(at(6))
    table.world.obey(at(6))
    table.jobs.expire(at(6.1))
    table.world.obey(at(6.1))
    assert stop.over
    assert stop.escalated == {1000: "job-0"}
    assert job.status == 9


def test_kill_before_the_start() -> None:
    table = Table(max_running=1)
    table.run()
    job = table.submit()
    assert table.jobs.kill(job, at(0), Signals.SIGHUP, None, WHY) is None
    assert job.state is State.NEW
    assert table.jobs.kill(job, at(1), Signals.SIGTERM, 5.0, WHY) is None
    assert (job.state, job.reason) == (State.COMPLETE, Reason.KILLED)
    assert job.failure == "killed before it was started"


def test_a_signal_without_grace_is_only_a_message(table: Table) -> None:
    table.world.obstinate = True
    job = table.run()
    stop = table.jobs.kill(job, at(0), Signals.SIGHUP, None, WHY)
    assert stop is not None
    table.world.obey(at(0))
    table.jobs.expire(at(1))
    assert stop.over
    assert job.state is State.RUNNING
    assert job.reason is None


def test_timeout(table: Table) -> None:
    job = table.run(at(0), timeout=3.0)
    table.jobs.take_changes()
    assert table.jobs.next_deadline() == 3.0
    table.jobs.expire(at(3))
    table.world.obey(at(3))
    assert (job.state, job.reason) == (State.COMPLETE, Reason.TIMEOUT)


def test_timeout_is_counted_from_the_start() -> None:
    table = Table(max_running=1)
    table.run()
    job = table.submit(timeout=3.0)
    table.jobs.set_timeout(job, 5.0, at(1))
    table.world.end(0, 0, at(10))
    table.world.obey(at(10))
    table.jobs.take_changes()
    assert table.jobs.next_deadline() == 15.0
    table.jobs.set_timeout(job, None, at(11))
    assert table.jobs.next_deadline() is None
    table.jobs.set_timeout(job, 1.0, at(12))
    table.jobs.expire(at(12))
    table.world.obey(at(12))
    assert job.reason is Reason.TIMEOUT


def test_a_job_that_has_ended_has_no_timeout(table: Table) -> None:
    job = table.run(timeout=3.0)
    table.world.end(0, 0, at(1))
    table.jobs.set_timeout(job, 1.0, at(2))
    table.jobs.take_changes()
    assert table.jobs.next_deadline() is None
    assert job.reason is Reason.EXITED


KEY = Key("me", "k")


def test_idempotency_keys(table: Table) -> None:
    assert table.jobs.replayed(KEY, b"1") is None
    job = table.jobs.submit(SCRIPT, at(0), key=KEY, fingerprint=b"1")
    assert table.jobs.replayed(KEY, b"1") is job
    with pytest.raises(KeyConflictError):
        table.jobs.replayed(KEY, b"2")
    table.jobs.forget(job, at(1))
    assert table.jobs.replayed(KEY, b"2") is None


def test_keep_only_so_many() -> None:
    table = Table(keep=2)
    for _ in range(4):
        table.run()
    for job_id in (2, 0, 1):
        table.world.end(job_id, 0, at(1))
    table.jobs.retire(at(1), {2})
    assert ids(table.jobs, 0, 9) == [0, 1, 2, 3]
    table.jobs.retire(at(1), (), [2, 2])
    assert ids(table.jobs, 0, 9) == [0, 1, 3]


def test_keep_only_so_long() -> None:
    table = Table(ttl=10.0)
    for _ in range(2):
        table.run()
    table.world.end(0, 0, at(1))
    table.world.end(1, 0, at(2))
    table.jobs.take_changes()
    assert table.jobs.next_deadline() == 11.0
    table.jobs.retire(at(11), ())
    assert ids(table.jobs, 0, 9) == [1]


def test_what_was_deleted_by_hand_does_not_retire_again() -> None:
    table = Table(keep=1)
    jobs = [table.run() for _ in range(3)]
    table.world.end(0, 0, at(1))
    table.jobs.forget(jobs[0], at(1))
    table.world.end(1, 0, at(1))
    table.world.end(2, 0, at(1))
    table.jobs.retire(at(1), ())
    assert ids(table.jobs, 0, 9) == [2]


def test_stdin(table: Table) -> None:
    job = table.run(stdin_open=True)
    assert table.jobs.inputs.room(job.id) == BUFFER
    table.jobs.inputs.write(job.id, b"hello")
    assert table.jobs.take_commands() == [WriteStdin(0)]
    assert table.jobs.inputs.pending(0) == b"hello"
    assert table.jobs.inputs.room(job.id) == BUFFER - 5
    table.jobs.inputs.write(job.id, b"!")
    assert table.jobs.take_commands() == []
    table.jobs.inputs.written(0, 4)
    table.jobs.inputs.end(job.id)
    with pytest.raises(StdinClosedError):
        table.jobs.inputs.write(job.id, b"x")
    assert table.jobs.take_commands() == []
    table.jobs.inputs.written(0, 2)
    assert table.jobs.take_commands() == [CloseStdin(0)]


def test_stdin_that_is_empty_is_closed_at_once(table: Table) -> None:
    job = table.run(stdin_open=True)
    table.jobs.inputs.end(job.id)
    assert table.jobs.take_commands() == [CloseStdin(0)]


def test_stdin_that_the_job_closed(table: Table) -> None:
    job = table.run(stdin_open=True)
    table.jobs.inputs.write(job.id, b"x")
    table.jobs.inputs.broken(0)
    table.jobs.inputs.broken(0)
    with pytest.raises(StdinClosedError):
        table.jobs.inputs.room(job.id)
    table.world.end(0, 0, at(1))
    with pytest.raises(StdinClosedError):
        table.jobs.inputs.end(job.id)


def test_without_stdin(table: Table) -> None:
    job = table.run()
    with pytest.raises(StdinClosedError):
        table.jobs.inputs.room(job.id)
    assert table.jobs.inputs.pending(0) == b""
    assert table.jobs.inputs.pending(99) == b""
    table.jobs.inputs.written(0, 0)
    table.jobs.inputs.broken(0)


def test_a_full_disk_is_reported_once_until_there_is_room() -> None:
    table = Table(max_memory=0)
    table.run()
    table.disk.room = 0
    for _ in range(3):
        table.jobs.output_received(0, Stream.OUT, b"x", at(1))
    assert len([c for c in table.jobs.take_commands() if isinstance(c, Report)]) == 1
    table.disk.room = 1
    for _ in range(2):
        table.jobs.output_received(0, Stream.OUT, b"x", at(1))
    assert len([c for c in table.jobs.take_commands() if isinstance(c, Report)]) == 1


def test_shutdown() -> None:
    table = Table(max_running=3)
    jobs = [table.run() for _ in range(4)]
    table.jobs.kill(jobs[1], at(0), Signals.SIGTERM, 5.0, WHY)
    table.jobs.exited(2, 0, USAGE, at(0))
    del table.world.alive[2]
    table.jobs.expire(at(1))
    assert jobs[2].state is State.HELD
    assert not table.jobs.closing
    table.jobs.shut_down(at(1))
    table.jobs.shut_down(at(1))
    assert table.jobs.closing
    with pytest.raises(ClosingError):
        table.submit()
    assert jobs[3].state is State.COMPLETE
    assert not table.jobs.ended
    table.world.obey(at(1))
    assert not table.jobs.ended
    table.jobs.expire(at(2))
    table.world.obey(at(2))
    assert table.jobs.ended


def test_two_kills_at_once_have_a_receipt_each(table: Table) -> None:
    table.world.obstinate = True
    job = table.run()
    first = table.jobs.kill(job, at(0), Signals.SIGTERM, 5.0, WHY)
    second = table.jobs.kill(job, at(0), Signals.SIGKILL, 5.0, WHY)
    assert first is not None
    assert second is not None
    table.world.obey(at(0))
    for seconds in (0.05, 0.1):
        table.jobs.expire(at(seconds))
        table.world.obey(at(seconds))
    assert first.over
    assert second.over
    table.jobs.surveyed(first, {}, at(1))
    table.jobs.take_changes()
    assert table.jobs.next_deadline() is None


@pytest.mark.parametrize("grace", [None, 3600.0])
def test_shutdown_ends_who_was_signalled_before(table: Table, grace: float | None) -> None:
    """Neither a message under way nor a long grace is a way to survive."""
    table.world.obstinate = True
    job = table.run()
    table.jobs.kill(job, at(0), Signals.SIGTERM, grace, WHY)
    table.jobs.shut_down(at(0))
    table.world.obey(at(0))
    for seconds in (5.0, 5.5, 6.0):
        table.jobs.expire(at(seconds))
        table.world.obey(at(seconds))
    assert table.jobs.ended
    assert job.status == 9


def test_shutdown_without_grace(table: Table) -> None:
    table.world.obstinate = True
    table.run()
    table.jobs.shut_down(at(0))
    table.world.obey(at(0))
    table.jobs.cancel_grace(at(0.5))
    table.world.obey(at(0.5))
    table.jobs.expire(at(0.6))
    table.world.obey(at(0.6))
    assert table.jobs.ended


@pytest.mark.parametrize("how", ["kill", "forget", "shut down", "signal"])
def test_a_job_that_is_ended_after_it_was_chosen_is_not_started(table: Table, how: str) -> None:
    job = table.submit()
    assert table.jobs.take_job(START) is job
    if how == "kill":
        assert table.jobs.kill(job, START, Signals.SIGTERM, 5.0, WHY) is None
    elif how == "forget":
        table.jobs.forget(job, START)
    elif how == "shut down":
        table.jobs.shut_down(START)
        assert table.jobs.ended
    else:
        # There is nobody to get a signal that is no end.
        assert table.jobs.kill(job, START, Signals.SIGHUP, None, WHY) is None
        assert job.state is State.STARTING
        return
    assert (job.state, job.start) == (State.COMPLETE, 0)
    # Of one that is forgotten nobody is told.
    assert how == "forget" or job.failure == "killed before it was started"
    assert table.disk.scripts == {}
    assert table.jobs.take_commands() == []


def elsewhere(**settings: object) -> Table:
    return Table(
        launchers=(("slurm", ("srun",)), ("low", ("nice",))),
        stop_commands=(("slurm", ("scancel",)),),
        **settings,
    )


def test_a_job_that_may_run_elsewhere_is_marked_from_its_start_to_its_end() -> None:
    table = elsewhere()
    jobs = [table.submit(launcher=name) for name in ("slurm", "low", None)]
    assert table.disk.marks == {}
    table.world.obey(at(0))
    assert [job.state for job in jobs] == [State.RUNNING] * 3
    assert table.disk.marks == {0: "slurm"}
    table.world.end(0, 0, at(1))
    assert table.disk.marks == {}


def test_a_job_that_cannot_be_marked_is_not_started() -> None:
    table = elsewhere()
    job = table.submit(launcher="slurm")
    table.disk.broken = True
    assert table.jobs.take_job(at(0)) is None
    assert job.state is State.NEW
    assert table.jobs.take_commands() == [
        Report("cannot start jobs for now: no space left on device")
    ]
    table.disk.broken = False
    retry = table.jobs.queue.next_time()
    assert retry is not None
    assert table.jobs.take_job(at(retry)) is job
    table.jobs.not_started(job, "fork/exec srun: no such file or directory", at(retry))
    assert table.disk.marks == {}


def test_a_job_that_runs_elsewhere_is_ended_by_its_stop_command() -> None:
    table = elsewhere()
    job = table.run(launcher="slurm")
    stop = table.jobs.kill(job, at(1), Signals.SIGTERM, 5.0, WHY)
    assert stop is not None
    table.world.obey(at(1))
    table.jobs.expire(at(1.01))
    table.world.obey(at(1.01))
    assert [type(command) for command in table.world.commands] == [RunStopCommand, Survey]
    assert stop.over
    assert (job.reason, job.status, table.disk.marks) == (Reason.KILLED, 15, {})


@pytest.mark.parametrize("how", ["timeout", "lease", "delete", "shutdown"])
def test_every_end_of_a_job_uses_it(how: str) -> None:
    table = elsewhere(grace=2.0)
    table.world.unreachable = True
    job = table.run(launcher="slurm", timeout=1.0 if how == "timeout" else None)
    match how:
        case "timeout":
            table.jobs.expire(at(1))
        case "lease":
            table.jobs.leases.take(job.id)
            table.jobs.leases.release(Lease(job.id, 1.0), 0.0)
            table.jobs.expire(at(1))
        case "delete":
            table.jobs.forget(job, at(1))
        case _:
            table.jobs.shut_down(at(1))
    table.world.obey(at(1))
    for tenth in range(100):
        now = at(1 + tenth / 10)
        table.jobs.expire(now)
        table.world.obey(now)
    found = [c for c in table.world.commands if isinstance(c, RunStopCommand | Signal)]
    # It fails both times; then what stands for the job here is killed.
    assert [c.signal for c in found] == [Signals.SIGTERM, Signals.SIGKILL, Signals.SIGKILL]
    assert isinstance(found[2], Signal)
    assert job.state is State.COMPLETE
    facts = [entry for entry in table.jobs.journal.take() if entry.fact is Fact.KILLED]
    assert [len(entry.stop.outcomes) for entry in facts if entry.stop] == [2]
    # It may still run there: the next server is to try.
    assert table.disk.marks == {0: "slurm"}


def after(*ids: int) -> tuple[Prerequisite, ...]:
    return tuple(map(Prerequisite, ids))


def test_a_job_that_comes_after_another(table: Table) -> None:
    first = table.run()
    second = table.run(after=after(first.id))
    assert (second.state, SHOWN[second.state], second.waits_for) == (State.BLOCKED, "new", (0,))
    table.world.end(first.id, 0, at(1))
    assert table.jobs.next_deadline() == 0.0
    table.jobs.expire(at(1))
    table.world.obey(at(1))
    assert (second.state, second.waits_for, second.blocked) == (State.RUNNING, (), None)


@pytest.mark.parametrize("deleted", [False, True])
def test_a_job_that_comes_after_one_that_failed_is_never_run(table: Table, deleted: bool) -> None:
    first = table.run()
    second = table.submit(after=after(first.id))
    third = table.submit(after=(*after(second.id), Prerequisite(first.id, anyhow=True)))
    anyhow = table.submit(after=(Prerequisite(second.id, anyhow=True),))
    if deleted:
        table.jobs.forget(first, at(1))
        # It is there until its processes are gone.
        table.jobs.expire(at(1))
        assert second.state is State.BLOCKED
        table.world.obey(at(1))
    else:
        table.world.end(first.id, 256, at(1))
    for _ in range(3):
        table.jobs.expire(at(2))
    what = "was deleted" if deleted else "failed"
    assert (second.reason, second.failure) == (Reason.DEPENDENCY, f"not run: job 0 {what}")
    assert (third.reason, third.failure) == (Reason.DEPENDENCY, "not run: job 1 failed")
    assert (second.failed, second.pid, second.start, second.over) == (True, None, 0, True)
    table.world.obey(at(2))
    assert anyhow.state is State.RUNNING
    assert set(table.disk.scripts) == {anyhow.id}


def test_a_job_that_comes_after_one_that_has_failed_already(table: Table) -> None:
    first = table.run()
    table.world.end(first.id, 9, at(1))
    job = table.submit(at(2), after=after(first.id))
    assert (job.state, job.reason) == (State.COMPLETE, Reason.DEPENDENCY)
    assert job.complete == at(2).wall
    good = table.submit(after=(Prerequisite(first.id, anyhow=True),))
    assert good.state is State.NEW


def test_a_job_that_comes_after_none_that_exists(table: Table) -> None:
    group = table.submit(group="g")
    with pytest.raises(UnknownJobError):
        table.submit(after=after(5), group="g", supersede=True)
    assert (len(table.jobs), table.jobs.last_id, group.state) == (1, 0, State.NEW)
    assert set(table.disk.scripts) == {0}


def test_a_long_chain_ends_without_recursion_and_turn_by_turn(table: Table) -> None:
    first = table.run()
    last = first
    for _ in range(10_000):
        last = table.submit(after=after(last.id))
    table.world.end(first.id, 256, at(1))
    table.jobs.expire(at(1))
    # Nobody else has to wait for all of them.
    assert last.state is State.BLOCKED
    turns = 1
    while not last.over:
        assert table.jobs.next_deadline() == 0.0
        table.jobs.expire(at(1))
        turns += 1
    assert turns > 20
    assert (last.reason, last.failure) == (Reason.DEPENDENCY, "not run: job 9999 failed")


def test_a_long_chain_runs(table: Table) -> None:
    first = table.run()
    jobs = [table.submit(after=after(i)) for i in range(3)]
    for job in (first, *jobs):
        table.jobs.expire(at(1))
        table.world.obey(at(1))
        table.world.end(job.id, 0, at(1))
    assert [job.reason for job in jobs] == [Reason.EXITED] * 3


def test_a_job_with_a_delay(table: Table) -> None:
    job = table.run(at(1), delay=600.0)
    table.jobs.take_changes()
    assert (job.state, table.jobs.next_deadline()) == (State.BLOCKED, 601.0)
    table.jobs.expire(at(600.9))
    table.world.obey(at(600.9))
    assert job.state is State.BLOCKED
    table.jobs.expire(at(601))
    table.world.obey(at(601))
    assert job.state is State.RUNNING


def test_a_blocked_job_can_be_killed_deleted_and_given_a_timeout(table: Table) -> None:
    first, second = table.submit(delay=5.0), table.submit(delay=5.0)
    table.jobs.set_timeout(first, 3.0, at(0))
    assert table.jobs.kill(first, at(0), Signals.SIGTERM, 5.0, WHY) is None
    assert (first.reason, first.failure) == (Reason.KILLED, "killed before it was started")
    table.jobs.forget(second, at(0))
    table.jobs.take_changes()
    table.jobs.take_commands()
    assert (table.jobs.next_deadline(), table.disk.scripts) == (None, {})


def test_the_newest_of_a_group_supersedes_those_that_wait(table: Table) -> None:
    runs = table.run(group="g")
    waits = table.submit(group="g")
    blocked = table.submit(group="g", after=after(runs.id))
    other = table.submit(group="h", delay=9.0)
    newest = table.submit(at(1), group="g", supersede=True)
    for job in (waits, blocked):
        assert (job.state, job.reason) == (State.COMPLETE, Reason.SUPERSEDED)
        assert (job.failure, job.failed) == (f"superseded by job {newest.id}", True)
    assert (runs.state, other.state, newest.state) == (State.RUNNING, State.BLOCKED, State.NEW)
    table.world.end(runs.id, 0, at(2))
    table.world.obey(at(2))
    assert newest.state is State.RUNNING


def test_a_full_queue_takes_one_that_makes_room_and_cancels_nothing_for_one_that_it_does_not() -> (
    None
):
    table = Table(max_running=1, max_queued=1)
    table.run()
    waits = table.submit(group="g")
    with pytest.raises(QueueFullError):
        table.submit(group="h", supersede=True)
    table.disk.broken = True
    with pytest.raises(StorageError):
        table.submit(group="g", supersede=True)
    assert waits.state is State.NEW
    table.disk.broken = False
    newest = table.submit(group="g", supersede=True)
    assert (waits.reason, newest.state) == (Reason.SUPERSEDED, State.NEW)


def test_nothing_is_started_while_the_queue_is_paused(table: Table) -> None:
    table.jobs.queue.paused = True
    job = table.run()
    table.jobs.take_changes()
    assert (job.state, table.jobs.next_deadline()) == (State.NEW, None)
    table.jobs.queue.paused = False
    table.world.obey(at(1))
    assert job.state is State.RUNNING


def test_the_end_ends_those_that_are_blocked_too(table: Table) -> None:
    runs = table.run()
    jobs = [table.submit(after=after(0)), table.submit(delay=1e6), table.submit(group="g")]
    table.jobs.queue.paused = True
    table.jobs.shut_down(at(1))
    table.world.obey(at(1))
    table.jobs.expire(at(2))
    table.world.obey(at(2))
    assert [job.reason for job in (runs, *jobs)] == [Reason.KILLED] * 4
    assert table.jobs.ended


def test_the_next_of_a_group_waits_for_the_last_process_of_one_that_is_killed() -> None:
    table = Table()
    first = table.run(group="g")
    second = table.run(group="g")
    stop = table.jobs.kill(first, at(1), Signals.SIGTERM, 5.0, WHY)
    assert stop is not None
    table.jobs.take_commands()
    stop.delivered({1000: "sh", 1001: "child"}, Signals.SIGTERM)
    # The leader obeys, and its outputs are closed; a child of it goes on for a while.
    table.world.end(first.id, 15, at(1))
    assert first.over
    table.world.obey(at(1))
    assert second.state is State.NEW
    table.jobs.surveyed(stop, {1001: "child"}, at(2))
    table.world.obey(at(2))
    assert second.state is State.NEW
    table.jobs.surveyed(stop, {}, at(3))
    table.world.obey(at(3))
    assert second.state is State.RUNNING


def test_who_is_ruled_out_supersedes_nobody_and_spares_whom_it_comes_after(table: Table) -> None:
    failed = table.run()
    table.world.end(failed.id, 256, at(0))
    table.run(group="g")
    waits = table.submit(group="g")
    never = table.submit(group="g", supersede=True, after=after(failed.id))
    assert (never.reason, waits.state) == (Reason.DEPENDENCY, State.NEW)
    other = table.submit(group="g")
    newest = table.submit(group="g", supersede=True, after=after(waits.id))
    assert (waits.state, other.reason) == (State.NEW, Reason.SUPERSEDED)
    assert newest.state is State.BLOCKED


def test_a_job_that_can_never_run_needs_no_room_in_the_queue() -> None:
    table = Table(max_running=1, max_queued=1)
    table.run(group="a")
    superseded = table.submit(group="a")
    table.submit(group="a", supersede=True)
    assert superseded.reason is Reason.SUPERSEDED
    with pytest.raises(QueueFullError):
        table.submit()
    ruled_out = table.submit(group="a", supersede=True, after=(Prerequisite(superseded.id),))
    assert ruled_out.reason is Reason.DEPENDENCY
    assert table.jobs.queue._queued == 1


class JobTableMachine(RuleBasedStateMachine):
    """The test plays the processes, the disk and the clock; the table must keep its word."""

    jobs = Bundle("jobs")

    @initialize(
        max_running=st.integers(1, 3),
        keep=st.one_of(st.none(), st.integers(0, 3)),
        ttl=st.one_of(st.none(), st.just(20.0)),
    )
    def begin(self, max_running: int, keep: int | None, ttl: float | None) -> None:
        self.settings = Settings(
            max_running=max_running,
            max_queued=6,
            max_memory=8,
            max_output=100,
            keep=keep,
            ttl=ttl,
            groups=(("b", 2),),
            launchers=(("there", ("srun",)),),
            stop_commands=(("there", ("scancel",)),),
        )
        self.disk = MemoryDisk()
        self.table = JobTable(self.settings, self.disk, MemoryArchive())
        self.world = PaperProcesses(self.table)
        self.seconds = 0.0
        # The ids of each group, in the order of their starts.
        self.starts: dict[str | None, list[int]] = {}
        self.delayed_until: dict[int, float] = {}
        self.everything: list[Job] = []
        self.keys: dict[Key, Job] = {}
        self.chosen: Job | None = None
        self.watched: frozenset[int] = frozenset()
        # What a client knows that has asked for changes: the state of each job.
        self.known: dict[int, str] = {}
        self.seen = 0

    @property
    def now(self) -> Now:
        return at(self.seconds)

    @rule(
        target=jobs,
        timeout=st.one_of(st.none(), st.integers(1, 30)),
        key=st.one_of(
            st.none(), st.builds(Key, st.sampled_from([None, "me"]), st.sampled_from("ab"))
        ),
        stdin=st.booleans(),
        group=st.sampled_from([None, "a", "b"]),
        supersede=st.booleans(),
        prerequisites=st.lists(st.tuples(st.integers(0, 8), st.booleans()), max_size=2),
        delay=st.sampled_from([None, None, 0.0, 0.5, 5.0]),
        launcher=st.sampled_from([None, "there"]),
    )
    def submit(
        self,
        timeout: int | None,
        key: Key | None,
        stdin: bool,
        group: str | None,
        supersede: bool,
        prerequisites: list[tuple[int, bool]],
        delay: float | None,
        launcher: str | None,
    ) -> object:
        if key is not None and (known := self.table.replayed(key, b"7")) is not None:
            assert known is self.keys[key]
            return multiple()
        options = Options(
            timeout=timeout,
            stdin_open=stdin,
            group=group,
            supersede=supersede,
            after=tuple(Prerequisite(*each) for each in prerequisites),
            delay=delay,
            launcher=launcher,
        )
        before = len(self.table)
        known_ids = {job.id for job in self.everything if self.table.get(job.id) is job}
        waited = [j for j in self.everything if j.state in (State.NEW, State.BLOCKED)]
        victims = [j for j in waited if supersede and group and j.options.group == group]
        first = {each.job_id for each in options.after}
        victims = [j for j in victims if j.id not in first]
        try:
            job = self.table.submit(SCRIPT, self.now, options, key=key, fingerprint=b"7")
        except UnknownJobError as unknown:
            assert unknown.job_id not in known_ids  # noqa: PT017
            assert len(self.table) == before
            assert all(not job.over for job in victims)
            return multiple()
        except QueueFullError:
            assert len(self.table) == before
            assert len(waited) >= self.settings.max_queued
            assert not victims
            return multiple()
        except ClosingError:
            assert self.table.closing
            return multiple()
        except StorageError:
            assert self.disk.broken
            assert len(self.table) == before
            assert all(not job.over for job in victims)
            return multiple()
        self.everything.append(job)
        assert all(each.job_id in known_ids for each in options.after)
        if job.reason is Reason.DEPENDENCY:
            # It takes nobody's place.
            assert all(not victim.over for victim in victims)
            victims = []
        for victim in victims:
            assert victim.reason is Reason.SUPERSEDED
            assert victim.failure == f"superseded by job {job.id}"
        if delay:
            self.delayed_until[job.id] = self.seconds + delay
        if key is not None:
            self.keys[key] = job
        return job

    @rule(limit=st.integers(1, 3))
    def ask_for_changes(self, limit: int) -> None:
        numbers = self.table.changes
        deletions = numbers.deletions_after(self.seen)
        assert deletions is not None
        seen = self.seen
        while page := numbers.after(seen, limit):
            assert [job.change for job in page] == sorted({job.change for job in page})
            assert page[0].change > seen
            seen = page[-1].change
            self.known |= {job.id: SHOWN[job.state] for job in page}
        for number, job_id in deletions:
            assert self.seen < number <= numbers.last
            self.known.pop(job_id, None)
        self.seen = numbers.last
        alive = self.table.roster.page(Selection(), 0, 1000, 1000).jobs
        assert self.known == {job.id: SHOWN[job.state] for job in alive}

    @rule()
    def act(self) -> None:
        for command in self.table.take_commands():
            self.world._obey(command, self.now)

    @precondition(lambda self: self.chosen is None)
    @rule()
    def choose(self) -> None:
        self.chosen = self.table.take_job(self.now)

    @precondition(lambda self: self.chosen is not None)
    @rule(defer=st.booleans(), fail=st.booleans())
    def start(self, defer: bool, fail: bool) -> None:
        job, self.chosen = self.chosen, None
        assert job is not None
        if job.state is not State.STARTING:
            # It was ended since it was chosen.
            assert job.over
            return
        if defer:
            self.table.deferred(job, "not now", self.now)
            return
        assert self.seconds >= self.delayed_until.get(job.id, 0.0)
        self.check_prerequisites(job)
        self.starts.setdefault(job.options.group, []).append(job.id)
        if fail:
            self.table.not_started(job, "fork/exec: no", self.now)
        else:
            self.world.start(job, self.now)

    def check_prerequisites(self, job: Job) -> None:
        """Those of a job that runs are complete, and none has failed."""
        for each in job.options.after:
            first = self.everything[each.job_id]
            assert first.over
            assert each.anyhow or not first.failed

    @rule(paused=st.booleans())
    def pause(self, paused: bool) -> None:
        self.table.queue.paused = paused

    @rule(seconds=st.sampled_from([0.01, 0.3, 1.0, 6.0]))
    def wait(self, seconds: float) -> None:
        self.seconds += seconds
        self.table.expire(self.now)

    @rule(
        obstinate=st.booleans(),
        broken=st.booleans(),
        unreachable=st.booleans(),
        room=st.integers(0, 50),
    )
    def change_the_world(self, obstinate: bool, broken: bool, unreachable: bool, room: int) -> None:
        self.world.unreachable = unreachable
        self.world.obstinate = obstinate
        self.disk.broken = broken
        self.disk.room = room

    @rule(job=jobs, stream=st.sampled_from(Stream), data=st.binary(min_size=1, max_size=20))
    def write(self, job: Job, stream: Stream, data: bytes) -> None:
        if job.running is not None and stream in job.running.open:
            self.table.output_received(job.id, stream, data, self.now)

    @rule(job=jobs, stream=st.sampled_from(Stream))
    def close_output(self, job: Job, stream: Stream) -> None:
        if job.running is not None and stream in job.running.open:
            self.table.output_closed(job.id, stream, self.now)

    @rule(job=jobs, status=st.sampled_from([0, 256, 9, 139]))
    def exit(self, job: Job, status: int) -> None:
        if self.world.alive.pop(job.id, None) is not None:
            self.table.exited(job.id, status, USAGE, self.now)

    @rule(
        job=jobs,
        signal=st.sampled_from([Signals.SIGTERM, Signals.SIGKILL]),
        grace=st.one_of(st.none(), st.just(0.0), st.just(2.0)),
    )
    def kill(self, job: Job, signal: Signals, grace: float | None) -> None:
        if job.state is not State.COMPLETE:
            self.table.kill(job, self.now, signal, grace, WHY)

    @rule(job=jobs, after=st.integers(0, 30))
    def set_timeout(self, job: Job, after: int) -> None:
        self.table.set_timeout(job, after, self.now)

    @rule(job=jobs, data=st.binary(max_size=10), end=st.booleans())
    def feed(self, job: Job, data: bytes, end: bool) -> None:
        try:
            if data:
                self.table.inputs.write(job.id, data)
            if end:
                self.table.inputs.end(job.id)
        except StdinClosedError:
            pass

    @rule(job=consumes(jobs), tree=st.booleans())
    def forget(self, job: Job, tree: bool) -> None:
        if self.table.get(job.id) is job:
            self.table.forget(job, self.now, tree=tree)

    @rule(watched=st.frozensets(st.integers(0, 12), max_size=3))
    def retire(self, watched: frozenset[int]) -> None:
        before = {job.id for job in self.everything if self.table.get(job.id) is job}
        self.table.retire(self.now, watched, self.watched - watched)
        self.watched = watched
        left = [j for j in self.everything if self.table.get(j.id) is j]
        assert watched & before <= {job.id for job in left}
        kept = [j for j in left if j.state is State.COMPLETE and j.id not in watched]
        if self.settings.keep is not None:
            assert len(kept) <= self.settings.keep

    @rule()
    def cancel_grace(self) -> None:
        self.table.cancel_grace(self.now)

    @invariant()
    def never_too_many(self) -> None:
        busy = {State.STARTING, State.RUNNING, State.MUTE, State.DRAINING}
        assert sum(j.state in busy for j in self.everything) <= self.settings.max_running

    @invariant()
    def groups_keep_to_their_limits(self) -> None:
        busy = {State.STARTING, State.RUNNING, State.MUTE, State.DRAINING}
        for group, limit in (("a", 1), ("b", 2)):
            assert (
                sum(j.state in busy and j.options.group == group for j in self.everything) <= limit
            )

    @invariant()
    def first_in_first_out(self) -> None:
        """What did not have to wait for anything of its own is started in order."""
        for group, started in self.starts.items():
            plain = [i for i in started if self.everything[i].options.after == ()]
            plain = [i for i in plain if not self.everything[i].options.delay]
            assert plain == sorted(plain), group

    @invariant()
    def who_waits_has_what_to_wait_for(self) -> None:
        for job in self.everything:
            assert (job.blocked is not None) == (job.state is State.BLOCKED)
            if job.blocked is not None:
                assert job.waits_for or job.blocked.until is not None
            if job.reason is Reason.DEPENDENCY:
                assert any(
                    not each.anyhow and self.everything[each.job_id].failed
                    for each in job.options.after
                )

    @rule()
    def nothing_is_stuck(self) -> None:
        """After a turn, who is blocked waits for a job that is not over, or for a time."""
        for _ in range(20):
            self.table.expire(self.now)
        for job in self.everything:
            if job.blocked is not None and job.blocked.until is None:
                assert any(not self.everything[i].over for i in job.waits_for)

    @invariant()
    def scripts_are_there_as_long_as_they_are_needed(self) -> None:
        needed = {j.id for j in self.everything if not j.over}
        assert set(self.disk.scripts) == needed

    @invariant()
    def what_may_run_elsewhere_is_marked(self) -> None:
        busy = [j for j in self.everything if j.state is not State.NEW and not j.over]
        needed = {j.id for j in busy if j.options.launcher and j.state is not State.BLOCKED}
        waiting = {j.id for j in self.everything if j.state is State.NEW}
        # What could not be ended there stays marked, and what is being ended.
        over = {j.id for j in self.everything if j.over and j.options.launcher}
        assert needed <= set(self.disk.marks) <= needed | waiting | over
        for job in self.everything:
            if job.over and job not in self.table._endings and job.id in self.disk.marks:
                assert job.stop is not None
                assert job.stop.failed_elsewhere

    @invariant()
    def complete_jobs_tell_all(self) -> None:
        for job in self.everything:
            if job.over:
                assert job.reason is not None
                assert job.complete
                assert (job.running is None) == (job.state is State.COMPLETE)
            else:
                assert not job.complete

    @invariant()
    def files_belong_to_jobs_that_are_known_or_running(self) -> None:
        owners = {int(name.partition(".")[0]) for name in self.disk.files}
        for job in self.everything:
            if job.id in owners:
                assert self.table.get(job.id) is job or job.state is not State.COMPLETE

    @invariant()
    def ids_are_in_order(self) -> None:
        found = ids(self.table)
        assert found == sorted(found)
        assert len(found) == len(self.table)

    def teardown(self) -> None:
        """Whatever happened, shutting down ends everything and leaves nothing."""
        if not hasattr(self, "table"):
            return
        self.table.shut_down(self.now)
        for _ in range(200):
            if self.table.ended:
                break
            self.world.obey(self.now)
            for job in self.everything:
                if job.running is not None and job.id not in self.world.alive:
                    for stream in list(job.running.open):
                        self.table.output_closed(job.id, stream, self.now)
            self.seconds += 0.5
            self.table.expire(self.now)
        assert self.table.ended
        assert self.world.alive == {}
        assert self.disk.scripts == {}


TestJobTable = JobTableMachine.TestCase


@pytest.mark.parametrize("step", [-365 * 86400, 365 * 86400])
def test_a_wall_clock_that_is_stepped_moves_no_deadline(step: int) -> None:
    table = Table(ttl=60.0)
    job = table.submit(at(0), timeout=5.0)
    table.world.obey(at(0))
    table.jobs.output_received(0, Stream.OUT, b"before", at(0))
    stepped = Now(4.0, at(4).wall + step * 1_000_000_000)
    table.jobs.expire(stepped)
    table.world.obey(stepped)
    assert job.state is State.RUNNING
    table.jobs.output_received(0, Stream.OUT, b"after", stepped)
    due = Now(5.0, stepped.wall + 1)
    table.jobs.expire(due)
    table.world.obey(due)
    assert (job.state, job.reason) == (State.COMPLETE, Reason.TIMEOUT)
    assert job.output.read(Stream.OUT, 0, 99) == b"beforeafter"
    assert [job.output.arrival(i).wall for i in range(2)] == [at(0).wall, stepped.wall]
    table.jobs.retire(Now(64.0, stepped.wall), ())
    assert table.jobs.get(0) is job
    table.jobs.retire(Now(65.0, stepped.wall), ())
    assert table.jobs.get(0) is None


def test_a_drain_that_is_overdue_has_expired(table: Table) -> None:
    job = table.run()
    table.jobs.exited(0, 0, USAGE, at(1))
    table.jobs.expire(at(1.9))
    assert job.state is State.DRAINING
    table.jobs.expire(at(7))
    assert job.state is State.HELD


def test_the_queue_counts_the_places_that_are_free() -> None:
    table = Table(max_running=2, max_queued=1)
    table.run()
    table.run()
    table.submit()
    with pytest.raises(QueueFullError):
        table.submit()
    table.world.end(0, 0, at(1))
    table.submit()
    with pytest.raises(QueueFullError):
        table.submit()


def test_the_outputs_of_a_forgotten_job_are_closed_when_the_drain_is_over(table: Table) -> None:
    job = table.run()
    table.jobs.forget(job, at(0))
    table.jobs.exited(0, 15, USAGE, at(1))
    table.jobs.take_commands()
    table.jobs.expire(at(2))
    assert CloseOutputs(0) in table.jobs.take_commands()


def test_stdin_has_no_room_left_when_all_of_it_is_pending(table: Table) -> None:
    job = table.run(stdin_open=True)
    table.jobs.inputs.write(job.id, b"x" * (BUFFER + 5))
    assert BUFFER == 65536
    assert table.jobs.inputs.room(job.id) == 0


def test_a_job_that_is_kept_as_long_as_was_said() -> None:
    table = Table(ttl=10.0)
    table.run(at(0))
    table.world.end(0, 0, at(1))
    table.jobs.take_commands()
    table.jobs.take_changes()
    assert table.jobs.next_deadline() == 11.0
    table.jobs.retire(at(10.9), ())
    assert table.jobs.get(0) is not None
    table.jobs.retire(at(11), ())
    assert table.jobs.get(0) is None


def test_a_wait_status_with_a_core(table: Table) -> None:
    job = table.run()
    table.world.end(0, 139, at(1))
    assert job.reason is Reason.SIGNALED


def test_what_counts_as_failed(table: Table) -> None:
    good, bad, killed, late, never = (table.run(timeout=t) for t in (None, None, None, 5.0, None))
    assert not good.failed
    table.world.end(good.id, 0, START)
    table.world.end(bad.id, 256, START)
    for job, how in ((killed, Reason.KILLED), (late, Reason.TIMEOUT)):
        # It catches TERM and exits with 0, which is not what it was to do.
        if how is Reason.KILLED:
            table.jobs.kill(job, START, Signals.SIGTERM, 5.0, WHY)
        else:
            table.jobs.expire(at(5))
        assert not job.failed
        table.world.end(job.id, 0, at(5))
        assert (job.reason, job.status) == (how, 0)
    assert [j.failed for j in (good, bad, killed, late)] == [False, True, True, True]
    refused = table.submit()
    assert table.jobs.take_job(at(6)) is refused
    table.jobs.not_started(refused, "no such file", at(6))
    assert refused.failed
    table.jobs.kill(never, at(6), Signals.SIGTERM, 5.0, WHY)
    assert not never.failed


def test_every_change_of_what_clients_see_has_the_next_number(table: Table) -> None:
    numbers = table.jobs.changes
    job = table.submit()
    other = table.submit()
    assert (job.change, other.change) == (1, 2)
    assert table.jobs.take_job(START) is job
    # It is still new to clients.
    assert numbers.last == 2
    table.jobs.started(job, 1000, START)
    table.jobs.output_received(job.id, Stream.OUT, b"x", START)
    assert (job.change, numbers.last) == (3, 3)
    table.jobs.exited(job.id, 0, USAGE, START)
    table.jobs.take_changes()
    table.jobs.expire(at(1))
    assert (job.state, job.change) == (State.HELD, 4)
    assert table.jobs.take_changes() == {0, ANY_JOB}
    table.jobs.forget(other, at(1))
    assert (numbers.last, numbers.deletions_after(4)) == (5, [(5, 1)])
    for stream in Stream:
        table.jobs.output_closed(job.id, stream, at(2))
    # Complete it was before.
    assert (job.state, job.change, numbers.last) == (State.COMPLETE, 4, 5)
    assert [numbers.after(n, 9) for n in (0, 3, 4)] == [[job], [job], []]
    table.jobs.forget(job, at(3))
    assert (numbers.after(0, 9), numbers.deletions_after(0)) == ([], [(6, 0), (5, 1)])


def test_a_job_that_is_forgotten_while_it_runs_changes_no_more(table: Table) -> None:
    job = table.run()
    table.jobs.forget(job, START)
    last = table.jobs.changes.last
    table.world.obey(START)
    assert (job.state, table.jobs.changes.last) == (State.COMPLETE, last)


def test_only_so_many_deletions_are_remembered(table: Table) -> None:
    numbers = table.jobs.changes
    for _ in range(MOST_DELETIONS + 1):
        table.jobs.forget(table.submit(), START)
    first = numbers.last - 2 * MOST_DELETIONS
    assert numbers.deletions_after(first - 1) is None
    deletions = numbers.deletions_after(first)
    assert deletions is not None
    assert (len(deletions), deletions[-1]) == (MOST_DELETIONS, (first + 2, 1))
    assert numbers.deletions_after(numbers.last - 1) == [(numbers.last, MOST_DELETIONS)]


def test_the_order_of_changes_stays_small(table: Table) -> None:
    for _ in range(1000):
        job = table.run()
        table.world.end(job.id, 0, START)
    assert len(table.jobs.changes._by_change) <= 64 + 3
    assert len(table.jobs.changes.after(0, 5000)) == 1000


def test_one_pipe_for_both_outputs(table: Table) -> None:
    job = table.run(stderr_to_stdout=True)
    assert job.running is not None
    assert job.running.open == {Stream.OUT}
    table.jobs.output_received(job.id, Stream.OUT, b"both", START)
    table.jobs.exited(job.id, 0, USAGE, START)
    table.jobs.output_closed(job.id, Stream.OUT, START)
    assert (job.state, job.output.out_size, job.output.err_size) == (State.COMPLETE, 4, 0)
