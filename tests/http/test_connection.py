import json
import math

import h11
import pytest

from rtot.config import Settings
from rtot.http.connection import HttpConnection
from rtot.http.connection_state import TRANSITIONS, Event, State
from rtot.http.messages import BROKEN, THE_END, End, Request, Response
from rtot.storage import FileSpan
from tests.tables import drawn
from tests.world import MemoryDisk, at, request

SETTINGS = Settings(max_buffer=1000)


class Script:
    """A body that answers what the test says, in that order."""

    def __init__(
        self, *steps: bytes | FileSpan | End | None, length: int | None = None, trailers: str = ""
    ) -> None:
        self.steps = list(steps)
        self.length = length
        self.trailers = trailers
        self.topic: int | None = 5

    def pull(self, limit: int) -> bytes | FileSpan | End | None:
        assert limit > 0
        return self.steps.pop(0)


def connect(settings: Settings = SETTINGS) -> HttpConnection:
    return HttpConnection(settings, at(0))


def asked(*data: bytes, settings: Settings = SETTINGS) -> tuple[HttpConnection, Request]:
    connection = connect(settings)
    for piece in data:
        connection.receive_data(piece, at(1))
    received = connection.next_request(at(1))
    assert received is not None
    return connection, received


def drain(connection: HttpConnection, seconds: float = 2) -> bytes:
    output = b""
    if connection.refusal is not None:
        connection.respond(connection.refusal, at(seconds))
    while pieces := connection.data_to_send(at(seconds)):
        for piece in pieces:
            if isinstance(piece, FileSpan):
                output += piece.file.read(piece.offset, piece.length)
            else:
                output += piece
        connection.sent(sum(map(len, pieces)), at(seconds))
    return output


TABLE = drawn(
    """
           RECEIVED HEAD_ENDED BODY_WANTED STREAM_WANTED BODY_ENDED REFUSED ANSWERED   SENT SENT_LAST SENT_PART CLOSED
FRESH      HEAD     HANDED     -           -             -          REFUSED -          -    -         -         CLOSED
IDLE       HEAD     HANDED     -           -             -          REFUSED -          -    -         -         CLOSED
HEAD       -        HANDED     -           -             -          REFUSED -          -    -         -         CLOSED
HANDED     -        -          BODY        STREAMING     -          -       RESPONDING -    -         -         CLOSED
BODY       -        -          -           -             HANDED     REFUSED RESPONDING -    -         -         CLOSED
STREAMING  -        -          -           -             -          REFUSED RESPONDING -    -         -         CLOSED
REFUSED    -        -          -           -             -          -       RESPONDING -    -         -         CLOSED
RESPONDING -        -          -           -             -          -       -          IDLE LINGERING BREAKING  CLOSED
BREAKING   -        -          -           -             -          -       -          -    -         -         CLOSED
LINGERING  -        -          -           -             -          -       -          -    -         -         CLOSED
CLOSED     -        -          -           -             -          -       -          -    -         -         CLOSED
""",  # noqa: E501
    State,
    Event,
)


def test_the_table_is_the_one_that_was_drawn() -> None:
    assert TRANSITIONS == TABLE


@pytest.mark.parametrize(
    ("state", "event"), [(s, e) for s in State for e in Event if e not in TABLE[s]]
)
def test_what_is_not_in_the_table_raises(state: State, event: Event) -> None:
    connection = connect()
    connection._state = state
    with pytest.raises(AssertionError, match=event.name):
        connection._advance(event, at(0))


def test_a_request_without_a_body() -> None:
    connection, received = asked(request("GET", "/jobs?a=b", b"", ("X-Y", "1"), ("X-Y", "2")))
    assert connection.state is State.HANDED
    assert (received.method, received.path, received.query) == ("GET", "/jobs", "a=b")
    assert received.body == b""
    assert received.headers["x-y"] == "1, 2"
    assert "x-z" not in received.headers
    connection.respond(Response(200, (("A", "b"),), b"hello"), at(2))
    output = drain(connection)
    assert output.startswith(b"HTTP/1.1 200 OK\r\nA: b\r\n")
    assert b"\r\nContent-Length: 5\r\n" in output
    assert b"\r\nDate: Tue, 14 Nov 2023 22:13:22 GMT\r\n" in output
    assert output.endswith(b"\r\n\r\nhello")
    assert connection.state is State.IDLE
    assert connection.deadline == 2 + SETTINGS.idle_timeout


