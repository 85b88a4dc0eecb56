import os
from pathlib import Path

from rtot.system.leftovers import take_leftovers
from rtot.system.spool import Spool


def test_leftovers_of_the_dead_go_and_those_of_the_living_stay(tmp_path: Path) -> None:
    alive = Spool(str(tmp_path))
    alive.store_script(0, b"x")
    prefix = f"rtot-{os.geteuid()}-"
    dead = tmp_path / f"{prefix}00000000dead"
    dead.mkdir(mode=0o700)
    (dead / "job-0").write_bytes(b"x")
    (dead / "made-by-a-job" / "in-it").mkdir(parents=True)
    strangers = [tmp_path / f"{prefix}00000000cafe", tmp_path / "rtot-99999-00000000dead"]
    for path in strangers:
        path.mkdir()
        path.chmod(0o755)
    backup = tmp_path / f"{prefix}backup"
    backup.mkdir(mode=0o700)
    strangers.append(backup)
    (tmp_path / f"{prefix}00000000face").symlink_to(backup)
    (tmp_path / f"{prefix}00000000f11e").write_bytes(b"")
    assert take_leftovers(str(tmp_path)) == []
    assert not dead.exists()
    assert not dead.exists()
    assert os.path.exists(alive.script_path(0))
    assert all(path.exists() for path in strangers)
    alive.close()


def test_no_directory_has_no_leftovers() -> None:
    assert take_leftovers("/does/not/exist") == []


def test_only_a_directory_of_our_own_is_cleared(tmp_path: Path) -> None:
    name = f"rtot-{os.geteuid()}-{'a' * 12}"
    other = tmp_path / "other"
    other.mkdir(mode=0o700)
    (other / "file").write_bytes(b"precious")
    (tmp_path / name).symlink_to(other)
    assert take_leftovers(str(tmp_path)) == []
    assert (other / "file").exists()
    (tmp_path / name).unlink()
    (tmp_path / name).write_bytes(b"a file")
    (tmp_path / name).chmod(0o600)
    assert take_leftovers(str(tmp_path)) == []
    assert (tmp_path / name).read_bytes() == b"a file"


def abandon(spool: Spool) -> None:
    """Its server is killed."""
    os.close(spool._directory)


def test_what_may_run_elsewhere_is_told_and_kept_until_it_is_stopped(tmp_path: Path) -> None:
    spool = Spool(str(tmp_path))
    for job_id in (3, 40, 500):
        spool.store_script(job_id, b"x")
        spool.mark(job_id, "slurm")
        spool.mark(job_id, "slurm")
    spool.unmark(40)
    spool.unmark(41)
    abandon(spool)
    (left,) = take_leftovers(str(tmp_path))
    assert (left.server_id, left.jobs) == (spool.server_id, {3: "slurm", 500: "slurm"})
    assert sorted(os.listdir(spool.path)) == ["elsewhere-3", "elsewhere-500"]
    # Whoever starts at the same time leaves it to us.
    assert take_leftovers(str(tmp_path)) == []
    left.stopped(3)
    assert os.listdir(spool.path) == ["elsewhere-500"]
    # This server is killed too.
    os.close(left._directory)
    (again,) = take_leftovers(str(tmp_path))
    assert again.jobs == {500: "slurm"}
    again.stopped(500)
    assert os.listdir(tmp_path) == []


def test_what_only_looks_like_a_mark(tmp_path: Path) -> None:
    spool = Spool(str(tmp_path))
    for name in ("elsewhere-x", "elsewhere-", "elsewhere-1 "):
        os.symlink("slurm", f"{spool.path}/{name}")
    Path(spool.path, "elsewhere-7").write_bytes(b"a file")
    Path(spool.path, "elsewhere-8").mkdir()
    abandon(spool)
    assert take_leftovers(str(tmp_path)) == []
    assert os.listdir(tmp_path) == []


def test_leftovers_keep_no_descriptor(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    alive = Spool(str(tmp_path))
    dead = Spool(str(tmp_path))
    abandon(dead)
    assert take_leftovers(str(tmp_path)) == []
    alive.close()
    assert len(os.listdir("/proc/self/fd")) == before
