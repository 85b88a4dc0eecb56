"""Who gets the page, and what it may do."""

import pytest

from rtot.http.connection import HttpConnection
from rtot.http.messages import Request
from tests.api.face import PAGE, Face, header, value
from tests.world import PEER, at


@pytest.mark.parametrize(
    "accept",
    [
        "text/html",
        "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        "application/json, text/html;q=0.1",
    ],
)
def test_a_browser_gets_the_page_without_a_secret(face: Face, accept: str) -> None:
    answer = face.ask("GET", "/", authorization="", accept=accept)
    assert (answer.status, answer.body) == (200, PAGE["index.html"])
    assert header(answer, "Content-Type") == "text/html; charset=utf-8"
    assert header(answer, "Vary") == "Accept"


@pytest.mark.parametrize("accept", ["*/*", "application/json", "", "text/*"])
def test_everybody_else_gets_the_links(face: Face, accept: str) -> None:
    assert face.ask("GET", "/", authorization="", accept=accept).status == 401
    answer = face.ask("GET", "/", accept=accept)
    assert value(answer)["links"]["jobs.by_id"] == "/jobs/{jobs.id}"
    assert value(answer)["role"] == "admin"
    assert header(answer, "Vary") == "Accept"


def test_only_get_of_the_root_is_the_page(face: Face) -> None:
    assert face.ask("DELETE", "/", authorization="", accept="text/html").status == 401
    assert face.ask("GET", "/jobs", authorization="", accept="text/html").status == 401


def test_files(face: Face) -> None:
    answer = face.ask("GET", "/page/app.js", authorization="")
    assert answer.body == b"go()"
    assert header(answer, "Content-Type") == "text/javascript; charset=utf-8"
    policy = header(answer, "Content-Security-Policy")
    assert policy is not None
    assert "default-src 'none'; script-src 'self'" in policy
    assert "unsafe" not in policy
    for name in ("nope.js", "..%2fapp.js", "app", "app.py"):
        assert face.ask("GET", f"/page/{name}", authorization="").status == 404
    assert face.ask("POST", "/page/app.js").status == 405


def test_the_page_has_its_own_policy_and_all_else_none(face: Face) -> None:
    for target, policy in (
        ("/page/app.js", b"script-src 'self'"),
        ("/ping", b"default-src 'none'"),
    ):
        http = HttpConnection(face.settings, at(1))
        http.receive_data(f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode(), at(1))
        request = http.next_request(at(1))
        assert isinstance(request, Request)
        authorized = request._replace(headers={**request.headers, "authorization": "rtot sup"})
        answer = face.handler.handle(authorized, PEER, at(1)).answer
        http.respond(answer, at(1))  # type: ignore[arg-type]
        head = b"".join(piece for piece in http.data_to_send(at(1)) if isinstance(piece, bytes))
        lines = [x for x in head.split(b"\r\n") if x.startswith(b"Content-Security-Policy: ")]
        assert len(lines) == 1
        assert policy in lines[0]
