"""What is let through to h11: the whole list of refusals, in one place.

h11 parses what it is given and is lenient where the standard allows it to be. A server that
runs what it is sent had better be strict: whatever two readers could understand differently
(RFC 9112, 11.2) is refused, and after a refusal nothing more of that connection is read as
a request. The rules:

- a request line of at most 8 KB (414), a head of at most 16 KB and 100 fields (431);
- lines end in CR LF; no bare LF, no bare CR, no folded line, no control byte in a field;
- the method is a token, the target starts with `/` and is printable ASCII, CONNECT is 405,
  the version is 1.0 or 1.1 (505 for others);
- Host exactly once under 1.1, at most once under 1.0, and well formed;
- Content-Length at most once, digits only; never together with Transfer-Encoding;
- Transfer-Encoding only under 1.1, and only `chunked` (501 for other codings);
- fields that decide something (Authorization, Content-Type, Expect, …) at most once;
- a chunk's line is a size and well formed extensions of at most 1 KB, trailers are fields,
  may not pretend to frame the message, are counted as part of the head and then ignored;
- what chunks cost beyond their content is limited like content.

Everything is judged in the order of the bytes, so that the outcome does not depend on how
they were split on their way.
"""

import re
from enum import Enum, auto

from rtot.config import Settings

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_LINE = rb"(" + _TOKEN + rb") (/[\x21-\x7e]*) HTTP/1\.[01]"
_HEADER = _TOKEN + rb":[\t\x20-\x7e\x80-\xff]*"
_WHOLE_HEAD = re.compile(_LINE + rb"\r\n(?:" + _HEADER + rb"\r\n)*\r\n")
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb") ([\x21-\x7e]+) (HTTP/[0-9]\.[0-9])")
_HEADER_LINE = re.compile(_HEADER)
# What decides something may be said once.
_SINGLE = frozenset(
    {b"host", b"content-length", b"content-type", b"authorization", b"expect", b"origin"}
    | {b"content-encoding", b"idempotency-key", b"sec-fetch-site", b"last-event-id", b"range"}
)
_HOST = re.compile(
    rb"(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*(?::[0-9]{0,5})?"
    rb"|\[[0-9A-Fa-f:.]+\](?::[0-9]{0,5})?"
)
_QUOTED = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*"'
_EXTENSION = rb";[ \t]*" + _TOKEN + rb"(?:[ \t]*=[ \t]*(?:" + _TOKEN + rb"|" + _QUOTED + rb"))?"
# Compiled by the first chunked body.
_CHUNK_LINE = rb"([0-9A-Fa-f]{1,16})(?:" + _EXTENSION + rb")*"
_MAX_CHUNK_LINE = 1024
_MAX_BLANK_LINES = 4
# A body of tiny chunks is looked at in small portions, so that others get their turn.
_MOST_LINES = 32
_FORBIDDEN_TRAILERS = frozenset({b"host", b"content-length", b"transfer-encoding"})


