"""The state directory: whose it is, and what is wrong with it."""

import os
import shutil
import sqlite3
import stat
from pathlib import Path

import pytest
from hypothesis import settings

from rtot.clock import Now
from rtot.config import Settings, SetupError
from rtot.jobs.job import Options
from rtot.jobs.output import Stream
from rtot.jobs.selection import Selection
from rtot.jobs.table import JobTable
from rtot.system.schema import MIGRATIONS
from rtot.system.spool import Spool
from rtot.system.state import State
from tests.world import USAGE, at

# With --hypothesis-profile=deep at every length, else at some hundred.
DEEP = settings().max_examples > 1000


def opened(path: Path, spool: Spool) -> State:
    return State(str(path), spool, full=False)


def test_it_is_private(tmp_path: Path, spool: Spool) -> None:
    path = tmp_path / "state"
    state = opened(path, spool)
    server_id = state.database.server_id
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    state.close()
    again = opened(path, spool)
    assert again.database.server_id == server_id
    assert len(server_id) == 16
    again.close()
    path.chmod(0o750)
    with pytest.raises(SetupError, match="not a private directory"):
        opened(path, spool)


def test_it_has_one_server(tmp_path: Path, spool: Spool) -> None:
    state = opened(tmp_path / "state", spool)
    with pytest.raises(SetupError, match="another server uses it"):
        opened(tmp_path / "state", spool)
    state.close()
    opened(tmp_path / "state", spool).close()


def test_who_reads_is_welcome(tmp_path: Path, spool: Spool) -> None:
    state = opened(tmp_path / "state", spool)
    with sqlite3.connect(tmp_path / "state" / "rtot.db") as reader:
        assert reader.execute("SELECT count(*) FROM jobs").fetchone() == (0,)
    reader.close()
    state.close()


def change(path: Path, statement: str) -> None:
    database = sqlite3.connect(path / "rtot.db", isolation_level=None)
    database.execute(statement)
    database.close()


def test_a_newer_one_is_left_alone(tmp_path: Path, spool: Spool) -> None:
    path = tmp_path / "state"
    opened(path, spool).close()
    change(path, f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    before = (path / "rtot.db").read_bytes()
    with pytest.raises(SetupError, match=r"newer rtot \(version 2 of its tables\)"):
        opened(path, spool)
    assert (path / "rtot.db").read_bytes() == before


def test_anothers_is_left_alone(tmp_path: Path, spool: Spool) -> None:
    path = tmp_path / "state"
    path.mkdir(mode=0o700)
    change(path, "CREATE TABLE precious (thing)")
    with pytest.raises(SetupError, match="no database of rtot's"):
        opened(path, spool)
    with sqlite3.connect(path / "rtot.db") as found:
        assert found.execute("SELECT count(*) FROM precious").fetchone() == (0,)
    found.close()


@pytest.mark.parametrize("damage", [b"", b"no database", b"\0" * 4096])
def test_a_damaged_one_is_reported_and_left_alone(
    tmp_path: Path, spool: Spool, damage: bytes
) -> None:
    path = tmp_path / "state"
    opened(path, spool).close()
    data = (path / "rtot.db").read_bytes()
    damaged = damage + data[len(damage) :] if damage else data[:5000]
    (path / "rtot.db").write_bytes(damaged)
    with pytest.raises(SetupError, match=r"rtot\.db"):
        opened(path, spool)
    assert (path / "rtot.db").read_bytes() == damaged


def test_what_cannot_be_a_directory(tmp_path: Path, spool: Spool) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SetupError, match="cannot use"):
        opened(tmp_path / "file", spool)
    with pytest.raises(SetupError, match="cannot use"):
        opened(tmp_path / "not" / "there", spool)
    (tmp_path / "state").mkdir(mode=0o700)
    (tmp_path / "state" / "output").write_bytes(b"")
    with pytest.raises(SetupError, match="cannot use"):
        opened(tmp_path / "state", spool)
    (tmp_path / "link").mkdir(mode=0o700)
    os.symlink("/etc/passwd", tmp_path / "link" / "lock")
    with pytest.raises(SetupError, match="cannot use"):
        opened(tmp_path / "link", spool)


