"""A job's story: positions in it, events in order of arrival, characters that are cut off."""

import json

import pytest

from rtot.api.streams import Position, _whole_characters
from rtot.http.messages import End
from rtot.jobs.output import Stream
from tests.api.face import Face, header, pull, text, value
from tests.world import at


@pytest.mark.parametrize("text", ["0.0.0", "31.1.2", f"1.{'9' * 18}.{'1' * 18}"])
def test_ids_of_events(text: str) -> None:
    assert str(Position.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    ["", "1", "1.2", "1.2.3.4", "32.0.0", "-1.0.0", "a.0.0", f"1.{'9' * 19}.0", "\u0661.0.0"],
)
def test_what_is_no_id(text: str) -> None:
    with pytest.raises(ValueError, match="is not the id of an event"):
        Position.parse(text)


@pytest.mark.parametrize(
    ("data", "whole"),
    [
        (b"", 0),
        (b"ab", 2),
        ("é".encode(), 2),
        ("é".encode()[:1], 0),
        (b"a\xe2\x82", 1),
        (b"a\xe2\x82\xac", 4),
        (b"\xf0\x9f\x98", 0),
        # Never a character, so nothing is waited for.
        (b"\xe2a", 2),
        (b"\xe2\x82\xaca", 4),
        (b"\x80\x80\x80\x80", 4),
        (b"\xff", 1),
        (b"\xf5\x80", 2),
    ],
)
def test_how_much_of_it_is_whole_characters(data: bytes, whole: int) -> None:
    assert _whole_characters(data) == whole


def events(face: Face, target: str = "/jobs/0/events", **headers: str) -> list[dict[str, object]]:
    answer = face.ask("GET", target, b"", accept="application/x-ndjson", **headers)
    assert header(answer, "Content-Type") == "application/x-ndjson"
    return [json.loads(line) for line in text(answer).splitlines()]


def test_the_story_of_a_job(face: Face) -> None:
    face.submit()
    assert [e["event"] for e in events(face)] == ["new"]
    face.world.obey(at(2))
    face.jobs.output_received(0, Stream.OUT, b"one\n", at(3))
    face.jobs.output_received(0, Stream.ERR, b"two\n", at(4))
    face.jobs.output_received(0, Stream.OUT, b"three\n", at(5))
    face.world.end(0, 3 << 8, at(6))
    told = events(face)
    assert [(e["event"], e["id"], e.get("text"), e.get("offset")) for e in told] == [
        ("new", "1.0.0", None, None),
        ("running", "3.0.0", None, None),
        ("out", "3.4.0", "one\n", 0),
        ("err", "3.4.4", "two\n", 0),
        ("out", "3.10.4", "three\n", 4),
        ("complete", "19.10.4", None, None),
    ]
    assert told[2]["time"] == "2023-11-14 22:13:23 +0000 UTC"
    assert (told[-1]["exit"], told[-1]["code"]) == ("exit status 3", 3)
    for index, event in enumerate(told[:-1]):
        assert events(face, last_event_id=str(event["id"])) == told[index + 1 :]
    assert face.ask("GET", "/jobs/0/events", last_event_id="19.10.4").status == 204


def test_server_sent_events(face: Face) -> None:
    face.complete(out=b"a\nb")
    answer = face.ask("GET", "/jobs/0/events")
    assert header(answer, "Content-Type") == "text/event-stream"
    blocks = text(answer).split("\n\n")
    assert blocks[-1] == ""
    lines = blocks[2].split("\n")
    assert lines[:2] == ["id: 3.3.0", "event: out"]
    assert json.loads(lines[2].removeprefix("data: "))["text"] == "a\nb"


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (None, "text/event-stream"),
        ("*/*", "text/event-stream"),
        ("text/event-stream", "text/event-stream"),
        ("application/x-ndjson", "application/x-ndjson"),
        ("Application/X-NDJSON; q=0.5, */*; q=0.1", "application/x-ndjson"),
        ("application/x-ndjson;q=0, */*", "text/event-stream"),
        ("application/x-ndjson;q=0.1, text/event-stream", "text/event-stream"),
        ('text/html; a="application/x-ndjson", */*', "text/event-stream"),
        ("application/*", "application/x-ndjson"),
    ],
)
def test_the_form_of_events(face: Face, accept: str | None, kind: str) -> None:
    face.complete()
    answer = face.ask("GET", "/jobs/0/events", accept=accept or "")
    assert header(answer, "Content-Type") == kind


def test_characters_are_not_cut(face: Face) -> None:
    face.run()
    smile = "\U0001f600".encode()
    for index, piece in enumerate([b"a" + smile[:1], smile[1:3], smile[3:] + b"\xc3"]):
        face.jobs.output_received(0, Stream.OUT, piece, at(2 + index))
        face.jobs.output_received(0, Stream.ERR, b"e", at(2.5 + index))
    out = [e for e in events(face) if e["event"] == "out"]
    assert [e["text"] for e in out] == ["a", "\U0001f600"]
    assert events(face, last_event_id="3.1.1")[1]["text"] == "\U0001f600"
    face.world.end(0, 0, at(9))
    assert events(face)[-2]["base64"] == "ww=="


