"""schemathesis tries the described API on a live server."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.harness import SECRET, Rtot

HERE = Path(__file__).parent


def test_schemathesis_finds_nothing(start: Callable[..., Rtot], tmp_path: Path) -> None:
    """`true` is given the scripts, which are random: none is executed."""
    launchers = ("--launcher", "default=true", "--launcher", "other=true x")
    rtot = start("--no-shutdown", "--max-wait=50ms", "--grace=50ms", "--keep=50", *launchers)
    done = subprocess.run(
        [
            *(str(Path(sys.executable).parent / "st"), f"--config-file={HERE}/schemathesis.toml"),
            *("run", f"{rtot.url}/openapi.json", "-H", f"Authorization: Bearer {SECRET}"),
            *("--seed=1", "--max-examples=20", "--request-timeout=20", "--no-color"),
            "--warnings=off",
        ],
        env={
            **os.environ,
            "SCHEMATHESIS_HOOKS": "tests.e2e.schemathesis_hooks",
            "PYTHONPATH": str(HERE.parents[1]),
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No issues found" in done.stdout
    assert "Selected: 18/18" in done.stdout
    assert "Traceback" not in rtot.log
