"""The receiving half of a connection: bytes into heads and bodies.

It knows where it is in the peer's bytes and nothing of what is answered. Whatever is wrong
with them is a RefusedError, after which the owner reads no more.
"""

from rtot.config import Settings
from rtot.http.framing import ChunkedScanner, HeadScanner, RefusedError
from rtot.http.heads import Head, Heads
from rtot.http.messages import Request

# How much of a body is looked at before others get their turn.
_MOST_SCANNED = 64 * 1024


class RequestReader:
    """What has arrived of requests and was not yet understood.

    The owner gives it data, asks for heads, and for each head whose request has a body
    calls `begin_body` and then `read_body` or `take_body` until that has ended.
    """

    __slots__ = (
        "_buffer",
        "_chunks",
        "_content",
        "_heads",
        "_left",
        "_scanner",
        "_settings",
        "ended",
        "more",
    )

    def __init__(self, settings: Settings, heads: Heads) -> None:
        self._settings = settings
        self._heads = heads
        self._buffer = bytearray()
        self._scanner = HeadScanner(settings)
        self._left = 0
        self._chunks: ChunkedScanner | None = None
        self._content = bytearray()
        self.ended = False
        """Whether the peer will send no more."""
        self.more = False
        """Whether the last look at a body stopped only to let others have their turn."""

    def __len__(self) -> int:
        return len(self._buffer)

    def receive(self, data: bytes) -> None:
        """The peer sent `data`; empty: it will send no more."""
        if data:
            self._buffer += data
        else:
            self.ended = True

    def clear(self) -> None:
        """Forget what has arrived."""
        self._buffer.clear()

    def next_head(self) -> Head | None:
        """The next head, None while it is not whole. Raises RefusedError."""
        buffer = self._buffer
        if not buffer:
            return None
        known = self._heads.recall(buffer) if self._scanner.at_start else None
        if known is not None:
            length, head = known
        else:
            found = self._scanner.scan(buffer)
            if found is None:
                if self.ended and buffer:
                    raise RefusedError(400, "the request ends in its head")
                return None
            self._scanner.restart()
            length, head = found, self._heads.read(bytes(buffer[:found]))
        del buffer[:length]
        self._left = head.request.content_length or 0
        self._chunks = ChunkedScanner(self._settings, None) if head.chunked else None
        self._content = bytearray()
        self.more = False
        return head

    @property
    def body_ended(self) -> bool:
        """Whether all of the request was read."""
        return self._chunks.ended if self._chunks is not None else not self._left

    def begin_body(self, limit: int | None) -> None:
        """The body is wanted; a chunked one may have `limit` bytes."""
        if self._chunks is not None:
            self._chunks = ChunkedScanner(self._settings, limit)

    def read_body(self, request: Request) -> tuple[Request | None, bool]:
        """The request with its whole body, None for not yet; and whether some arrived.

        Raises RefusedError.
        """
        data = self.take_body(_MOST_SCANNED)
        # In one piece, however small those were that it came in.
        self._content += data
        if not self.body_ended:
            return None, bool(data)
        whole = bytes(self._content)
        self._content = bytearray()
        return request._replace(body=whole), True

    def take_body(self, most: int) -> bytes:
        """Content that has arrived: about `most` bytes of it. Raises RefusedError."""
        buffer = self._buffer
        if self._chunks is None:
            used = min(self._left, len(buffer), most)
            content = bytes(buffer[:used])
            self._left -= used
        else:
            used, content = self._chunks.scan(buffer, most)
        self.more = 0 < used < len(buffer)
        del buffer[:used]
        if not self.body_ended and self.ended and not self.more:
            raise RefusedError(400, "the request ends in its body")
        return content
