import pytest

from rtot.jobs.archive import MemoryArchive
from rtot.jobs.job import PLAIN, Job, Key
from rtot.jobs.keys import KeyConflictError, Keys
from rtot.jobs.output import Output
from tests.world import MemoryDisk

KEY = Key("me", "k")


def test_a_key_finds_its_job_alive_and_in_the_archive() -> None:
    archive = MemoryArchive()
    keys = Keys(archive)
    job = Job(0, PLAIN, Output(MemoryDisk(), "0", limit=1, memory=1), 0)
    assert keys.find(KEY, b"7") is None
    keys.add(job, KEY, b"7")
    assert keys.find(KEY, b"7") is job
    with pytest.raises(KeyConflictError):
        keys.find(KEY, b"8")
    keys.remove(job)
    assert keys.find(KEY, b"7") is None
    archive.add(job, 1.0)
    assert keys.find(KEY, b"7") is job
    with pytest.raises(KeyConflictError):
        keys.find(KEY, b"8")


def test_a_key_belongs_to_a_name() -> None:
    keys = Keys(MemoryArchive())
    keys.add(Job(0, PLAIN, Output(MemoryDisk(), "0", limit=1, memory=1), 0), KEY, b"7")
    assert keys.find(Key("other", "k"), b"8") is None
    assert keys.find(Key(None, "k"), b"8") is None


def test_a_job_without_a_key() -> None:
    keys = Keys(MemoryArchive())
    keys.remove(Job(0, PLAIN, Output(MemoryDisk(), "0", limit=1, memory=1), 0))
    assert keys.find(Key(None, ""), b"0") is None
