"""Jobs in SQLite: what comes back, and a job table that is killed at any moment."""

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from signal import Signals

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from rtot.clock import Now
from rtot.config import Settings
from rtot.jobs.archive import Turn
from rtot.jobs.blocked import UnknownJobError
from rtot.jobs.changes import MOST_DELETIONS
from rtot.jobs.job import Job, Key, Options, Prerequisite, Reason, State
from rtot.jobs.keys import KeyConflictError
from rtot.jobs.output import Stream
from rtot.jobs.selection import Selection
from rtot.jobs.sequence import SMALL
from rtot.jobs.table import JobTable
from rtot.storage import StorageError
from rtot.system import database as module
from rtot.system.database import Database
from rtot.system.schema import MIGRATIONS
from tests.world import USAGE, WHY, MemoryDisk, PaperProcesses, at

SCRIPT = b"#!/bin/sh\n"
BOOT = "the boot"


class Fragile(Database):
    """One whose disk may be full."""

    full_disk = False

    def keep(self, turn: Turn) -> None:
        if self.full_disk:
            raise StorageError("no space left on device")
        super().keep(turn)


class Server:
    """A job table with a database, which may be killed and started anew."""

    def __init__(self, path: Path, **settings: object) -> None:
        self.path = path / "rtot.db"
        self.settings = Settings(**{"max_starting": 100, **settings})  # type: ignore[arg-type]
        self.disk = MemoryDisk()
        self.started: list[int] = []
        self.start(at(0))

    def start(self, now: Now, boot: str = BOOT, *, full: bool = False) -> None:
        self.database = Fragile(str(self.path), self.disk, boot, full=full)
        first = now.wall // 1000
        self.jobs = JobTable(self.settings, self.disk, self.database, first, self.database)
        self.lost = self.jobs.restore(now)
        self.world = PaperProcesses(self.jobs)

    def kill(self) -> None:
        """The process is gone: what is in memory is lost, and scripts are made again."""
        self.database._database.close()
        self.disk.scripts.clear()

    def end(self) -> None:
        """SIGTERM, and there is nothing that runs."""
        self.jobs.shut_down(at(0), waiting=False)
        self.turn(at(0))
        assert self.jobs.ended
        self.database.close()
        self.disk.scripts.clear()

    def again(self, now: Now, boot: str = BOOT, *, full: bool = False) -> None:
        self.kill()
        self.start(now, boot, full=full)

    def turn(self, now: Now) -> None:
        self.jobs.expire(now)
        job = self.jobs.take_job(now)
        for command in self.jobs.take_commands():
            self.world._obey(command, now)
        self.jobs.keep(now)
        self.jobs.journal.take()
        self.jobs.take_changes()
        self.world.commands.clear()
        if job is not None and job.state is State.STARTING:
            self.started.append(job.id)
            self.world.start(job, now)
            self.jobs.goes_on(job.id, 123)

    def submit(self, now: Now, **options: object) -> Job:
        return self.jobs.submit(SCRIPT, now, Options(**options))  # type: ignore[arg-type]

    def run(self, now: Now, out: bytes = b"", status: int = 0, **options: object) -> Job:
        """A job from its submission to its end."""
        job = self.submit(now, **options)
        self.turn(now)
        if out:
            self.jobs.output_received(job.id, Stream.OUT, out, now)
        self.world.end(job.id, status, now)
        self.turn(now)
        return job

    def ids(self, **selection: object) -> list[int]:
        chosen = Selection(**selection)  # type: ignore[arg-type]
        return [job.id for job in self.jobs.roster.page(chosen, 0, 1000, 4096).jobs]

    def find(self, job_id: int) -> Job:
        job = self.jobs.get(job_id)
        assert job is not None
        return job


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    yield server
    server.kill()


def facts(job: Job) -> dict[str, object]:
    """All of a job that clients can see."""
    names = set(Job.__slots__) - {"__weakref__", "output", "stop", "running", "blocked", "options"}
    found = {name: getattr(job, name) for name in names}
    output = job.output
    return {
        **found,
        **job.options._asdict(),
        "out": output.read(Stream.OUT, 0, 1 << 20),
        "err": output.read(Stream.ERR, 0, 1 << 20),
        "arrivals": [output.arrival(i) for i in range(output.arrivals())],
        "dropped": output.dropped,
        "cut_at": output.cut_at,
        "written": [output.written(stream) for stream in Stream],
        "gap": [output.gap(stream) for stream in Stream],
        "stop": None if job.stop is None else (job.stop.signal, job.stop.signalled),
    }


