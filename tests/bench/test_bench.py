"""The benchmarks run, so that they cannot rot; no figure is judged here."""

import subprocess
import sys


def test_output_quickly() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.output", "--quick"],
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    assert [line.split(",")[0] for line in done.stdout.splitlines()] == [
        "ingest",
        "ingest",
        "download",
        "follow",
        "follow",
    ]