def test_a_body_is_read_only_when_asked_for() -> None:
    connection, received = asked(request("POST", "/jobs", b"hello"))
    assert received.body is None
    assert received.content_length == 5
    assert connection.next_request(at(1)) is None
    connection.read_body(10, at(1))
    again = connection.next_request(at(1))
    assert again is not None
    assert again.body == b"hello"
    assert again.target == "/jobs"


def test_a_chunked_body_with_the_next_request_behind_it() -> None:
    head = b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = b"3\r\nabc\r\n2;x\r\nde\r\n0\r\nTrailer: ignored\r\n\r\n"
    connection, received = asked(head + body + request("GET", "/b"))
    assert received.content_length is None
    connection.read_body(10, at(1))
    again = connection.next_request(at(1))
    assert again is not None
    assert again.body == b"abcde"
    assert "trailer" not in again.headers
    connection.respond(Response(204), at(1))
    assert drain(connection).startswith(b"HTTP/1.1 204 No Content\r\n")
    assert connection.has_work
    second = connection.next_request(at(1))
    assert second is not None
    assert second.target == "/b"


def test_100_continue() -> None:
    head = request("POST", "/jobs", b"", ("Expect", "100-continue")).replace(
        b"Content-Length: 0", b"Content-Length: 5"
    )
    connection, _ = asked(head)
    assert connection.data_to_send(at(1)) == []
    connection.read_body(10, at(1))
    assert drain(connection) == b"HTTP/1.1 100 Continue\r\n\r\n"
    connection.receive_data(b"hello", at(1))
    assert connection.next_request(at(1)) is not None


def test_an_answer_before_the_body_is_the_last() -> None:
    connection, _ = asked(request("POST", "/jobs", b"hello"))
    connection.respond(Response(401), at(1))
    assert b"\r\nConnection: close\r\n" in drain(connection)
    assert connection.state is State.LINGERING
    assert connection.deadline == 2 + SETTINGS.linger_timeout
    connection.receive_data(b"x" * 10_000, at(3))
    assert connection.room
    assert connection.next_request(at(3)) is None
    connection.receive_data(b"", at(3))
    assert connection.state is State.CLOSED


def test_lingering_has_an_end() -> None:
    connection, _ = asked(request("POST", "/jobs", b"hello"))
    connection.respond(Response(401), at(1))
    drain(connection)
    connection.expire(at(3))
    assert connection.state is State.LINGERING
    connection.expire(at(4))
    assert connection.state is State.CLOSED
    connection.close(at(5))


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/3.0\r\n\r\n", 505),
        (b"nonsense\r\n\r\n", 400),
        (b"CONNECT a:1 HTTP/1.1\r\n\r\n", 405),
        (b"x" * 9000, 414),
    ],
)
def test_a_refusal_answers_itself_and_ends_it(data: bytes, status: int) -> None:
    connection = connect()
    connection.receive_data(data + request("GET", "/"), at(1))
    assert connection.next_request(at(1)) is None
    output = drain(connection)
    assert output.startswith(b"HTTP/1.1 %d " % status)
    assert (b"\r\nAllow: " in output) == (status == 405)
    assert set(json.loads(output.partition(b"\r\n\r\n")[2])) == {"error", "message"}
    assert connection.state is State.LINGERING
    connection.receive_data(request("GET", "/"), at(2))
    assert connection.next_request(at(2)) is None


def test_what_h11_refuses_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def next_event(self: h11.Connection) -> object:
        raise h11.RemoteProtocolError("no", error_status_hint=400)

    monkeypatch.setattr(h11.Connection, "next_event", next_event)
    connection = connect()
    connection.receive_data(request("GET", "/"), at(1))
    assert connection.next_request(at(1)) is None
    assert drain(connection).startswith(b"HTTP/1.1 400 ")