def test_bytes_that_are_no_text_survive(face: Face) -> None:
    face.complete(out=b"\xff\xfe")
    assert events(face)[2]["base64"] == "//4="
    face.complete(out=b"\x80\x80\x80")
    assert events(face, "/jobs/1/events")[2]["base64"] == "gICA"


def test_a_long_piece_is_told_in_parts(face: Face) -> None:
    face.complete(out=b"x" * 200_000)
    parts = [e for e in events(face) if e["event"] == "out"]
    assert len(parts) == 4
    assert "".join(str(e["text"]) for e in parts) == "x" * 200_000


def test_follow_events(face: Face) -> None:
    face.submit()
    body = face.ask("GET", "/jobs/0/events?follow").body
    assert not isinstance(body, bytes)
    assert body.topic == 0
    data, end = pull(body)
    assert (data.count(b"\n\n"), end) == (1, None)
    face.world.obey(face.now)
    face.jobs.output_received(0, Stream.OUT, b"x", face.now)
    data, end = pull(body)
    assert (data.count(b"\n\n"), end) == (2, None)
    face.world.end(0, 0, face.now)
    data, end = pull(body)
    assert data.count(b"\n\n") == 1
    assert end == End((("Rtot-Exit", "0"),))


def test_the_story_of_a_job_that_never_started(face: Face) -> None:
    face.submit()
    face.ask("POST", "/jobs/0/kill")
    assert [e["event"] for e in events(face)] == ["new", "complete"]


@pytest.mark.parametrize("identity", ["x", "1.2", "1.2.3.4", "32.0.0", "1.-1.0", "3.99.0", "1.0.9"])
def test_ids_that_are_none(face: Face, identity: str) -> None:
    face.run()
    assert face.ask("GET", "/jobs/0/events", last_event_id=identity).status == 400


def test_an_event_tells_a_bounded_piece(face: Face) -> None:
    face.complete(out=b"x" * 150_000)
    answer = face.ask("GET", "/jobs/0/events", accept="application/x-ndjson")
    events = [json.loads(line) for line in text(answer).splitlines()]
    lengths = [len(event["text"]) for event in events if event["event"] == "out"]
    assert lengths == [65536, 65536, 150_000 - 131_072]


def test_events_are_resumed_far_into_the_story(face: Face) -> None:
    job = face.run()
    for index in range(5):
        for stream in Stream:
            face.now = at(2 + index)
            face.jobs.output_received(job.id, stream, bytes([97 + index]) * 1000, face.now)
    answer = face.ask(
        "GET", "/jobs/0/events", accept="application/x-ndjson", last_event_id="3.4000.4000"
    )
    told = [json.loads(line) for line in text(answer).splitlines()]
    assert [(event["event"], event["offset"], event["text"]) for event in told] == [
        ("out", 4000, "e" * 1000),
        ("err", 4000, "e" * 1000),
    ]


def test_a_piece_that_grows_after_it_was_told(face: Face) -> None:
    job = face.run()
    body = face.ask("GET", "/jobs/0/events?follow", accept="application/x-ndjson").body
    assert not isinstance(body, bytes)
    for second in (2, 3):
        face.jobs.output_received(job.id, Stream.OUT, b"a", at(second))
    told, _ = pull(body)
    assert [json.loads(line).get("text") for line in told.splitlines()] == [None, None, "a", "a"]
    # It belongs to the piece before it, and was not there when that was told.
    face.jobs.output_received(job.id, Stream.OUT, b"b", at(3.0001))
    told, _ = pull(body)
    assert [json.loads(line)["text"] for line in told.splitlines()] == ["b"]


def cut(limit: int = 4, status: int = 0) -> Face:
    """A job that wrote 8 bytes to stdout and 2 to stderr, of which so many were kept."""
    face = Face(max_output=limit)
    job = face.run()
    for second, (stream, data) in enumerate(
        [(Stream.OUT, b"abc"), (Stream.ERR, b"xy"), (Stream.OUT, b"defgh")], 2
    ):
        face.now = at(second)
        face.jobs.output_received(job.id, stream, data, face.now)
    face.now = at(9)
    face.world.end(job.id, status, face.now)
    return face


def test_output_that_was_cut_is_told_as_such() -> None:
    face = cut()
    told = events(face)
    assert [(e["event"], e["id"]) for e in told] == [
        ("new", "1.0.0"),
        ("running", "3.0.0"),
        ("out", "3.3.0"),
        ("err", "3.3.1"),
        ("dropped", "11.3.1"),
        ("complete", "27.3.1"),
    ]
    assert (told[4]["out_dropped"], told[4]["err_dropped"]) == (5, 1)
    assert told[4]["time"] == "2023-11-14 22:13:23 +0000 UTC"
    assert (told[5]["out_dropped"], told[5]["err_dropped"]) == (5, 1)
    for index, event in enumerate(told[:-1]):
        assert events(face, last_event_id=str(event["id"])) == told[index + 1 :]
    whole = events(cut(10))
    assert "dropped" not in [e["event"] for e in whole]
    assert "out_dropped" not in whole[-1]


