import os
import resource
import time
from pathlib import Path

import pytest

from rtot.metrics import Sample
from rtot.system import proc
from rtot.system.vitals import ProcessVitals


def values() -> dict[str, float]:
    found = {}
    for family in ProcessVitals().families():
        (sample,) = family.samples
        assert isinstance(sample, Sample)
        found[family.name] = sample.value
    return found


def test_they_are_of_this_process() -> None:
    began = time.process_time()
    found = values()
    assert abs(found["process_cpu_seconds_total"] - began) < 5
    assert found["process_virtual_memory_bytes"] > found["process_resident_memory_bytes"] > 1 << 20
    assert 0 < time.time() - found["process_start_time_seconds"] < 86400
    assert found["process_max_fds"] == resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def test_open_files_are_counted() -> None:
    before = values()["process_open_fds"]
    fds = [os.open("/dev/null", os.O_RDONLY) for _ in range(5)]
    assert values()["process_open_fds"] == before + 5
    for fd in fds:
        os.close(fd)


def test_a_proc_that_tells_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(proc, "_slurp", lambda _: "cpu 1\n")
    with pytest.raises(OSError, match="btime"):
        proc.boot_time()
    monkeypatch.undo()

    def gone() -> int:
        raise FileNotFoundError

    monkeypatch.setattr("rtot.system.vitals.boot_time", gone)
    assert list(ProcessVitals().families()) == []
