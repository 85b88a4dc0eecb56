"""GET of a job and of its output, at once, after a wait, and as it grows."""

import json

import pytest

from rtot.api.answers import Reply
from rtot.api.waits import JobsWait
from rtot.http.messages import BROKEN, End, Request, Response
from rtot.jobs.leases import Lease
from rtot.jobs.output import Stream
from rtot.storage import FileSpan
from tests.api.face import Face, header, pull, text, value
from tests.world import PEER, USAGE, at


def events(face: Face, target: str = "/jobs/0/events", **headers: str) -> list[dict[str, object]]:
    answer = face.ask("GET", target, b"", accept="application/x-ndjson", **headers)
    assert header(answer, "Content-Type") == "application/x-ndjson"
    return [json.loads(line) for line in text(answer).splitlines()]


def test_exits_of_jobs(face: Face) -> None:
    job = face.submit()
    assert face.jobs.take_job(face.now) is job
    face.jobs.not_started(job, "fork/exec /x: no such file or directory", face.now)
    face.complete(status=9)
    ends = [j.get("exit") for j in value(face.ask("GET", "/jobs?fields="))["jobs"]]
    assert ends == ["fork/exec /x: no such file or directory", "signal: killed"]
    answer = face.ask("GET", "/jobs/0/out")
    assert header(answer, "Rtot-Exit") == "fork/exec /x: no such file or directory"


def test_wait_in_vain(face: Face) -> None:
    face.run()
    wait = face.answer("GET", "/jobs/0?wait=5", prefer="wait=9")
    assert isinstance(wait, JobsWait)
    answer = wait.answer()
    assert isinstance(answer, Response)
    assert answer.status == 202
    assert header(answer, "Preference-Applied") is None


@pytest.mark.parametrize(
    ("prefer", "deadline"),
    [
        ("wait=9", 10.0),
        ('respond-async, wait="9"; a=b', 10.0),
        (",, Wait = 9 ;;", 10.0),
        ("wait=x, wait=9", 10.0),
        ('a="x, wait=9"', None),
        ("wait=x", None),
        ("waiting=9, zzz=9, a=9", None),
        ("", None),
    ],
)
def test_preferences(face: Face, prefer: str, deadline: float | None) -> None:
    face.run()
    answer = face.answer("GET", "/jobs/0", prefer=prefer)
    assert (answer.deadline if isinstance(answer, JobsWait) else None) == deadline
    if isinstance(answer, JobsWait):
        answer = answer.answer()
        assert isinstance(answer, Response)
        assert header(answer, "Preference-Applied") == "wait=9"


@pytest.mark.parametrize(("method", "status"), [("GET", 404), ("POST", 410)])
def test_wait_for_a_job_that_is_deleted(face: Face, method: str, status: int) -> None:
    if method == "GET":
        face.run()
        wait = face.answer("GET", "/jobs/0?wait=5")
    else:
        wait = face.answer("POST", "/jobs?wait=5", b"echo")
    assert isinstance(wait, JobsWait)
    face.ask("DELETE", "/jobs/0")
    assert wait.changed(0)
    answer = wait.answer()
    assert isinstance(answer, Response)
    assert answer.status == status


def test_no_wait_for_what_is_complete(face: Face) -> None:
    face.complete()
    assert face.ask("GET", "/jobs/0?wait=5").status == 200


def test_raw_output(face: Face) -> None:
    face.run(out=b"out\xff", err=b"err")
    answer = face.ask("GET", "/jobs/0/out")
    assert answer.status == 200
    assert header(answer, "Content-Type") == "text/plain; charset=utf-8"
    assert not isinstance(answer.body, bytes)
    assert answer.body.length == 4
    assert pull(answer.body) == (b"out\xff", End())
    err = face.ask("GET", "/jobs/0/err?offset=1")
    assert not isinstance(err.body, bytes)
    assert err.body.length == 2
    assert pull(err.body) == (b"rr", End())


