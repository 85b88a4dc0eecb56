"""The state directory: whose it is, and what is wrong with it."""

import os
import sqlite3
import stat
from pathlib import Path

import pytest

from rtot.config import SetupError
from rtot.system.schema import MIGRATIONS
from rtot.system.spool import Spool
from rtot.system.state import State


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
