"""Requests in, answers out, with a real job table and no process: what concerns all routes."""

import json

import pytest

from rtot.api.answers import NeedBody
from rtot.api.auth import Authenticator
from rtot.api.handler import Handler
from rtot.api.processes import ExaminationWait
from rtot.api.routes import ROUTES, is_offered
from rtot.http.messages import Request, Response
from rtot.jobs.output import Stream
from tests.api.face import NEVER, TIME, Face, header, text, value
from tests.world import CREDENTIALS, PEER, SERVER, PaperServer, at


def events(face: Face, target: str = "/jobs/0/events", **headers: str) -> list[dict[str, object]]:
    answer = face.ask("GET", target, b"", accept="application/x-ndjson", **headers)
    assert header(answer, "Content-Type") == "application/x-ndjson"
    return [json.loads(line) for line in text(answer).splitlines()]


def test_ping(face: Face) -> None:
    answer = face.ask("GET", "/ping", authorization="")
    assert answer.status == 200
    assert header(answer, "Content-Type") == "application/json; charset=UTF-8"
    assert value(answer) == {"ping": [{"message": "still here", "uptime": "1s"}]}


def test_links(face: Face) -> None:
    links = value(face.ask("GET", "/"))["links"]
    # As the original, and then everything else.
    assert dict(list(links.items())[:3]) == {
        "jobs": "/jobs{?state}",
        "jobs.by_id": "/jobs/{jobs.id}",
        "ping": "/ping",
    }
    assert links["jobs.events"] == "/jobs/{jobs.id}/events"
    assert links["openapi"] == "/openapi.json"


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
    few = {"id": 0, "state": "complete", "exit": "exit status 3", "href": "/jobs/0"}
    for fields, more in [
        ("", {}),
        ("out", {"out": "out\n"}),
        ("out,err,create", {"out": "out\n", "err": "err\n", "create": TIME}),
        ("filename,complete", {"filename": "/spool/job-0", "complete": TIME}),
    ]:
        answer = face.ask("GET", f"/jobs/0?fields={fields}")
        assert value(answer) == {"jobs": [{**few, **more}]}


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
            {
                "error": "invalid job number",
                "message": 'what is ""? want /jobs for all jobs, or /jobs/ID for one',
            },
        ),
        (
            "POST",
            "/jobs/",
            405,
            {
                "error": "method not allowed",
                "message": "/jobs/ takes DELETE, GET, HEAD;"
                " without the slash at its end it is something else",
            },
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
    answer = face.ask(method, "/jobs", authorization=authorization)
    assert answer.status == 501
    assert value(answer)["message"] == f"{method[:200]} is no method of HTTP"


def test_head_is_where_get_is(face: Face) -> None:
    face.complete()
    for route in ROUTES:
        if route.method == "GET" and is_offered(route, face.settings):
            target = route.path.replace("{id}", "0").replace("{name}", "app.js")
            for method in ("HEAD", "GET"):
                answer = face.answer(method, target)
                if isinstance(answer, ExaminationWait):
                    face.world.obey(face.now)
                    answer = answer.answer()
                assert isinstance(answer, Response)
                assert answer.status == 200


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
    answer = face.handler.handle(request, PEER, face.now).answer
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
    if site is not None:
        foreign = site not in ("same-origin", "none")
    else:
        foreign = origin not in (None, "http://{}", "https://{}")
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


def test_a_path_may_be_encoded(face: Face) -> None:
    assert face.ask("GET", "/%6aobs").status == 200
    assert face.ask("GET", "/jobs%2f0").status == 404


def test_an_address_that_guesses_is_told_to_wait(face: Face) -> None:
    for _ in range(20):
        assert face.ask("GET", "/", authorization="rtot guess").status == 401
    answer = face.ask("GET", "/")
    assert answer.status == 429
    assert header(answer, "Retry-After") == "1"


def test_how_long_it_has_been_up(face: Face) -> None:
    face.now = at(3.5)
    face.handler = Handler(face.settings, Authenticator(CREDENTIALS), face.jobs, at(1.25), SERVER)
    assert value(face.ask("GET", "/ping"))["ping"][0]["uptime"] == "2.25s"


def test_the_length_of_a_body_that_nobody_wants(face: Face) -> None:
    for length, wanted in ((65536, True), (65537, False)):
        request = Request("GET", "/jobs", {"host": "a", "authorization": "rtot sup"}, length, None)
        answer = face.handler.handle(request, PEER, face.now).answer
        assert (isinstance(answer, NeedBody) and answer.limit == 65536) == wanted
        assert wanted or (isinstance(answer, Response) and answer.status == 413)


def test_a_request_for_another_server_is_refused(face: Face) -> None:
    for target in ("/jobs", "/jobs?bogus", "/nowhere", "/ping"):
        answer = face.ask("GET", target, rtot_server="another")
        assert (answer.status, SERVER in text(answer)) == (412, True), target
    assert face.ask("POST", "/jobs", b"echo", rtot_server="another").status == 412
    assert len(face.jobs) == 0
    assert face.ask("POST", "/jobs", b"echo", rtot_server=SERVER).status == 201


def test_a_stranger_is_not_told_which_server_it_is_not(face: Face) -> None:
    answer = face.ask("GET", "/jobs", rtot_server="another", authorization="rtot wrong")
    assert answer.status == 401


def test_every_answer_tells_of_which_server_it_is() -> None:
    server = PaperServer()
    server.receive(b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\nGET  HTTP\r\n\r\n")
    assert server.output.count(f"\r\nRtot-Server: {SERVER}\r\n".encode()) == 2
