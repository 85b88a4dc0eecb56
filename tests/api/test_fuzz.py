"""Bytes to bytes: connection, handler and job table together, without a socket."""

import inspect
import random
import re

import h11
from hypothesis import example, given
from hypothesis import strategies as st

from rtot.api.routes import ROUTES
from rtot.config import Settings
from rtot.http import gate, incoming
from rtot.http.connection_state import State
from tests.world import PaperServer, request

SETTINGS = Settings(max_request_line=300, max_head=600, max_headers=12, max_body=200)

CHUNKED = (
    b"POST /jobs HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer sup\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n4\r\necho\r\n2;x=y\r\n h\r\n0\r\nA: b\r\n\r\n"
)
SEEDS = [
    request("GET", "/ping", secret=None),
    request("GET", "/"),
    request("GET", "/jobs?fields=*"),
    request("HEAD", "/jobs/0"),
    request("POST", "/jobs", b"echo hi"),
    request("POST", "/jobs?wait=1&label=a&stdin=open", b"cat"),
    request("POST", "/jobs?arg=%FF&env=A=%FF&label=%FF&cwd=/tmp/%FF&fields=*", b"echo"),
    request("GET", "/jobs?fields=*&label=%FF"),
    request("POST", "/jobs?follow&fail&lease=60&stderr=out", b"echo"),
    request("POST", "/jobs?follow=events&times=unix", b"echo", ("Accept", "application/x-ndjson")),
    request("POST", "/jobs", b"echo", ("Rtot-Env", "A=%FF, B=1"), ("Rtot-Arg", "x%2Cy")),
    request("GET", "/jobs/0/out?tail=1&fail"),
    request("GET", "/jobs?last=2&tail=1K"),
    request("GET", "/jobs?since=0&limit=1&wait=1"),
    request("OPTIONS", "/jobs", b"", ("Origin", "a"), ("Access-Control-Request-Method", "GET")),
    request("POST", "/jobs", b"echo", ("Idempotency-Key", "k")),
    request("POST", "/jobs/0/in?close", b"input"),
    request("POST", "/jobs/0/kill", b""),
    request("POST", "/jobs/0/timeout?after=1m", b""),
    request("GET", "/jobs/0/out?follow"),
    request("GET", "/jobs/0/events", b"", ("Accept", "application/x-ndjson")),
    request("GET", "/jobs/0/out", b"", ("Range", "bytes=0-1")),
    request("DELETE", "/jobs/0"),
    request("DELETE", "/jobs?state=complete"),
    request("POST", "/jobs", b"x" * 300),
    request("POST", "/jobs", b"echo", ("Expect", "100-continue")),
    request("GET", "/", b"", ("Connection", "close")),
    b"GET /jobs HTTP/1.0\r\nAuthorization: rtot sup\r\n\r\n",
    CHUNKED,
    *(request(route.method, route.path.replace("{id}", "0")) for route in ROUTES),
]
SPLICES = [b"\r\n", b"\n", b"\0", b" ", b":", b"Host: b\r\n", b"Content-Length: 3\r\n", b"\xff"]


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """A few requests, some of them spoilt."""
    data = b""
    for seed in draw(st.lists(st.sampled_from(SEEDS), max_size=5)):
        piece = bytearray(seed)
        for _ in range(draw(st.integers(0, 2)) if draw(st.booleans()) else 0):
            at = draw(st.integers(0, len(piece)))
            match draw(st.integers(0, 2)):
                case 0:
                    piece[at:at] = draw(st.sampled_from(SPLICES))
                case 1:
                    del piece[at : at + draw(st.integers(1, 20))]
                case _:
                    piece[at : at + 1] = draw(st.binary(min_size=1, max_size=2))
        data += piece
    return data


def serve(pieces: list[bytes], settings: Settings = SETTINGS) -> PaperServer:
    server = PaperServer(settings)
    for piece in pieces:
        if piece:
            server.receive(piece)
    server.receive(b"")
    return server


def split(data: bytes, seed: int) -> list[bytes]:
    chance = random.Random(seed)
    cuts = sorted(chance.randrange(len(data) + 1) for _ in range(chance.randrange(12)))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]


@given(streams(), st.integers(0, 1 << 30))
@example(CHUNKED, 0)
@example(b"\r\n" * 5, 1)
def test_any_split_of_the_input_gives_the_same_output(data: bytes, seed: int) -> None:
    whole = serve([data])
    for pieces in (split(data, seed), [data[i : i + 1] for i in range(len(data))]):
        server = serve(pieces)
        assert server.output == whole.output
        assert server.jobs.last_id == whole.jobs.last_id


