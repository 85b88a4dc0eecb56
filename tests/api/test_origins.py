"""Which pages may use the server, and what a browser is told."""

import pytest

from rtot.api.origins import judge, mark
from rtot.http.messages import Request, Response
from tests.api.face import Face, header

CI = "https://ci.example"


def request(method: str = "GET", target: str = "/jobs", **headers: str) -> Request:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request(method, target, {"host": "rtot.example", **fields})


@pytest.mark.parametrize(
    ("headers", "refused"),
    [
        ({}, False),
        ({"origin": CI}, False),
        # Its Sec-Fetch-Site is what it is, and the origin is allowed all the same.
        ({"origin": CI, "sec_fetch_site": "cross-site"}, False),
        ({"origin": "https://ci.example:8443"}, True),
        ({"origin": "https://other.example"}, True),
        ({"origin": "null"}, True),
        ({"origin": "https://rtot.example"}, False),
        ({"origin": "http://rtot.example"}, False),
        ({"origin": "https://other.example", "sec_fetch_site": "same-site"}, True),
        ({"sec_fetch_site": "cross-site"}, True),
        ({"sec_fetch_site": "none"}, False),
        # Behind a proxy that rewrites Host.
        ({"origin": "https://public.example", "sec_fetch_site": "same-origin"}, False),
        ({"origin": "https://rtot.example", "sec_fetch_site": "cross-site"}, True),
    ],
)
def test_pages(headers: dict[str, str], refused: bool) -> None:
    answer = judge(request(**headers), (CI,))
    assert (answer is not None) == refused
    assert answer is None or answer.status == 403
    # Without the flag nothing of another origin is let in.
    if headers.get("origin") == CI:
        closed = judge(request(**headers), ())
        assert closed is not None
        assert closed.status == 403


@pytest.mark.parametrize(
    ("method", "target", "mode", "dest", "refused"),
    [
        ("GET", "/", "navigate", "document", False),
        ("GET", "/?x=1", "navigate", "document", False),
        ("GET", "/", "navigate", "iframe", True),
        ("GET", "/", "no-cors", "image", True),
        ("GET", "/jobs", "navigate", "document", True),
        ("DELETE", "/", "navigate", "document", True),
        ("POST", "/", "navigate", "document", True),
    ],
)
def test_a_link_to_the_server_may_be_followed(
    method: str, target: str, mode: str, dest: str, refused: bool
) -> None:
    asked = request(
        method, target, sec_fetch_site="cross-site", sec_fetch_mode=mode, sec_fetch_dest=dest
    )
    assert (judge(asked, ()) is not None) == refused


def test_a_preflight_needs_no_secret() -> None:
    face = Face(allowed_origins=(CI,))
    asked = {
        "access_control_request_method": "DELETE",
        "access_control_request_headers": "authorization",
        "authorization": "",
    }
    answer = face.ask("OPTIONS", "/jobs/7", b"", origin=CI, **asked)
    assert answer.status == 204
    assert "DELETE" in (header(answer, "Access-Control-Allow-Methods") or "")
    assert "Authorization" in (header(answer, "Access-Control-Allow-Headers") or "")
    assert header(answer, "Access-Control-Allow-Credentials") is None
    assert (
        face.ask("OPTIONS", "/jobs/7", b"", origin="https://other.example", **asked).status == 403
    )
    assert Face().ask("OPTIONS", "/jobs/7", b"", origin=CI, **asked).status == 403
    # No preflight, so it is a request like any other.
    assert face.ask("OPTIONS", "/jobs/7", b"", origin=CI).status == 405


def test_what_a_page_may_read() -> None:
    response = Response(200, (("Location", "/jobs/1"),), b"x")
    assert mark(response, request(origin=CI), ()) is response
    marked = mark(response, request(origin=CI), (CI,))
    assert header(marked, "Access-Control-Allow-Origin") == CI
    exposed = header(marked, "Access-Control-Expose-Headers") or ""
    for name in ("Location", "Link", "Rtot-Exit", "Rtot-Dropped", "Rtot-Hint", "Rtot-Seq"):
        assert name in exposed.split(", ")
    assert header(marked, "Access-Control-Allow-Credentials") is None
    for asked in (request(), request(origin="https://other.example"), None):
        other = mark(response, asked, (CI,))
        assert header(other, "Vary") == "Origin"
        assert header(other, "Access-Control-Allow-Origin") is None
