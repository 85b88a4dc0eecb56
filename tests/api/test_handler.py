"""Requests in, answers out, with a real job table and no process."""

import json
from signal import Signals
from typing import Any

import pytest

from rtot.api.answers import Answer, NeedBody, Reply, Upload
from rtot.api.auth import Authenticator
from rtot.api.control import end_lease, uploaded
from rtot.api.handler import Handler
from rtot.api.waits import JobsWait, StopWait
from rtot.config import Settings
from rtot.http.messages import Body, End, Request, Response
from rtot.jobs.archive import MemoryArchive
from rtot.jobs.job import Job, State
from rtot.jobs.output import Stream
from rtot.jobs.selection import Selection
from rtot.jobs.stop import Scope, Signal
from rtot.jobs.table import JobTable
from rtot.storage import FileSpan
from tests.world import PEER, SECRET, USAGE, MemoryDisk, PaperProcesses, PaperServer, at

TIME = "2023-11-14 22:13:21 +0000 UTC"
NEVER = "0001-01-01 00:00:00 +0000 UTC"


class Face:
    """A handler with all that it talks to."""

    def __init__(self, **settings: object) -> None:
        self.settings = Settings(**settings)  # type: ignore[arg-type]
        self.disk = MemoryDisk()
        self.jobs = JobTable(self.settings, self.disk, MemoryArchive())
        self.world = PaperProcesses(self.jobs)
        self.handler = Handler(self.settings, Authenticator((SECRET,)), self.jobs, at(0))
        self.now = at(1)

    def reply(self, method: str, target: str, body: bytes | None = b"", **headers: str) -> Answer:
        """What the handler says."""
        fields = {"host": "localhost", "authorization": "rtot sup", **headers}
        fields = {name.replace("_", "-"): value for name, value in fields.items()}
        length = len(body) if body else None
        return self.handler.handle(Request(method, target, fields, length, body), PEER, self.now)

    def answer(self, method: str, target: str, body: bytes | None = b"", **headers: str) -> Answer:
        """What the client is to get."""
        answer = self.reply(method, target, body, **headers)
        return answer.response if isinstance(answer, Reply) else answer

    def ask(self, method: str, target: str, body: bytes = b"", **headers: str) -> Response:
        answer = self.answer(method, target, body, **headers)
        assert isinstance(answer, Response)
        return answer

    def submit(self, target: str = "/jobs", body: bytes = b"echo hi", **headers: str) -> Job:
        answer = self.ask("POST", target, body, **headers)
        assert answer.status == 201, text(answer)
        job = self.jobs.get(value(answer)["jobs"][0]["id"])
        assert job is not None
        return job

    def run(self, target: str = "/jobs", out: bytes = b"", err: bytes = b"") -> Job:
        job = self.submit(target)
        self.world.obey(self.now)
        for stream, data in ((Stream.OUT, out), (Stream.ERR, err)):
            if data:
                self.jobs.output_received(job.id, stream, data, self.now)
        return job

    def complete(self, target: str = "/jobs", out: bytes = b"", status: int = 0) -> Job:
        job = self.run(target, out)
        self.world.end(job.id, status, self.now)
        return job


@pytest.fixture
def face() -> Face:
    return Face()


def pull(body: Body) -> tuple[bytes, End | None]:
    """All that there is of a body, and its end if it has come."""
    data = b""
    pauses = 0
    while pauses < 5:
        pulled = body.pull(1 << 16)
        if isinstance(pulled, End):
            return data, pulled
        if pulled is None:
            return data, None
        if isinstance(pulled, FileSpan):
            data += pulled.file.read(pulled.offset, pulled.length)
        else:
            pauses = 0 if pulled else pauses + 1
            data += pulled
    return data, None


def text(answer: Response) -> str:
    data = answer.body if isinstance(answer.body, bytes) else pull(answer.body)[0]
    return data.decode()


def value(answer: Response) -> dict[str, Any]:
    found = json.loads(text(answer))
    assert isinstance(found, dict)
    return found