class RefusedError(Exception):
    """The peer's bytes are refused: the status to answer with, and why."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status
        self.why = why


class HeadScanner:
    """Finds the end of one request's head in a growing buffer, and refuses bad ones."""

    __slots__ = ("_at", "_blank", "_lines", "_searched", "_settings")

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._at = 0
        self._lines = 0
        self._blank = 0
        # Up to where no end of a line was found: a head that comes byte by byte is not
        # searched from its beginning for every byte.
        self._searched = 0

    def scan(self, buffer: bytearray) -> int | None:
        """The length of the head at the start of `buffer`, None while it is incomplete.

        Blank lines before the request line (RFC 9112, 2.2) are deleted from the buffer.
        Raises RefusedError. Call again with more of the same, or `restart` after a head.
        """
        settings = self._settings
        if self.at_start:
            end = buffer.find(b"\r\n\r\n") + 4
            if (
                3 < end <= settings.max_head
                and buffer.find(b"\n") < settings.max_request_line + 2
                and buffer.count(b"\n", 0, end) <= settings.max_headers + 2
                and _WHOLE_HEAD.fullmatch(buffer, 0, end)
            ):
                _check_headers(bytes(buffer[:end]))
                return end
        while (newline := buffer.find(b"\n", max(self._at, self._searched))) >= 0:
            self._searched = 0
            self._check_size(newline + 1)
            if newline == self._at or buffer[newline - 1] != 0x0D:
                raise RefusedError(400, "a line that does not end in CR LF")
            line = bytes(buffer[self._at : newline - 1])
            if not line and not self._lines:
                self._blank += 1
                if self._blank > _MAX_BLANK_LINES:
                    raise RefusedError(400, "blank lines instead of a request")
                del buffer[:2]
                continue
            if not line:
                _check_headers(bytes(buffer[: newline + 1]))
                return newline + 1
            if not self._lines:
                _check_request_line(line)
            else:
                if self._lines > settings.max_headers:
                    raise RefusedError(431, f"more than {settings.max_headers} fields")
                _check_header(line)
            self._lines += 1
            self._at = newline + 1
        self._check_size(len(buffer))
        self._searched = len(buffer)
        return None

    @property
    def at_start(self) -> bool:
        """Whether nothing of a head was seen yet."""
        return not (self._at or self._blank or self._searched)

    def restart(self) -> None:
        """The next head begins at the start of the buffer."""
        self._at = self._lines = self._blank = self._searched = 0

    def _check_size(self, length: int) -> None:
        if not self._lines and length > self._settings.max_request_line + 2:
            raise RefusedError(414, f"a request line over {self._settings.max_request_line} bytes")
        if length > self._settings.max_head:
            raise RefusedError(431, f"a head over {self._settings.max_head} bytes")


def _check_request_line(line: bytes) -> None:
    found = _REQUEST_LINE.fullmatch(line)
    if found is None:
        raise RefusedError(400, "a malformed request line")
    method, target, version = found.groups()
    if version not in (b"HTTP/1.1", b"HTTP/1.0"):
        raise RefusedError(505, "only HTTP/1.0 and HTTP/1.1 are spoken here")
    if method == b"CONNECT":
        raise RefusedError(405, "this is no proxy")
    if not target.startswith(b"/"):
        raise RefusedError(400, "a target that does not start with /")


def _check_header(line: bytes) -> None:
    if not _HEADER_LINE.fullmatch(line):
        folded = line[:1] in (b" ", b"\t")
        raise RefusedError(400, "a folded line" if folded else "a malformed header field")


def _check_headers(head: bytes) -> None:
    """Judge what no single line tells."""
    if head.startswith(b"CONNECT "):
        raise RefusedError(405, "this is no proxy")
    request_line, *lines = head[:-4].split(b"\r\n")
    old = request_line.endswith(b"1.0")
    headers: dict[bytes, bytes] = {}
    codings: list[bytes] = []
    for line in lines:
        name, _, value = line.partition(b":")
        name = name.lower()
        if name == b"transfer-encoding":
            codings += [coding.strip(b" \t").lower() for coding in value.split(b",")]
        elif name in _SINGLE:
            if name in headers:
                raise RefusedError(400, f"{name.decode().title()} more than once")
            headers[name] = value.strip(b" \t")
    host = headers.get(b"host")
    if host is None and not old:
        raise RefusedError(400, "no Host")
    if host is not None and not _HOST.fullmatch(host):
        raise RefusedError(400, "a malformed Host")
    length = headers.get(b"content-length")
    if length is not None and not (length.isdigit() and len(length) <= 18):
        raise RefusedError(400, "a malformed Content-Length")
    if codings:
        if length is not None:
            raise RefusedError(400, "Transfer-Encoding with Content-Length")
        if old:
            raise RefusedError(400, "Transfer-Encoding under HTTP/1.0")
        if codings[-1] != b"chunked" or codings.count(b"chunked") > 1:
            raise RefusedError(400, "a Transfer-Encoding that does not end in one chunked")
        if len(codings) > 1:
            raise RefusedError(501, "a transfer coding other than chunked")
    expect = headers.get(b"expect")
    if expect is not None and expect.lower() != b"100-continue":
        raise RefusedError(417, "an expectation other than 100-continue")


