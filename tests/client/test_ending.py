"""What a job's end is for a shell."""

import pytest

from rtot.client.ending import ending


@pytest.mark.parametrize(
    ("fields", "status", "why"),
    [
        ({"reason": "exited", "code": 0, "exit": "0"}, 0, ""),
        ({"reason": "exited", "code": 3, "exit": "exit status 3"}, 3, ""),
        ({"reason": "exited", "code": None}, 255, ""),
        ({"reason": "signaled", "signal": "SIGKILL"}, 137, "signaled: SIGKILL"),
        ({"reason": "killed", "signal": "SIGTERM"}, 143, "killed: SIGTERM"),
        ({"reason": "signaled", "signal": "SIGNONE"}, 255, "signaled: SIGNONE"),
        ({"reason": "killed", "code": 7, "exit": "exit status 7"}, 7, "killed (exit status 7)"),
        ({"reason": "killed", "code": 0}, 255, "killed (it exited with 0)"),
        ({"reason": "timeout", "code": 0}, 124, "timed out (it exited with 0)"),
        (
            {"reason": "timeout", "signal": "SIGTERM", "exit": "signal: terminated"},
            *(124, "timed out (signal: terminated)"),
        ),
        ({"reason": "not started", "exit": "fork/exec x: no"}, 127, "not started: fork/exec x: no"),
        ({"reason": "superseded", "exit": "superseded by job 5"}, 255, "superseded by job 5"),
        ({"reason": "dependency", "exit": "not run: job 3 failed"}, 255, "not run: job 3 failed"),
        (
            {"reason": "exited", "code": 0, "out_dropped": 2, "err_dropped": 3},
            *(255, "5 bytes of output were dropped"),
        ),
        (
            {"reason": "killed", "code": 4, "exit": "exit status 4", "out_dropped": 1},
            *(4, "killed (exit status 4); 1 bytes of output were dropped"),
        ),
    ],
)
def test_endings(fields: dict[str, object], status: int, why: str) -> None:
    assert ending(fields) == (status, why)


def test_lost() -> None:
    status, why = ending({"reason": "lost", "exit": "lost"})
    assert status == 255
    assert why.startswith("lost: ")


@pytest.mark.parametrize("reason", [None, "exploded"])
def test_what_it_does_not_know_is_no_success(reason: str | None) -> None:
    assert ending({"reason": reason, "code": 0}).status == 255