def header(answer: Response, name: str) -> str | None:
    found = [v for n, v in answer.headers if n == name]
    assert len(found) <= 1
    return found[0] if found else None


# What the original answered, case by case.


def test_ping(face: Face) -> None:
    answer = face.ask("GET", "/ping", authorization="")
    assert answer.status == 200
    assert header(answer, "Content-Type") == "application/json; charset=UTF-8"
    assert value(answer) == {"ping": [{"message": "still here", "uptime": "1s"}]}


def test_links(face: Face) -> None:
    assert value(face.ask("GET", "/")) == {
        "links": {"jobs": "/jobs{?state}", "jobs.by_id": "/jobs/{jobs.id}", "ping": "/ping"}
    }


@pytest.mark.parametrize("target", ["/", "/jobs", "/nope", "/jobs/0", "/ping/"])
@pytest.mark.parametrize("authorization", ["", "rtot wrong", "Basic sup"])
def test_who_is_not_authorized(face: Face, target: str, authorization: str) -> None:
    for method in ("GET", "POST", "DELETE"):
        answer = face.ask(method, target, b"echo huh", authorization=authorization)
        assert answer.status == 401
        assert answer.body == b"Not Authorized\n"
        assert header(answer, "Content-Type") == "text/plain; charset=utf-8"
        assert header(answer, "WWW-Authenticate") is not None
    assert len(face.jobs) == 0


def test_no_jobs(face: Face) -> None:
    answer = face.ask("GET", "/jobs")
    assert (answer.status, value(answer)) == (200, {"jobs": []})


def test_a_job_from_beginning_to_end(face: Face) -> None:
    answer = face.ask("POST", "/jobs", b"echo wat is happening")
    assert (answer.status, header(answer, "Location")) == (201, "/jobs/0")
    new = {
        "id": 0,
        "state": "new",
        "start": NEVER,
        "complete": NEVER,
        "create": TIME,
        "href": "/jobs/0",
    }
    assert value(answer) == {"jobs": [new]}
    face.world.obey(face.now)
    face.jobs.output_received(0, Stream.OUT, b"out\n", face.now)
    face.jobs.output_received(0, Stream.ERR, b"err\n", face.now)
    running = {**new, "out": "out\n", "err": "err\n", "state": "running", "start": TIME}
    answer = face.ask("GET", "/jobs/0")
    assert (answer.status, header(answer, "Location")) == (202, "/jobs/0")
    assert header(answer, "Rtot-Exit") is None
    assert value(answer) == {"jobs": [running]}
    assert value(face.ask("GET", "/jobs?state=running")) == {"jobs": [running]}
    face.world.end(0, 3 << 8, face.now)
    complete = {**running, "state": "complete", "exit": "exit status 3", "complete": TIME}
    answer = face.ask("GET", "/jobs/0")
    assert (answer.status, header(answer, "Rtot-Exit")) == (200, "exit status 3")
    assert value(answer) == {"jobs": [complete]}
    assert value(face.ask("GET", "/jobs?state=complete")) == {"jobs": [complete]}
    assert value(face.ask("GET", "/jobs?state=nonsense")) == {"jobs": []}
    few = {"id": 0, "state": "complete", "exit": "exit status 3", "href": "/jobs/0"}
    for fields, more in [
        ("", {}),
        ("bogus", {}),
        ("out", {"out": "out\n"}),
        ("out,err,create", {"out": "out\n", "err": "err\n", "create": TIME}),
        ("filename,complete", {"filename": "/spool/job-0", "complete": TIME}),
    ]:
        answer = face.ask("GET", f"/jobs/0?fields={fields}")
        assert value(answer) == {"jobs": [{**few, **more}]}


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


