"""One client's HTTP: bytes in, requests out; responses in, bytes out. No sockets.

h11 implements the protocol: `incoming` has it parse what the peer sends, `outgoing` has it
write the responses. This module adds what h11 does not do: timeouts, fairness between clients,
and closing a connection after a refusal. The response is sent, and for a while all further
input is read and discarded, so that a client in the middle of an upload gets to read the
response (RFC 9112, 9.6).

The time is an argument.
"""

from collections.abc import Callable

import h11

from rtot.clock import Now
from rtot.config import Settings
from rtot.http.connection_state import TRANSITIONS, Event, State
from rtot.http.errors import RETRY, error
from rtot.http.gate import RefusedError
from rtot.http.incoming import RequestReader
from rtot.http.messages import Headers, Request, Response, Topic
from rtot.http.outgoing import Piece, ResponseWriter
from rtot.http.response_head import REASONS

# How long the peer may take in each state. In the others nothing is expected of it.
_PATIENCE: dict[State, Callable[[Settings], float]] = {
    State.IDLE: lambda settings: settings.idle_timeout,
    State.HEAD: lambda settings: settings.head_timeout,
    State.BODY: lambda settings: settings.body_timeout,
    State.STREAMING: lambda settings: settings.body_timeout,
    # Answered at once, but for a client that is still in its TLS handshake.
    State.REFUSED: lambda settings: settings.linger_timeout,
    State.RESPONDING: lambda settings: settings.send_timeout,
    State.BREAKING: lambda settings: min(settings.send_timeout, _LONGEST_BREAKING),
    State.LINGERING: lambda settings: settings.linger_timeout,
}
# Even where a body may take as long as it likes: what arrives here is discarded.
_LONGEST_LINGER = 20.0
_LONGEST_BREAKING = 30.0
_REFUSAL_HEADERS = {405: (("Allow", "GET, HEAD, POST, DELETE"),), 503: (RETRY,)}
# Membership in a prepared set costs half of looking members up on the Enum.
_BETWEEN = frozenset({State.FRESH, State.IDLE})
_BEFORE = frozenset({State.FRESH, State.IDLE, State.HEAD})
_IN_BODY = frozenset({State.BODY, State.STREAMING})
_SENDING = frozenset({State.RESPONDING, State.BREAKING})
_ENDED = frozenset({State.LINGERING, State.CLOSED})


