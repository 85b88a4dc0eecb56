"""Heads of requests, understood by h11; each distinct one once.

`framing` has found where a head ends and that no two readers could understand it
differently. What it means is a function of its bytes alone, and who polls a job sends the
same bytes again and again: the last few are remembered with their meaning.
"""

from typing import NamedTuple

import h11

from rtot.http.framing import RefusedError
from rtot.http.messages import Request

# Together at most half a megabyte, whatever clients send.
_REMEMBERED = 128
_LONGEST_REMEMBERED = 1024
# What frames a message, and all that h11 gets to see: it takes 4 microseconds for a field, and
# all others are names and values that `framing` found well formed.
_DECIDING = frozenset({"connection", "content-length", "expect", "host", "transfer-encoding"})


class Head(NamedTuple):
    """A request as its head tells it; `request.body` is None where one follows.

    `chunked`: the body is chunked. `last`: no other request is to follow. `waiting`: the
    client sends the body when it is told to (RFC 9110, 10.1.1).
    """

    request: Request
    chunked: bool
    last: bool
    waiting: bool


class Heads:
    """What all connections of one server know of heads."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[bytes, Head] = {}

    def recall(self, buffer: bytearray) -> tuple[int, Head] | None:
        """Length and meaning of the head at the start of `buffer`, if it was read before."""
        end = buffer.find(b"\r\n\r\n", 0, _LONGEST_REMEMBERED) + 4
        known = self._known.get(bytes(buffer[:end]))
        return (end, known) if known is not None else None

    def read(self, head: bytes) -> Head:
        """The meaning of a head that `framing` let through. Raises RefusedError."""
        meaning = _read(head)
        if len(head) <= _LONGEST_REMEMBERED:
            if len(self._known) >= _REMEMBERED:
                del self._known[next(iter(self._known))]
            self._known[head] = meaning
        return meaning


def _read(head: bytes) -> Head:
    request_line, *lines = head[:-4].split(b"\r\n")
    headers: dict[str, str] = {}
    deciding = [request_line]
    for line in lines:
        raw_name, _, raw_value = line.partition(b":")
        name = raw_name.lower().decode("ascii")
        value = raw_value.strip(b" \t").decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
        if name in _DECIDING:
            deciding.append(line)
    reader = h11.Connection(h11.SERVER)
    try:
        reader.receive_data(b"\r\n".join([*deciding, b"", b""]))
        event = reader.next_event()
    except h11.RemoteProtocolError as error:
        raise RefusedError(error.error_status_hint, "a request that is not HTTP") from error
    assert isinstance(event, h11.Request)
    length = int(headers["content-length"]) if "content-length" in headers else None
    chunked = "transfer-encoding" in headers
    old = event.http_version == b"1.0"
    options = [o.strip(" \t").lower() for o in headers.get("connection", "").split(",")]
    request = Request(
        event.method.decode("ascii"),
        event.target.decode("ascii"),
        headers,
        length,
        None if length or chunked else b"",
        old,
    )
    waiting = request.body is None and not old and "expect" in headers
    return Head(request, chunked, old or "close" in options, waiting)
