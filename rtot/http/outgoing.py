"""The sending half of a connection: a response into bytes, by h11, as the peer takes them.

No more is pulled than the peer is likely to take soon. Data that was pulled for a client that
does not read stays in memory, and there may be many such clients.
"""

from typing import cast

import h11

from rtot.clock import Now
from rtot.http.messages import THE_END, Body, End, Headers, Request, Response
from rtot.http.response_head import REASONS, response_head
from rtot.storage import FileSpan

_PULL = 16 * 1024
# Without trailers one value will do for all.
_END = h11.EndOfMessage()

Piece = bytes | FileSpan


class ResponseWriter:
    """What is to be sent. The owner begins a response, sends `pieces` and tells what was taken."""

    __slots__ = ("_body", "_h11", "_size", "_trailers", "broken", "pieces", "yielded")

    def __init__(self) -> None:
        self.pieces: list[Piece] = []
        """What is to be sent next. To be read, not changed."""
        self._size = 0
        self._body: Body | None = None
        self._h11: h11.Connection | None = None
        # Whether the body may end with trailers.
        self._trailers = False
        self.broken = False
        """Whether the last response broke off. It is `done` then like any other."""
        self.yielded = False
        """Whether the last pull stopped only to let others have their turn."""

    @property
    def body(self) -> Body | None:
        """The body, until it has been pulled to its end."""
        return self._body

    @property
    def done(self) -> bool:
        """Whether all of the response was taken."""
        return self._body is None and not self.pieces

    def say_continue(self, connection: h11.Connection) -> None:
        """Send 100 Continue (RFC 9110, 15.2.1)."""
        event = h11.InformationalResponse(status_code=100, headers=[], reason=REASONS[100].encode())
        self._queue(connection.send(event))

    def begin(
        self,
        response: Response,
        request: Request | None,
        connection: h11.Connection,
        now: Now,
        *,
        last: bool,
        unique: Headers = (),
    ) -> None:
        """Send the head, and as much of the body as there is now.

        A body that turns out to be short is sent with its length; one without a length is
        chunked, or under HTTP/1.0 ends with the connection. `last`: close the connection after it.
        `unique`: headers that no other response has.
        """
        body = response.body
        self.yielded = self.broken = False
        beginning = b""
        then: FileSpan | End | None = None
        if not isinstance(body, bytes) and body.length is None:
            beginning, then = _pull_some(body)
            if then == THE_END:
                body = beginning
        length = len(body) if isinstance(body, bytes) else body.length
        old = request is not None and request.http_1_0
        trailers = "" if isinstance(body, bytes) or length is not None or old else body.trailers
        # Made before anything is sent, so that an invalid header can still become a 500.
        seconds = now.wall // 1_000_000_000
        head = response_head(
            response.status, response.headers, length, trailers, last, seconds, unique=unique
        )
        self._h11 = connection
        self._body = None if isinstance(body, bytes) else body
        self._trailers = length is None and not old
        output = connection.send(head)
        if response.status == 204 or (request is not None and request.method == "HEAD"):
            self._queue(output)
            self._end()
        elif isinstance(body, bytes):
            # One piece is one system call.
            output += connection.send(h11.Data(data=body))
            self._queue(output)
            self._end()
        else:
            self._queue(output)
            self._queue_content(beginning)
            if isinstance(then, End):
                self._finish(then)
            elif then is not None:
                self._queue_content(then)

    def pull(self) -> None:
        """Pull pieces until enough are queued."""
        while self._body is not None and self._size < _PULL:
            pulled = self._body.pull(_PULL)
            self.yielded = pulled == b""
            if not pulled:
                return
            if isinstance(pulled, End):
                self._finish(pulled)
            else:
                self._queue_content(pulled)

    def sent(self, count: int) -> None:
        """The peer took the first `count` bytes of the pieces."""
        self._size -= count
        pieces = self.pieces
        taken = 0
        for piece in pieces:
            length = len(piece)
            if count < length:
                break
            count -= length
            taken += 1
        del pieces[:taken]
        if count:
            first = pieces[0]
            if isinstance(first, FileSpan):
                pieces[0] = FileSpan(first.file, first.offset + count, first.length - count)
            else:
                pieces[0] = first[count:]

    def clear(self) -> None:
        """Drop the rest of the response."""
        self._body = None
        self._h11 = None
        self.pieces = []
        self._size = 0

    def _queue(self, piece: Piece) -> None:
        if len(piece):
            self.pieces.append(piece)
            self._size += len(piece)

    def _queue_content(self, piece: Piece) -> None:
        assert self._h11 is not None
        if isinstance(piece, bytes):
            self._queue(self._h11.send(h11.Data(data=piece)))
            return
        # All that h11 needs of such a piece is its length.
        event = h11.Data(data=cast(bytes, piece))
        for part in self._h11.send_with_data_passthrough(event) or ():
            self._queue(part)

    def _finish(self, end: End) -> None:
        assert self._h11 is not None
        if end.broken:
            # Without a last chunk the client can tell that the body is incomplete.
            self._h11.send_failed()
            self._body = None
            self.broken = True
        else:
            self._end(end.trailers if self._trailers else ())

    def _end(self, trailers: Headers = ()) -> None:
        assert self._h11 is not None
        self._body = None
        event = h11.EndOfMessage(headers=list(trailers)) if trailers else _END
        self._queue(self._h11.send(event))


def _pull_some(body: Body) -> tuple[bytes, FileSpan | End | None]:
    """The first bytes of a body, and what followed them: its end, a span of a file or None."""
    pieces: list[bytes] = []
    size = 0
    while size < _PULL:
        pulled = body.pull(_PULL)
        if not isinstance(pulled, bytes):
            return b"".join(pieces), pulled
        if not pulled:
            break
        pieces.append(pulled)
        size += len(pulled)
    return b"".join(pieces), None