def test_exits_of_jobs(face: Face) -> None:
    job = face.submit()
    assert face.jobs.take_job(face.now) is job
    face.jobs.not_started(job, "fork/exec /x: no such file or directory", face.now)
    face.complete(status=9)
    ends = [j.get("exit") for j in value(face.ask("GET", "/jobs?fields="))["jobs"]]
    assert ends == ["fork/exec /x: no such file or directory", "signal: killed"]
    answer = face.ask("GET", "/jobs/0/out")
    assert header(answer, "Rtot-Exit") == "fork/exec /x: no such file or directory"


@pytest.mark.parametrize(
    ("method", "target", "status", "body"),
    [
        (
            "GET",
            "/jobs/zzz",
            400,
            {"error": "invalid job number", "message": 'what is "zzz"?'},
        ),
        (
            "DELETE",
            "/jobs/zzz",
            400,
            {"error": "invalid job number", "message": 'what is "zzz"?'},
        ),
        ("GET", "/jobs/99", 404, {"jobs": []}),
        ("GET", "/jobs/-1", 404, {"jobs": []}),
        ("DELETE", "/jobs/99", 404, {"error": "no such job"}),
        (
            "GET",
            "/jobs/99/out",
            404,
            {"error": "no such job", "message": "there is no job 99"},
        ),
        (
            "GET",
            "/nope",
            404,
            {"error": "not found", "message": "there is nothing at /nope"},
        ),
        (
            "GET",
            "/jobs/",
            400,
            {"error": "invalid job number", "message": 'what is ""?'},
        ),
    ],
)
def test_what_is_not_there(face: Face, method: str, target: str, status: int, body: object) -> None:
    answer = face.ask(method, target)
    assert (answer.status, value(answer)) == (status, body)


@pytest.mark.parametrize(
    ("method", "target", "allow"),
    [
        ("PUT", "/jobs/1", "DELETE, GET, HEAD"),
        ("POST", "/", "DELETE, GET, HEAD"),
        ("POST", "/ping", "GET, HEAD"),
        ("OPTIONS", "/jobs", "DELETE, GET, HEAD, POST"),
        ("GET", "/jobs/0/kill", "POST"),
        ("HEAD", "/jobs/0/in", "POST"),
    ],
)
def test_methods(face: Face, method: str, target: str, allow: str) -> None:
    answer = face.ask(method, target)
    assert (answer.status, header(answer, "Allow")) == (405, allow)


@pytest.mark.parametrize("method", ["BREW", "get", "M-SEARCH", "X" * 300])
@pytest.mark.parametrize("authorization", ["rtot sup", "rtot wrong"])
def test_a_method_that_nobody_knows(face: Face, method: str, authorization: str) -> None:
    reply = face.reply(method, "/jobs", authorization=authorization)
    assert isinstance(reply, Reply)
    assert (reply.response.status, reply.anonymous) == (501, True)
    assert value(reply.response)["message"] == f"{method[:200]} is no method of HTTP"


def test_head_is_where_get_is(face: Face) -> None:
    face.complete()
    for target in ("/", "/ping", "/jobs", "/jobs/0", "/jobs/0/out", "/jobs/0/events"):
        assert face.ask("HEAD", target).status == face.ask("GET", target).status == 200


def test_delete_one(face: Face) -> None:
    face.run()
    answer = face.ask("DELETE", "/jobs/0")
    assert (answer.status, answer.body) == (204, b"")
    face.world.obey(face.now)
    assert face.world.alive == {}
    assert face.ask("GET", "/jobs/0").status == 404


def test_delete_by_state_and_label(face: Face) -> None:
    face.complete("/jobs?label=a")
    face.complete("/jobs?label=a&label=b")
    face.run("/jobs?label=a")
    assert face.ask("DELETE", "/jobs?state=complete&label=b").status == 204
    assert [j.id for j in face.jobs.page(Selection(), 0, 9, 9).jobs] == [0, 2]
    assert face.ask("DELETE", "/jobs?stat=complete").status == 400
    assert len(face.jobs) == 2
    assert face.ask("DELETE", "/jobs").status == 204
    assert len(face.jobs) == 0


