"""A job's story, and that not a byte of it is lost or told twice."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtot.client.connection import Request
from rtot.client.events import Story, parse_event, whole_lines
from rtot.client.failures import FailedError, LostError
from tests.client.script import Answer, Said, Stage, lost, said

NEW = Request("POST", "/jobs?follow=events")


def event(name: str, at: int, **fields: object) -> dict[str, object]:
    return {"id": f"3.{at}.0", "event": name, "time": 7.5, **fields}


def test_an_event() -> None:
    line = json.dumps(event("out", 3, offset=0, text="h\u00e9"))
    found = parse_event(line.encode())
    assert (found.name, found.id, found.time, found.data) == (
        "out",
        "3.3.0",
        7.5,
        "h\u00e9".encode(),
    )
    raw = event("err", 3, base64=base64.b64encode(b"\xff\0").decode())
    assert parse_event(json.dumps(raw).encode()).data == b"\xff\0"
    assert parse_event(b'{"event":"idle","time":1}').id == ""


@pytest.mark.parametrize(
    "line", [b"", b"<html>", b"[]", b'"x"', b"{}", b'{"event":"out","time":1,"base64":"!!!"}']
)
def test_what_is_no_event(line: bytes) -> None:
    if b"base64" in line:
        line = line.replace(b"!!!", b"a")
    with pytest.raises(FailedError, match="no event"):
        parse_event(line)


@given(st.lists(st.binary(max_size=9)), st.data())
def test_lines_do_not_depend_on_pieces(lines: list[bytes], data: st.DataObject) -> None:
    lines = [line.replace(b"\n", b"") for line in lines]
    rest = b"".join(line + b"\n" for line in lines) + b"unfinished"
    pieces = []
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        pieces.append(rest[:size])
        rest = rest[size:]
    assert list(whole_lines(pieces)) == lines


def test_a_new_job() -> None:
    stage = Stage(
        said(
            "POST /jobs",
            [event("out", 2, text="hi"), event("complete", 2)],
            201,
            location="/jobs/7",
        )
    )
    story = Story(stage.session(), follow=True)
    assert [(e.name, e.data) for e in story.of_new(NEW)] == [
        ("location", b"/jobs/7"),
        ("out", b"hi"),
        ("complete", b""),
    ]
    assert stage.script.header(0, "Accept") == "application/x-ndjson"


def test_a_lost_stream_goes_on_behind_what_was_told() -> None:
    stage = Stage(
        lost("POST /jobs"),
        said(
            "POST /jobs",
            [event("out", 1, text="a"), {"event": "idle", "time": 1}, LostError("cut")],
            201,
            location="/jobs/7",
        ),
        lost("GET /jobs/7/events?times=unix&follow&lease=60"),
        # Ended in the midst of a line.
        Said("GET /jobs/7/events", Answer([b'{"id": "3.2.0"'])),
        said("GET /jobs/7/events", [event("out", 2, text="b"), event("complete", 2)]),
    )
    told = [e.data for e in Story(stage.session(), follow=True, lease=60).of_new(NEW)]
    assert b"".join(told) == b"/jobs/7ab"
    assert stage.done()
    keys = [stage.script.header(i, "Last-Event-ID") for i in range(5)]
    assert keys == [None, None, "3.1.0", "3.1.0", "3.1.0"]


def test_without_follow_it_ends_where_the_job_is() -> None:
    stage = Stage(
        said("GET /jobs/7/events?times=unix&tail=3", [event("out", 1, text="a"), LostError("")]),
        said("GET /jobs/7/events?times=unix", [event("out", 2, text="b")]),
    )
    story = Story(stage.session(), follow=False, tail=3)
    assert b"".join(e.data for e in story.of("/jobs/7")) == b"ab"
    assert "tail" not in stage.script.requests[1].target


def test_nothing_follows_the_last_event() -> None:
    stage = Stage(said("GET /jobs/7/events", [], 204))
    assert list(Story(stage.session(), follow=True).of("/jobs/7")) == []


@given(st.data())
def test_cut_anywhere_not_a_byte_is_lost(data: st.DataObject) -> None:
    """Streams that end anywhere, in the midst of a line too."""
    text = data.draw(st.text("ab\n", min_size=1, max_size=30))
    events = [
        json.dumps(event("out", i + 1, text=c)).encode() + b"\n" for i, c in enumerate(text)
    ] + [json.dumps(event("complete", len(text))).encode() + b"\n"]
    headers = {"location": "/jobs/7", "rtot-server": "life"}
    steps: list[Said] = []
    told = 0
    for i in range(100):
        rest = b"".join(events[told:])
        size = data.draw(st.integers(0, len(rest))) if i < 99 else len(rest)
        asked = "POST /jobs" if not steps else "GET /jobs/7/events"
        answer = Answer([rest[:size], LostError("cut")], 200, headers)
        steps.append(Said(asked, answer))
        told += rest[:size].count(b"\n")
        if told == len(events):
            break
    stage = Stage(*steps, retry=1e9)
    found = list(Story(stage.session(), follow=True).of_new(NEW))
    assert b"".join(e.data for e in found[1:]) == text.encode()
    assert found[-1].name == "complete"
