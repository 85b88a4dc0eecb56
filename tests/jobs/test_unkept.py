"""What is durable when, and what comes of what is not."""

import pytest

from rtot.config import Settings
from rtot.jobs.archive import Turn
from rtot.jobs.commands import ReportBug
from rtot.jobs.job import Job, State
from rtot.jobs.output import Stream
from rtot.jobs.table import JobTable
from rtot.jobs.unkept import Unkept
from rtot.storage import StorageError
from tests.world import MemoryDisk, PaperProcesses, PaperStore, at

SCRIPT = b"#!/bin/sh\n"


class Table:
    def __init__(self) -> None:
        self.disk = MemoryDisk()
        self.store = PaperStore()
        self.jobs = JobTable(Settings(), self.disk, self.store, 0, self.store)
        self.jobs.restore(at(0))
        self.world = PaperProcesses(self.jobs)

    def run(self) -> Job:
        job = self.jobs.submit(SCRIPT, at(0))
        self.world.obey(at(0))
        assert self.jobs.keep(at(0)) is None
        return job


@pytest.fixture
def table() -> Table:
    return Table()


def test_without_a_store_nothing_is_noted() -> None:
    unkept = Unkept(None)
    jobs = JobTable(Settings(), MemoryDisk(), PaperStore())
    job = jobs.submit(SCRIPT, at(0))
    unkept.accepted(job, SCRIPT)
    unkept.changed(job)
    unkept.written(job)
    unkept.deleted(0, 1)
    assert not unkept.ended(job, deleted=False)
    assert (unkept.count, unkept.why, unkept.script(0)) == (0, "", None)
    assert unkept.keep(0, 0, False, at(0)) is None
    assert (unkept.kept(), unkept.store_output(0), unkept.next_deadline()) == ([], [], None)


def test_a_turn_in_which_nothing_has_happened_is_not_kept(table: Table) -> None:
    table.run()
    assert table.jobs.keep(at(0)) is None
    kept = len(table.store.turns)
    assert table.jobs.keep(at(1)) is None
    assert len(table.store.turns) == kept


def test_a_job_is_in_the_archive_when_its_end_is_kept(table: Table) -> None:
    job = table.run()
    table.world.end(0, 0, at(1))
    assert job.state is State.COMPLETE
    assert len(table.store) == 0
    assert table.jobs.get(0) is job
    assert table.jobs.next_deadline() == 0.0
    table.jobs.keep(at(1))
    assert len(table.store) == 1
    (turn,) = table.store.turns[-1:]
    assert turn.changed == [job]
    assert turn.ended.keys() == {0}


def test_what_is_written_is_stored_before_anybody_is_told(table: Table) -> None:
    table.run()
    table.jobs.output_received(0, Stream.OUT, b"hello", at(1))
    assert table.disk.files == {}
    table.jobs.expire(at(1))
    assert table.disk.files["0.out"].data == b"hello"
    # Of a job that ends in the same turn it is kept with the end.
    table.jobs.output_received(0, Stream.ERR, b"bye", at(2))
    table.world.end(0, 0, at(2))
    table.jobs.expire(at(2))
    assert "0.err" not in table.disk.files
    table.jobs.keep(at(2))
    assert table.store.turns[-1].ended[0].err == b"bye"


def test_what_there_is_no_room_for_is_dropped_before_anybody_is_told(table: Table) -> None:
    job = table.run()
    table.disk.room = 3
    table.jobs.output_received(0, Stream.OUT, b"hello", at(1))
    table.jobs.expire(at(1))
    assert (job.output.out_size, job.output.dropped, job.output.cut_at) == (3, (2, 0), at(1).wall)
    assert job.output.read_written(Stream.OUT, 3, 9) == (b"lo", 5)
    table.jobs.output_received(0, Stream.OUT, b"again", at(2))
    table.jobs.expire(at(2))
    table.disk.room = 100
    table.jobs.output_received(0, Stream.OUT, b"!", at(3))
    table.jobs.expire(at(3))
    assert job.output.read(Stream.OUT, 0, 9) == b"hel!"
    assert job.output.dropped == (7, 0)
    assert job.output.written(Stream.OUT) == 11
    table.jobs.keep(at(3))
    assert table.store.turns[-1].changed == [job]