def test_delete_everything(face: Face) -> None:
    face.run()
    assert face.ask("DELETE", "/").status == 204
    assert face.jobs.closing
    assert face.ask("POST", "/jobs", b"echo").status == 503


# Before a body is read.


def test_a_request_goes_on_with_its_body(face: Face) -> None:
    for target, body in (("/jobs?label=a&fields=label", b"echo"), ("/jobs/0/kill", b"ignored")):
        needed = face.answer("POST", target, None)
        assert isinstance(needed, NeedBody)
        answer = face.handler.go_on(needed, body, face.now)
        assert isinstance(answer, Response)
        assert answer.status in (200, 201)
    job = face.jobs.get(0)
    assert job is not None
    assert (job.options.labels, job.over) == (("a",), True)
    face.disk.broken = True
    needed = face.answer("POST", "/jobs", None)
    assert isinstance(needed, NeedBody)
    refused = face.handler.go_on(needed, b"echo", face.now)
    assert isinstance(refused, Response)
    assert refused.status == 507


def test_a_body_is_asked_for_only_when_it_is_welcome(face: Face) -> None:
    for method, target, limit in (("POST", "/jobs", 16 << 20), ("DELETE", "/jobs/0", 64 << 10)):
        answer = face.answer(method, target, None)
        assert isinstance(answer, NeedBody)
        assert answer.limit == limit
    # Nothing is kept for who needs no secret.
    ping = face.answer("GET", "/ping", None, authorization="")
    assert isinstance(ping, Response)
    assert ping.status == 200
    for target, status in [
        ("/jobs?arg", 201),
        ("/jobs?bogus=1", 400),
        ("/jobs?timeout=x", 400),
        ("/nope", 404),
        ("/ping", 405),
    ]:
        answer = face.answer("POST", target, None)
        found = answer.status if isinstance(answer, Response) else 201
        assert found == status
    answer = face.answer("POST", "/jobs", None, authorization="")
    assert isinstance(answer, Response)
    assert answer.status == 401


def test_a_body_that_is_too_large_is_refused_unread() -> None:
    face = Face(max_body=3)
    request = Request("POST", "/jobs", {"authorization": "rtot sup"}, 4, None)
    answer = face.handler.handle(request, PEER, face.now)
    assert isinstance(answer, Response)
    assert answer.status == 413


def test_content_encodings(face: Face) -> None:
    assert face.ask("POST", "/jobs", b"x", content_encoding="gzip").status == 415
    assert face.ask("POST", "/jobs", b"x", content_encoding="Identity").status == 201


@pytest.mark.parametrize("host", ["localhost:8457", "build.example", "127.0.0.1:8457"])
@pytest.mark.parametrize(
    "origin",
    [None, "null", "http://evil.example", "http://{}", "https://{}", "http://{}:1", "http://x.{}"],
)
@pytest.mark.parametrize(
    "site", [None, "none", "same-origin", "same-site", "cross-site", "something"]
)
def test_browsers(host: str, origin: str | None, site: str | None) -> None:
    """Only what is no page's, or a page's of this very server, gets further than this."""
    foreign = origin not in (None, "http://{}", "https://{}") or site in ("same-site", "cross-site")
    lines = [("Host", host)]
    if origin is not None:
        lines.append(("Origin", origin.format(host)))
    if site is not None:
        lines.append(("Sec-Fetch-Site", site))
    for kind in (None, "text/plain", "application/x-www-form-urlencoded", "application/json"):
        fields = [*lines, *([] if kind is None else [("Content-Type", kind)])]
        text = "".join(f"{name}: {value}\r\n" for name, value in fields)
        for method, target, allowed in (
            ("GET", "/ping", 200),
            ("POST", "/jobs", 201),
            ("DELETE", "/jobs", 204),
            ("OPTIONS", "/jobs", 405),
        ):
            server = PaperServer()
            body = "Content-Length: 4\r\n\r\necho" if method == "POST" else "\r\n"
            head = f"{method} {target} HTTP/1.1\r\nAuthorization: rtot sup\r\n{text}{body}"
            server.receive(head.encode())
            answer = server.output
            assert answer.startswith(b"HTTP/1.1 %d " % (403 if foreign else allowed))
            assert (server.jobs.last_id >= 0) == (method == "POST" and not foreign)
            assert b"access-control" not in answer.lower()
            for field in (
                b"X-Content-Type-Options: nosniff",
                b"Cache-Control: no-store",
                b"Content-Security-Policy: default-src 'none'",
            ):
                assert answer.count(b"\r\n%b\r\n" % field) == 1


