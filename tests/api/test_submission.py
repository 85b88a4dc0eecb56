"""POST /jobs: options, keys and refusals."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rtot.api.waits import JobsWait
from rtot.http.messages import Response
from rtot.jobs.job import PLAIN
from rtot.text import decode, original_bytes
from tests.api.face import Face, header, value


@pytest.mark.parametrize(
    ("body", "script"),
    [
        (b"echo huh", b"#!/bin/bash\necho huh"),
        (b"#!/bin/sh\necho", b"#!/bin/sh\necho"),
        (b"#!", b"#!"),
        (b"", b"#!/bin/bash\n"),
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
    assert (wait.topics, wait.deadline, wait.lease) == ((0,), 6.0, 0)
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