class HttpConnection:
    """The protocol side of one client.

    The owner's duty: give it what arrives (`receive_data`, with empty data for the end),
    ask for requests (`next_request`), answer each (`read_body`, `stream_body` or `respond`), and
    what is REFUSED by its `refusal`; then pull bytes (`data_to_send`) and tell what was taken
    (`sent`), until it is CLOSED. When LINGERING, shut the sending side of the socket down. At
    `deadline` call `expire`. When BREAKING, `close` as soon as the peer has acknowledged what was
    sent, or at `deadline`.
    """

    __slots__ = (
        "_closing",
        "_linger_until",
        "_reader",
        "_refusal",
        "_request",
        "_settings",
        "_state",
        "_writer",
        "broke_off",
        "deadline",
        "status",
    )

    def __init__(self, settings: Settings, now: Now) -> None:
        self._settings = settings
        self._state = State.FRESH
        self._reader = RequestReader(settings)
        self._writer = ResponseWriter()
        self._request: Request | None = None
        self._refusal: Response | None = None
        self._closing = False
        self._linger_until = 0.0
        # A client that connects is about to send a request.
        self.deadline: float | None = now.monotonic + settings.head_timeout
        self.broke_off = False
        """Whether to reset the socket: a response under HTTP/1.0 was closed before its end."""
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
    def refusal(self) -> Response | None:
        """The response to be made if the state is REFUSED, None in any other."""
        return self._refusal

    @property
    def has_unsent(self) -> bool:
        """Whether there are bytes that the peer has not taken."""
        return bool(self._writer.pieces)

    @property
    def has_more_to_send(self) -> bool:
        """Whether a pull stopped only to let others have their turn."""
        return self._writer.body is not None and self._writer.yielded

    @property
    def topic(self) -> Topic | None:
        """The topic that the rest of the response waits for, None if it waits for nothing."""
        body = self._writer.body
        return body.topic if body is not None else None

    @property
    def room(self) -> int:
        """How many bytes to read. If 0, read nothing: the kernel then holds the peer back.

        While a body is being read the limit is `max_buffer`, otherwise that of a head.
        """
        if self._reader.ended or self._state is State.BREAKING:
            return 0
        settings = self._settings
        in_body = self._state in _IN_BODY
        # One byte more than the limit is enough to know that a head is too long.
        most = settings.max_buffer if in_body else settings.max_head + 1
        return max(0, most - self._reader.held)

    @property
    def unused(self) -> bool:
        """Whether no byte of a request has arrived."""
        return self._state in _BETWEEN and not self._reader.held

    @property
    def has_work(self) -> bool:
        """Whether `next_request` or `next_piece` stopped only to let others have their turn."""
        if self._state in _BETWEEN:
            return self._reader.held > 0 or self._reader.ended
        # Without a deadline a body is paused.
        return self._state in _IN_BODY and self._reader.more and self.deadline is not None

    def receive_data(self, data: bytes, now: Now) -> None:
        """The peer sent `data`; empty: it will send no more."""
        if self._state is State.LINGERING:
            if not data:
                self._advance(Event.CLOSED, now)
            # A peer that goes on sending has not seen the response.
            self.deadline = min(self._linger_until, now.monotonic + self._settings.linger_timeout)
            return
        self._reader.receive(data)

    def next_request(self, now: Now) -> Request | None:
        """The next request, once its head has arrived (or its whole body, after `read_body`).

        None if there is none yet: ask again when more has arrived or a response is complete.
        A bad request is refused here, and no other request follows it.
        """
        try:
            if self._state in _BEFORE:
                return self._read_head(now)
            if self._state is State.BODY:
                return self._read_body(now)
        except RefusedError as refused:
            self.refuse(refused.status, refused.why, now)
        return None

    def read_body(self, limit: int, now: Now) -> None:
        """Read the request's body, at most `limit` bytes; `next_request` then returns it whole."""
        self._advance(Event.BODY_WANTED, now)
        self._begin_body(limit)

    def stream_body(self, now: Now) -> None:
        """Read the request's body piece by piece, by `next_piece`."""
        self._advance(Event.STREAM_WANTED, now)
        self._begin_body(None)

    def next_piece(self, room: int, now: Now) -> bytes | memoryview | None:
        """The next bytes of a streamed body, at most `room`; empty for none yet, None at the end.

        A bad body is refused here; the state is then no longer STREAMING.
        """
        if self._state is not State.STREAMING:
            return b""
        try:
            data = self._reader.take_body(room)
        except RefusedError as refused:
            self.refuse(refused.status, refused.why, now)
            return b""
        if data or self.deadline is None:
            self.deadline = now.monotonic + self._settings.body_timeout
        return None if self._reader.body_ended and not data else data

    def pause_body(self) -> None:
        """The receiver of a streamed body has no room: that is not the peer's fault.

        The next `next_piece` sets the deadline anew.
        """
        self.deadline = None

    def respond(self, response: Response, now: Now, unique: Headers = ()) -> None:
        """Answer the request. If its body was not read to the end, close after that.

        `unique`: more headers, that no other response has.
        """
        if self._request is not None and not self._reader.body_ended:
            self._closing = True
        self._refusal = None
        self._writer.begin(
            response,
            self._request,
            self._reader.conversation,
            now,
            last=self._closing,
            unique=unique,
        )
        self._advance(Event.ANSWERED, now)
        self.status = response.status

    def refuse(self, status: int, why: str, now: Now) -> None:
        """Read nothing more from this connection; its last answer is to be an error."""
        self._closing = True
        refusal = error(status, REASONS[status].lower(), why, *_REFUSAL_HEADERS.get(status, ()))
        if self._request is None and self._reader.asks_for_head:
            refusal = refusal._replace(body=b"")
        self._refusal = refusal
        self._reader.stop()
        self._advance(Event.REFUSED, now)

    def data_to_send(self, now: Now) -> list[Piece]:
        """The next pieces to send."""
        writer = self._writer
        if writer.body is not None:
            writer.pull()
            if writer.done:
                self._end_response(now)
        if writer.pieces and self.deadline is None and self._state is State.RESPONDING:
            # While there was nothing to send the peer owed nothing. Now it must read.
            self.deadline = now.monotonic + self._settings.send_timeout
        return writer.pieces

    def sent(self, count: int, now: Now) -> None:
        """The peer took the first `count` bytes of `data_to_send`."""
        writer = self._writer
        writer.sent(count)
        if self._state is State.RESPONDING:
            if writer.done:
                self._end_response(now)
            elif writer.pieces:
                self.deadline = now.monotonic + self._settings.send_timeout
            else:
                self.deadline = None

    def expire(self, now: Now) -> None:
        """The time of `deadline` has come. BREAKING is for the owner to end."""
        if self.deadline is None or now.monotonic < self.deadline:
            return
        match self._state:
            case State.HEAD:
                self.refuse(408, "the head of the request did not arrive in time", now)
            case State.BODY | State.STREAMING:
                self.refuse(408, "the body of the request does not arrive", now)
            case State.BREAKING:
                pass
            case _:
                self.close(now)

    def wind_down(self, now: Now) -> None:
        """Finish the response under way, then close."""
        self._closing = True
        if self._state is State.BREAKING:
            self.deadline = now.monotonic + self._settings.linger_timeout
        if self._state in _BETWEEN and not self._reader.held:
            self.close(now)

    def close(self, now: Now) -> None:
        """Close at once, whatever was under way."""
        self._advance(Event.CLOSED, now)

    def _advance(self, event: Event, now: Now) -> None:
        before = self._state
        after = TRANSITIONS[before].get(event)
        if after is None:
            raise AssertionError(f"{event.name} of a connection that is {before.name}")
        if after is State.CLOSED and before in _SENDING:
            old = self._request is not None and self._request.http_1_0
            self.broke_off = old and (self._writer.broken or not self._writer.done)
        self._state = after
        patience = _PATIENCE.get(after)
        self.deadline = now.monotonic + patience(self._settings) if patience else None
        if after in _ENDED:
            self._reader.forget()
            if after is State.CLOSED:
                self._writer.clear()
            else:
                longest = min(self._settings.body_timeout, _LONGEST_LINGER)
                self._linger_until = now.monotonic + longest

    def _read_head(self, now: Now) -> Request | None:
        reader = self._reader
        request = reader.next_head()
        if request is None:
            # Blank lines before a request (RFC 9112, 2.2) are not the beginning of one.
            if reader.held and self._state is not State.HEAD:
                self._advance(Event.RECEIVED, now)
            elif reader.ended and not reader.held:
                self.close(now)
            return None
        self._advance(Event.HEAD_ENDED, now)
        self._request = request
        return request

    def _begin_body(self, limit: int | None) -> None:
        self._reader.begin_body(limit)
        if self._reader.conversation.they_are_waiting_for_100_continue:
            self._writer.say_continue(self._reader.conversation)

    def _read_body(self, now: Now) -> Request | None:
        assert self._request is not None
        request, progress = self._reader.read_body(self._request)
        if request is None:
            if progress:
                self.deadline = now.monotonic + self._settings.body_timeout
            return None
        self._request = request
        self._advance(Event.BODY_ENDED, now)
        return request

    def _end_response(self, now: Now) -> None:
        conversation = self._reader.conversation
        if conversation.our_state is conversation.their_state is h11.DONE:
            self._reader.next_cycle()
            self._request = None
            self._advance(Event.SENT, now)
            if self._closing and not self._reader.held:
                # It was to be the last since the head was sent.
                self.close(now)
        elif self._writer.broken and self._request is not None and self._request.http_1_0:
            self._advance(Event.SENT_PART, now)
        elif self._reader.ended:
            self.close(now)
        else:
            self._advance(Event.SENT_LAST, now)
