"""One client's HTTP: bytes in, requests out; responses in, bytes out. No sockets.

h11 parses and writes; `framing` decides what reaches it. On top of h11 this adds what a
server needs: limits, deadlines, bodies that are pulled, and the end of a connection that
refuses something: the answer goes out, what still comes in is read and thrown away for a
while, so that a client in the middle of an upload gets to read the answer (RFC 9112, 9.6).

Time is an argument.
"""

from collections import deque
from enum import Enum, auto

import h11

from rtot.clock import Now
from rtot.config import Settings
from rtot.fields import REASONS, SAFETY, http_date
from rtot.framing import ChunkedScanner, HeadScanner, RefusedError
from rtot.messages import Body, End, FileSpan, Headers, Request, Response

# How much of a body is looked at before others get their turn.
_MOST_SCANNED = 64 * 1024
# What is pulled ahead of a client that does not read is memory that many of them cost.
_PULL = 16 * 1024


class State(Enum):
    IDLE = auto()
    HEAD = auto()
    """The beginning of a request's head has arrived."""
    HANDED = auto()
    """A request was handed out and is not answered."""
    BODY = auto()
    """Its body is being read whole."""
    STREAMING = auto()
    """Its body is being handed out in pieces."""
    RESPONDING = auto()
    LINGERING = auto()
    """All is said; what comes in is thrown away."""
    CLOSED = auto()


class Event(Enum):
    RECEIVED = auto()
    HEAD_ENDED = auto()
    BODY_WANTED = auto()
    STREAM_WANTED = auto()
    BODY_ENDED = auto()
    ANSWERED = auto()
    SENT = auto()
    SENT_LAST = auto()
    CLOSED = auto()


# Every cell that is not here is a bug of the caller and raises.
TRANSITIONS: dict[State, dict[Event, State]] = {
    State.IDLE: {Event.RECEIVED: State.HEAD, Event.ANSWERED: State.RESPONDING},
    State.HEAD: {Event.HEAD_ENDED: State.HANDED, Event.ANSWERED: State.RESPONDING},
    State.HANDED: {
        Event.BODY_WANTED: State.BODY,
        Event.STREAM_WANTED: State.STREAMING,
        Event.ANSWERED: State.RESPONDING,
    },
    State.BODY: {Event.BODY_ENDED: State.HANDED, Event.ANSWERED: State.RESPONDING},
    State.STREAMING: {Event.ANSWERED: State.RESPONDING},
    State.RESPONDING: {Event.SENT: State.IDLE, Event.SENT_LAST: State.LINGERING},
    State.LINGERING: {},
    State.CLOSED: {Event.CLOSED: State.CLOSED},
}
for _row in TRANSITIONS.values():
    _row[Event.CLOSED] = State.CLOSED


