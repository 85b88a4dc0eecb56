"""The one file: built as README says, started by an interpreter that has nothing else."""

import subprocess
import sys
from pathlib import Path

from tests.harness import SECRET, Rtot

ROOT = Path(__file__).parents[2]
BARE = (sys.executable, "-I", "-S")


def test_one_file_is_server_and_client(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tox", "-q", "-e", "pyz", "--workdir", str(tmp_path / "tox")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    built = (ROOT / "dist" / "rtot.pyz").read_bytes()
    assert len(built) < 300_000
    file = tmp_path / "rtot.pyz"
    file.write_bytes(built)
    rtot = Rtot(tmp_path, f"--state={tmp_path}/state", command=(*BARE, str(file)))
    try:
        done = subprocess.run(
            [*BARE, str(file), "run", "-c", "echo from one file; exit 3"],
            env={"RTOT_URL": rtot.url, "RTOT_SECRET": SECRET},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout, done.stderr) == (3, "from one file\n", "")
        assert rtot.run(b"echo by curl")["out"] == "by curl\n"
        assert b'"openapi"' in rtot.curl("/openapi.json")
        assert b"<!doctype html>" in rtot.curl("-H", "Accept: text/html", f"{rtot.url}/")
    finally:
        rtot.close()