@given(streams())
@example(request("HEAD", "/jobs/0") + request("POST", "/jobs", b"echo", ("Expect", "100-continue")))
def test_every_output_can_be_parsed(data: bytes) -> None:
    server = serve([data])
    output = server.output
    for method in server.answered:
        reader = h11.Connection(h11.CLIENT)
        reader.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
        reader.send(h11.EndOfMessage())
        reader.receive_data(output)
        event = reader.next_event()
        while isinstance(event, h11.InformationalResponse):
            event = reader.next_event()
        assert isinstance(event, h11.Response)
        assert 200 <= event.status_code < 600
        while isinstance(event := reader.next_event(), h11.Data):
            pass
        if event is h11.NEED_DATA:
            # A body that is followed for as long as the job runs, or one that was broken off.
            return
        assert isinstance(event, h11.EndOfMessage)
        output = reader.trailing_data[0]
    assert output in (b"", b"HTTP/1.1 100 Continue\r\n\r\n")


# What the gate says when it refuses, up to where a number stands in it.
REFUSALS = (
    *("a folded line", "a malformed header", "a request that is not HTTP"),
    "the request ends in its body",
    *(
        text
        for module in (gate, incoming)
        for text in re.findall(r'RefusedError\(\s*[0-9]+, f?"([^"{]+)', inspect.getsource(module))
    ),
)


def plain(data: bytes) -> list[tuple[bytes, bytes, bytes] | None]:
    """What a plain h11 server makes of a stream: method, target and body of each request.

    At the end None for what it refuses. It is let off blank lines, which it takes for a fault.
    """
    found: list[tuple[bytes, bytes, bytes] | None] = []
    body = b""
    server = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    server.receive_data(data)
    server.receive_data(b"")
    while True:
        if server.their_state is h11.IDLE:
            rest = server.trailing_data[0]
            if rest.startswith(b"\r\n"):
                return found + plain(rest[2:])
        try:
            event = server.next_event()
        except h11.RemoteProtocolError:
            return [*found, None]
        if isinstance(event, h11.Request):
            asked, body = event, b""
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            found.append((asked.method, asked.target, body))
            server.send(h11.Response(status_code=204, headers=[]))
            server.send(h11.EndOfMessage())
            if server.our_state is not h11.DONE:
                return found
            server.start_next_cycle()
        else:
            return found


@given(streams())
@example(b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n")
@example(b"GET / HTTP/1.1\nHost: a\n\n")
@example(request("GET", "/ping").replace(b"HTTP/1.1", b"HTTP/1.2"))
@example(request("HEAD", "/jobs/0", b"x").replace(b"Content-Length: 1", b"Content-Length: 1, 1"))
@example(CHUNKED.replace(b"A: b", b"A: b\n\n") + request("GET", "/jobs"))
@example(CHUNKED.replace(b"2;x=y", b"2;x\ry") + request("GET", "/jobs"))
@example(CHUNKED.replace(b"0\r\nA: b\r\n", b"0\r\nHost: b\r\n") + request("GET", "/jobs"))
@example(CHUNKED.replace(b"0\r\nA: b\r\n\r\n", b"0\r\n\n") + request("GET", "/jobs"))
@example(CHUNKED.replace(b"chunked", b"chunked\r\nContent-Length: 3"))
@example(request("GET", "/jobs", b"", ("Upgrade", "h2c")) + request("GET", "/"))
@example(request("POST", "/jobs", b"echo", ("Expect", "100-continue")) + request("GET", "/jobs"))
@example(b"\r\n" + request("GET", "/jobs") + b"\r\n\r\n" + request("GET", "/jobs"))
def test_like_a_plain_h11_server_or_refused_by_name(data: bytes) -> None:
    server = serve([data])
    theirs = plain(data)
    closed = b"\r\nConnection: close\r\n" in server.output
    for index, ours in enumerate(server.handler.asked):
        assert index < len(theirs)
        his = theirs[index]
        if his is None:
            # A fault in the body: ours was answered by its head, or refused.
            assert closed
            break
        assert (ours.method.encode(), ours.target.encode()) == his[:2]
        if ours.body is not None:
            assert ours.body == his[2]
    # It ends early by closing, or while an answer goes on for as long as its job does.
    if len(server.handler.asked) < len(theirs):
        assert closed or server.connection.state is State.RESPONDING
    if why := server.connection.refused:
        assert why.startswith(REFUSALS) or why.endswith(" more than once"), why


@given(streams())
def test_without_the_secret_there_is_never_a_job(data: bytes) -> None:
    server = serve([data.replace(b"sup", b"pus")])
    assert server.jobs.last_id == -1
    assert server.disk.scripts == {}


@given(st.binary(max_size=400), st.integers(0, 1 << 30))
def test_any_bytes_at_all(data: bytes, seed: int) -> None:
    assert serve(split(data, seed)).output == serve([data]).output