def test_output_is_there_and_scripts_are_in_the_spool(tmp_path: Path, spool: Spool) -> None:
    state = opened(tmp_path / "state", spool)
    storage = state.storage
    storage.store_script(1, b"script")
    assert storage.read_script(1, 3) == b"scr"
    assert Path(storage.script_path(1)).parent == Path(spool.path)
    storage.remove_script(1)
    assert storage.read_script(1, 3) == b""
    storage.create("1.out").append(b"output")
    assert storage.names() == ["1.out"]
    found = storage.open("1.out")
    assert found is not None
    assert (found[0].read(0, 99), found[1]) == (b"output", 6)
    storage.remove("1.out")
    assert storage.open("1.out") is None
    os.mkdir(tmp_path / "state" / "output" / "2.out")
    assert storage.open("2.out") is None
    storage.mark(1, "there")
    storage.unmark(1)
    assert os.listdir(spool.path) == ["server"]
    state.close()


def restored(path: Path, spool: Spool) -> tuple[State, JobTable]:
    state = opened(path, spool)
    jobs = JobTable(Settings(), state.storage, state.database, 0, state.database)
    state.restore(jobs, at(9))
    return state, jobs


def run(jobs: JobTable, output: bytes, now: Now) -> None:
    job = jobs.submit(b"#!/bin/sh\n", now, Options())
    assert jobs.take_job(now) is job
    jobs.started(job, 4_000_000, now)
    jobs.output_received(job.id, Stream.OUT, output, now)
    jobs.exited(job.id, 0, USAGE, now)
    for stream in Stream:
        jobs.output_closed(job.id, stream, now)
    jobs.journal.take()
    jobs.keep(now)


def test_a_log_that_is_torn_at_any_byte(tmp_path: Path, spool: Spool) -> None:
    """What was committed before the tear is there, whole, and nothing else is."""
    path, torn = tmp_path / "state", tmp_path / "torn"
    state, jobs = restored(path, spool)
    log = path / "rtot.db-wal"
    ends = []
    for i in range(4):
        run(jobs, b"%d" % i, at(i))
        ends.append(log.stat().st_size)
    data = log.read_bytes()
    assert len(data) == ends[-1]
    around = {end + shift for end in ends for shift in (-1, 0, 1)}
    lengths = {*range(0, len(data) + 1, 1 if DEEP else 601), *around} - {len(data) + 1}
    for length in sorted(lengths):
        shutil.rmtree(torn, ignore_errors=True)
        torn.mkdir(mode=0o700)
        shutil.copy(path / "rtot.db", torn)
        (torn / "rtot.db-wal").write_bytes(data[:length])
        found, again = restored(torn, spool)
        whole = sum(end <= length for end in ends)
        known = [job.id for job in again.roster.page(Selection(), 0, 9, 9).jobs]
        assert known == list(range(whole)), length
        for i in known:
            job = again.get(i)
            assert job is not None
            assert job.output.read(Stream.OUT, 0, 9) == b"%d" % i
        found.close()
    state.close()


def test_a_file_of_output_that_is_torn_at_any_byte(tmp_path: Path, spool: Spool) -> None:
    """What is not there was dropped, and nothing else is told of it."""
    path, torn = tmp_path / "state", tmp_path / "torn"
    state, jobs = restored(path, spool)
    output = bytes(range(256)) * 150
    run(jobs, output, at(1))
    state.close()
    name = path / "output" / "0.out"
    assert name.read_bytes() == output
    for length in range(0, len(output) + 1, 1 if DEEP else 509):
        shutil.rmtree(torn, ignore_errors=True)
        shutil.copytree(path, torn)
        os.truncate(torn / "output" / "0.out", length)
        found, again = restored(torn, spool)
        job = again.get(0)
        assert job is not None
        assert job.output.read(Stream.OUT, 0, 99_999) == output[:length]
        assert job.output.lost(Stream.OUT) == len(output) - length
        found.close()