def test_a_chunked_body_over_the_limit() -> None:
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    connection, _ = asked(head + b"b\r\n")
    connection.read_body(10, at(1))
    assert connection.next_request(at(1)) is None
    assert drain(connection).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("data", [b"GET / HTT", request("POST", "/", b"hello")[:-1]])
def test_a_request_that_ends_in_the_middle(data: bytes) -> None:
    connection = connect()
    connection.receive_data(data, at(1))
    if connection.next_request(at(1)) is not None:
        connection.read_body(10, at(1))
    connection.receive_data(b"", at(1))
    assert connection.next_request(at(1)) is None
    assert drain(connection).startswith(b"HTTP/1.1 400 ")
    assert connection.state is State.CLOSED


@pytest.mark.parametrize("body", [b"5\r\nhello", b"5\r\nhello\r", b"5\r\nhello\r\n3"])
def test_a_chunked_body_that_ends_in_the_middle(body: bytes) -> None:
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    connection, _ = asked(head + body, b"")
    connection.read_body(10, at(1))
    assert connection.next_request(at(1)) is None
    if connection.state is State.BODY:
        assert connection.has_work
        assert connection.next_request(at(1)) is None
    assert drain(connection).startswith(b"HTTP/1.1 400 ")


def test_the_end_between_requests() -> None:
    connection = connect()
    connection.receive_data(b"", at(1))
    assert not connection.room
    assert connection.has_work
    assert connection.next_request(at(1)) is None
    assert connection.state is State.CLOSED


def test_a_half_closed_client_gets_all_its_answers() -> None:
    connection, _ = asked(request("GET", "/a") + request("GET", "/b"), b"")
    connection.respond(Response(200), at(1))
    drain(connection)
    second = connection.next_request(at(1))
    assert second is not None
    connection.respond(Response(200), at(1))
    drain(connection)
    assert connection.next_request(at(1)) is None
    assert connection.state is State.CLOSED


def test_http_1_0_is_closed_after_the_answer() -> None:
    connection, received = asked(b"GET / HTTP/1.0\r\n\r\n")
    assert received.http_1_0
    connection.respond(Response(200, (), b"x"), at(1))
    assert b"\r\nConnection: close\r\n" in drain(connection)
    assert connection.state is State.LINGERING


def test_http_1_0_gets_no_chunks() -> None:
    connection, _ = asked(b"GET / HTTP/1.0\r\n\r\n")
    body = Script(b"abc", None, b"def", End((("Rtot-Exit", "0"),)), trailers="Rtot-Exit")
    connection.respond(Response(200, (), body), at(1))
    output = drain(connection) + drain(connection)
    assert b"chunked" not in output
    assert b"Trailer" not in output
    assert output.endswith(b"\r\n\r\nabcdef")
    assert connection.state is State.LINGERING


def test_a_client_that_wants_to_close() -> None:
    connection, _ = asked(request("GET", "/", b"", ("Connection", "close")))
    connection.respond(Response(200), at(1))
    assert b"\r\nConnection: close\r\n" in drain(connection)
    assert connection.state is State.LINGERING


def test_head_has_the_length_and_no_body() -> None:
    connection, _ = asked(request("HEAD", "/"))
    connection.respond(Response(200, (), b"hello"), at(1))
    output = drain(connection)
    assert b"\r\nContent-Length: 5\r\n" in output
    assert output.endswith(b"\r\n\r\n")
    assert connection.state is State.IDLE


@pytest.mark.parametrize("steps", [(b"ab", b"cd", End()), (b"ab", b"cd", None)])
def test_head_of_a_pulled_body(steps: tuple[bytes | End | None, ...]) -> None:
    connection, _ = asked(request("HEAD", "/"))
    connection.respond(Response(200, (), Script(*steps)), at(1))
    output = drain(connection)
    assert (b"\r\nContent-Length: 4\r\n" in output) == isinstance(steps[-1], End)
    assert output.endswith(b"\r\n\r\n")
    assert connection.state is State.IDLE
    assert connection.topic is None


def test_a_small_pulled_body_has_a_length() -> None:
    connection, _ = asked(request("GET", "/"))
    connection.respond(Response(200, (), Script(b"ab", b"cd", End())), at(1))
    output = drain(connection)
    assert b"\r\nContent-Length: 4\r\n" in output
    assert output.endswith(b"\r\n\r\nabcd")