@pytest.mark.parametrize(
    ("range_", "status", "body", "content_range"),
    [
        ("bytes=2-4", 206, b"234", "bytes 2-4/{}"),
        ("bytes=7-", 206, b"789", "bytes 7-9/{}"),
        ("bytes=-1", 206, b"9", "bytes 9-9/{}"),
        ("bytes=0-1,4-5", 200, b"0123456789", None),
        ("bytes=10-", 416, None, "bytes */10"),
    ],
)
def test_ranges(
    face: Face, range_: str, status: int, body: bytes | None, content_range: str | None
) -> None:
    face.run(out=b"0123456789")
    for total in ("*", "10"):
        answer = face.ask("GET", "/jobs/0/out", range=range_)
        assert answer.status == status
        wanted = content_range.format(total) if content_range else None
        assert header(answer, "Content-Range") == wanted
        if body is not None:
            assert not isinstance(answer.body, bytes)
            assert pull(answer.body)[0] == body
        if total == "*":
            face.world.end(0, 0, face.now)


def test_head_ignores_a_range(face: Face) -> None:
    face.complete(out=b"0123456789")
    for range_ in ("bytes=2-4", "bytes=50-"):
        answer = face.ask("HEAD", "/jobs/0/out", range=range_)
        assert answer.status == 200
        assert not isinstance(answer.body, bytes)
        assert answer.body.length == 10


def test_offsets_past_the_end(face: Face) -> None:
    face.run(out=b"0123")
    assert face.ask("GET", "/jobs/0/out?offset=4").status == 200
    assert face.ask("GET", "/jobs/0/out?offset=5").status == 416
    assert face.ask("GET", "/jobs/0/out?offset=5&follow").status == 200
    face.world.end(0, 0, face.now)
    assert face.ask("GET", "/jobs/0/out?offset=5&follow").status == 416
    answer = face.ask("GET", "/jobs/0/out?offset=5")
    assert (answer.status, header(answer, "Rtot-Exit")) == (416, "0")


def test_follow(face: Face) -> None:
    face.submit()
    reply = face.reply("GET", "/jobs/0/out?follow&offset=1&lease")
    assert isinstance(reply, Reply)
    body = reply.response.body
    assert not isinstance(body, bytes)
    assert (reply.lease, body.topic, body.trailers) == (Lease(0, 0.0), 0, "Rtot-Exit, Rtot-Dropped")
    assert body.pull(10) is None
    face.world.obey(face.now)
    face.jobs.output_received(0, Stream.OUT, b"hello", face.now)
    assert body.pull(2) == b"el"
    assert body.pull(9) == b"lo"
    assert body.pull(9) is None
    face.world.end(0, 256, face.now)
    assert body.pull(9) == End((("Rtot-Exit", "exit status 1"),))


@pytest.mark.parametrize(("status", "broken"), [(0, False), (256, True)])
def test_fail(face: Face, status: int, broken: bool) -> None:
    face.complete(out=b"x", status=status)
    body = face.ask("GET", "/jobs/0/out?follow&fail").body
    assert not isinstance(body, bytes)
    data, end = pull(body)
    assert data == b"x"
    assert end is not None
    assert end.broken == broken


def test_fail_needs_an_end_that_can_be_told(face: Face) -> None:
    """Under HTTP/1.0 that is a reset, which a unix socket does not have."""
    face.complete()
    authorization = {"authorization": "rtot sup"}
    for peer, target, status in (
        (PEER, "out?follow&fail", 200),
        ("unix", "out?follow&fail", 400),
        ("unix", "out?follow", 200),
        ("unix", "out?fail", 200),
    ):
        request = Request("GET", f"/jobs/0/{target}", authorization, http_1_0=True)
        answer = face.handler.handle(request, peer, face.now).answer
        response = answer.response if isinstance(answer, Reply) else answer
        assert isinstance(response, Response)
        assert response.status == status


@pytest.mark.parametrize("query", ["fail=x", "lease", "follow=x", "offset=-1", "bogus"])
def test_bad_output_parameters(face: Face, query: str) -> None:
    face.run()
    assert face.ask("GET", f"/jobs/0/out?{query}").status == 400


