"""The receiving half of a connection: bytes into requests and their bodies, by h11.

h11 is the only buffer and the only parser. The gate looks at what h11 holds before a head is
parsed, and at what it has consumed of a chunked body before the content is given away.
Whatever is wrong is a RefusedError, after which the owner reads no more.
"""

import sys

import h11

from rtot.config import Settings
from rtot.http.gate import ChunkGate, HeadGate, RefusedError, blank_lines, origin_form
from rtot.http.messages import Request

# Events of one body per turn: a chunk of one byte costs h11 8 µs.
_MOST_EVENTS = 16
_NOTHING = memoryview(b"")


class RequestReader:
    """Requests as they arrive.

    The owner gives it data, asks for heads, and for each head whose request has a body
    calls `begin_body` and then `read_body` or `take_body` until that has ended; answers by
    `conversation`, and then calls `next_cycle` or `forget`.
    """

    __slots__ = (
        "_blank",
        "_chunks",
        "_content",
        "_conversation",
        "_gate",
        "_rest",
        "_settings",
        "_yielded",
        "body_ended",
        "discarding",
        "ended",
        "held",
    )

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        # An idle client has none.
        self._conversation: h11.Connection | None = None
        self._gate: HeadGate | None = None
        self._chunks: ChunkGate | None = None
        self._content: bytearray | None = None
        # Content of a streamed body that `take_body` has not returned yet.
        self._rest = _NOTHING
        self._blank = 0
        self.held = 0
        """How many bytes are buffered."""
        self.ended = False
        """Whether the peer will send no more."""
        self.body_ended = True
        """Whether all of the request was read."""
        # Whether the last look at a body stopped only to let others have their turn.
        self._yielded = False
        self.discarding = False
        """Whether what arrives is thrown away."""

    @property
    def conversation(self) -> h11.Connection:
        """The h11 connection; a new one for an idle client."""
        if self._conversation is None:
            # The gate limits sizes: with h11, the result depends on how the bytes were split.
            self._conversation = h11.Connection(h11.SERVER, max_incomplete_event_size=sys.maxsize)
        return self._conversation

    @property
    def more(self) -> bool:
        """Whether more of the body can be had at once."""
        return self._yielded or bool(self._rest)

    @property
    def asks_for_head(self) -> bool:
        """Whether the head that is buffered begins like one of a HEAD request."""
        return self.conversation.trailing_data[0].startswith(b"HEAD ")

    def receive(self, data: bytes) -> None:
        """The peer sent `data`; empty: it will send no more."""
        if not data:
            self.ended = True
        elif self.discarding:
            return
        self.held += len(data)
        if data or self._conversation is not None:
            self.conversation.receive_data(data)

    def stop(self) -> None:
        """Discard what has arrived and what will arrive."""
        self.discarding = True
        self.held = 0
        self._rest = _NOTHING
        self._content = None
        self._yielded = False

    def forget(self) -> None:
        """The conversation is over."""
        self.stop()
        self._conversation = self._gate = self._chunks = None

    def next_cycle(self) -> None:
        """The answer is through, and another request may follow."""
        self._chunks = None
        self._blank = 0
        if self.held:
            self.conversation.start_next_cycle()
        else:
            self._conversation = None

    def next_head(self) -> Request | None:
        """The next request, without its body; None while its head is not whole.

        Raises RefusedError.
        """
        if not self.held:
            return None
        conversation = self.conversation
        data = conversation.trailing_data[0]
        gate = self._gate
        if gate is None:
            if blank := blank_lines(data):
                data = self._skip(data, blank)
            if data in (b"", b"\r"):
                self._check_end()
                return None
            gate = HeadGate(self._settings)
        length = gate.judge(data)
        if length is None:
            self._gate = gate
            self._check_end()
            return None
        self._gate = None
        self.held -= length
        event = self._next_event()
        assert isinstance(event, h11.Request)
        return self._begin(event)

    def _skip(self, data: bytes, blank: int) -> bytes:
        """Drop blank lines before a request, which h11 would refuse: start a new h11 connection."""
        self._blank += blank
        blank_lines(b"\r\n" * (self._blank // 2))
        self._conversation = None
        data = data[blank:]
        self.held = len(data)
        if data:
            self.conversation.receive_data(data)
            if self.ended:
                self.conversation.receive_data(b"")
        return data

    def _check_end(self) -> None:
        if self.ended and self.held:
            raise RefusedError(400, "the request ends in its head")

    def _begin(self, event: h11.Request) -> Request:
        headers: dict[str, str] = {}
        for raw_name, raw_value in event.headers.raw_items():
            name, value = raw_name.lower().decode("ascii"), raw_value.decode("latin-1")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        length = int(headers["content-length"]) if "content-length" in headers else None
        chunked = "transfer-encoding" in headers
        self._yielded = False
        self.body_ended = not (length or chunked)
        if chunked:
            self._chunks = ChunkGate(self._settings, None)
        elif self.body_ended:
            end = self._next_event()
            assert isinstance(end, h11.EndOfMessage)
        return Request(
            event.method.decode("ascii"),
            origin_form(event.target.decode("ascii")),
            headers,
            length,
            b"" if self.body_ended else None,
            event.http_version == b"1.0",
        )

    def begin_body(self, limit: int | None) -> None:
        """The body is wanted; one that is read whole may have `limit` bytes."""
        self._content = None if limit is None else bytearray()
        if self._chunks is not None:
            self._chunks = ChunkGate(self._settings, limit)

    def read_body(self, request: Request) -> tuple[Request | None, bool]:
        """The request with its whole body, None for not yet; and whether some arrived.

        Raises RefusedError.
        """
        assert self._content is not None
        progress = False
        # One buffer, however small the pieces are.
        for data in self._next_data():
            self._content += data
            progress = True
        if not self.body_ended:
            return None, progress
        whole, self._content = bytes(self._content), None
        return request._replace(body=whole), True

    def take_body(self, most: int) -> memoryview:
        """Content that has arrived: at most `most` bytes of it. Raises RefusedError."""
        if not self._rest:
            data = self._next_data()
            self._rest = memoryview(data[0] if len(data) == 1 else b"".join(data))
            self.held += len(self._rest)
        piece, self._rest = self._rest[:most], self._rest[most:]
        self.held -= len(piece)
        return piece

    def _next_data(self) -> list[bytes]:
        """Content that h11 can give now: a bounded number of pieces."""
        if self._chunks is None:
            data = self._take_events()
            self.held -= sum(map(len, data))
            return data
        data = []
        failure: RefusedError | None = None
        before = self.conversation.trailing_data[0]
        try:
            data = self._take_events()
        except RefusedError as refused:
            failure = refused
        after = self.conversation.trailing_data[0]
        self.held = len(after)
        # Errors are reported in the order of the bytes, however these were split.
        pending = b"" if self.body_ended else after
        self._chunks.judge(before[: len(before) - len(after)], pending)
        if failure is not None:
            raise failure
        return data

    def _take_events(self) -> list[bytes]:
        data: list[bytes] = []
        self._yielded = False
        for _ in range(_MOST_EVENTS):
            if self.body_ended:
                return data
            event = self._next_event()
            if isinstance(event, h11.Data):
                data.append(event.data)
            elif isinstance(event, h11.EndOfMessage):
                self.body_ended = True
            else:
                return data
        self._yielded = not self.body_ended
        return data

    def _next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        try:
            return self.conversation.next_event()
        except h11.RemoteProtocolError as error:
            why = "the request ends in its body" if self.ended else "a request that is not HTTP"
            raise RefusedError(error.error_status_hint, why) from error
