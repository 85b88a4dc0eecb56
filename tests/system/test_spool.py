import errno
import fcntl
import os
import shutil
import stat
from pathlib import Path

import pytest

from rtot.storage import StorageError
from rtot.system.files import StoredFile
from rtot.system.leftovers import take_leftovers
from rtot.system.spool import Spool


def test_the_directory_is_private(spool: Spool) -> None:
    status = os.stat(spool.path)
    assert stat.S_IMODE(status.st_mode) == 0o700
    assert status.st_uid == os.geteuid()


def test_a_script_is_executable_and_whole(spool: Spool) -> None:
    script = bytes(range(256)) * 5000
    spool.store_script(3, script)
    path = Path(spool.script_path(3))
    assert path.read_bytes() == script
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    spool.remove_script(3)
    assert not path.exists()
    spool.remove_script(3)


def test_nothing_planted_is_followed(spool: Spool, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    for name in ("job-0", "0.out"):
        os.symlink(victim, f"{spool.path}/{name}")
    spool.store_script(0, b"x")
    spool.create("0.out").append(b"x")
    assert victim.read_bytes() == b"precious"


def test_a_directory_that_was_planted_is_moved_out_of_the_way(tmp_path: Path) -> None:
    spool = Spool(str(tmp_path))
    for name in ("job-1", "1.out"):
        os.makedirs(f"{spool.path}/{name}/full/of/directories")
    spool.store_script(1, b"x")
    spool.create("1.out").append(b"output")
    assert Path(spool.script_path(1)).read_bytes() == b"x"
    assert Path(spool.path, "1.out").read_bytes() == b"output"
    spool.close()
    assert list(tmp_path.iterdir()) == []


def test_a_spool_that_was_cleaned_away_is_made_again(tmp_path: Path) -> None:
    spool = Spool(str(tmp_path))
    lost = spool.create("1.out")
    lost.append(b"x")
    lost.seal()
    shutil.rmtree(spool.path)
    spool.store_script(2, b"script")
    assert Path(spool.script_path(2)).read_bytes() == b"script"
    assert lost.read(0, 1) == b""
    # It is ours, private and locked again.
    test_the_directory_is_private(spool)
    assert take_leftovers(str(tmp_path)) == []
    assert Path(spool.script_path(2)).exists()
    shutil.rmtree(spool.path)
    Path(spool.path).write_bytes(b"somebody else's")
    with pytest.raises(StorageError, match="file exists"):
        spool.store_script(3, b"x")
    Path(spool.path).unlink()
    spool.store_script(3, b"x")
    spool.close()
    assert list(tmp_path.iterdir()) == []


def test_a_script_that_cannot_be_stored_leaves_nothing(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(fd: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(StorageError, match="no space left on device"):
        spool.store_script(0, b"x")
    assert os.listdir(spool.path) == []


def test_a_file_from_its_beginning_to_its_removal(spool: Spool) -> None:
    file = spool.create("0.out")
    assert file.append(b"hello ") == 6
    assert file.append(b"world") == 5
    assert file.read(3, 5) == b"lo wo"
    assert file.read(11, 5) == b""
    fd = file.fileno()
    file.seal()
    file.seal()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
    assert file.read(0, 99) == b"hello world"
    assert os.pread(file.fileno(), 99, 6) == b"world"
    file.remove()
    assert os.listdir(spool.path) == []
    assert file.read(0, 99) == b""


def test_a_full_disk_stores_nothing(spool: Spool) -> None:
    if not os.path.exists("/dev/full"):
        raise AssertionError("Linux has /dev/full")
    file = StoredFile(spool, "0.out", os.open("/dev/full", os.O_RDWR))
    assert file.append(b"x") == 0
    assert file.append(b"") == 0
    file.seal()


def test_few_of_many_read_files_are_open(spool: Spool) -> None:
    files = [spool.create(f"{i}.out") for i in range(100)]
    for i, file in enumerate(files):
        file.append(b"%d" % i)
        file.seal()
    before = len(os.listdir("/proc/self/fd"))
    for i, file in enumerate(files):
        assert file.read(0, 9) == b"%d" % i
    assert len(os.listdir("/proc/self/fd")) - before <= 32


def test_closing_removes_everything(tmp_path: Path) -> None:
    spool = Spool(str(tmp_path))
    spool.store_script(0, b"x")
    file = spool.create("0.out")
    file.append(b"x")
    file.seal()
    file.read(0, 1)
    spool.close()
    assert list(tmp_path.iterdir()) == []


def test_a_spool_needs_its_parent() -> None:
    with pytest.raises(FileNotFoundError):
        Spool("/does/not/exist")


def test_a_name_that_is_taken_is_no_reason_to_refuse_scripts(spool: Spool) -> None:
    for planted in ("file", "link"):
        path = Path(spool.script_path(3))
        if planted == "file":
            path.write_bytes(b"planted")
        else:
            path.symlink_to("/etc/passwd")
        spool.store_script(3, b"script")
        assert path.read_bytes() == b"script"
        assert not path.is_symlink()
        spool.remove_script(3)


def test_what_jobs_make_in_the_directory_goes_with_it(tmp_path: Path) -> None:
    spool = Spool(str(tmp_path))
    (Path(spool.path) / "a" / "b").mkdir(parents=True)
    spool.close()
    assert list(tmp_path.iterdir()) == []


def test_no_script_gets_the_file_of_another(spool: Spool) -> None:
    """Who was left behind by a job may have its script open, or open it late."""
    spool.store_script(0, b"first")
    path = Path(spool.script_path(0))
    with path.open("rb") as reader:
        spool.remove_script(0)
        assert not path.exists()
        spool.store_script(1, b"second")
        assert reader.read() == b"first"
    assert os.listdir(spool.path) == ["job-1"]


def test_a_directory_that_another_server_takes_for_a_leftover(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is swept between its making and its locking, once before and once after it is opened."""
    made: list[str] = []
    mkdir, flock = os.mkdir, fcntl.flock

    def mkdir_and_lose(path: str, mode: int) -> None:
        made.append(path)
        mkdir(path, mode)
        if len(made) == 1:
            os.rmdir(path)

    def flock_late(fd: int, operation: int) -> None:
        if len(made) == 2:
            os.rmdir(made[-1])
        flock(fd, operation)

    monkeypatch.setattr(os, "mkdir", mkdir_and_lose)
    monkeypatch.setattr(fcntl, "flock", flock_late)
    spool = Spool(str(tmp_path))
    assert len(made) == 3
    assert os.listdir(tmp_path) == [os.path.basename(made[2])]
    spool.close()
    monkeypatch.setattr(fcntl, "flock", lambda *_: os.rmdir(made[-1]))
    with pytest.raises(BlockingIOError):
        Spool(str(tmp_path))


def test_what_was_planted_since_is_not_read(spool: Spool, tmp_path: Path) -> None:
    file = spool.create("0.out")
    file.append(b"told")
    file.seal()
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    os.unlink(f"{spool.path}/0.out")
    os.symlink(victim, f"{spool.path}/0.out")
    assert file.read(0, 4) == b""


def test_the_beginning_of_a_script(spool: Spool, tmp_path: Path) -> None:
    spool.store_script(3, b"#!/bin/sh\necho")
    assert spool.read_script(3, 9) == b"#!/bin/sh"
    assert spool.read_script(4, 9) == b""
    spool.remove_script(3)
    os.symlink("/etc/passwd", spool.script_path(3))
    os.mkdir(spool.script_path(4))
    assert [spool.read_script(job_id, 9) for job_id in (3, 4)] == [b"", b""]


def test_a_fifo_in_place_of_an_output_is_not_waited_for(spool: Spool) -> None:
    file = spool.create("0.out")
    file.append(b"told")
    file.seal()
    os.unlink(f"{spool.path}/0.out")
    os.mkfifo(f"{spool.path}/0.out")
    assert file.read(0, 4) == b""
    with pytest.raises(OSError, match="file handle"):
        file.fileno()


def test_marks(spool: Spool) -> None:
    os.mkdir(f"{spool.path}/elsewhere-1")
    spool.mark(1, "slurm")
    assert os.readlink(f"{spool.path}/elsewhere-1") == "slurm"
    shutil.rmtree(spool.path)
    spool.mark(2, "docker")
    # The others are there again, too.
    names = [name for name in os.listdir(spool.path) if name.startswith("elsewhere-")]
    assert sorted(names) == ["elsewhere-1", "elsewhere-2"]
    spool.unmark(2)
    spool.unmark(2)
    assert os.listdir(spool.path) == ["elsewhere-1"]
    shutil.rmtree(spool.path)
    Path(spool.path).write_bytes(b"somebody else's")
    with pytest.raises(StorageError, match="file exists"):
        spool.mark(3, "slurm")
    Path(spool.path).unlink()


def test_closing_keeps_marks(tmp_path: Path) -> None:
    """Of jobs that could not be ended where they run: the next server is to try."""
    spool = Spool(str(tmp_path))
    spool.store_script(0, b"x")
    spool.mark(0, "slurm")
    spool.close()
    (left,) = take_leftovers(str(tmp_path))
    assert left.jobs == {0: "slurm"}
    left.stopped(0)
    assert list(tmp_path.iterdir()) == []