@pytest.mark.parametrize("target", ["out", "out?follow", "events", "events?follow"])
def test_a_body_of_a_deleted_job_is_broken_off(face: Face, target: str) -> None:
    face.run(out=b"hello")
    body = face.ask("GET", f"/jobs/0/{target}").body
    assert not isinstance(body, bytes)
    face.ask("DELETE", "/jobs/0")
    assert body.pull(10) == End(broken=True)


def test_large_output_is_sent_from_its_file() -> None:
    face = Face(max_memory=10)
    face.run(out=b"x" * 100_000)
    face.jobs.output_received(0, Stream.OUT, b"tail", face.now)
    body = face.ask("GET", "/jobs/0/out").body
    assert not isinstance(body, bytes)
    span = body.pull(10)
    assert isinstance(span, FileSpan)
    assert (span.file, span.offset, span.length) == (face.disk.files["0.out"], 0, 100_000)
    assert body.pull(10) == b"tail"
    face.disk.files["0.out"].data = b""
    broken = face.ask("GET", "/jobs/0/out?offset=99990").body
    assert not isinstance(broken, bytes)
    assert broken.pull(10) == End(broken=True)


def test_holders_are_told(face: Face) -> None:
    face.run()
    face.jobs.exited(0, 0, USAGE, at(1))
    face.jobs.expire(at(2))
    face.world.alive.clear()
    face.world.obey(at(2))
    answer = face.ask("GET", "/jobs/0?fields=holders")
    assert value(answer)["jobs"][0]["holders"] == [{"pid": 77, "command": "holder"}]


def test_output_that_cannot_be_read_any_more() -> None:
    face = Face(max_memory=10)
    face.complete(out=b"x" * 100)
    face.disk.files["0.out"].data = b""
    answer = face.ask("GET", "/jobs/0")
    assert answer.status == 500
    assert b"unreadable output" in answer.body  # type: ignore[operator]
    body = face.ask("GET", "/jobs/0/events").body
    assert not isinstance(body, bytes)
    assert body.pull(1 << 20) == End(broken=True)


def test_much_output_that_cannot_be_read_any_more() -> None:
    face = Face(max_memory=10)
    face.complete(out=b"x" * 200_000)
    body = face.ask("GET", "/jobs/0").body
    face.disk.files["0.out"].data = b""
    assert not isinstance(body, bytes)
    assert pull(body)[1] == End(broken=True)


@pytest.mark.parametrize(
    "target", ["POST /jobs?wait=4", "GET /jobs?wait=4", "GET /jobs/0?wait=4", "GET /jobs?wait=4s"]
)
def test_a_wait_ends_when_it_said(face: Face, target: str) -> None:
    face.run()
    face.now = at(7)
    method, _, path = target.partition(" ")
    wait = face.answer(method, path, b"echo" if method == "POST" else b"")
    assert isinstance(wait, JobsWait)
    assert wait.deadline == 11.0


def test_what_is_sent_from_a_file_and_what_is_copied() -> None:
    """32 KB are worth a system call of their own, and a megabyte is enough at a time."""
    face = Face(max_memory=0, max_output=1 << 30)
    job = face.run(out=b"x" * (3 << 20))
    for offset, length in (
        (0, 1 << 20),
        ((3 << 20) - (32 << 10), 32 << 10),
        ((3 << 20) - (32 << 10) + 1, None),
    ):
        answer = face.ask("GET", f"/jobs/{job.id}/out?offset={offset}")
        assert not isinstance(answer.body, bytes)
        pulled = answer.body.pull(1 << 14)
        if length is None:
            assert pulled == b"x" * (1 << 14)
        else:
            assert isinstance(pulled, FileSpan)
            assert (pulled.offset, pulled.length) == (offset, length)