def test_a_large_pulled_body_is_chunked() -> None:
    connection, _ = asked(request("GET", "/"))
    pieces = [b"x" * 50_000] * 5
    connection.respond(Response(200, (), Script(*pieces, End())), at(1))
    reader = h11.Connection(h11.CLIENT)
    reader.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
    reader.send(h11.EndOfMessage())
    reader.receive_data(drain(connection))
    head = reader.next_event()
    assert isinstance(head, h11.Response)
    assert (b"transfer-encoding", b"chunked") in head.headers
    body = b""
    while isinstance(event := reader.next_event(), h11.Data):
        body += event.data
    assert body == b"".join(pieces)


def test_a_body_is_pulled_only_as_it_is_taken() -> None:
    connection, _ = asked(request("GET", "/"))
    body = Script(*[b"x" * 40_000] * 9, End(), length=360_000)
    connection.respond(Response(200, (), body), at(1))
    connection.data_to_send(at(1))
    connection.data_to_send(at(1))
    assert len(body.steps) > 6


def test_a_followed_body_waits_without_a_deadline() -> None:
    connection, _ = asked(request("GET", "/"))
    exit_status = End((("Rtot-Exit", "0"),))
    steps = (None, None, None, b"first", None, None, b"", b"last", exit_status)
    body = Script(*steps, trailers="Rtot-Exit")
    connection.respond(Response(200, (), body), at(1))
    assert connection.topic == 5
    assert connection.deadline == 1 + SETTINGS.send_timeout
    output = drain(connection)
    assert b"\r\nTrailer: Rtot-Exit\r\n" in output
    assert connection.state is State.RESPONDING
    assert connection.deadline is None
    assert drain(connection) == b"5\r\nfirst\r\n"
    assert not connection.has_more_to_send
    assert drain(connection) == b""
    assert connection.has_more_to_send
    assert drain(connection) == b"4\r\nlast\r\n0\r\nRtot-Exit: 0\r\n\r\n"
    assert connection.state is State.IDLE


def test_a_follower_that_takes_nothing_is_cut_off() -> None:
    connection, _ = asked(request("GET", "/"))
    connection.respond(Response(200, (), Script(None, None, b"x", None, None)), at(1))
    connection.sent(sum(map(len, connection.data_to_send(at(1)))), at(1))
    assert connection.deadline is None
    assert connection.data_to_send(at(100)) != []
    assert connection.deadline == 100 + SETTINGS.send_timeout
    connection.expire(at(130))
    assert connection.state is State.CLOSED


def test_a_broken_body_breaks_the_connection() -> None:
    connection, _ = asked(request("GET", "/"))
    connection.respond(Response(200, (), Script(b"ab", None, b"cd", BROKEN)), at(1))
    output = drain(connection) + drain(connection)
    assert output.endswith(b"2\r\ncd\r\n")
    assert connection.state is State.LINGERING


def test_a_body_that_is_broken_later() -> None:
    connection, received = asked(request("GET", "/"))
    assert connection.request is received
    connection.respond(Response(200, (), Script(b"ab", None, None, BROKEN)), at(1))
    drain(connection)
    assert connection.data_to_send(at(2)) == []
    assert connection.state is State.LINGERING


def test_a_body_that_is_broken_from_the_beginning() -> None:
    connection, _ = asked(request("GET", "/"))
    connection.respond(Response(200, (), Script(BROKEN)), at(1))
    assert b"chunked" in drain(connection)
    assert connection.state is State.LINGERING


def test_a_piece_of_a_file_passes_through_as_it_is() -> None:
    file = MemoryDisk().create("0.out")
    file.append(b"0123456789")
    connection, _ = asked(request("GET", "/"))
    span = FileSpan(file, 2, 6)
    connection.respond(Response(200, (), Script(span, End(), length=6)), at(1))
    pieces = connection.data_to_send(at(1))
    assert pieces[-1] == span
    head = sum(map(len, pieces[:-1]))
    connection.sent(head + 2, at(1))
    (rest,) = connection.data_to_send(at(1))
    assert isinstance(rest, FileSpan)
    assert (rest.file, rest.offset, rest.length) == (file, 4, 4)
    connection.sent(3, at(1))
    assert drain(connection) == b"7"
    assert connection.state is State.IDLE