# Options of a submission.


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


# Waiting.


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


@pytest.mark.parametrize(("until", "wakes"), [("all", 2), ("any", 1)])
def test_wait_for_a_set(face: Face, until: str, wakes: int) -> None:
    for _ in range(2):
        face.run("/jobs?label=x")
    face.run("/jobs?label=y")
    wait = face.answer("GET", f"/jobs?label=x&wait=5&until={until}&fields=")
    assert isinstance(wait, JobsWait)
    assert sorted(wait.topics) == [0, 1]
    face.world.end(0, 0, face.now)
    assert wait.changed(0) == (wakes == 1)
    face.world.end(1, 0, face.now)
    assert wait.changed(1)
    answer = wait.answer()
    assert isinstance(answer, Response)
    assert [j["id"] for j in value(answer)["jobs"]] == [0, 1]
    assert face.ask("GET", f"/jobs?label=x&wait=5&until={until}").status == 200


def test_any_that_is_complete_already(face: Face) -> None:
    face.complete("/jobs?label=x")
    face.run("/jobs?label=x")
    assert face.ask("GET", "/jobs?label=x&wait=5&until=any").status == 200
    assert isinstance(face.answer("GET", "/jobs?label=x&wait=5"), JobsWait)


@pytest.mark.parametrize("query", ["until=any", "wait=1&until=some", "limit=0", "from=x"])
def test_bad_lists(face: Face, query: str) -> None:
    assert face.ask("GET", f"/jobs?{query}").status == 400


def test_lease(face: Face) -> None:
    face.run()
    end_lease(0, face.jobs, face.settings, face.now)
    face.world.obey(face.now)
    assert face.world.alive == {}
    end_lease(0, face.jobs, face.settings, face.now)
    end_lease(99, face.jobs, face.settings, face.now)


# Lists.


def test_pages(face: Face) -> None:
    for _ in range(5):
        face.complete()
    seen: list[object] = []
    target: str | None = "/jobs?limit=2&fields="
    while target:
        answer = face.ask("GET", target)
        seen += [j["id"] for j in value(answer)["jobs"]]
        link = header(answer, "Link")
        target = link.partition(">")[0][1:] if link else None
        assert link is None or link.endswith('; rel="next"')
    assert seen == [0, 1, 2, 3, 4]
    assert header(face.ask("GET", "/jobs?limit=5"), "Link") is None
    assert [j["id"] for j in value(face.ask("GET", "/jobs?from=3"))["jobs"]] == [3, 4]


def test_a_page_looks_at_a_bounded_number(face: Face) -> None:
    for _ in range(4100):
        face.complete("/jobs?label=a")
    answer = face.ask("GET", "/jobs?limit=1&label=b&x=1".replace("&x=1", ""))
    assert value(answer) == {"jobs": []}
    assert header(answer, "Link") == '</jobs?limit=1&label=b&from=4096>; rel="next"'


def test_a_list_that_changes_while_it_is_told(face: Face) -> None:
    for _ in range(600):
        face.complete()
    answer = face.ask("GET", "/jobs?fields=")
    assert not isinstance(answer.body, bytes)
    first = answer.body.pull(1)
    assert isinstance(first, bytes)
    for job_id in (1, 300):
        face.ask("DELETE", f"/jobs/{job_id}")
    face.complete()
    told = [j["id"] for j in json.loads(first + pull(answer.body)[0])["jobs"]]
    assert told == [i for i in range(600) if i not in (1, 300)]