def test_a_job_comes_back_as_it_was(server: Server) -> None:
    job = server.jobs.submit(
        SCRIPT,
        at(1),
        Options(
            args=("a", "\udcff"),
            env=(("A", "b"),),
            cwd="/",
            labels=("l", "\udcfe"),
            timeout=60.0,
            stdin_open=True,
            group="g",
            private_args=("s",),
            delay=0.0,
        ),
        by="me",
        key=Key("me", "k"),
        fingerprint=b"f",
        hint="hint",
    )
    server.turn(at(2))
    for index, stream in enumerate((Stream.OUT, Stream.ERR, Stream.OUT)):
        server.jobs.output_received(job.id, stream, b"%d\xff" % index, at(3 + index))
    server.jobs.kill(job, at(8), Signals.SIGTERM, 5.0, WHY)
    server.turn(at(8))
    server.turn(at(9))
    assert job.state is State.COMPLETE
    before = facts(job)
    assert before["reason"] is Reason.KILLED
    server.again(at(10))
    after = server.find(job.id)
    assert after is not job
    assert server.find(job.id) is after
    assert facts(after) == before
    assert server.jobs.replayed(Key("me", "k"), b"f") is after
    with pytest.raises(KeyConflictError):
        server.jobs.replayed(Key("me", "k"), b"other")
    assert server.jobs.script(after) == SCRIPT
    assert server.disk.files == {}