def test_bytes_may_be_taken_in_any_portions() -> None:
    connection, _ = asked(request("GET", "/"))
    connection.respond(Response(200, (), b"hello"), at(1))
    output = b""
    while pieces := connection.data_to_send(at(1)):
        assert isinstance(pieces[0], bytes)
        output += pieces[0][:1]
        assert connection.has_unsent
        connection.sent(1, at(1))
    assert output.endswith(b"hello")
    assert connection.state is State.IDLE


def test_reading_pauses_when_much_is_buffered() -> None:
    connection = connect()
    connection.receive_data(b"x" * 1000, at(1))
    assert connection.room == SETTINGS.max_head + 1 - 1000
    connection.receive_data(b"x" * SETTINGS.max_head, at(1))
    assert connection.room == 0
    uploading, _ = asked(request("POST", "/jobs/0/in", b"x" * 2000)[:-2000])
    uploading.stream_body(at(1))
    uploading.receive_data(b"x" * 600, at(1))
    assert uploading.room == SETTINGS.max_buffer - 600


def test_lingering_goes_on_while_the_client_does_but_not_for_ever() -> None:
    connection, _ = asked(request("POST", "/jobs", b"hello"))
    connection.respond(Response(401), at(1))
    drain(connection)
    begin = 2.0
    end = begin + SETTINGS.body_timeout
    for second in range(3, 25):
        connection.receive_data(b"x", at(second))
        assert connection.deadline == min(end, second + SETTINGS.linger_timeout)


def test_blank_lines_between_requests_are_no_request() -> None:
    connection, _ = asked(request("GET", "/"))
    connection.respond(Response(200), at(1))
    drain(connection)
    connection.receive_data(b"\r\n", at(3))
    assert connection.next_request(at(3)) is None
    assert connection.state is State.IDLE
    assert connection.unused
    assert connection.deadline == 2 + SETTINGS.idle_timeout
    connection.receive_data(request("GET", "/b"), at(4))
    assert not connection.unused
    again = connection.next_request(at(4))
    assert again is not None
    assert again.target == "/b"


def test_who_is_not_wanted_has_only_a_moment() -> None:
    connection = connect()
    connection.refuse(503, "too many connections", at(1))
    assert connection.deadline == 1 + SETTINGS.linger_timeout
    connection.expire(at(1 + SETTINGS.linger_timeout))
    assert connection.state is State.CLOSED


def test_winding_down_ends_a_connection_whose_head_was_sent() -> None:
    connection, _ = asked(request("GET", "/"))
    connection.respond(Response(200, (), Script(b"ab", b"cd", End(), length=4)), at(1))
    connection.sent(sum(map(len, connection.data_to_send(at(1)))) - 1, at(1))
    connection.wind_down(at(1))
    assert b"Connection: close" not in drain(connection)
    assert connection.state is State.CLOSED


@pytest.mark.parametrize(
    ("data", "after", "status"),
    [(b"", 10, None), (b"GET", 10, 408), (request("POST", "/", b"hello")[:-1], 20, 408)],
)
def test_deadlines_of_requests(data: bytes, after: float, status: int | None) -> None:
    connection = connect()
    if data:
        connection.receive_data(data, at(0))
    if connection.next_request(at(0)) is not None:
        connection.read_body(10, at(0))
        connection.next_request(at(0))
    assert connection.deadline == after
    connection.expire(at(after - 1))
    assert connection.state is not State.CLOSED
    connection.expire(at(after))
    if status is None:
        assert connection.state is State.CLOSED
    else:
        assert drain(connection).startswith(b"HTTP/1.1 %d " % status)


def test_progress_of_a_body_moves_its_deadline() -> None:
    connection, _ = asked(request("POST", "/", b"hello")[:-5])
    connection.read_body(10, at(1))
    for second in range(2, 6):
        connection.receive_data(b"x", at(second))
        connection.next_request(at(second))
        assert connection.deadline == second + SETTINGS.body_timeout