def test_while_nothing_can_be_kept_it_is_tried_once_a_second(table: Table) -> None:
    job = table.run()
    table.store.full = True
    table.jobs.set_timeout(job, 9.0, at(1))
    assert table.jobs.keep(at(1)) is not None
    assert table.jobs.unkept == (1, "no space left on device")
    with pytest.raises(StorageError, match="no space"):
        table.jobs.submit(SCRIPT, at(1))
    table.store.full = False
    refused = table.jobs.keep(at(1.5))
    assert refused is not None
    assert refused.jobs == []
    table.jobs.take_commands()
    assert table.jobs.keep(at(2)) is None
    assert table.jobs.unkept == (0, "")
    assert [str(c) for c in table.jobs.take_commands()] == [
        "Report(text='the state is kept again')"
    ]
    assert table.jobs.submit(SCRIPT, at(2)).id == 1


def test_a_job_is_not_started_if_that_cannot_be_kept(table: Table) -> None:
    job = table.jobs.submit(SCRIPT, at(0))
    table.jobs.queue.paused = True
    table.jobs.keep(at(0))
    table.jobs.queue.paused = False
    table.store.full = True
    assert table.jobs.take_job(at(1)) is job
    table.jobs.keep(at(1))
    assert job.state is State.NEW
    table.store.full = False
    assert table.jobs.take_job(at(1)) is None
    table.jobs.keep(at(3))
    assert table.jobs.take_job(at(3)) is job
    assert table.jobs.keep(at(3)) is None
    assert job.state is State.STARTING


def test_after_a_bug_nothing_is_told_or_started_either(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    def keep(turn: Turn) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(PaperStore, "keep", staticmethod(keep))
    job = table.jobs.submit(SCRIPT, at(0))
    assert table.jobs.take_job(at(0)) is job
    refused = table.jobs.keep(at(0))
    assert refused is not None
    assert (refused.why, refused.jobs) == ("internal server error", [job])
    assert job.state is State.COMPLETE
    assert table.jobs.get(job.id) is None
    bugs = [c.failure for c in table.jobs.take_commands() if isinstance(c, ReportBug)]
    assert [type(bug) for bug in bugs] == [ZeroDivisionError]


def test_room_is_looked_for_even_if_nothing_waits_for_it(table: Table) -> None:
    table.store.full = True
    table.jobs.submit(SCRIPT, at(0))
    assert table.jobs.keep(at(0)) is not None
    table.store.full = False
    assert table.jobs.next_deadline() == 0.0
    table.jobs.take_commands()
    table.jobs.take_changes()
    assert table.jobs.next_deadline() == 1.0
    table.jobs.keep(at(1))
    assert table.jobs.submit(SCRIPT, at(1)).id == 1


def test_a_job_that_was_deleted_in_its_first_turn_is_never_kept(table: Table) -> None:
    job = table.jobs.submit(SCRIPT, at(0))
    table.jobs.forget(job, at(0))
    table.jobs.keep(at(0))
    (turn,) = table.store.turns
    assert (turn.new, turn.changed, turn.ended) == ({}, [], {})
    assert [job_id for _, job_id in turn.deleted] == [0]


def test_a_job_may_be_deleted_between_its_end_and_the_keeping_of_that(table: Table) -> None:
    job = table.run()
    table.jobs.output_received(0, Stream.OUT, b"x", at(1))
    table.jobs.expire(at(1))
    table.world.end(0, 0, at(1))
    table.jobs.forget(job, at(1))
    assert table.jobs.get(0) is None
    assert len(table.disk.files) == 1
    table.jobs.keep(at(1))
    assert table.disk.files == {}
    assert len(table.store) == 0