@pytest.mark.parametrize(("status", "answer"), [(0, 200), (256, 424), (9, 424)])
def test_fail_on_a_complete_job(face: Face, status: int, answer: int) -> None:
    face.complete(out=b"x" * 10, status=status)
    for target in ("/jobs/0", "/jobs/0?wait=5&fail", "/jobs/0?fail=0"):
        whole = face.ask("GET", target)
        asked = answer if "fail" in target and "fail=0" not in target else 200
        assert whole.status == asked
        assert header(whole, "Location") == "/jobs/0"
        assert header(whole, "Rtot-Exit") is not None
        assert value(whole)["jobs"][0]["out"] == "x" * 10
    for target in ("/jobs?fail", "/jobs?fail&wait=5", "/jobs/0/out?fail", "/jobs/0/err?fail"):
        assert face.ask("GET", target).status == answer
        assert face.ask("HEAD", target).status == answer
    partial = face.ask("GET", "/jobs/0/out?fail", range="bytes=2-3")
    assert partial.status == (206 if answer == 200 else 424)
    assert text(partial) == "x" * (2 if answer == 200 else 10)


def test_fail_on_a_job_that_is_not_complete_in_time(face: Face) -> None:
    face.run(out=b"so far")
    for target in ("/jobs/0?fail", "/jobs?fail", "/jobs/0/out?fail"):
        answer = face.ask("GET", target)
        assert (answer.status, header(answer, "Rtot-Exit")) == (424, None)
    wait = face.answer("GET", "/jobs/0?fail&wait=5")
    assert isinstance(wait, JobsWait)
    late = wait.answer()
    assert isinstance(late, Response)
    assert (late.status, header(late, "Location")) == (424, "/jobs/0")
    assert value(late)["jobs"][0]["state"] == "running"
    face.world.end(0, 0, face.now)
    done = wait.answer()
    assert isinstance(done, Response)
    assert done.status == 200


def test_fail_on_a_job_whose_output_was_cut() -> None:
    face = Face(max_output=5)
    face.complete(out=b"x" * 6)
    for target in ("/jobs/0?fail", "/jobs?fail", "/jobs/0/out?fail"):
        assert face.ask("GET", target).status == 424


def test_events_that_fail_and_events_with_a_lease(face: Face) -> None:
    face.run()
    reply = face.reply("GET", "/jobs/0/events?follow&fail&lease")
    assert isinstance(reply, Reply)
    assert (reply.response.status, reply.lease) == (200, Lease(0, 0.0))
    assert not isinstance(reply.response.body, bytes)
    face.world.end(0, 256, face.now)
    data, end = pull(reply.response.body)
    assert b"event: complete" in data
    assert end is not None
    assert end.broken
    late = face.reply("GET", "/jobs/0/events?follow&fail&lease")
    assert isinstance(late, Reply)
    assert (late.response.status, late.lease) == (424, None)
    for query in ("fail", "lease"):
        assert face.ask("GET", f"/jobs/0/events?{query}").status == 400


@pytest.mark.parametrize(
    ("value_", "seconds"), [("", 0.0), ("=true", 0.0), ("=60", 60.0), ("=1", 1.0), ("=2m", 120.0)]
)
def test_the_time_of_a_lease(face: Face, value_: str, seconds: float) -> None:
    face.run()
    for target in (
        "/jobs/0?wait=9&lease",
        "/jobs/0/out?follow&lease",
        "/jobs/0/events?follow&lease",
    ):
        answer = face.reply("GET", target + value_)
        assert isinstance(answer, Reply | JobsWait)
        assert answer.lease == Lease(0, seconds)


def test_no_lease(face: Face) -> None:
    face.run()
    answer = face.reply("GET", "/jobs/0/out?follow&lease=0")
    assert isinstance(answer, Reply)
    assert answer.lease is None
    for query in ("lease", "wait=1&lease=maybe"):
        assert face.ask("GET", f"/jobs/0?{query}").status == 400


def test_much_output_in_json(face: Face) -> None:
    face.complete(out=b"x" * 200_000)
    (job,) = value(face.ask("GET", "/jobs/0"))["jobs"]
    assert job["out"] == "x" * 200_000


