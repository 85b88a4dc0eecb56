import pytest

from rtot.jobs.archive import MemoryArchive
from rtot.jobs.job import PLAIN, Job
from rtot.jobs.keys import KeyConflictError, Keys
from rtot.jobs.output import Output
from tests.world import MemoryDisk


def test_a_key_finds_its_job_alive_and_in_the_archive() -> None:
    archive = MemoryArchive()
    keys = Keys(archive)
    job = Job(0, PLAIN, Output(MemoryDisk(), "0", limit=1, memory=1), 0)
    assert keys.find("k", 7) is None
    keys.add(job, "k", 7)
    assert keys.find("k", 7) is job
    with pytest.raises(KeyConflictError):
        keys.find("k", 8)
    keys.remove(job)
    assert keys.find("k", 7) is None
    archive.add(job, 1.0)
    assert keys.find("k", 7) is job
    with pytest.raises(KeyConflictError):
        keys.find("k", 8)


def test_a_job_without_a_key() -> None:
    keys = Keys(MemoryArchive())
    keys.remove(Job(0, PLAIN, Output(MemoryDisk(), "0", limit=1, memory=1), 0))
    assert keys.find("", 0) is None