def test_the_unfinished_are_found_among_many(face: Face) -> None:
    face.complete()
    face.run()
    face.run()
    face.submit()
    ids = [j["id"] for j in value(face.ask("GET", "/jobs?state=running&from=2"))["jobs"]]
    assert ids == [2]
    assert [j["id"] for j in value(face.ask("GET", "/jobs?state=new"))["jobs"]] == [3]


# Raw output.


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
    assert (reply.lease, body.topic, body.trailers) == (0, 0, "Rtot-Exit")
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
    face.complete()
    authorization = {"authorization": "rtot sup"}
    request = Request("GET", "/jobs/0/out?follow&fail", authorization, http_1_0=True)
    answer = face.handler.handle(request, PEER, face.now)
    assert isinstance(answer, Response)
    assert answer.status == 400


@pytest.mark.parametrize("query", ["fail", "lease", "follow=x", "offset=-1", "bogus"])
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


# Stdin, kill, timeout.


def test_upload(face: Face) -> None:
    face.run("/jobs?stdin=open")
    answer = face.answer("POST", "/jobs/0/in?close", None)
    assert isinstance(answer, Upload)
    assert (answer.job_id, answer.close) == (0, True)
    assert value(uploaded(0, 5, face.jobs)) == {"written": 5}
    assert uploaded(9, 5, face.jobs).status == 409
    face.world.end(0, 0, face.now)
    assert face.ask("POST", "/jobs/0/in").status == 409
    face.run()
    assert face.ask("POST", "/jobs/1/in").status == 409


def test_kill(face: Face) -> None:
    face.run()
    wait = face.answer("POST", "/jobs/0/kill")
    assert isinstance(wait, StopWait)
    face.world.obey(face.now)
    assert not wait.changed(0)
    face.jobs.expire(at(1.02))
    face.world.obey(at(1.02))
    assert wait.changed(0)
    answer = wait.answer()
    assert isinstance(answer, Response)
    assert value(answer) == {
        "signal": "SIGTERM",
        "signalled": [{"pid": 1000, "command": "job-0"}],
        "escalated": [],
        "surviving": [],
    }
    assert face.ask("POST", "/jobs/0/kill").status == 409


@pytest.mark.parametrize(
    ("query", "signal", "grace"),
    [
        ("", Signals.SIGTERM, 5.0),
        ("?signal=int", Signals.SIGINT, 5.0),
        ("?signal=SIGUSR1", Signals.SIGUSR1, None),
        ("?signal=1", Signals.SIGHUP, None),
        ("?signal=HUP&grace=2", Signals.SIGHUP, 2.0),
    ],
)
def test_signals(face: Face, query: str, signal: Signals, grace: float | None) -> None:
    job = face.run()
    answer = face.answer("POST", f"/jobs/0/kill{query}")
    assert isinstance(answer, StopWait)
    assert answer.deadline == 1.0 + (grace or 0.0) + 60.0
    face.world.obey(face.now)
    assert job.status == int(signal)


@pytest.mark.parametrize("query", ["signal=NO", "signal=99", "grace=x", "tree=x", "bogus"])
def test_bad_kills(face: Face, query: str) -> None:
    job = face.run()
    assert face.ask("POST", f"/jobs/0/kill?{query}").status == 400
    face.world.obey(face.now)
    assert job.state is State.RUNNING


def test_kill_what_has_not_started(face: Face) -> None:
    job = face.submit()
    assert face.ask("POST", "/jobs/0/kill?signal=USR1").status == 409
    answer = face.ask("POST", "/jobs/0/kill")
    assert value(answer)["signalled"] == []
    assert job.state is State.COMPLETE


def test_timeouts(face: Face) -> None:
    face.run()
    answer = face.ask("POST", "/jobs/0/timeout?after=1m")
    assert value(answer)["jobs"][0]["timeout"] == 60
    assert face.ask("POST", "/jobs/0/timeout").status == 400
    face.world.end(0, 0, face.now)
    assert face.ask("POST", "/jobs/0/timeout?after=1m").status == 409