def test_times_of_jobs_as_numbers(face: Face) -> None:
    face.complete()
    for target in ("/jobs", "/jobs/0", "/jobs/0?wait=1"):
        mark = "&" if "?" in target else "?"
        (job,) = value(face.ask("GET", f"{target}{mark}times=unix"))["jobs"]
        assert job["create"] == job["start"] == job["complete"] == 1700000001.0
        assert face.ask("GET", f"{target}{mark}times=iso").status == 400
    (job,) = value(face.ask("POST", "/jobs?times=unix", b"echo"))["jobs"]
    assert (job["create"], job["start"]) == (1700000001.0, None)
    answer = face.ask("POST", "/jobs/1/timeout?after=1m&times=unix")
    assert value(answer)["jobs"][0]["start"] is None


def test_a_wait_is_bounded() -> None:
    face = Face(max_wait=25.0)
    face.run()
    for target, deadline in (
        ("/jobs/0?wait=60", 26.0),
        ("/jobs?wait=60", 26.0),
        ("/jobs/0?wait=5", 6.0),
    ):
        wait = face.answer("GET", target)
        assert isinstance(wait, JobsWait)
        assert wait.deadline == deadline
    wait = face.answer("GET", "/jobs/0", prefer="wait=60")
    assert isinstance(wait, JobsWait)
    assert header(wait.answer(), "Preference-Applied") == "wait=25"  # type: ignore[arg-type]


@pytest.mark.parametrize("target", ["out?follow", "err?follow", "events?follow"])
def test_streams_are_not_to_be_held_back(face: Face, target: str) -> None:
    face.run()
    assert header(face.ask("GET", f"/jobs/0/{target}"), "X-Accel-Buffering") == "no"


SEQ = b"".join(b"%d\n" % i for i in range(1, 501))


@pytest.mark.parametrize(
    ("tail", "end"), [("3", b"498\n499\n500\n"), ("8B", b"499\n500\n"), ("0", b""), ("1M", SEQ)]
)
def test_the_end_of_an_output(face: Face, tail: str, end: bytes) -> None:
    face.run(out=SEQ)
    answer = face.ask("GET", f"/jobs/0/out?tail={tail}")
    assert (answer.status, text(answer)) == (200, end.decode())
    body = face.ask("GET", f"/jobs/0/out?tail={tail}&follow").body
    assert not isinstance(body, bytes)
    assert pull(body) == (end, None)
    face.jobs.output_received(0, Stream.OUT, b"more\n", face.now)
    assert pull(body) == (b"more\n", None)
    face.world.end(0, 256, face.now)
    assert pull(body) == (b"", End((("Rtot-Exit", "exit status 1"),)))
    for target in ("/jobs/0?fields=out", "/jobs?fields=out"):
        (job,) = value(face.ask("GET", f"{target}&tail=2"))["jobs"]
        assert job["out"] == "500\nmore\n"
    assert face.ask("GET", "/jobs/0/out?tail=1&fail").status == 424
    failing = face.ask("GET", "/jobs/0/out?tail=1&fail&follow")
    assert failing.status == 424


def test_the_end_of_an_output_that_was_cut() -> None:
    face = Face(max_output=8, keep_end=8)
    face.complete(out=SEQ)
    lost = len(SEQ) - 16
    marked = f"rtot: {lost} bytes are missing here\n499\n500\n"
    for tail, end in (("1", "500\n"), ("8B", "499\n500\n"), ("2", marked), ("1M", marked)):
        for follow in ("", "&follow"):
            answer = face.ask("GET", f"/jobs/0/out?tail={tail}{follow}")
            assert header(answer, "Rtot-Dropped") == str(len(SEQ) - 8)
            assert text(answer) == end
        assert value(face.ask("GET", f"/jobs/0?tail={tail}"))["jobs"][0]["out"] == end
    assert text(face.ask("GET", "/jobs/0/out")) == "1\n2\n3\n4\n"