def test_a_reader_that_does_not_read_is_cut_off() -> None:
    connection, _ = asked(request("GET", "/"))
    connection.respond(Response(200, (), b"x" * 100), at(1))
    connection.data_to_send(at(1))
    connection.sent(1, at(20))
    connection.expire(at(49))
    assert connection.state is State.RESPONDING
    connection.expire(at(50))
    assert connection.state is State.CLOSED
    assert connection.data_to_send(at(50)) == []


def test_a_handed_request_has_no_deadline() -> None:
    connection, _ = asked(request("GET", "/"))
    assert connection.deadline is None
    connection.expire(at(1000))
    assert connection.state is State.HANDED


def test_winding_down() -> None:
    idle = connect()
    idle.wind_down(at(1))
    assert idle.state is State.CLOSED
    busy, _ = asked(request("GET", "/") + request("GET", "/never"))
    busy.wind_down(at(1))
    busy.respond(Response(200), at(1))
    assert b"\r\nConnection: close\r\n" in drain(busy)
    assert busy.state is State.LINGERING


def test_a_streamed_body() -> None:
    head = b"POST /in HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    connection, _ = asked(head + b"3\r\nabc\r\n")
    assert connection.next_piece(10, at(1)) == b""
    connection.stream_body(at(1))
    assert connection.next_piece(10, at(1)) == b"abc"
    assert connection.next_piece(10, at(1)) == b""
    connection.pause_body()
    assert connection.deadline is None
    assert connection.next_piece(10, at(9)) == b""
    assert connection.deadline == 9 + SETTINGS.body_timeout
    connection.receive_data(b"5\r\ndefgh\r\n0\r\n\r\n", at(9))
    assert connection.next_piece(2, at(9)) == b"de"
    assert connection.has_work
    assert connection.next_piece(5, at(9)) == b"fgh"
    assert connection.next_piece(5, at(9)) is None
    connection.respond(Response(200), at(9))
    drain(connection)
    assert connection.state is State.IDLE


def test_a_streamed_body_that_is_bad_answers_itself() -> None:
    head = b"POST /in HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    connection, _ = asked(head + b"zz\r\n")
    connection.stream_body(at(1))
    assert connection.next_piece(10, at(1)) == b""
    assert drain(connection).startswith(b"HTTP/1.1 400 ")


def test_too_many_connections() -> None:
    connection = connect()
    connection.refuse(503, "too many connections", at(0))
    output = drain(connection)
    assert output.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nRetry-After: 1\r\n" in output


def test_a_body_that_drips_costs_what_it_is_long() -> None:
    connection, _ = asked(request("POST", "/jobs", b"x" * 3000)[:-3000])
    connection.read_body(10_000, at(1))
    for _ in range(2999):
        connection.receive_data(b"x", at(2))
        assert connection.next_request(at(2)) is None
    assert connection._reader._content == b"x" * 2999
    connection.receive_data(b"x", at(2))
    whole = connection.next_request(at(2))
    assert whole is not None
    assert whole.body == b"x" * 3000
    assert connection._reader._content is None


@pytest.mark.parametrize(
    ("data", "body"),
    [
        (b"HEAD / HTTP/3.0\r\n\r\n", False),
        (b"\r\nHEAD / HTTP/1.1\r\n\r\n", False),
        (b"HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", False),
        (b"HEADER / HTTP/3.0\r\n\r\n", True),
    ],
)
def test_a_refused_head_gets_no_body(data: bytes, body: bool) -> None:
    connection = connect()
    connection.receive_data(data, at(1))
    assert connection.next_request(at(1)) is None
    output = drain(connection)
    assert output.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 505 "))
    assert bool(output.partition(b"\r\n\r\n")[2]) == body
    assert connection.state is State.LINGERING


def test_a_body_of_head_that_is_refused_gets_no_body() -> None:
    head = b"HEAD / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    connection, _ = asked(head + b"zz\r\n")
    connection.read_body(10, at(1))
    assert connection.next_request(at(1)) is None
    output = drain(connection)
    assert output.startswith(b"HTTP/1.1 400 ")
    assert output.endswith(b"\r\n\r\n")


