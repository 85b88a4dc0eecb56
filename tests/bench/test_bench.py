"""The benchmarks run, so that they cannot rot; no figure is judged here."""

import subprocess
import sys

from tests.harness import needs


@needs("wrk")
def test_all_of_it_quickly() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench", "--quick"],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line.split(",")[0].split(" of ")[0].strip() for line in done.stdout.splitlines()] == [
        "jobs with wait",
        "jobs with wait",
        "jobs run to completion",
        "jobs with wait",
        "GET /jobs/0",
        "GET /jobs/0",
        "p99",
        "start to the first answer",
        "resident memory when idle",
        "bytes",
        "bytes",
        "cost",
        "ingest",
        "ingest",
        "download",
        "follow",
        "follow",
        "POST with follow",
        "one request",
        "one request",
        "tail=10",
        "bytes",
        "processor",
        "choosing the next",
        "choosing the next",
        "a job that waits",
        "jobs through Slurm",
        "one job through Slurm",
        "a running job",
        "a running job",
        "jobs with wait",
        "jobs with wait and --state-sync full",
        "p99",
        "commits in a turn",
        "commits in a turn",
        "syncs",
        "syncs",
        "ingest",
        "resident memory when idle",
        "start with 100 jobs retained",
        "start with 100 retained",
        "the slowest page",
        "memory with 1000 jobs",
        "the slowest turn",
        "1 MB",
        "rtot run",
        "rtot run",
    ]