class HttpConnection:
    """The protocol side of one client.

    The owner's duty: give it what arrives (`receive_data`, with empty data for the end),
    ask for requests (`next_request`), answer each (`read_body`, `stream_body` or `respond`),
    then pull bytes (`data_to_send`) and tell what was taken (`sent`), until it is CLOSED.
    When LINGERING, shut the sending side of the socket down. At `deadline` call `expire`.
    """

    __slots__ = (
        "_body",
        "_chunked",
        "_chunks",
        "_closing",
        "_eof",
        "_h11",
        "_in",
        "_left",
        "_more",
        "_out",
        "_out_size",
        "_peer",
        "_pieces",
        "_request",
        "_scanner",
        "_settings",
        "_state",
        "_yielded",
        "deadline",
        "status",
    )

    def __init__(self, settings: Settings, peer: str, now: Now) -> None:
        self._settings = settings
        self._peer = peer
        self._h11: h11.Connection | None = None
        self._state = State.IDLE
        self._scanner = HeadScanner(settings)
        self._in = bytearray()
        self._eof = False
        self._request: Request | None = None
        self._chunks: ChunkedScanner | None = None
        self._left = 0
        self._more = False
        self._pieces: list[bytes] = []
        self._body: Body | None = None
        self._chunked = False
        self._closing = False
        self._yielded = False
        self._out: deque[bytes | FileSpan] = deque()
        self._out_size = 0
        self.deadline: float | None = now.monotonic + settings.keepalive_timeout
        self.status = 0
        """The status of the response under way."""

    @property
    def state(self) -> State:
        return self._state

    @property
    def request(self) -> Request | None:
        """The request that is being read or answered, None before its head is whole."""
        return self._request

    @property
    def has_unsent(self) -> bool:
        """Whether there are bytes that the peer has not taken."""
        return bool(self._out)

    @property
    def has_more_to_send(self) -> bool:
        """Whether a pull stopped only to let others have their turn."""
        return self._body is not None and self._yielded

    @property
    def watched(self) -> int | None:
        """The job whose changes bring more of the response."""
        return self._body.watched if self._body is not None else None

    @property
    def wants_data(self) -> bool:
        """Whether reading is of use. Otherwise leave it to the kernel to hold the peer back."""
        return not self._eof and len(self._in) < self._settings.max_buffer

    @property
    def peer_closed(self) -> bool:
        """Whether the peer will send no more."""
        return self._eof

    def receive_data(self, data: bytes, now: Now) -> None:
        """The peer sent `data`; empty: it will send no more."""
        if self._state is State.LINGERING:
            if not data:
                self._advance(Event.CLOSED, now)
            return
        if not data:
            self._eof = True
        self._in += data

    def next_request(self, now: Now) -> Request | None:
        """The next request whose head, or whose whole body if asked for, is there.

        None: there is none yet; ask again when more has arrived or a response is through.
        A bad request answers itself: there is never another one after it.
        """
        try:
            match self._state:
                case State.IDLE | State.HEAD:
                    return self._read_head(now)
                case State.BODY:
                    return self._read_body(now)
                case _:
                    return None
        except RefusedError as refused:
            self.refuse(refused.status, refused.why, now)
            return None

    @property
    def has_work(self) -> bool:
        """Whether `next_request` or `next_piece` stopped only to let others have their turn."""
        if self._state is State.IDLE:
            return bool(self._in) or self._eof
        return self._state in (State.BODY, State.STREAMING) and self._more

    def read_body(self, limit: int, now: Now) -> None:
        """The request that was handed out is to come again with its body, of at most `limit`."""
        self._advance(Event.BODY_WANTED, now)
        self._begin_body(limit)

    def stream_body(self, now: Now) -> None:
        """The body of the request that was handed out is to be had by `next_piece`."""
        self._advance(Event.STREAM_WANTED, now)
        self._begin_body(None)

    def next_piece(self, room: int, now: Now) -> bytes | None:
        """Of a streamed body: up to about `room` bytes, empty for none yet, None at the end.

        A bad body answers itself; then the state is not STREAMING any more.
        """
        if self._state is not State.STREAMING:
            return b""
        if self.deadline is None:
            self.deadline = now.monotonic + self._settings.body_timeout
        try:
            data, ended = self._take_body(room, now)
        except RefusedError as refused:
            self.refuse(refused.status, refused.why, now)
            return b""
        return None if ended and not data else data

    def pause_body(self) -> None:
        """The receiver of a streamed body has no room: that is not the peer's fault.

        The next `next_piece` sets the deadline anew.
        """
        self.deadline = None

    def respond(self, response: Response, now: Now) -> None:
        """Answer the request. One whose body is not all read is the connection's last."""
        if self._request is not None and self._request.body is None and not self._body_ended:
            self._closing = True
        self._advance(Event.ANSWERED, now)
        self.status = response.status
        body = response.body
        headers = [*response.headers, *SAFETY, ("Date", http_date(now.wall // 1_000_000_000))]
        first: list[bytes | FileSpan] = []
        end: End | None = None
        length: int | None
        if isinstance(body, bytes):
            length, end = len(body), End()
            first.append(body)
            self._body = None
        else:
            length = body.length
            if length is None:
                first, end = _pull_some(body)
                if end is not None and not end.trailers and not end.broken:
                    length = sum(map(len, first))
            self._body = body
        if length is not None and response.status != 204:
            headers.append(("Content-Length", str(length)))
        self._chunked = length is None and not (self._request and self._request.http_1_0)
        if self._chunked and self._body is not None and self._body.trailers:
            headers.append(("Trailer", self._body.trailers))
        if self._closing:
            headers.append(("Connection", "close"))
        if self._h11 is None:
            self._h11 = self._new_h11()
        head = h11.Response(
            status_code=response.status,
            headers=headers,
            reason=REASONS.get(response.status, ""),
        )
        self._send(head)
        if (self._request is not None and self._request.method == "HEAD") or (
            response.status == 204
        ):
            self._body = None
            first, end = [], End()
        for piece in first:
            self._send_data(piece)
        if end is not None:
            self._finish_body(end, now)

    def refuse(self, status: int, why: str, now: Now) -> None:
        """Answer what is no request, and read nothing more of this connection."""
        self._closing = True
        self._in.clear()
        body = f'{{"error":"{REASONS[status].lower()}","message":"{why}"}}\n'.encode()
        headers: Headers = (("Content-Type", "application/json; charset=UTF-8"),)
        if status == 405:
            headers = (*headers, ("Allow", "GET, HEAD, POST, DELETE"))
        if status == 503:
            headers = (*headers, ("Retry-After", "1"))
        self.respond(Response(status, headers, body), now)

    def data_to_send(self, now: Now) -> list[bytes | FileSpan]:
        """What is to be sent next, pulled from the response as far as that is of use."""
        while self._body is not None and self._out_size < _PULL:
            pulled = self._body.pull(_PULL)
            self._yielded = pulled == b""
            if not pulled:
                break
            if isinstance(pulled, End):
                self._finish_body(pulled, now)
            else:
                self._send_data(pulled)
        if self._out and self.deadline is None and self._state is State.RESPONDING:
            # A follower was idle, rightly; from now on it is to take what there is.
            self.deadline = now.monotonic + self._settings.send_timeout
        return list(self._out)

    def sent(self, count: int, now: Now) -> None:
        """The peer took the first `count` bytes of that."""
        self._out_size -= count
        while count:
            first = self._out[0]
            if len(first) <= count:
                count -= len(first)
                self._out.popleft()
                continue
            if isinstance(first, FileSpan):
                self._out[0] = FileSpan(first.file, first.offset + count, first.length - count)
            else:
                self._out[0] = first[count:]
            count = 0
        if self._state is State.RESPONDING:
            if self._out:
                self.deadline = now.monotonic + self._settings.send_timeout
            elif self._body is None:
                self._end_response(now)
            else:
                self.deadline = None

    def expire(self, now: Now) -> None:
        """The time of `deadline` has come."""
        if self.deadline is None or now.monotonic < self.deadline:
            return
        match self._state:
            case State.HEAD:
                self.refuse(408, "the head of the request did not arrive in time", now)
            case State.BODY | State.STREAMING:
                self.refuse(408, "the body of the request does not arrive", now)
            case _:
                self.close(now)

    def wind_down(self, now: Now) -> None:
        """Answer what is under way, then close."""
        self._closing = True
        if self._state is State.IDLE and not self._in:
            self.close(now)

    def close(self, now: Now) -> None:
        """The connection is over, whatever was under way."""
        self._advance(Event.CLOSED, now)

    @property
    def _body_ended(self) -> bool:
        return self._chunks.ended if self._chunks is not None else not self._left

    def _advance(self, event: Event, now: Now) -> None:
        after = TRANSITIONS[self._state].get(event)
        if after is None:
            raise AssertionError(f"{event.name} of a connection that is {self._state.name}")
        self._state = after
        settings = self._settings
        match after:
            case State.IDLE:
                self.deadline = now.monotonic + settings.keepalive_timeout
            case State.HEAD:
                self.deadline = now.monotonic + settings.head_timeout
            case State.BODY | State.STREAMING:
                self.deadline = now.monotonic + settings.body_timeout
            case State.RESPONDING:
                self.deadline = now.monotonic + settings.send_timeout
            case State.LINGERING:
                self.deadline = now.monotonic + settings.linger_timeout
                self._in.clear()
            case State.HANDED:
                self.deadline = None
            case _:
                self.deadline = None
                self._body = None
                self._in.clear()
                self._out.clear()
                self._out_size = 0

    def _read_head(self, now: Now) -> Request | None:
        if self._in and self._state is State.IDLE:
            self._advance(Event.RECEIVED, now)
        length = self._scanner.scan(self._in) if self._in else None
        if length is None:
            if self._eof:
                if self._in:
                    raise RefusedError(400, "the request ends in its head")
                self.close(now)
            return None
        self._scanner.restart()
        if self._h11 is None:
            self._h11 = self._new_h11()
        head = bytes(self._in[:length])
        del self._in[:length]
        try:
            self._h11.receive_data(head)
            event = self._h11.next_event()
        except h11.RemoteProtocolError as error:
            raise RefusedError(error.error_status_hint, "a request that is not HTTP") from error
        assert isinstance(event, h11.Request)
        self._advance(Event.HEAD_ENDED, now)
        self._pieces = []
        self._chunks = None
        self._left = 0
        length = None
        body: bytes | None = b""
        for name, value in event.headers:
            if name == b"content-length":
                self._left = length = int(value)
                body = None if length else b""
            elif name == b"transfer-encoding":
                self._chunks = ChunkedScanner(self._settings, None)
                body = None
        if body is not None:
            self._h11.next_event()
        self._request = Request(
            event.method.decode("ascii"),
            event.target.decode("ascii"),
            tuple(event.headers),
            self._peer,
            length,
            body,
            event.http_version == b"1.0",
        )
        return self._request

    def _new_h11(self) -> h11.Connection:
        return h11.Connection(h11.SERVER, max_incomplete_event_size=2 * self._settings.max_head)

    def _begin_body(self, limit: int | None) -> None:
        assert self._h11 is not None
        if self._chunks is not None:
            self._chunks = ChunkedScanner(self._settings, limit)
        if self._h11.they_are_waiting_for_100_continue:
            self._send(h11.InformationalResponse(status_code=100, headers=[], reason="Continue"))

    def _read_body(self, now: Now) -> Request | None:
        data, ended = self._take_body(_MOST_SCANNED, now)
        if data:
            self._pieces.append(data)
        if not ended:
            return None
        assert self._request is not None
        request = self._request
        self._request = Request(
            request.method,
            request.target,
            request.headers,
            request.peer,
            request.content_length,
            b"".join(self._pieces),
            request.http_1_0,
        )
        self._pieces = []
        self._advance(Event.BODY_ENDED, now)
        return self._request

    def _take_body(self, most: int, now: Now) -> tuple[bytes, bool]:
        """Content that has arrived, and whether it was the last. Raises RefusedError."""
        assert self._h11 is not None
        if self._chunks is None:
            good = min(self._left, len(self._in), most)
            self._left -= good
        else:
            good = self._chunks.scan(self._in, most)
        pieces = []
        self._more = 0 < good < len(self._in)
        if good:
            self.deadline = now.monotonic + self._settings.body_timeout
            try:
                self._h11.receive_data(bytes(self._in[:good]))
                del self._in[:good]
                while isinstance(event := self._h11.next_event(), h11.Data):
                    pieces.append(bytes(event.data))
            except h11.RemoteProtocolError as error:
                raise RefusedError(400, "a body that is not HTTP") from error
        if not self._body_ended and self._eof and not self._more:
            raise RefusedError(400, "the request ends in its body")
        return b"".join(pieces), self._body_ended

    def _send(self, event: h11.Response | h11.InformationalResponse | h11.EndOfMessage) -> None:
        assert self._h11 is not None
        data = self._h11.send(event)
        if data:
            self._queue(data)

    def _send_data(self, piece: bytes | FileSpan) -> None:
        assert self._h11 is not None
        if not len(piece):
            return
        # h11 passes through whatever has a length, which is meant for sendfile(2).
        event = h11.Data(data=piece)  # type: ignore[arg-type]
        for part in self._h11.send_with_data_passthrough(event) or ():
            self._queue(part)

    def _queue(self, data: bytes | FileSpan) -> None:
        self._out.append(data)
        self._out_size += len(data)

    def _finish_body(self, end: End, now: Now) -> None:
        self._body = None
        assert self._h11 is not None
        if end.broken:
            # No last chunk, and nothing after it: that is how the client can tell.
            self._closing = True
        else:
            head_only = self._request is not None and self._request.method == "HEAD"
            headers = list(end.trailers) if self._chunked and not head_only else []
            self._send(h11.EndOfMessage(headers=headers))
        if not self._out:
            self._end_response(now)

    def _end_response(self, now: Now) -> None:
        assert self._h11 is not None
        last = self._closing or self._h11.our_state is not h11.DONE
        if not last:
            self._request = None
            self._h11.start_next_cycle()
            self._advance(Event.SENT, now)
        elif self._eof:
            self.close(now)
        else:
            self._advance(Event.SENT_LAST, now)


def _pull_some(body: Body) -> tuple[list[bytes | FileSpan], End | None]:
    """The beginning of a body, and its end if that is near."""
    pieces: list[bytes | FileSpan] = []
    size = 0
    while size < _PULL:
        pulled = body.pull(_PULL)
        if isinstance(pulled, End):
            return pieces, pulled
        if pulled is None or not len(pulled):
            break
        pieces.append(pulled)
        size += len(pulled)
    return pieces, None
