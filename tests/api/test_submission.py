"""POST /jobs: options, keys and refusals."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rtot.api.answers import Reply
from rtot.api.waits import JobsWait
from rtot.http.messages import End, Response
from rtot.jobs.job import PLAIN, Reason
from rtot.jobs.leases import Lease
from rtot.jobs.output import Stream
from rtot.text import decode, original_bytes
from tests.api.face import Face, header, pull, text, value


@pytest.mark.parametrize(
    ("body", "script"),
    [
        (b"echo huh", b"#!/bin/bash\necho huh"),
        (b"#!/bin/sh\necho", b"#!/bin/sh\necho"),
        (b"#!", b"#!"),
        (b"\xef\xbb\xbfecho", b"#!/bin/bash\necho"),
        (b"\xef\xbb\xbf#!/bin/sh", b"#!/bin/sh"),
        (b"\x7fELF\0", b"\x7fELF\0"),
        (b"\0\xff", b"#!/bin/bash\n\0\xff"),
    ],
)
def test_scripts(face: Face, body: bytes, script: bytes) -> None:
    face.submit(body=body)
    assert face.disk.scripts == {0: script}


def test_options(face: Face) -> None:
    job = face.submit(
        "/jobs?arg=a&arg=b%20c&env=A=1&env=B=x=y&cwd=/tmp&label=l&timeout=1m&stdin=open"
    )
    options = job.options
    assert options.args == ("a", "b c")
    assert options.env == (("A", "1"), ("B", "x=y"))
    assert (options.cwd, options.labels, options.timeout) == ("/tmp", ("l",), 60)
    assert options.stdin_open
    assert options.launcher is None


@pytest.mark.parametrize(
    "query",
    [
        "bogus=1",
        "env=A",
        "env==1",
        "env=RTOT_JOB_ID=1",
        "env=A=%00",
        "arg=%00",
        "cwd=tmp",
        "cwd=/a%00",
        "cwd=/a&cwd=/b",
        "label=",
        "timeout=soon",
        "timeout=0",
        "stdin=maybe",
        "launcher=none",
        "group=",
        f"group={'g' * 256}",
        "supersede",
        "supersede=maybe&group=g",
        "after=",
        "after=-1",
        "after=x",
        "after=0:",
        "after=0:all",
        "after=0",
        "after=0:any",
        "delay=soon",
        "lease",
        "wait=x",
        "lease=maybe",
    ],
)
def test_bad_options_start_nothing(face: Face, query: str) -> None:
    answer = face.ask("POST", f"/jobs?{query}", b"echo")
    assert answer.status == 400
    assert value(answer)["message"].startswith(query.partition("=")[0])
    assert len(face.jobs) == 0
    assert face.jobs.last_id == -1


def test_order(face: Face) -> None:
    first = face.submit("/jobs?group=a%20b&delay=1h")
    face.submit("/jobs?group=a%20b&after=0:any&after=0&delay=1m&supersede")
    # Whom it comes after it does not supersede.
    assert not first.over
    face.ask("POST", "/jobs/0/kill")
    face.jobs.expire(face.now)
    # Job 0 has not succeeded.
    (shown,) = value(face.ask("GET", "/jobs/1?fields=group,after,delay,waits_for,reason"))["jobs"]
    assert shown == {
        "id": 1,
        "state": "complete",
        "exit": "not run: job 0 failed",
        "group": "a b",
        "after": ["0:any", "0"],
        "delay": 60,
        "waits_for": [],
        "reason": "dependency",
        "href": "/jobs/1",
    }
    face.submit("/jobs?delay=1m")
    face.submit("/jobs?after=2&after=2&after=0:any")
    (shown,) = value(face.ask("GET", "/jobs/3?fields=waits_for"))["jobs"]
    assert shown == {"id": 3, "state": "new", "waits_for": [2], "href": "/jobs/3"}
    late = face.submit("/jobs?group=a%20b&delay=1h")
    face.submit("/jobs?group=a%20b&supersede")
    assert (late.reason, late.failure) == (Reason.SUPERSEDED, "superseded by job 5")
    answer = face.ask("POST", "/jobs?after=2&after=9", b"x")
    assert (answer.status, value(answer)["message"]) == (400, "after: there is no job 9")
    assert face.jobs.last_id == 5


def test_a_job_that_can_never_run_is_told_at_once(face: Face) -> None:
    face.complete(status=256)
    answer = face.ask("POST", "/jobs?wait=60&fail&after=0&fields=reason", b"x")
    assert (answer.status, value(answer)["jobs"][0]["reason"]) == (424, "dependency")
    assert header(answer, "Rtot-Exit") == "not run: job 0 failed"


def test_a_replay_comes_after_a_job_that_is_gone(face: Face) -> None:
    face.complete()
    first = face.ask("POST", "/jobs?after=0", b"x", idempotency_key="k")
    face.ask("DELETE", "/jobs/0")
    again = face.ask("POST", "/jobs?after=0", b"x", idempotency_key="k")
    assert (first.status, again.status) == (201, 201)
    assert header(again, "Idempotency-Replayed") == "true"


def test_a_replay_supersedes_nothing(face: Face) -> None:
    face.ask("POST", "/jobs?group=g&supersede", b"x", idempotency_key="k")
    later = face.submit("/jobs?group=g")
    face.ask("POST", "/jobs?group=g&supersede", b"x", idempotency_key="k")
    assert not later.over


def test_who_submits_to_a_paused_queue_is_told(face: Face) -> None:
    assert header(face.ask("POST", "/jobs", b"x"), "Rtot-Paused") is None
    face.jobs.queue.paused = True
    assert header(face.ask("POST", "/jobs", b"x"), "Rtot-Paused") == "true"
    answer = face.answer("POST", "/jobs?follow", b"x")
    assert isinstance(answer, Response)
    assert header(answer, "Rtot-Paused") == "true"


def test_launchers() -> None:
    face = Face(launchers=(("default", ("nice",)), ("low", ("nice", "-n", "19"))))
    assert face.submit().options.launcher == "default"
    assert face.submit("/jobs?launcher=low").options.launcher == "low"
    assert value(face.ask("GET", "/"))["launchers"] == ["default", "low"]


def test_refusals_of_the_table() -> None:
    face = Face(max_running=1, max_queued=0)
    face.submit()
    answer = face.ask("POST", "/jobs", b"echo")
    assert (answer.status, header(answer, "Retry-After")) == (503, "1")
    full = Face()
    full.disk.broken = True
    answer = full.ask("POST", "/jobs", b"echo")
    assert answer.status == 507
    assert len(full.jobs) == 0


def test_idempotency(face: Face) -> None:
    first = face.ask("POST", "/jobs?arg=a", b"echo", idempotency_key="k")
    again = face.ask("POST", "/jobs?arg=a", b"echo", idempotency_key="k")
    assert (first.status, again.status) == (201, 201)
    assert header(again, "Idempotency-Replayed") == "true"
    assert value(first) == value(again)
    assert face.ask("POST", "/jobs?arg=b", b"echo", idempotency_key="k").status == 422
    assert face.ask("POST", "/jobs?arg=a", b"other", idempotency_key="k").status == 422
    assert face.ask("POST", "/jobs", b"echo", idempotency_key="x" * 256).status == 400
    assert len(face.jobs) == 1


def test_wait_for_a_submitted_job(face: Face) -> None:
    wait = face.answer("POST", "/jobs?wait=5&lease", b"echo")
    assert isinstance(wait, JobsWait)
    assert (wait.topics, wait.deadline, wait.lease) == ((0,), 6.0, Lease(0, 0.0))
    face.world.obey(face.now)
    assert not wait.changed(0)
    face.world.end(0, 256, face.now)
    assert wait.changed(0)
    answer = wait.answer()
    assert isinstance(answer, Response)
    assert (answer.status, header(answer, "Rtot-Exit")) == (201, "exit status 1")


def test_the_length_of_a_key(face: Face) -> None:
    assert face.ask("POST", "/jobs", b"echo", idempotency_key="k" * 255).status == 201
    assert face.ask("POST", "/jobs", b"echo", idempotency_key="k" * 256).status == 400
    assert face.ask("POST", "/jobs", b"echo", idempotency_key="").status == 400


def test_the_length_of_a_label(face: Face) -> None:
    assert face.ask("POST", f"/jobs?label={'l' * 255}", b"echo").status == 201
    assert face.ask("POST", f"/jobs?label={'l' * 256}", b"echo").status == 400


@pytest.mark.parametrize("query", ["", "?fields=", "?wait=0&fields=id"])
def test_jobs_that_ask_for_nothing_share_their_options(face: Face, query: str) -> None:
    face.answer("POST", f"/jobs{query}", b"echo")
    job = face.jobs.get(0)
    assert job is not None
    assert job.options is PLAIN


def percent(data: bytes) -> str:
    return "".join(f"%{byte:02X}" for byte in data)


@given(st.binary(max_size=20), st.sampled_from(["arg", "env", "label", "cwd"]))
@example(b"\xff", "cwd")
@example(b"\xff", "label")
@example(b"/", "arg")
def test_bytes_that_are_no_text_spoil_no_answer(data: bytes, name: str) -> None:
    face = Face()
    before = {"env": "A=", "cwd": "/"}.get(name, "")
    posted = face.ask("POST", f"/jobs?fields=*&{name}={before}{percent(data)}", b"echo")
    if posted.status == 400:
        assert b"\0" in data or not data
        return
    assert posted.status == 201
    (told,) = value(posted)["jobs"]
    assert value(face.ask("GET", "/jobs?fields=*")) == value(face.ask("GET", "/jobs/0?fields=*"))
    options = face.jobs.get(0).options  # type: ignore[union-attr]
    if name in ("arg", "label"):
        assert told[name] == [decode(data)]
    kept = {"arg": options.args, "label": options.labels, "cwd": (options.cwd or "",)}
    texts = kept.get(name) or tuple(v for _, v in options.env)
    assert original_bytes(texts[0]) == (b"/" if name == "cwd" else b"") + data


@pytest.mark.parametrize(
    ("body", "kind", "status", "words"),
    [
        (b"", "", 400, "empty"),
        (b" \t\r\n", "", 400, "empty"),
        (b"\xef\xbb\xbf\n", "", 400, "empty"),
        (b"echo", "multipart/form-data; boundary=x", 415, "envelope"),
        (b"echo", "Multipart/Mixed", 415, "envelope"),
        (b'--ab\r\nContent-Disposition: form-data; name="f"\r\n\r\necho', "", 415, "envelope"),
        (b"--ab\ncontent-disposition: x\n", "text/plain", 415, "envelope"),
        ("echo".encode("utf-16"), "", 415, "UTF-16"),
        (b"\xfe\xff\0e", "", 415, "UTF-16"),
        ("echo".encode("utf-32"), "", 415, "UTF-32"),
        (b"\0\0\xfe\xff\0\0\0e", "", 415, "UTF-32"),
    ],
)
def test_what_is_no_script_starts_nothing(
    face: Face, body: bytes, kind: str, status: int, words: str
) -> None:
    headers = {"content_type": kind} if kind else {}
    answer = face.ask("POST", "/jobs", body, **headers)
    assert answer.status == status
    assert words in value(answer)["message"]
    assert (len(face.jobs), face.disk.scripts) == (0, {})
    # The envelope is refused before it is uploaded.
    if kind.lower().startswith("multipart"):
        assert face.ask("POST", "/jobs", None, **headers).status == 415  # type: ignore[arg-type]


def test_a_hint_is_in_every_answer(face: Face) -> None:
    form = "application/x-www-form-urlencoded; charset=utf-8"
    posted = face.ask("POST", "/jobs", b"# all in one lineecho hi", content_type=form)
    assert posted.status == 201
    (told,) = value(posted)["jobs"]
    assert "--data-binary" in told["hint"]
    for target in ("/jobs", "/jobs/0", "/jobs/0?fields=hint", "/jobs?fields=*"):
        assert value(face.ask("GET", target))["jobs"][0]["hint"] == told["hint"]
    assert "hint" not in value(face.ask("GET", "/jobs/0?fields="))["jobs"][0]
    for target in ("/jobs/0/out", "/jobs/0/err?follow"):
        assert header(face.ask("GET", target), "Rtot-Hint") == told["hint"]
    face.submit()
    assert "hint" not in value(face.ask("GET", "/jobs/1?fields=*"))["jobs"][0]
    assert header(face.ask("GET", "/jobs/1/out"), "Rtot-Hint") is None


def test_a_hint_is_an_event_after_the_start(face: Face) -> None:
    face.run()
    face.world.end(0, 0, face.now)
    face.submit(body=b"echo a\r\n")
    refused = face.jobs.take_job(face.now)
    assert refused is not None
    face.jobs.started(refused, 9, face.now)

    def story(job_id: int, last: str = "") -> list[str]:
        headers = {"accept": "application/x-ndjson", **({"last_event_id": last} if last else {})}
        answer = face.ask("GET", f"/jobs/{job_id}/events", **headers)  # type: ignore[arg-type]
        return [json.loads(line)["event"] for line in text(answer).splitlines()]

    assert story(0) == ["new", "running", "complete"]
    assert story(1) == ["new", "running", "hint"]
    assert story(1, "3.0.0") == ["hint"]
    assert story(1, "7.0.0") == []


def test_a_hint_about_what_could_not_be_started(face: Face) -> None:
    job = face.submit(body=b"#!/opt/python9\nprint()")
    assert face.jobs.take_job(face.now) is job
    path = face.jobs.script_path(job)
    face.jobs.not_started(job, f"fork/exec {path}: no such file or directory", face.now)
    (told,) = value(face.ask("GET", "/jobs/0"))["jobs"]
    assert told["exit"] == f"fork/exec {path}: no such file or directory"
    assert told["hint"] == 'the interpreter "/opt/python9" does not exist on the server'


@pytest.mark.parametrize(("status", "answer"), [(0, 201), (256, 424), (None, 424)])
def test_fail_of_a_job_that_is_waited_for(face: Face, status: int | None, answer: int) -> None:
    wait = face.answer("POST", "/jobs?wait=5&fail", b"exit 3")
    assert isinstance(wait, JobsWait)
    face.world.obey(face.now)
    if status is not None:
        face.world.end(0, status, face.now)
    told = wait.answer()
    assert isinstance(told, Response)
    assert (told.status, header(told, "Location")) == (answer, "/jobs/0")
    assert (header(told, "Rtot-Exit") is None) == (status is None)
    assert value(told)["jobs"][0]["id"] == 0
    assert len(face.world.alive) == (status is None)


@pytest.mark.parametrize("query", ["fail", "lease", "fail&lease"])
def test_what_goes_with_wait(face: Face, query: str) -> None:
    answer = face.ask("POST", f"/jobs?{query}", b"echo")
    assert answer.status == 400
    assert "goes with wait" in value(answer)["message"]
    assert len(face.jobs) == 0


def followed(face: Face, query: str, **headers: str) -> Reply:
    reply = face.reply("POST", f"/jobs?{query}", b"echo", **headers)
    assert isinstance(reply, Reply)
    assert reply.response.status == 201
    return reply


@pytest.mark.parametrize(
    ("query", "stream"), [("follow", "out"), ("follow=out", "out"), ("follow=err", "err")]
)
def test_one_request_runs_and_tells(face: Face, query: str, stream: str) -> None:
    reply = followed(face, query)
    response = reply.response
    assert header(response, "Location") == "/jobs/0"
    assert header(response, "Content-Type") == "text/plain; charset=utf-8"
    assert header(response, "Rtot-Exit") is None
    assert (reply.lease, reply.sources) == (None, (0,))
    assert not isinstance(response.body, bytes)
    # It is accepted, and waits.
    assert pull(response.body) == (b"", None)
    face.world.obey(face.now)
    face.jobs.output_received(0, Stream.OUT, b"out", face.now)
    face.jobs.output_received(0, Stream.ERR, b"err", face.now)
    assert pull(response.body) == (stream.encode(), None)
    face.world.end(0, 3 << 8, face.now)
    assert pull(response.body) == (b"", End((("Rtot-Exit", "exit status 3"),)))


def test_one_request_runs_and_tells_events(face: Face) -> None:
    reply = followed(face, "follow=events&fail&lease", accept="application/x-ndjson")
    assert header(reply.response, "Content-Type") == "application/x-ndjson"
    assert reply.lease == Lease(0, 0.0)
    assert not isinstance(reply.response.body, bytes)
    face.world.obey(face.now)
    face.world.end(0, 256, face.now)
    data, end = pull(reply.response.body)
    assert [json.loads(line)["event"] for line in data.splitlines()] == [
        "new",
        "running",
        "complete",
    ]
    assert end is not None
    assert end.broken


def test_a_replay_is_told_from_the_beginning(face: Face) -> None:
    key = {"idempotency_key": "k"}
    followed(face, "follow", **key)
    face.world.obey(face.now)
    face.jobs.output_received(0, Stream.OUT, b"some", face.now)
    again = followed(face, "follow", **key)
    assert header(again.response, "Idempotency-Replayed") == "true"
    assert not isinstance(again.response.body, bytes)
    assert pull(again.response.body) == (b"some", None)
    face.world.end(0, 256, face.now)
    assert len(face.jobs) == 1
    late = face.ask("POST", "/jobs?follow&fail", b"echo", **key)
    assert (late.status, header(late, "Rtot-Exit")) == (424, "exit status 1")
    assert followed(face, "follow&lease", **key).lease is None


@pytest.mark.parametrize(
    "query", ["follow&wait=1", "follow&fields=out", "follow=both", "wait=1&follow=events"]
)
def test_what_does_not_go_with_follow(face: Face, query: str) -> None:
    assert face.ask("POST", f"/jobs?{query}", b"echo").status == 400
    assert len(face.jobs) == 0


def test_a_preference_does_not_hold_up_a_stream(face: Face) -> None:
    response = followed(face, "follow", prefer="wait=9").response
    assert header(response, "Preference-Applied") is None


def test_options_in_headers(face: Face) -> None:
    job = face.submit(
        "/jobs?arg=first&env=A=url&env=B=2&cwd=/tmp",
        rtot_arg="two%20words, a%2Cb,+,%FF",
        rtot_env="A=header, T%3D=x%3Dy",
    )
    assert job.options.args == ("first",)
    assert job.options.private_args == ("two words", "a,b", "+", "\udcff")
    assert dict(job.options.env) == {"A": "header", "B": "2", "T": "=x=y"}
    told = value(face.ask("GET", "/jobs/0?fields=arg,env,cwd,title"))["jobs"][0]
    assert (told["env"], told["cwd"], told["title"]) == (["A", "B", "T"], "/tmp", "echo hi")
    shown = text(face.ask("GET", "/jobs?fields=*"))
    assert '"arg":["first"]' in shown
    for value_ in ("header", "two words", "a,b"):
        assert value_ not in shown
    plain = value(face.ask("GET", f"/jobs/{face.submit().id}?fields=env,cwd"))["jobs"][0]
    assert (plain["env"], plain["cwd"]) == ([], None)


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ({"rtot_env": "A=secret, topsecret"}, "Rtot-Env: want NAME=VALUE, percent-encoded"),
        ({"rtot_env": "RTOT_X=1"}, "Rtot-Env: names that start with RTOT_ are rtot's own"),
        ({"rtot_arg": "a%00b"}, "Rtot-Arg: a NUL byte cannot be passed"),
        ({"rtot_env": ""}, "Rtot-Env: want NAME=VALUE, percent-encoded"),
    ],
)
def test_bad_options_in_headers(face: Face, field: dict[str, str], message: str) -> None:
    answer = face.ask("POST", "/jobs", b"echo", **field)
    assert (answer.status, value(answer)["message"]) == (400, message)
    assert len(face.jobs) == 0


def test_options_in_headers_are_part_of_a_request(face: Face) -> None:
    face.submit(rtot_arg="a", idempotency_key="k")
    again = face.ask("POST", "/jobs", b"echo hi", rtot_arg="b", idempotency_key="k")
    assert again.status == 422


@pytest.mark.parametrize(("last", "status"), [("bad", 400), ("3.5.0", 201), ("16.0.0", 201)])
def test_a_new_job_has_no_earlier_events(face: Face, last: str, status: int) -> None:
    answer = face.ask("POST", "/jobs?follow=events", b"echo", last_event_id=last)
    assert answer.status == status
    assert len(face.jobs) == (status == 201)
    if status == 201:
        assert header(answer, "Location") == "/jobs/0"
        assert pull(answer.body)[0].startswith(b"id: 1.0.0")  # type: ignore[arg-type]


def test_a_replay_goes_on_behind_the_last_event(face: Face) -> None:
    key = {"idempotency_key": "k", "accept": "application/x-ndjson"}
    face.ask("POST", "/jobs?follow=events", b"echo", **key)
    face.world.obey(face.now)
    again = face.ask("POST", "/jobs?follow=events", b"echo", last_event_id="1.0.0", **key)
    assert json.loads(pull(again.body)[0])["event"] == "running"  # type: ignore[arg-type]
    assert (
        face.ask("POST", "/jobs?follow=events", b"echo", last_event_id="3.9.9", **key).status == 400
    )


def test_headers_with_raw_utf_8(face: Face) -> None:
    # Fields are decoded as latin-1.
    job = face.submit(rtot_arg="\u00e9".encode().decode("latin-1"))
    assert job.options.private_args == ("\u00e9",)


def test_the_fingerprint_of_a_request_is_the_same_for_every_version(face: Face) -> None:
    """What was recorded under one is asked for under another."""
    face.submit("/jobs", b"echo", idempotency_key="a")
    options = "arg=a&env=B=c&label=l&timeout=1.5&stdin=open&after=0:any&delay=9"
    face.submit(f"/jobs?{options}", b"echo", idempotency_key="b")
    found = [job.fingerprint.hex() for job in face.jobs.roster.alive()]
    assert found == ["178c466cac044b98cd007933a6cce1be", "1b0067480dcf6552e2836c3a518727cd"]
