"""Many jobs that wait: what choosing the next costs, and what each of them holds. No I/O.

python -m tests.bench.order N       seconds for each that is chosen of N jobs, bytes of each
"""

import gc
import os
import subprocess
import sys
import time

from rtot.clock import Now
from rtot.config import Settings
from rtot.jobs.archive import MemoryArchive
from rtot.jobs.job import Options, Prerequisite, Usage
from rtot.jobs.output import Stream
from rtot.jobs.table import JobTable
from tests.bench.common import report
from tests.harness import rss
from tests.world import MemoryDisk

_NOW = Now(1.0, 10**18)
_USAGE = Usage(0, 0, 0)


class NoDisk(MemoryDisk):
    """It keeps nothing: what a script takes is not what is measured."""

    def store_script(self, job_id: int, script: bytes) -> None:
        pass

    def read_script(self, job_id: int, limit: int) -> bytes:
        return b""

    def remove_script(self, job_id: int) -> None:
        pass


def waiting(few: int, many: int, rounds: int) -> None:
    """Each job in one of many groups, and after the one before it in its group."""
    times, sizes, flat = [], [], []
    for _ in range(rounds):
        base, _ = _measure(few)
        seconds, size = _measure(many)
        flat.append(seconds / base)
        times.append(seconds * 1e6)
        sizes.append(size / 1000)
    report(f"choosing the next of {many} jobs, of {few}", flat, "<= 2")
    report(f"choosing the next of {many} jobs, us", times, "<= 50")
    report(f"a job that waits, KB of {many}", sizes, "<= 1.5")


def _measure(count: int) -> tuple[float, float]:
    """As choose, in a process of its own."""
    command = [sys.executable, "-m", "tests.bench.order", str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, size = done.stdout.split()
    return float(seconds), float(size)


def choose(count: int) -> tuple[float, int]:
    """Seconds to choose the next job and to release those behind it; bytes of each that waits."""
    settings = Settings(max_running=count, max_starting=count, max_queued=count)
    table = JobTable(settings, NoDisk(), MemoryArchive())
    groups = max(1, count // 10)
    gc.collect()
    before = rss(os.getpid())
    table.queue.paused = True
    for i in range(count):
        after = (Prerequisite(i - groups),) if i >= groups else ()
        options = Options(group=f"group {i % groups}", after=after)
        table.submit(b"#!/bin/sh\necho %d\n" % i, _NOW, options)
        forget_news(table)
    gc.collect()
    size = (rss(os.getpid()) - before) // count
    table.queue.paused = False
    spent = 0.0
    chosen = min(count, 10_000)
    for _ in range(chosen):
        begin = time.perf_counter()
        job = table.take_job(_NOW)
        spent += time.perf_counter() - begin
        assert job is not None
        table.started(job, 1, _NOW)
        table.exited(job.id, 0, _USAGE, _NOW)
        for stream in Stream:
            table.output_closed(job.id, stream, _NOW)
        begin = time.perf_counter()
        table.expire(_NOW)
        spent += time.perf_counter() - begin
        forget_news(table)
    return spent / chosen, size


def forget_news(table: JobTable) -> None:
    table.take_changes()
    table.take_commands()
    table.journal.take()


if __name__ == "__main__":
    print(*choose(int(sys.argv[1])))