def test_who_follows_a_tail_sees_what_is_dropped_as_well() -> None:
    face = Face(max_output=4, keep_end=4)
    job = face.run(out=b"1\n2\n")
    body = face.ask("GET", "/jobs/0/out?tail=1&follow").body
    assert not isinstance(body, bytes)
    assert pull(body) == (b"2\n", None)
    face.jobs.output_received(job.id, Stream.OUT, b"3\n", face.now)
    assert pull(body) == (b"3\n", None)
    face.jobs.output_received(job.id, Stream.OUT, b"4\n5\n6\n7\n", face.now)
    assert pull(body) == (b"rtot: 4 bytes are missing here\n6\n7\n", None)


def test_much_of_an_end_in_json() -> None:
    face = Face(max_memory=1000)
    face.complete(out=b"\xc3\xa9" * 100_000)
    (job,) = value(face.ask("GET", "/jobs/0?tail=150001B"))["jobs"]
    assert job["out"] == "\ufffd" + "\u00e9" * 75_000


def test_events_of_an_end(face: Face) -> None:
    job = face.run(out=b"a\nb\n")
    face.jobs.output_received(job.id, Stream.ERR, b"c\nd\n", face.now)
    answer = face.ask("GET", "/jobs/0/events?tail=1", accept="application/x-ndjson")
    told = [json.loads(line) for line in text(answer).splitlines()]
    assert [(e["event"], e["offset"], e["text"]) for e in told] == [
        ("out", 2, "b\n"),
        ("err", 2, "d\n"),
    ]
    face.submit()
    new = face.ask("GET", "/jobs/1/events?tail=1", accept="application/x-ndjson")
    assert json.loads(text(new))["event"] == "new"
    assert face.ask("GET", "/jobs/0/events?tail=1", last_event_id="3.0.0").status == 400


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ("tail=1&offset=2", {}),
        ("tail=1", {"range": "bytes=0-1"}),
        ("follow", {"range": "bytes=-8"}),
        ("tail=x", {}),
        ("tail=-1", {}),
        ("tail=1.5", {}),
        ("tail", {}),
    ],
)
def test_ends_that_there_are_not(face: Face, query: str, headers: dict[str, str]) -> None:
    face.run(out=b"out")
    assert face.ask("GET", f"/jobs/0/out?{query}", b"", **headers).status == 400


@pytest.mark.parametrize("query", ["tail=1", "tail=1&follow"])
def test_the_end_of_an_output_that_is_gone(query: str) -> None:
    face = Face(max_memory=10)
    face.complete(out=b"x" * 100)
    body = face.ask("GET", f"/jobs/0/out?{query}").body
    assert not isinstance(body, bytes)
    face.disk.files["0.out"].data = b""
    assert body.pull(10) == End(broken=True)
    face.ask("DELETE", "/jobs/0")
    assert body.pull(10) == End(broken=True)


def test_a_tail_of_what_cannot_be_read_any_more() -> None:
    face = Face(max_memory=10)
    face.complete(out=b"x\n" * 100)
    face.disk.files["0.out"].data = b""
    for target in ("out?tail=5", "events?tail=5"):
        answer = face.ask("GET", f"/jobs/0/{target}")
        assert (answer.status, value(answer)["error"]) == (500, "unreadable output")


@pytest.mark.parametrize("target", ["?wait=9", "/out?follow", "/events?follow"])
def test_head_holds_no_lease(face: Face, target: str) -> None:
    face.run()
    answer = face.reply("HEAD", f"/jobs/0{target}&lease=1")
    assert isinstance(answer, Reply | JobsWait)
    assert answer.lease is None


def test_events_that_were_all_told_of_a_job_that_failed(face: Face) -> None:
    face.complete(status=256)
    told = {"last_event_id": "19.0.0"}
    for query, status in (("follow", 204), ("follow&fail", 424)):
        answer = face.ask("GET", f"/jobs/0/events?{query}", b"", **told)
        assert (answer.status, header(answer, "Rtot-Exit")) == (status, "exit status 1")