def test_absolute_form_is_the_path() -> None:
    connection, received = asked(b"GET http://a:1/b?c HTTP/1.1\r\nHost: A:1\r\n\r\n")
    assert (received.target, received.path, received.query) == ("/b?c", "/b", "c")
    connection.respond(Response(200), at(1))
    drain(connection)
    connection.receive_data(b"GET http://a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", at(1))
    again = connection.next_request(at(1))
    assert again is not None
    assert again.target == "/"


def test_blank_lines_count_however_they_come() -> None:
    connection = connect()
    for index in range(5):
        assert connection.state is State.FRESH
        connection.receive_data(b"\r", at(1))
        connection.next_request(at(1))
        connection.receive_data(b"\n", at(1))
        connection.next_request(at(1))
        if index < 4 and connection.state is State.HEAD:
            # A lone CR may be the beginning of anything.
            connection._state = State.FRESH
    assert drain(connection).startswith(b"HTTP/1.1 400 ")


def test_a_head_that_ends_behind_blank_lines() -> None:
    connection = connect()
    connection.receive_data(b"\r\nGET / HTT", at(1))
    connection.receive_data(b"", at(1))
    assert connection.next_request(at(1)) is None
    assert b"the request ends in its head" in drain(connection)


def test_a_client_that_speaks_while_it_is_refused_is_not_heard() -> None:
    connection = connect()
    connection.refuse(503, "too many connections", at(0))
    room = connection.room
    connection.receive_data(request("GET", "/") * 100, at(0))
    assert connection.room == room
    assert drain(connection).count(b"HTTP/1.1") == 1
    assert connection.next_request(at(1)) is None


def test_an_idle_connection_holds_no_conversation() -> None:
    connection, _ = asked(request("GET", "/"))
    connection.respond(Response(200), at(1))
    drain(connection)
    assert connection._reader._conversation is None


def test_a_switch_of_protocols_is_not_made() -> None:
    connection, received = asked(
        request("GET", "/", b"", ("Upgrade", "websocket"), ("Connection", "upgrade"))
        + request("GET", "/b")
    )
    assert received.body == b""
    connection.respond(Response(200), at(1))
    assert drain(connection).startswith(b"HTTP/1.1 200 OK\r\n")
    again = connection.next_request(at(1))
    assert again is not None
    assert again.target == "/b"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_a_streamed_body_in_small_pieces(size: int) -> None:
    body = bytes(range(100)) * 3
    connection, _ = asked(request("POST", "/in", body))
    connection.stream_body(at(1))
    received = b""
    while (piece := connection.next_piece(size, at(1))) is not None:
        assert len(piece) <= size
        received += piece
        held = connection._reader.held
        assert held == len(body) - len(received)
        assert connection.has_work == bool(held)
    assert received == body


@pytest.mark.parametrize("whole", [True, False])
def test_a_body_that_never_begins_has_its_time(whole: bool) -> None:
    connection, _ = asked(request("POST", "/jobs", b"echo")[:-4])
    assert connection.deadline is None
    if whole:
        connection.read_body(100, at(3))
    else:
        connection.stream_body(at(3))
    assert connection.deadline == 3 + SETTINGS.body_timeout
    connection.expire(at(connection.deadline))
    assert drain(connection).startswith(b"HTTP/1.1 408 ")


def test_an_answer_without_content_has_no_length() -> None:
    connection, _ = asked(request("DELETE", "/jobs/0"))
    connection.respond(Response(204), at(1))
    output = drain(connection)
    assert output.startswith(b"HTTP/1.1 204 No Content\r\n")
    assert b"content-length" not in output.lower()
    # Whatever there might be (RFC 9110, 15.3.5).
    connection, _ = asked(request("DELETE", "/jobs/0"))
    connection.respond(Response(204, (), b"content"), at(1))
    assert drain(connection).endswith(b"\r\n\r\n")


def test_the_first_byte_of_a_head_is_the_beginning_of_one() -> None:
    connection, _ = asked(request("GET", "/") + b"G")
    connection.respond(Response(200), at(1))
    drain(connection)
    assert connection.has_work
    assert connection.next_request(at(1)) is None
    assert (connection.state, connection.deadline) == (State.HEAD, 1 + SETTINGS.head_timeout)


