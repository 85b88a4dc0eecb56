"""rtot kill, rm, in and ps."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from rtot.client import control
from rtot.client.failures import FailedError, RefusedError
from rtot.client.receipts import receipt_line
from rtot.client.stdin import feed
from tests.client.script import Sheet, Stage, lost, said

SH, SLEEP = {"pid": 7, "command": "sh"}, {"pid": 8, "command": "sl\x1beep"}


@pytest.mark.parametrize(
    ("receipt", "line"),
    [
        ({"signalled": [SH, SLEEP]}, "TERM to sh (7), sl\x1beep (8)"),
        (
            {"signalled": [SH], "escalated": [SH], "surviving": [SLEEP]},
            "TERM to sh (7); KILL to sh (7); still there: sl\x1beep (8)",
        ),
        ({}, "it had no process"),
        (
            {
                "stop": [
                    {"signal": "SIGTERM", "exit": "0", "text": ""},
                    {"signal": "SIGKILL", "exit": "exit status 1", "text": "no route\n"},
                    {"signal": "SIGKILL", "exit": "exit status 3", "text": ""},
                ]
            },
            "TERM delivered by its stop command; KILL not delivered: no route; "
            "KILL not delivered: exit status 3",
        ),
    ],
)
def test_receipts(receipt: dict[str, object], line: str) -> None:
    assert receipt_line({"signal": "SIGTERM", **receipt}) == line


def test_kill() -> None:
    receipt = {"signal": "SIGINT", "signalled": [SLEEP]}
    stage = Stage(
        said("POST /jobs/1/kill?signal=INT&grace=2s", {"error": "job is complete"}, 409),
        said("POST /jobs/2/kill?signal=INT&grace=2s", receipt),
    )
    sheet = Sheet()
    chosen = control.KillOptions("INT", "2s")
    paths = ["/jobs/1", "/jobs/2"]
    times = iter([0.0, 10.0, 12.5])
    status = control.kill(stage.session(), paths, chosen, sheet, lambda: next(times))
    assert (status, sheet.told) == (255, ["job 1: job is complete"])
    assert sheet.lines == ["2: INT to sl\\x1beep (8) (in 2.5s)"]
    assert stage.script.silences == [None, None]


def test_remove() -> None:
    stage = Stage(said("DELETE /jobs/1", status=204), said("DELETE /jobs/2", {}, 404))
    sheet = Sheet()
    assert control.remove(stage.session(), ["/jobs/1", "/jobs/2"], sheet) == 255
    assert (sheet.lines, sheet.told) == (["1"], ["job 2: status 404"])


def test_processes() -> None:
    process = {
        "pid": 7,
        "parent": 1,
        "state": "S",
        "command": "sh",
        "argv": ["sh", "-c", "a\nb"],
        "seconds": 3.0,
        "cpu": 0.015,
        "memory": 2048,
    }
    found = {"count": 3, "processes": [process, {**process, "argv": None}]}
    sheet = Sheet()
    stage = Stage(said("GET /jobs/7/processes", found))
    assert control.show_processes(stage.session(), "/jobs/7", sheet) == 0
    assert sheet.lines == [
        "PID  PARENT  STATE  AGE  CPU    MEMORY  COMMAND",
        "7    1       S      3s   0.01s  2.0K    sh -c a\\nb",
        "7    1       S      3s   0.01s  2.0K    sh",
    ]
    assert sheet.told == ["and 1 more"]


@contextmanager
def pipe(*pieces: bytes) -> Iterator[int]:
    """Something that can be read as these bytes."""
    reader, writer = os.pipe()
    for piece in pieces:
        os.write(writer, piece)
    os.close(writer)
    yield reader
    os.close(reader)


def test_stdin_goes_to_its_place() -> None:
    stage = Stage(
        lost("POST /jobs/7/in?offset=0"),
        said("POST /jobs/7/in?offset=0", {"written": 5}),
        said("POST /jobs/7/in?offset=5&close", {"written": 0}),
    )
    with pipe(b"hello") as fd:
        assert feed(stage.session(), "/jobs/7", fd)
    assert [request.body for request in stage.script.requests] == [b"hello", b"hello", b""]


def test_a_job_that_reads_no_more() -> None:
    closed = {"error": "stdin is closed"}
    stage = Stage(said("POST /jobs/7/in?offset=0", closed, 409))
    with pipe(b"hello") as fd:
        assert not feed(stage.session(), "/jobs/7", fd)
    stage = Stage(
        said("POST /jobs/7/in?offset=0", {"written": 5}),
        said("POST /jobs/7/in?offset=5&close", closed, 409),
    )
    with pipe(b"hello") as fd:
        assert feed(stage.session(), "/jobs/7", fd)
    stage = Stage(said("POST /jobs/7/in?offset=0", {}, 403))
    with pipe(b"hello") as fd, pytest.raises(RefusedError):
        feed(stage.session(), "/jobs/7", fd)
    with pytest.raises(FailedError, match="cannot read stdin"):
        feed(Stage().session(), "/jobs/7", -1)