class _Chunk(Enum):
    LINE = auto()
    CONTENT = auto()
    CONTENT_END = auto()
    TRAILER = auto()
    ENDED = auto()


class ChunkedScanner:
    """Walks over a chunked body (RFC 9112, 7.1) and tells where it ends."""

    __slots__ = ("_content", "_left", "_limit", "_overhead", "_settings", "_state", "_trailers")

    def __init__(self, settings: Settings, limit: int | None) -> None:
        """`limit` in bytes of content, None for a body that is not kept."""
        self._settings = settings
        self._limit = limit
        self._state = _Chunk.LINE
        self._left = 0
        self._content = 0
        self._overhead = 0
        self._trailers = 0

    @property
    def ended(self) -> bool:
        return self._state is _Chunk.ENDED

    def scan(self, buffer: bytearray, most: int) -> tuple[int, bytes]:
        """How many bytes at the start of `buffer` belong to the body, and their content.

        Looks at about `most` bytes and a bounded number of chunks, and never into what
        follows the body. Raises RefusedError; what came before does not matter then.
        """
        at = 0
        lines = 0
        content = []
        while at < most and lines < _MOST_LINES and self._state is not _Chunk.ENDED:
            if self._state is _Chunk.CONTENT:
                step = min(self._left, len(buffer) - at, most - at)
                if not step:
                    break
                content.append(bytes(buffer[at : at + step]))
                at += step
                self._left -= step
                if not self._left:
                    self._state = _Chunk.CONTENT_END
                continue
            newline = buffer.find(b"\n", at)
            self._check_line((newline + 1 if newline >= 0 else len(buffer)) - at)
            if newline < 0:
                break
            if newline == at or buffer[newline - 1] != 0x0D:
                raise RefusedError(400, "a line that does not end in CR LF")
            line = bytes(buffer[at : newline - 1])
            self._overhead += newline + 1 - at
            at = newline + 1
            lines += 1
            self._end_line(line)
        return at, b"".join(content)

    def _check_line(self, length: int) -> None:
        if self._state is _Chunk.CONTENT_END and length > 2:
            raise RefusedError(400, "a chunk longer than its size")
        if self._state is _Chunk.LINE and length > _MAX_CHUNK_LINE:
            raise RefusedError(400, "a chunk's line over 1 KB")
        if self._state is _Chunk.TRAILER and self._trailers + length > self._settings.max_head:
            raise RefusedError(431, "trailers over the size of a head")
        # What came before this line, so that half of it is judged like all of it. A body that
        # is handed on may be of any length, and then so may its lines be.
        content = self._content if self._limit is None else 0
        if self._overhead > self._settings.max_body + content:
            raise RefusedError(413, "a body that is mostly chunk lines")

    def _end_line(self, line: bytes) -> None:
        match self._state:
            case _Chunk.LINE:
                found = re.fullmatch(_CHUNK_LINE, line)
                if found is None:
                    raise RefusedError(400, "a malformed chunk")
                self._left = int(found[1], 16)
                self._content += self._left
                if self._limit is not None and self._content > self._limit:
                    raise RefusedError(413, f"a body may have {self._limit} bytes")
                self._state = _Chunk.CONTENT if self._left else _Chunk.TRAILER
            case _Chunk.CONTENT_END:
                self._state = _Chunk.LINE
            case _Chunk.TRAILER if not line:
                self._state = _Chunk.ENDED
            case _:
                _check_header(line)
                if line.partition(b":")[0].lower() in _FORBIDDEN_TRAILERS:
                    raise RefusedError(400, "a trailer that frames the message")
                self._trailers += len(line) + 2