def test_timeouts_that_there_are_not() -> None:
    none = dict.fromkeys(("head_timeout", "body_timeout", "send_timeout", "idle_timeout"), math.inf)
    line = HttpConnection(Settings(**none), at(0))  # type: ignore[arg-type]
    ages = at(1e9)

    def wait() -> None:
        line.expire(ages)
        assert line.state is not State.CLOSED

    wait()
    line.receive_data(b"POST /jobs HTTP/1.1\r\nHost: a\r\n", ages)
    assert line.next_request(ages) is None
    wait()
    line.receive_data(b"Content-Length: 4\r\n\r\nec", ages)
    assert line.next_request(ages) is not None
    line.read_body(100, ages)
    assert line.next_request(ages) is None
    assert not line.has_work
    wait()
    line.receive_data(b"ho", ages)
    assert line.next_request(ages) is not None
    line.respond(Response(200, (), b"x" * 100), ages)
    assert line.data_to_send(ages)
    wait()
    line.sent(sum(map(len, line.data_to_send(ages))), ages)
    wait()
    assert line.state is State.IDLE
    line.refuse(400, "no", ages)
    drain(line, 1e9)
    assert line.state is State.LINGERING
    # After a refusal nobody is waited for without end.
    line.receive_data(b"x", at(1e9 + 19))
    line.expire(at(1e9 + 20))
    assert line.state is State.CLOSED


@pytest.mark.parametrize("ended", [False, True])
@pytest.mark.parametrize("first", [b"", b"some"])
def test_what_breaks_off_under_http_1_0_is_not_to_end_like_a_whole(
    first: bytes, ended: bool
) -> None:
    line = HttpConnection(Settings(send_timeout=7.0), at(0))
    line.receive_data(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n", at(1))
    assert line.next_request(at(1)) is not None
    line.respond(Response(200, (), Script(first, BROKEN) if first else Script(BROKEN)), at(1))
    if ended:
        line.receive_data(b"", at(1))
    data = b"".join(p for p in line.data_to_send(at(1)) if isinstance(p, bytes))
    assert data.endswith(b"\r\n\r\n" + first)
    line.sent(len(data), at(2))
    assert (line.state, line.deadline, line.room) == (State.BREAKING, 9.0, 0)
    # How it ends is for the owner of the socket to see to.
    line.expire(at(10))
    assert line.state is State.BREAKING
    line.wind_down(at(10))
    line.close(at(10))
    assert (line.state, line.broke_off) == (State.CLOSED, True)


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("how", ["close", "expire", "complete", "before"])
def test_a_response_that_is_cut_short_under_http_1_0_broke_off(version: str, how: str) -> None:
    line = connect()
    line.receive_data(f"GET / HTTP/{version}\r\nHost: a\r\n\r\n".encode(), at(1))
    assert line.next_request(at(1)) is not None
    if how != "before":
        steps = (b"some", THE_END) if how == "complete" else (b"some", None, None)
        line.respond(Response(200, (), Script(*steps)), at(1))
        pieces = line.data_to_send(at(1))
        if how == "complete":
            line.receive_data(b"", at(1))
            line.sent(sum(map(len, pieces)), at(1))
    if how == "expire":
        line.expire(at(1000))
    # The owner may close what is closed.
    for _ in range(2):
        line.close(at(2))
    assert line.broke_off == (version == "1.0" and how in ("close", "expire"))


def test_the_next_response_is_not_taken_for_the_one_that_broke_off() -> None:
    line, _ = asked(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    line.respond(Response(200, (), Script(b"a", BROKEN)), at(1))
    line.sent(sum(map(len, line.data_to_send(at(1)))), at(1))
    assert line.state is State.LINGERING


def test_the_end_of_the_server_does_not_wait_for_who_does_not_read() -> None:
    line = HttpConnection(Settings(send_timeout=math.inf), at(0))
    line.receive_data(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n", at(1))
    assert line.next_request(at(1)) is not None
    line.respond(Response(200, (), Script(b"some", BROKEN)), at(1))
    line.sent(sum(map(len, line.data_to_send(at(1)))), at(1))
    assert (line.state, line.deadline) == (State.BREAKING, 31.0)
    line.wind_down(at(2))
    assert line.deadline == 4.0
