"""HTTP messages as values. No h11, no sockets.

A response body is bytes, or a Body that is pulled: it answers bytes, *nothing yet*, or the
end. So one mechanism serves a small answer, a long poll, a followed output and a list of
100,000 jobs, and nothing large is ever built whole.
"""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from rtot.storage import FileSpan

Header = tuple[str, str]
Headers = tuple[Header, ...]
# What a body waits for: a number that only the code that creates bodies interprets.
Topic = int


class Request(NamedTuple):
    """One request (RFC 9110). Header names are in lower case; several field lines with the same
    name are joined by commas (RFC 9110, 5.2).

    `content_length` is the declared one, None for none or a chunked body. `body` is None as
    long as the request has a body that was not read: only its head can be judged then.
    """

    method: str
    target: str
    headers: Mapping[str, str]
    content_length: int | None = None
    body: bytes | None = b""
    http_1_0: bool = False

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        return self.target.partition("?")[2]


class End(NamedTuple):
    """The end of a body.

    `broken`: the body must not look whole to the client, so break the connection off.
    """

    trailers: Headers = ()
    broken: bool = False


THE_END = End()
BROKEN = End(broken=True)


class Body(Protocol):
    """A response body that is pulled.

    `length` is the exact number of bytes still to come, None where that is not known.
    `trailers` names the fields that the end may bring. `topic` is what brings more after
    *nothing yet*.
    """

    length: int | None
    trailers: str
    topic: Topic | None

    def pull(self, limit: int) -> bytes | FileSpan | End | None:
        """The next at most `limit` bytes.

        None: nothing yet; pull again when the topic has changed. Empty bytes: nothing so far,
        but pull again without waiting; the body stopped only to let others have their turn.
        """


class Response(NamedTuple):
    """An answer. Framing fields (Content-Length, Connection, …) are the connection's."""

    status: int
    headers: Headers = ()
    body: bytes | Body = b""