# Events.


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
        ("running", "2.0.0", None, None),
        ("out", "2.4.0", "one\n", 0),
        ("err", "2.4.4", "two\n", 0),
        ("out", "2.10.4", "three\n", 4),
        ("complete", "3.10.4", None, None),
    ]
    assert told[2]["time"] == "2023-11-14 22:13:23 +0000 UTC"
    assert (told[-1]["exit"], told[-1]["code"]) == ("exit status 3", 3)
    for index, event in enumerate(told[:-1]):
        assert events(face, last_event_id=str(event["id"])) == told[index + 1 :]
    assert face.ask("GET", "/jobs/0/events", last_event_id="3.10.4").status == 204


def test_server_sent_events(face: Face) -> None:
    face.complete(out=b"a\nb")
    answer = face.ask("GET", "/jobs/0/events")
    assert header(answer, "Content-Type") == "text/event-stream"
    blocks = text(answer).split("\n\n")
    assert blocks[-1] == ""
    lines = blocks[2].split("\n")
    assert lines[:2] == ["id: 2.3.0", "event: out"]
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
    assert events(face, last_event_id="2.1.1")[1]["text"] == "\U0001f600"
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


@pytest.mark.parametrize("identity", ["x", "1.2", "1.2.3.4", "4.0.0", "1.-1.0", "2.99.0", "1.0.9"])
def test_ids_that_are_none(face: Face, identity: str) -> None:
    face.run()
    assert face.ask("GET", "/jobs/0/events", last_event_id=identity).status == 400


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
    for target in ("/jobs", "/jobs/0/events"):
        body = face.ask("GET", target).body
        assert not isinstance(body, bytes)
        assert body.pull(1 << 20) == End(broken=True)


def test_a_path_may_be_encoded(face: Face) -> None:
    assert face.ask("GET", "/%6aobs").status == 200
    assert face.ask("GET", "/jobs%2f0").status == 404


def test_an_address_that_guesses_is_told_to_wait(face: Face) -> None:
    for _ in range(20):
        assert face.ask("GET", "/", authorization="rtot guess").status == 401
    reply = face.reply("GET", "/")
    assert isinstance(reply, Reply)
    assert reply.response.status == 429
    assert header(reply.response, "Retry-After") == "1"
    assert reply.anonymous


def test_how_long_it_has_been_up(face: Face) -> None:
    face.now = at(3.5)
    face.handler = Handler(face.settings, Authenticator((SECRET,)), face.jobs, at(1.25))
    assert value(face.ask("GET", "/ping"))["ping"][0]["uptime"] == "2.25s"


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


@pytest.mark.parametrize(
    ("query", "deadline"), [("", 66.0), ("?grace=2", 63.0), ("?signal=HUP", 61.0)]
)
def test_a_receipt_is_waited_for_beyond_the_grace(face: Face, query: str, deadline: float) -> None:
    face.run()
    wait = face.answer("POST", f"/jobs/0/kill{query}")
    assert isinstance(wait, StopWait)
    assert wait.deadline == deadline


@pytest.mark.parametrize(
    ("request_line", "scope"),
    [
        ("POST /jobs/0/kill", Scope.TREE),
        ("POST /jobs/0/kill?tree=0", Scope.GROUP),
        ("DELETE /jobs/0", Scope.TREE),
        ("DELETE /jobs/0?tree=0", Scope.GROUP),
        ("DELETE /jobs", Scope.TREE),
    ],
)
def test_to_whom_a_signal_goes(face: Face, request_line: str, scope: Scope) -> None:
    face.run()
    method, target = request_line.split()
    face.answer(method, target)
    (command,) = face.jobs.take_commands()
    assert isinstance(command, Signal)
    assert (command.signal, command.scope) == (Signals.SIGTERM, scope)


