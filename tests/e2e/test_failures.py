"""Nothing that failed, was cut or was never run looks like success."""

import os
from collections.abc import Callable
from pathlib import Path

from tests.harness import Rtot

Start = Callable[..., Rtot]


def test_bytes_that_are_not_utf_8_reach_the_job_and_spoil_no_answer(tmp_path: Path) -> None:
    strange = os.fsencode(tmp_path / "s") + b"\xff"
    os.mkdir(strange)
    rtot = Rtot(tmp_path, f"--spool-dir={os.fsdecode(strange)}")
    try:
        script = b'printf "%s|%s|%s" "$1" "$A" "$PWD"'
        query = f"&arg=%FE&env=A=%FD&label=%FC&cwd={tmp_path}/s%FF"
        job = rtot.run(script, f"&fields=*{query}")
        assert rtot.curl(f"/jobs/{job['id']}/out") == b"\xfe|\xfd|" + strange
        assert (job["arg"], job["label"]) == (["\ufffd"], ["\ufffd"])
        assert "/s\ufffd/rtot-" in job["filename"]
        bad = rtot.run(b"#!/nonexistent/\xff\n", "&fields=*")
        assert bad["exit"] == f"fork/exec {bad['filename']}: no such file or directory"
        gone = rtot.run(b"true", "&cwd=/nonexistent/%FF")
        assert gone["exit"] == "chdir /nonexistent/\ufffd: no such file or directory"
        assert len(rtot.json("/jobs?fields=*")["jobs"]) == 3
    finally:
        rtot.close()


def test_a_launcher_that_is_not_utf_8(start: Start) -> None:
    rtot = start("--launcher", os.fsdecode(b"default=/nonexistent/\xff"))
    assert rtot.run(b"true")["exit"] == "fork/exec /nonexistent/\ufffd: no such file or directory"
    assert rtot.json("/jobs?fields=*")["jobs"]