def test_events_of_an_end_begin_with_a_character(face: Face) -> None:
    face.complete(out="éééé\nabc\n".encode())
    for size, first in (("7B", "\u00e9\nabc\n"), ("6B", "\nabc\n"), ("5B", "\nabc\n")):
        answer = face.ask("GET", f"/jobs/0/events?tail={size}", accept="application/x-ndjson")
        assert json.loads(text(answer).splitlines()[0])["text"] == first


def test_events_of_an_end_after_a_full_disk() -> None:
    face = Face(max_memory=2, keep_end=100)
    job = face.run()
    face.disk.room = 4
    for index in range(9):
        if index == 6:
            face.disk.room = 1000
        face.jobs.output_received(job.id, Stream.OUT, b"%d\n" % index, face.now)
    assert job.output.lost(Stream.OUT) > 0
    answer = face.ask("GET", "/jobs/0/events?tail=2", accept="application/x-ndjson")
    assert "".join(json.loads(e).get("text", "") for e in text(answer).splitlines()) == "7\n8\n"
    assert text(face.ask("GET", "/jobs/0/out?tail=9")) == "".join(f"{i}\n" for i in range(9))


def test_a_preference_is_applied_in_whole_seconds() -> None:
    face = Face(max_wait=1.5)
    face.run()
    wait = face.answer("GET", "/jobs/0", prefer="wait=60")
    assert isinstance(wait, JobsWait)
    assert wait.deadline == 2.0


def test_a_range_with_a_condition_that_cannot_hold(face: Face) -> None:
    face.complete(out=b"0123456789")
    answer = face.ask("GET", "/jobs/0/out", b"", range="bytes=2-3", if_range='"x"')
    assert (answer.status, text(answer)) == (200, "0123456789")


def test_the_script_of_a_job() -> None:
    face = Face(state=True)
    face.submit()
    for _ in range(2):
        assert text(face.ask("GET", "/jobs/0/script")) == "#!/bin/bash\necho hi"
        face.jobs.keep(face.now)
    assert face.store is not None
    face.store.scripts.clear()
    assert face.ask("GET", "/jobs/0/script").status == 404
    assert face.ask("GET", "/jobs/1/script").status == 404


def test_scripts_are_kept_only_with_a_state(face: Face) -> None:
    face.submit()
    answer = face.ask("GET", "/jobs/0/script")
    assert (answer.status, "--state" in text(answer)) == (404, True)


def test_who_follows_what_waits_on_is_cut_off() -> None:
    """SIGTERM: the next server will start the job."""
    face = Face(state=True)
    face.submit("/jobs?delay=9")
    bodies = [
        face.ask("GET", f"/jobs/0/{target}").body
        for target in ("out?follow", "events?follow", "out?follow&tail=1")
    ]
    wait = face.answer("GET", "/jobs/0?wait=5")
    assert isinstance(wait, JobsWait)
    for body in bodies:
        assert not isinstance(body, bytes)
        pull(body)
        assert body.pull(99) is None
    face.jobs.shut_down(face.now, waiting=False)
    for body in bodies:
        assert not isinstance(body, bytes)
        assert body.pull(99) == BROKEN
    assert face.jobs.take_changes() >= {0}
    assert wait.changed(0)
    answer = wait.answer()
    assert isinstance(answer, Response)
    assert answer.status == 202
    assert face.jobs.ended


def test_what_cannot_be_kept_is_told_by_ping() -> None:
    face = Face(state=True)
    assert "warning" not in text(face.ask("GET", "/ping"))
    face.complete()
    assert face.store is not None
    face.store.full = True
    face.jobs.keep(face.now)
    (ping,) = value(face.ask("GET", "/ping"))["ping"]
    assert ping["warning"] == (
        "the state cannot be kept: no space left on device: after a crash 1 jobs may be lost"
    )
    assert face.ask("POST", "/jobs", b"echo").status == 507