def test_the_length_of_a_key(face: Face) -> None:
    assert face.ask("POST", "/jobs", b"echo", idempotency_key="k" * 255).status == 201
    assert face.ask("POST", "/jobs", b"echo", idempotency_key="k" * 256).status == 400
    assert face.ask("POST", "/jobs", b"echo", idempotency_key="").status == 400


def test_the_length_of_a_label(face: Face) -> None:
    assert face.ask("POST", f"/jobs?label={'l' * 255}", b"echo").status == 201
    assert face.ask("POST", f"/jobs?label={'l' * 256}", b"echo").status == 400


def test_the_length_of_a_body_that_nobody_wants(face: Face) -> None:
    for length, wanted in ((65536, True), (65537, False)):
        request = Request("GET", "/jobs", {"host": "a", "authorization": "rtot sup"}, length, None)
        answer = face.handler.handle(request, PEER, face.now)
        assert (isinstance(answer, NeedBody) and answer.limit == 65536) == wanted
        assert wanted or (isinstance(answer, Response) and answer.status == 413)


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


def test_an_event_tells_a_bounded_piece(face: Face) -> None:
    face.complete(out=b"x" * 150_000)
    answer = face.ask("GET", "/jobs/0/events", accept="application/x-ndjson")
    events = [json.loads(line) for line in text(answer).splitlines()]
    lengths = [len(event["text"]) for event in events if event["event"] == "out"]
    assert lengths == [65536, 65536, 150_000 - 131_072]


@pytest.mark.parametrize(("count", "more"), [(4096, False), (4097, True)])
def test_how_many_jobs_a_page_looks_at(face: Face, count: int, more: bool) -> None:
    for _ in range(count):
        face.jobs.submit(b"", face.now)
    answer = face.ask("GET", "/jobs?limit=1&label=x&fields=")
    assert value(answer) == {"jobs": []}
    link = '</jobs?limit=1&label=x&fields=&from=4096>; rel="next"'
    assert header(answer, "Link") == (link if more else None)


def test_a_list_pauses_now_and_then(face: Face) -> None:
    for _ in range(600):
        face.jobs.submit(b"", face.now)
    answer = face.ask("GET", "/jobs?label=x")
    assert not isinstance(answer.body, bytes)
    # It looks at 256 jobs at a time, and then lets others have their turn.
    assert [answer.body.pull(1 << 20) for _ in range(2)] == [b""] * 2
    assert answer.body.pull(1 << 20) == b'{"jobs":[]}\n'


def test_a_list_of_more_than_one_look_tells_each_job_once(face: Face) -> None:
    for _ in range(600):
        face.jobs.submit(b"", face.now)
    told = value(face.ask("GET", "/jobs?fields="))["jobs"]
    assert [job["id"] for job in told] == list(range(600))


def test_a_list_is_told_in_portions_of_what_is_asked_for(face: Face) -> None:
    for _ in range(200):
        face.jobs.submit(b"", face.now)
    answer = face.ask("GET", "/jobs?fields=")
    assert not isinstance(answer.body, bytes)
    whole = len(json.dumps(value(face.ask("GET", "/jobs?fields=")), separators=(",", ":"))) + 1
    sizes = []
    while not isinstance(piece := answer.body.pull(1000), End):
        assert isinstance(piece, bytes)
        sizes.append(len(piece))
    assert sum(sizes) == whole
    # As much as was asked for, and at most one more job.
    assert all(1000 <= size < 1100 for size in sizes[:5])


def test_events_are_resumed_far_into_the_story(face: Face) -> None:
    job = face.run()
    for index in range(5):
        for stream in Stream:
            face.now = at(2 + index)
            face.jobs.output_received(job.id, stream, bytes([97 + index]) * 1000, face.now)
    answer = face.ask(
        "GET", "/jobs/0/events", accept="application/x-ndjson", last_event_id="2.4000.4000"
    )
    told = [json.loads(line) for line in text(answer).splitlines()]
    assert [(event["event"], event["offset"], event["text"]) for event in told] == [
        ("out", 4000, "e" * 1000),
        ("err", 4000, "e" * 1000),
    ]
