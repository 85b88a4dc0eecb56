"""Bytes to bytes: connection, handler and job table together, without a socket."""

import random

import h11
from hypothesis import example, given
from hypothesis import strategies as st

from rtot.config import Settings
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


@given(streams())
def test_without_the_secret_there_is_never_a_job(data: bytes) -> None:
    server = serve([data.replace(b"sup", b"pus")])
    assert server.jobs.last_id == -1
    assert server.disk.scripts == {}


@given(st.binary(max_size=400), st.integers(0, 1 << 30))
def test_any_bytes_at_all(data: bytes, seed: int) -> None:
    assert serve(split(data, seed)).output == serve([data]).output