@pytest.mark.parametrize("size", [1, SMALL - 1, SMALL, 3 * SMALL])
def test_small_outputs_are_in_the_database_and_large_ones_in_files(
    server: Server, size: int
) -> None:
    job = server.submit(at(0))
    server.turn(at(0))
    data = bytes(range(1, 241)) * (size // 240 + 1)
    server.jobs.output_received(0, Stream.OUT, data[: size // 2], at(1))
    server.turn(at(1))
    server.jobs.output_received(0, Stream.OUT, data[size // 2 : size], at(2))
    server.world.end(0, 0, at(2))
    server.turn(at(2))
    assert job.output.read(Stream.OUT, 0, size) == data[:size]
    assert ("0.out" in server.disk.files) == (size >= SMALL)
    server.again(at(3))
    output = server.find(0).output
    assert output.read(Stream.OUT, 0, size) == data[:size]
    assert (output.out_size, output.dropped) == (size, (0, 0))
    assert output.arrival(output.arrivals() - 1).out_end == size
    server.jobs.forget(server.find(0), at(4))
    server.turn(at(4))
    assert server.disk.files == {}


def test_a_file_that_is_shorter_was_dropped(server: Server) -> None:
    server.run(at(0), b"x" * 2 * SMALL)
    server.disk.files["0.out"].data = b"x" * 100
    server.again(at(1))
    job = server.find(0)
    assert (job.output.out_size, job.output.dropped) == (100, (2 * SMALL - 100, 0))
    assert job.cut


@pytest.mark.parametrize("gone", [0, 1])
def test_the_end_of_a_stream_that_was_cut_comes_back(tmp_path: Path, gone: int) -> None:
    server = Server(tmp_path, max_output=10, keep_end=4)
    job = server.submit(at(0))
    server.turn(at(0))
    server.jobs.output_received(0, Stream.OUT, b"0123456789abcdef", at(1))
    if gone:
        server.turn(at(1))
    server.world.end(0, 0, at(2))
    server.turn(at(2))
    before = [job.output.read_written(Stream.OUT, at, 99) for at in (0, 10, 12)]
    server.again(at(3))
    output = server.find(0).output
    assert [output.read_written(Stream.OUT, at, 99) for at in (0, 10, 12)] == before
    assert output.dropped == (6, 0)
    server.kill()


def test_who_waited_waits_again_in_order(server: Server) -> None:
    server.settings = server.settings._replace(max_running=1)
    server.again(at(0))
    first = server.submit(at(0))
    server.turn(at(0))
    plain = server.submit(at(1), args=("a",))
    after = server.submit(at(1), after=(Prerequisite(first.id), Prerequisite(plain.id, True)))
    delayed = server.submit(at(1), delay=10.0)
    server.turn(at(1))
    server.world.end(first.id, 0, at(2))
    server.turn(at(2))
    server.turn(at(2))
    assert server.started == [0, 1]
    # What has started is lost, and that is an end too.
    server.again(at(5))
    assert [job.id for job in server.lost] == [plain.id]
    lost = server.find(plain.id)
    assert (lost.state, lost.reason) == (State.COMPLETE, Reason.LOST)
    assert lost.failure == "lost: the server was killed"
    assert server.find(after.id).state is State.BLOCKED
    assert server.find(delayed.id).state is State.BLOCKED
    server.turn(at(5))
    server.turn(at(5))
    assert server.disk.scripts == {after.id: SCRIPT}
    server.world.end(after.id, 0, at(6))
    for second in (6, 10, 11, 11):
        server.turn(at(second))
    assert server.started == [0, 1, 2, 3]
    assert server.disk.scripts[3] == SCRIPT


def test_a_lost_job_has_all_that_it_wrote(server: Server) -> None:
    job = server.submit(at(0))
    server.turn(at(0))
    for second in range(1, 3000):
        stream = Stream.OUT if second % 2 else Stream.ERR
        server.jobs.output_received(job.id, stream, b"x" * 20, at(second))
        if second % 100 == 0:
            server.turn(at(second))
    server.jobs.output_received(job.id, Stream.OUT, b"never told", at(3000))
    server.again(at(3001))
    for _ in range(2):
        server.turn(at(3001))
        server.again(at(3002))
    output = server.find(job.id).output
    assert (output.out_size, output.err_size) == (20 * 1450, 20 * 1450)
    assert output.dropped == (0, 0)
    arrivals = [output.arrival(index) for index in range(output.arrivals())]
    assert [(a.out_end, a.err_end) for a in arrivals[:3]] == [(20, 0), (20, 20), (40, 20)]
    assert (arrivals[-1].out_end, arrivals[-1].err_end) == (20 * 1450, 20 * 1450)


def test_what_is_left_of_a_lost_job_is_ended(server: Server) -> None:
    job = server.submit(at(0), group="g")
    server.turn(at(0))
    server.turn(at(0))
    other = server.submit(at(0), group="g")
    server.turn(at(0))
    server.again(at(1))
    server.world.alive[job.id] = server.find(job.id)
    found = server.lost[0]
    assert (found.pid, found.id) == (1000, 0)
    signals = [c for c in server.jobs._outbox._commands if type(c).__name__ == "Signal"]
    assert len(signals) == 1
    # The place of its group is taken until it is gone.
    assert server.jobs.take_job(at(1)) is None
    server.world.alive.clear()
    for second in (1, 2, 3):
        server.turn(at(second))
    assert server.started == [0, other.id]
    assert found.stop is not None


@pytest.mark.parametrize(("full", "reason"), [(False, Reason.LOST), (True, None)])
def test_after_a_power_cut_nothing_is_given_or_started_twice(
    server: Server, full: bool, reason: Reason | None
) -> None:
    server.again(at(0), full=full)
    server.submit(at(0), delay=50.0)
    server.run(at(0))
    server.submit(at(0))
    server.turn(at(0))
    server.again(at(1), "another boot")
    # Its processes are gone, and their pids others' by now.
    assert server.lost == []
    assert server.find(2).reason is Reason.LOST
    assert server.find(0).reason is reason
    fresh = server.submit(at(2))
    assert (fresh.id == 3) == full
    assert fresh.id > 2


def test_a_job_whose_output_is_held_is_complete(server: Server) -> None:
    """And what others wrote to it later is there."""
    job = server.submit(at(0), labels=("l",))
    server.turn(at(0))
    server.world.alive.clear()
    server.jobs.exited(job.id, 0, USAGE, at(1))
    server.turn(at(3))
    server.turn(at(3))
    assert (job.state, job.holders) == (State.HELD, {77: "holder"})
    server.jobs.output_received(job.id, Stream.OUT, b"late", at(4))
    server.turn(at(4))
    server.again(at(5))
    after = server.find(job.id)
    assert (after.state, after.reason) == (State.COMPLETE, Reason.EXITED)
    assert after.holders == {77: "holder"}
    assert after.output.read(Stream.OUT, 0, 9) == b"late"
    assert server.ids(labels=frozenset({"l"})) == [job.id]


def test_what_waits_goes_on_waiting_if_the_machine_is_rebooted_in_order(server: Server) -> None:
    waiting = server.submit(at(0), delay=50.0)
    server.turn(at(0))
    server.end()
    server.start(at(1), "another boot")
    assert server.find(waiting.id).state is State.BLOCKED
    # But not if the power is cut after that.
    server.again(at(2), "a third boot")
    assert server.find(waiting.id).reason is Reason.LOST


def test_an_end_with_something_unkept_is_no_end_in_order(server: Server) -> None:
    server.submit(at(0), delay=50.0)
    running = server.submit(at(0))
    server.turn(at(0))
    server.database.full_disk = True
    server.world.end(running.id, 0, at(0))
    server.jobs.shut_down(at(0), waiting=False)
    server.turn(at(0))
    # It is tried again for as long as an ending server waits.
    assert not server.jobs.ended
    server.database.full_disk = False
    server.turn(at(2))
    assert server.jobs.ended
    server.again(at(3))
    assert server.find(running.id).reason is Reason.EXITED


def test_a_job_that_cannot_be_kept_takes_no_place(server: Server) -> None:
    first = server.submit(at(0), group="g", delay=9.0)
    server.turn(at(0))
    server.database.full_disk = True
    server.submit(at(1), group="g", supersede=True)
    assert server.jobs.keep(at(1)) is not None
    assert [entry.job for entry in server.jobs.journal.take()] == []
    assert first.state is State.BLOCKED
    server.database.full_disk = False
    server.turn(at(3))
    second = server.submit(at(3), group="g", supersede=True, delay=9.0)
    # Killed between the two.
    server.jobs._unkept.keep(second.id, server.jobs.changes.last, False, at(3))
    server.again(at(4))
    assert server.find(first.id).failure == f"superseded by job {second.id}"
    assert server.find(second.id).state is State.BLOCKED


def test_what_is_lost_is_not_the_first_to_be_forgotten(server: Server) -> None:
    for _ in range(3):
        server.run(at(0))
    server.submit(at(0))
    server.turn(at(0))
    server.settings = server.settings._replace(keep=3)
    server.again(at(1))
    server.turn(at(1))
    server.jobs.retire(at(1), ())
    assert server.ids() == [1, 2, 3]


def test_nothing_is_left_of_a_job_that_was_deleted_while_it_ran(server: Server) -> None:
    job = server.submit(at(0), labels=("l",))
    server.turn(at(0))
    server.jobs.output_received(0, Stream.OUT, b"secret", at(0))
    server.turn(at(0))
    server.jobs.forget(job, at(1))
    server.turn(at(1))
    server.turn(at(1))
    assert job.state is State.COMPLETE
    for table in ("jobs", "outputs", "labels", "scripts"):
        assert server.database._run(f"SELECT count(*) FROM {table}").fetchone() == (0,), table
    assert server.disk.files == {}


def test_of_what_came_before_the_directory_nothing_is_known(server: Server) -> None:
    assert server.jobs.changes.deletions_after(5) is None
    first = server.jobs.changes.last
    server.again(at(1))
    assert server.jobs.changes.deletions_after(5) is None
    assert server.jobs.changes.deletions_after(first) == []


def test_times_that_no_clock_will_tell(server: Server) -> None:
    server.run(at(0))
    assert server.ids(created_from=1 << 70) == []
    assert server.ids(created_to=1 << 70) == [0]
    assert server.ids(created_from=-(1 << 70)) == [0]
    assert server.ids(created_to=-(1 << 70)) == []


def test_ids_and_changes_go_on(server: Server) -> None:
    for _ in range(3):
        server.run(at(0))
    last = server.jobs.changes.last
    server.jobs.forget(server.find(2), at(1))
    server.turn(at(1))
    told = server.jobs.changes.last
    server.again(at(2))
    assert server.jobs.changes.deletions_after(last) == [(last + 1, 2)]
    assert server.jobs.changes.last >= told
    assert server.run(at(2)).id == 3
    assert [job.id for job in server.jobs.changes.after(told, 9)] == [3]


def test_only_the_newest_deletions_are_remembered(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_DELETIONS", 5)
    for _ in range(12):
        server.run(at(0))
    for job_id in range(12):
        server.jobs.forget(server.find(job_id), at(1))
        server.turn(at(1))
    server.again(at(2))
    forgotten = server.jobs.changes._deletions._forgotten
    found = server.jobs.changes.deletions_after(forgotten)
    assert found is not None
    assert 5 <= len(found) <= 10
    assert server.jobs.changes.deletions_after(forgotten - 1) is None
    assert MOST_DELETIONS == 10_000


def test_what_the_queue_was_told_is_remembered(server: Server) -> None:
    server.submit(at(0))
    server.jobs.queue.paused = True
    server.turn(at(0))
    server.jobs.queue.paused = False
    server.turn(at(0))
    server.jobs.queue.paused = True
    server.turn(at(0))
    server.started.clear()
    server.again(at(1))
    assert server.jobs.queue.paused
    server.turn(at(1))
    assert server.started == []


@pytest.fixture
def many(server: Server) -> Server:
    for n in range(40):
        job = server.jobs.submit(
            SCRIPT,
            at(n),
            Options(labels=("all", f"l{n % 4}"), group="g" if n % 5 == 0 else None),
            by="me" if n % 3 == 0 else None,
        )
        server.turn(at(n))
        server.world.end(job.id, 256 * (n % 2), at(n))
        server.turn(at(n))
    return server


SELECTIONS: list[dict[str, object]] = [
    {},
    {"state": "complete"},
    {"state": "running"},
    {"failed": True},
    {"failed": False},
    {"labels": frozenset({"l1"})},
    {"labels": frozenset({"l1", "all"})},
    {"labels": frozenset({"nope"})},
    {"by": "me"},
    {"by": "me", "failed": True, "labels": frozenset({"all"})},
    {"group": "g"},
    {"group": "g", "by": "me"},
    {"created_from": at(10).wall, "created_to": at(20).wall},
    {"created_from": at(39).wall, "failed": True},
    {"created_to": at(-1).wall},
    {"created_from": at(99).wall},
]


@pytest.mark.parametrize("selection", SELECTIONS, ids=lambda s: ",".join(s) or "all")
@pytest.mark.parametrize("down", [False, True])
def test_pages_have_what_matches(many: Server, selection: dict[str, object], down: bool) -> None:
    chosen = Selection(**selection)  # type: ignore[arg-type]
    everything = [many.find(job_id) for job_id in range(40)]
    expected = [job.id for job in everything if chosen.matches(job)]
    for limit, look in ((3, 4096), (1000, 5), (1, 1), (1000, 4096)):
        found: list[int] = []
        at: int | None = 39 if down else 0
        while at is not None:
            page = many.jobs.roster.page(chosen, at, limit, look, down=down)
            assert len(page.jobs) <= limit
            found += [job.id for job in page.jobs]
            at = page.next
        assert found == (expected[::-1] if down else expected)


def test_a_clock_that_was_set_back_hides_no_job(server: Server) -> None:
    for second in (100, 110, 120, 105, 115, 125, 130):
        server.run(at(second))
    span = {"created_from": at(103).wall, "created_to": at(116).wall}
    assert server.ids(**span) == [1, 3, 4]
    server.again(at(200))
    assert server.ids(**span) == [1, 3, 4]
    assert server.ids(created_from=at(124).wall) == [5, 6]


def test_walks_use_an_index(many: Server) -> None:
    statements: list[str] = []
    many.database._database.set_trace_callback(statements.append)
    for selection in SELECTIONS:
        many.ids(**selection)
    many.jobs.changes.after(0, 5)
    many.database.oldest()
    many.jobs.replayed(Key(None, "k"), b"")
    many.database._database.set_trace_callback(None)
    plans = {
        step[3]
        for statement in statements
        if statement.startswith("SELECT")
        for step in many.database._database.execute(f"EXPLAIN QUERY PLAN {statement}")
    }
    assert {plan for plan in plans if plan.startswith("SCAN")} <= {"SCAN CONSTANT ROW"}
    assert not any("TEMP B-TREE" in plan for plan in plans), plans


def test_retention_takes_the_oldest(tmp_path: Path) -> None:
    server = Server(tmp_path, keep=3)
    for second in range(6):
        server.run(at(second), b"x" * SMALL)
        server.jobs.retire(at(second), {1})
    server.turn(at(6))
    # Job 1 is waited for.
    assert server.ids() == [1, 3, 4, 5]
    server.jobs.retire(at(6), (), [1])
    server.turn(at(6))
    assert server.ids() == [3, 4, 5]
    assert sorted(server.disk.files) == ["3.out", "4.out", "5.out"]
    server.again(at(7))
    server.jobs.retire(at(7), ())
    assert server.ids() == [3, 4, 5]
    server.settings = server.settings._replace(ttl=5.0)
    server.again(at(8))
    assert server.jobs.next_deadline() == 0.0
    for _ in range(3):
        server.turn(at(8))
    assert server.jobs.next_deadline() == 8.0
    server.jobs.retire(at(9.5), ())
    server.turn(at(10))
    assert server.ids() == [5]
    server.kill()


def test_retained_jobs_are_not_in_memory(server: Server) -> None:
    for _ in range(50):
        server.run(at(0), b"out")
    assert len(server.database) == 50
    assert len(server.database._loaded) <= 1
    assert server.jobs.roster.alive() == []


def test_space_is_given_back_some_at_a_time(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_FREE", 10)
    monkeypatch.setattr(module, "_PAGES", 5)
    for _ in range(20):
        server.run(at(0), b"x" * (SMALL - 1))
    (size,) = server.database._run("PRAGMA page_count").fetchone()
    for job_id in range(20):
        server.jobs.forget(server.find(job_id), at(1))
    server.turn(at(1))
    turns = 0
    while server.jobs.next_deadline() == 0.0:
        server.turn(at(1))
        turns += 1
        assert turns < 1000
    assert turns > 5
    (left,) = server.database._run("PRAGMA page_count").fetchone()
    assert left < size / 3


def test_files_of_nobody_are_removed(server: Server) -> None:
    server.run(at(0), b"x" * SMALL)
    for name in ("7.out", "0.err", "strange"):
        server.disk.create(name).append(b"x")
    server.again(at(1))
    while server.jobs.next_deadline() == 0.0:
        server.turn(at(1))
    assert sorted(server.disk.files) == ["0.out", "strange"]


def test_a_job_that_cannot_be_kept_is_refused(server: Server) -> None:
    server.database.full_disk = True
    job = server.submit(at(0))
    chosen = server.jobs.take_job(at(0))
    assert chosen is job
    refused = server.jobs.keep(at(0))
    assert refused is not None
    assert (refused.why, refused.jobs) == ("no space left on device", [job])
    assert job.state is State.COMPLETE
    assert server.jobs.get(job.id) is None
    assert server.disk.scripts == {}
    # Until it has been seen that there is room again, nothing is tried.
    with pytest.raises(StorageError):
        server.submit(at(0.5))
    count, why = server.jobs.unkept
    assert (count, why) == (1, "no space left on device")
    server.database.full_disk = False
    server.turn(at(1))
    assert server.jobs.unkept == (0, "")
    assert server.run(at(2)).id == 1


def test_an_end_that_cannot_be_kept_is_told_and_kept_later(server: Server) -> None:
    job = server.submit(at(0))
    server.turn(at(0))
    server.jobs.output_received(0, Stream.OUT, b"early", at(1))
    server.turn(at(1))
    server.database.full_disk = True
    server.disk.room = 0
    server.jobs.output_received(0, Stream.OUT, b"late", at(2))
    server.world.end(0, 0, at(2))
    server.jobs.keep(at(2))
    assert job.state is State.COMPLETE
    assert job.output.read(Stream.OUT, 0, 99) == b"early"
    assert job.output.dropped == (4, 0)
    server.again(at(3))
    assert server.find(0).reason is Reason.LOST
    server.turn(at(3))
    # And with room again the end is kept.
    server.disk.room = 1000
    second = server.submit(at(4))
    server.turn(at(4))
    server.database.full_disk = True
    server.world.end(second.id, 0, at(5))
    server.turn(at(5))
    server.database.full_disk = False
    server.turn(at(7))
    server.again(at(8))
    assert server.find(second.id).reason is Reason.EXITED


def test_a_deletion_that_cannot_be_kept_is_made_later(server: Server) -> None:
    done = server.run(at(0), b"x" * SMALL)
    running = server.submit(at(0))
    server.turn(at(0))
    server.database.full_disk = True
    for job in (done, running):
        server.jobs.forget(server.find(job.id), at(1))
    assert server.jobs.keep(at(1)) is not None
    assert server.ids() == []
    server.turn(at(1))
    assert running.state is State.COMPLETE
    assert "0.out" in server.disk.files
    server.again(at(2))
    # It was not kept, so a crash brings them back.
    assert server.ids() == [0, 1]
    server.database.full_disk = True
    server.jobs.forget(server.find(0), at(3))
    server.turn(at(3))
    server.database.full_disk = False
    server.turn(at(5))
    server.again(at(6))
    assert server.ids() == [1]
    assert server.disk.files == {}


def test_an_older_version_is_brought_up_to_date(tmp_path: Path) -> None:
    """From every version that there was. (There is one.)"""
    for version in range(1, len(MIGRATIONS) + 1):
        path = tmp_path / f"{version}"
        path.mkdir()
        old = sqlite3.connect(path / "rtot.db", isolation_level=None)
        old.executescript("".join(MIGRATIONS[:version]))
        old.execute(f"PRAGMA user_version = {version}")
        old.execute(f"PRAGMA application_id = {0x72746F74}")
        old.close()
        server = Server(path)
        assert server.run(at(0)).id == 0
        server.again(at(1))
        assert server.ids() == [0]
        server.kill()


class DurableMachine(RuleBasedStateMachine):
    """Whatever is told survives, whenever the server is killed, and nothing is done twice."""

    jobs = Bundle("jobs")

    @initialize(running=st.integers(1, 3), keep=st.sampled_from([None, None, 2]))
    def start(self, running: int, keep: int | None) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="rtot-test-"))
        self.server = Server(
            self.directory, max_running=running, max_output=60, max_memory=16, keep=keep, keep_end=0
        )
        self.seconds = 0.0
        self.cuts = 0
        # What clients have seen of each job, and which deletions they were told of.
        self.told: dict[int, tuple[State, Reason | None, int, bytes]] = {}
        self.deleted: set[int] = set()
        # Jobs of which something could not be kept, or may have been forgotten to make room.
        self.unsure: set[int] = set()
        self.newest = -1
        self.change = 0

    @property
    def now(self) -> Now:
        return at(self.seconds)

    @rule(
        target=jobs,
        group=st.sampled_from([None, "g"]),
        after=st.lists(st.tuples(st.integers(0, 6), st.booleans()), max_size=1),
        delay=st.sampled_from([None, None, 3.0]),
        supersede=st.booleans(),
        key=st.sampled_from([None, "k"]),
    )
    def submit(
        self,
        group: str | None,
        after: list[tuple[int, bool]],
        delay: float | None,
        supersede: bool,
        key: str | None,
    ) -> int:
        known = Key(None, key or "")
        if key is not None and (job := self.server.jobs.replayed(known, b"f")) is not None:
            return job.id
        options = Options(
            group=group,
            supersede=supersede and group is not None,
            after=tuple(Prerequisite(*each) for each in after),
            delay=delay,
            labels=("l",),
        )
        try:
            job = self.server.jobs.submit(
                SCRIPT, self.now, options, key=None if key is None else known, fingerprint=b"f"
            )
        except (UnknownJobError, StorageError):
            return 0
        assert job.id > self.newest
        return job.id

    @rule()
    def turn(self) -> None:
        """A turn, at whose end clients see everything."""
        server = self.server
        before = len(server.started)
        server.turn(self.now)
        assert len(set(server.started)) == len(server.started), "started twice"
        unkept = set(server.jobs._unkept._changed) | set(server.jobs._unkept._deleted)
        self.unsure |= unkept
        self.unsure |= set(server.started[before:])
        for job in server.jobs.roster.page(Selection(), 0, 1000, 4096).jobs:
            if job.id in server.jobs._unkept._changed:
                self.unsure.add(job.id)
            else:
                self.unsure.discard(job.id)
            if job.id in server.started[before:]:
                # It is told in the next turn that it runs.
                continue
            assert job.id not in self.deleted
            self.newest = max(self.newest, job.id)
            data = job.output.read(Stream.OUT, 0, 1000)
            self.told[job.id] = (job.state, job.reason, job.complete, data)
        gone = {i for i in self.told if server.jobs.get(i) is None}
        self.deleted |= gone - unkept
        for job_id in gone:
            del self.told[job_id]
        self.change = server.jobs.changes.last

    @rule(job_id=jobs, data=st.binary(min_size=1, max_size=20))
    def write(self, job_id: int, data: bytes) -> None:
        job = self.server.jobs.get(job_id)
        if job is not None and job.running is not None and Stream.OUT in job.running.open:
            self.server.jobs.output_received(job_id, Stream.OUT, data, self.now)

    @rule(job_id=jobs, status=st.sampled_from([0, 256, 9]))
    def end(self, job_id: int, status: int) -> None:
        if job_id in self.server.world.alive:
            self.server.world.end(job_id, status, self.now)

    @rule(job_id=jobs)
    def exit(self, job_id: int) -> None:
        """Only the leader: others hold the output."""
        if self.server.world.alive.pop(job_id, None) is not None:
            self.server.jobs.exited(job_id, 0, USAGE, self.now)

    @rule(job_id=jobs)
    def kill(self, job_id: int) -> None:
        job = self.server.jobs.get(job_id)
        if job is not None and job.state is not State.COMPLETE:
            self.server.jobs.kill(job, self.now, Signals.SIGTERM, 2.0, WHY)

    @rule(job_id=jobs)
    def forget(self, job_id: int) -> None:
        if (job := self.server.jobs.get(job_id)) is not None:
            self.server.jobs.forget(job, self.now)
            # Until the next turn nobody is told.
            self.unsure.add(job_id)

    @rule()
    def retire(self) -> None:
        before = set(self.told)
        self.server.jobs.retire(self.now, ())
        self.unsure |= {i for i in before if self.server.jobs.get(i) is None}

    @rule(seconds=st.sampled_from([0.3, 1.0, 6.0]))
    def wait(self, seconds: float) -> None:
        self.seconds += seconds

    @rule(full=st.booleans(), room=st.integers(0, 40))
    def change_the_disk(self, full: bool, room: int) -> None:
        self.server.database.full_disk = full
        self.server.disk.room = room if full else 1 << 30

    @rule(power_cut=st.booleans())
    def crash(self, power_cut: bool) -> None:
        self.cuts += power_cut
        self.server.disk.room = 1 << 30
        self.server.again(self.now, BOOT + "!" * self.cuts)
        self.check()

    @precondition(lambda self: not self.server.database.full_disk)
    @rule()
    def restart(self) -> None:
        """SIGTERM: what runs is ended, what waits goes on waiting."""
        server = self.server
        alive = server.jobs.roster.alive()
        waiting = {job.id for job in alive if job.state in (State.NEW, State.BLOCKED)}
        server.jobs.shut_down(self.now, waiting=False)
        for _ in range(100):
            if server.jobs.ended:
                break
            for job in server.jobs.roster.alive():
                if job.running is not None and job.id not in server.world.alive:
                    for stream in list(job.running.open):
                        server.jobs.output_closed(job.id, stream, self.now)
            self.turn()
            self.seconds += 0.5
        assert server.jobs.ended
        self.turn()
        server.again(self.now, BOOT + "!" * self.cuts)
        assert server.lost == []
        self.check()
        for job_id in waiting & set(self.told):
            job = server.find(job_id)
            if job.state is State.COMPLETE:
                assert job.reason in (Reason.DEPENDENCY, Reason.KILLED, Reason.SUPERSEDED)

    def check(self) -> None:
        """Nothing that was told is taken back."""
        jobs = self.server.jobs
        assert jobs.changes.last >= self.change
        for job_id in self.deleted:
            assert jobs.get(job_id) is None
        for job_id, (state, reason, complete, data) in self.told.items():
            job = jobs.get(job_id)
            if job_id in self.unsure:
                continue
            assert job is not None, f"job {job_id} is forgotten"
            assert job.output.read(Stream.OUT, 0, 1000)[: len(data)] == data
            match state:
                case State.COMPLETE | State.HELD:
                    assert (job.reason, job.complete) == (reason, complete)
                case State.BLOCKED | State.NEW:
                    assert job.state in (State.BLOCKED, State.NEW) or job.reason in (
                        Reason.LOST,
                        Reason.DEPENDENCY,
                        Reason.KILLED,
                        Reason.SUPERSEDED,
                    )
                case _:
                    assert job.reason in (Reason.LOST, reason, Reason.KILLED, Reason.EXITED), job

    @invariant()
    def the_dead_are_not_in_memory(self) -> None:
        if hasattr(self, "server"):
            alive = self.server.jobs.roster.alive()
            ended = self.server.jobs._unkept._ended
            assert all(j.state is not State.COMPLETE or j.id in ended for j in alive)

    def teardown(self) -> None:
        if hasattr(self, "server"):
            self.server.kill()
            shutil.rmtree(self.directory)


TestDurableJobTable = DurableMachine.TestCase
