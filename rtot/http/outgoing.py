"""The sending half of a connection: a response into bytes, pulled as the peer takes them.

No more is pulled than the peer is likely to take soon: what is pulled ahead of a client that
does not read is memory that many such clients cost.
"""

from rtot.clock import Now
from rtot.http.messages import THE_END, Body, End, Request, Response
from rtot.http.response_head import write_head
from rtot.storage import FileSpan

_PULL = 16 * 1024
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

Piece = bytes | FileSpan


class ResponseWriter:
    """What is to be sent. The owner begins a response, sends `pieces` and tells what was taken."""

    __slots__ = ("_body", "_chunked", "_left", "_size", "last", "pieces", "yielded")

    def __init__(self) -> None:
        self.pieces: list[Piece] = []
        """What is to be sent next. To be read, not changed."""
        self._size = 0
        self._body: Body | None = None
        self._chunked = False
        self._left: int | None = None
        self.last = False
        """Whether the connection ends with this response."""
        self.yielded = False
        """Whether the last pull stopped only to let others have their turn."""

    @property
    def body(self) -> Body | None:
        """What is still to be pulled."""
        return self._body

    @property
    def done(self) -> bool:
        """Whether all of the response was taken."""
        return self._body is None and not self.pieces

    def say_continue(self) -> None:
        """Tell a client that waits to send its body (RFC 9110, 15.2.1)."""
        self._queue(_CONTINUE)

    def begin(self, response: Response, request: Request | None, now: Now, *, last: bool) -> None:
        """Send the head, and of the body what can be had at once.

        A body that turns out to be short is sent with its length; one without a length is
        chunked, or under HTTP/1.0 ends with the connection.
        """
        body = response.body
        self.last = last
        self.yielded = False
        framing = ""
        beginning = b""
        then: FileSpan | End | None = None
        if not isinstance(body, bytes) and body.length is None:
            beginning, then = _pull_some(body)
            if then == THE_END:
                body = beginning
        length = len(body) if isinstance(body, bytes) else body.length
        self._body = None if isinstance(body, bytes) else body
        self._left = length
        self._chunked = False
        if response.status == 204:
            pass
        elif length is not None:
            framing = f"Content-Length: {length}\r\n"
        elif request is None or not request.http_1_0:
            self._chunked = True
            framing = "Transfer-Encoding: chunked\r\n"
            if self._body is not None and self._body.trailers:
                framing += f"Trailer: {self._body.trailers}\r\n"
        else:
            self.last = True
        if self.last:
            framing += "Connection: close\r\n"
        head = write_head(response.status, response.headers, framing, now)
        if response.status == 204 or (request is not None and request.method == "HEAD"):
            self._body = None
            self._queue(head)
            return
        if isinstance(body, bytes):
            # One piece is one system call.
            self._queue(head + body)
            return
        self._queue(head)
        self._queue_content(beginning)
        if isinstance(then, End):
            self._finish(then)
        elif then is not None:
            self._queue_content(then)

    def pull(self) -> None:
        """Have as many pieces as are of use."""
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
        """Nobody is there to read the rest."""
        self._body = None
        self.pieces = []
        self._size = 0

    def _queue(self, piece: Piece) -> None:
        self.pieces.append(piece)
        self._size += len(piece)

    def _queue_content(self, piece: Piece) -> None:
        length = len(piece)
        if not length:
            return
        if not self._chunked:
            if self._left is not None:
                self._left -= length
                if self._left < 0:
                    raise AssertionError("a body that is longer than it said")
            self._queue(piece)
        elif isinstance(piece, bytes):
            self._queue(b"%x\r\n%b\r\n" % (length, piece))
        else:
            self._queue(b"%x\r\n" % length)
            self._queue(piece)
            self._queue(b"\r\n")

    def _finish(self, end: End) -> None:
        self._body = None
        if end.broken:
            # No last chunk, and nothing after it: that is how the client can tell.
            self.last = True
        elif self._chunked:
            lines = "".join(f"{name}: {value}\r\n" for name, value in end.trailers)
            self._queue(f"0\r\n{lines}\r\n".encode("latin-1"))
        elif self._left:
            raise AssertionError("a body that is shorter than it said")


def _pull_some(body: Body) -> tuple[bytes, FileSpan | End | None]:
    """The beginning of a body, and what came behind it: its end if that is near."""
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