def test_who_follows_is_told_at_once_that_output_is_dropped() -> None:
    face = Face(max_output=2)
    job = face.run()
    body = face.ask("GET", "/jobs/0/events?follow", accept="application/x-ndjson").body
    assert not isinstance(body, bytes)
    face.jobs.output_received(job.id, Stream.OUT, b"abc", face.now)
    data, end = pull(body)
    assert end is None
    last = json.loads(data.splitlines()[-1])
    assert (last["event"], last["out_dropped"], "err_dropped" in last) == ("dropped", 1, False)
    face.jobs.output_received(job.id, Stream.OUT, b"defg", face.now)
    assert pull(body) == (b"", None)
    face.world.end(job.id, 0, face.now)
    data, end = pull(body)
    assert json.loads(data)["out_dropped"] == 5
    assert end == End((("Rtot-Exit", "0"), ("Rtot-Dropped", "5")))


@pytest.mark.parametrize(
    ("limit", "out", "err"), [(4, 5, 1), (3, 5, 2), (5, 5, None), (9, 1, None)]
)
def test_dropped_bytes_are_in_every_answer(limit: int, out: int, err: int | None) -> None:
    face = cut(limit)
    (job,) = value(face.ask("GET", "/jobs"))["jobs"]
    assert (job["out_dropped"], job.get("err_dropped")) == (out, err)
    total = str(out + (err or 0))
    for target, count in (
        ("/jobs/0", total),
        ("/jobs/0/events", total),
        ("/jobs/0/out", str(out)),
        ("/jobs/0/out?follow", str(out)),
        ("/jobs/0/err", None if err is None else str(err)),
        ("/jobs", None),
    ):
        assert header(face.ask("GET", target), "Rtot-Dropped") == count, target
        assert header(face.ask("HEAD", target), "Rtot-Dropped") == count, target
    assert header(face.ask("GET", "/jobs/0/out", range="bytes=0-0"), "Rtot-Dropped") == str(out)
    assert header(face.ask("GET", "/jobs/0/out", range="bytes=99-"), "Rtot-Dropped") == str(out)


def test_dropped_bytes_in_the_fields_that_are_asked_for() -> None:
    face = cut()

    def fields(names: str) -> set[str]:
        return set(value(face.ask("GET", f"/jobs/0?fields={names}"))["jobs"][0])

    always = {"id", "state", "href", "out_dropped", "err_dropped"}
    for names in ("", "out_dropped", "out_dropped,err_dropped"):
        assert fields(names) == always
    assert fields("err") == {*always, "err"}
    assert {"out_dropped", "err_dropped"} <= fields("*")
    assert text(face.ask("GET", "/jobs/0?fields=*")).count("out_dropped") == 1
    assert value(cut(10).ask("GET", "/jobs/0?fields=out_dropped"))["jobs"][0]["out_dropped"] == 0


@pytest.mark.parametrize(
    ("limit", "status", "broken"), [(10, 0, False), (10, 256, True), (4, 0, True), (4, 256, True)]
)
def test_fail_breaks_off_what_failed_or_was_cut(limit: int, status: int, broken: bool) -> None:
    face = cut(limit, status)
    for stream in ("out", "err"):
        answer = face.ask("GET", f"/jobs/0/{stream}?follow&fail")
        assert answer.status == (424 if broken else 200)
        assert not isinstance(answer.body, bytes)
        end = pull(answer.body)[1]
        assert end is not None
        assert end.broken == broken


def test_a_hint_that_comes_after_the_first_dropped_byte_is_told() -> None:
    face = Face(max_output=1)
    job = face.run()
    body = face.ask("GET", "/jobs/0/events?follow", accept="application/x-ndjson").body
    assert not isinstance(body, bytes)
    face.jobs.output_received(job.id, Stream.OUT, b"abc", face.now)
    live, _ = pull(body)
    job.hint = "late"
    face.world.end(job.id, 0, face.now)
    more, _ = pull(body)
    told = [json.loads(line) for line in (live + more).splitlines()]
    assert [(e["event"], e["id"]) for e in told[2:]] == [
        ("out", "3.1.0"),
        ("dropped", "11.1.0"),
        ("hint", "15.1.0"),
        ("complete", "31.1.0"),
    ]


def test_events_with_times_as_numbers() -> None:
    face = Face()
    face.complete(out=b"x")
    for target in ("/jobs/0/events?times=unix", "/jobs/0/events?times=unix&follow"):
        assert {e["time"] for e in events(face, target)} == {1700000001.0}
    reply = face.answer(
        "POST", "/jobs?follow=events&times=unix", b"echo", accept="application/x-ndjson"
    )
    assert b'"time":1700000001.000000000' in pull(reply.body)[0]  # type: ignore[union-attr, arg-type]
