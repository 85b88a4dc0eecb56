"""The gate: refuses bad input, most of which h11 would accept. It reads and never rewrites.

h11 is lenient where the standard allows it. A server that runs what it receives should be strict:
whatever two parsers could interpret differently (RFC 9112, 11.2) is refused. After a refusal,
nothing more from that connection is parsed as a request. The rules:

- a request line of at most 8 KB (414), a head of at most 16 KB and 100 headers (431);
- lines end in CR LF; no bare LF, no bare CR, no folded line, no control byte in a header;
- the method is a token, CONNECT is 405, the version is 1.0 or 1.1 (505 for others);
- the target is a path and a query in the characters of RFC 3986, with no NUL, CR or LF encoded
  in the path; or the same after `http://` and the value of Host (RFC 9112, 3.2.2);
- Host exactly once under 1.1, at most once under 1.0, and a host and port (RFC 9110, 7.2);
- Content-Length at most once, digits only; never together with Transfer-Encoding;
- Transfer-Encoding only under 1.1, and only `chunked` (501 for other codings);
- headers that decide something (Authorization, Content-Type, Expect, …) at most once;
- a chunk line is a size and well-formed extensions, at most 1 KB; trailers are well-formed
  fields other than framing fields, are limited like a head, and are then ignored;
- the overhead of chunk lines is limited too.

A head is checked before h11 parses it, in the order of its bytes, so that the outcome does not
depend on how they were split in transit. A chunked body is checked after h11 has consumed it,
before its content is passed on.
"""

import re
from enum import Enum, auto

from rtot.config import Settings

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_HEADER = _TOKEN + rb":[\t\x20-\x7e\x80-\xff]*"
_HEADER_LINE = re.compile(_HEADER)
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb") ([\x21-\x7e]+) (HTTP/[0-9]\.[0-9])")
# RFC 3986, 3.3 and 3.4, without the parts that are not sent.
_TARGET = re.compile(
    rb"(?:https?://([^/?]+))?((?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*)"
    rb"(?:\?(?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*)?",
    re.IGNORECASE,
)
_ENCODED_CONTROL = re.compile(rb"%0[0ad]", re.IGNORECASE)
_HOST = re.compile(
    rb"(?:(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+|\[([0-9A-Fa-f:.]+)\])(?::[0-9]{0,5})?"
)
# Headers that decide something may occur once.
_SINGLE = frozenset(
    {b"host", b"content-length", b"content-type", b"authorization", b"expect", b"origin"}
    | {b"content-encoding", b"idempotency-key", b"sec-fetch-site", b"last-event-id", b"range"}
)
_MAX_BLANK_LINES = 4
_QUOTED = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*"'
_EXTENSION = rb";[ \t]*" + _TOKEN + rb"(?:[ \t]*=[ \t]*(?:" + _TOKEN + rb"|" + _QUOTED + rb"))?"
# Compiled by the first chunked body.
_CHUNK_LINE = rb"([0-9A-Fa-f]{1,16})(?:" + _EXTENSION + rb")*[ \t]*"
_TRAILERS = rb"((?:" + _HEADER + rb"\r\n)*)\r\n"
_FORBIDDEN_TRAILERS = rb"(?i:^(?:host|content-length|transfer-encoding):)"
_MAX_CHUNK_LINE = 1024


class RefusedError(Exception):
    """The peer's bytes are refused: the status to answer with, and why."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status
        self.why = why


def blank_lines(data: bytes) -> int:
    """The length of the blank lines that a request may have before it (RFC 9112, 2.2).

    Raises RefusedError where they are too many to be a mistake.
    """
    length = 0
    while data.startswith(b"\r\n", length):
        length += 2
    if length > 2 * _MAX_BLANK_LINES:
        raise RefusedError(400, "blank lines instead of a request")
    return length


def origin_form(target: str) -> str:
    """The path and query of a target that was let through (RFC 9112, 3.2)."""
    if target.startswith("/"):
        return target
    start = target.index("//") + 2
    cut = min(i for i in (target.find("/", start), target.find("?", start), len(target)) if i >= 0)
    return target[cut:] if target.startswith("/", cut) else f"/{target[cut:]}"


class HeadGate:
    """Judges one head while it arrives."""

    __slots__ = ("_at", "_authority", "_codings", "_lines", "_old", "_settings", "_single")

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        # How many bytes, and how many lines, have been judged.
        self._at = 0
        self._lines = 0
        self._old = False
        self._authority: bytes | None = None
        self._single: dict[bytes, bytes] = {}
        self._codings: list[bytes] = []

    def judge(self, data: bytes) -> int | None:
        """The length of the head that `data` begins with, None while it is incomplete.

        Raises RefusedError. Call again with more of the same.
        """
        settings = self._settings
        # Most heads are far below the limits.
        large = len(data) > settings.max_request_line or len(data) > settings.max_head
        while (newline := data.find(b"\n", self._at)) >= 0:
            if large:
                self._check_size(newline + 1)
            if newline == self._at or data[newline - 1] != 0x0D:
                raise RefusedError(400, "a line that does not end in CR LF")
            line = data[self._at : newline - 1]
            self._at = newline + 1
            if not line:
                self._check_whole()
                return self._at
            if not self._lines:
                self._check_request_line(line)
            else:
                self._check_header(line)
            self._lines += 1
        if large:
            self._check_size(len(data))
        return None

    def _check_size(self, length: int) -> None:
        if not self._lines and length > self._settings.max_request_line + 2:
            raise RefusedError(414, f"a request line over {self._settings.max_request_line} bytes")
        if length > self._settings.max_head:
            raise RefusedError(431, f"a head over {self._settings.max_head} bytes")

    def _check_request_line(self, line: bytes) -> None:
        found = _REQUEST_LINE.fullmatch(line)
        if found is None:
            raise RefusedError(400, "a malformed request line")
        method, target, version = found.groups()
        if version not in (b"HTTP/1.1", b"HTTP/1.0"):
            raise RefusedError(505, "only HTTP/1.0 and HTTP/1.1 are spoken here")
        if method == b"CONNECT":
            raise RefusedError(405, "this is no proxy")
        parts = _TARGET.fullmatch(target)
        if parts is None:
            raise RefusedError(400, "a target with characters that a URL may not have")
        self._authority, path = parts.groups()
        if self._authority is None and not path.startswith(b"/"):
            raise RefusedError(400, "a target that does not start with /")
        if _ENCODED_CONTROL.search(path):
            raise RefusedError(400, "an encoded NUL, CR or LF in a path")
        self._old = version == b"HTTP/1.0"

    def _check_header(self, line: bytes) -> None:
        if self._lines > self._settings.max_headers:
            raise RefusedError(431, f"more than {self._settings.max_headers} headers")
        if not _HEADER_LINE.fullmatch(line):
            folded = line.startswith((b" ", b"\t"))
            raise RefusedError(400, "a folded line" if folded else "a malformed header")
        name, _, value = line.partition(b":")
        name = name.lower()
        if name == b"transfer-encoding":
            self._codings += [coding.strip(b" \t").lower() for coding in value.split(b",")]
        elif name in _SINGLE:
            if name in self._single:
                raise RefusedError(400, f"{name.decode().title()} more than once")
            self._single[name] = value.strip(b" \t")

    def _check_whole(self) -> None:
        """Check the head as a whole."""
        if not self._lines:
            raise RefusedError(400, "a blank line instead of a request")
        host = self._single.get(b"host")
        if host is None and not self._old:
            raise RefusedError(400, "no Host")
        if host is not None and not _is_host(host):
            raise RefusedError(400, "a malformed Host")
        if self._authority is not None:
            self._check_authority(self._authority, host)
        length = self._single.get(b"content-length")
        if length is not None and not (length.isdigit() and len(length) <= 18):
            raise RefusedError(400, "a malformed Content-Length")
        if self._codings:
            self._check_codings(length)
        expect = self._single.get(b"expect")
        if expect is not None and not set(_elements(expect)) <= {b"100-continue"}:
            raise RefusedError(417, "an expectation other than 100-continue")

    def _check_authority(self, authority: bytes, host: bytes | None) -> None:
        if not _is_host(authority):
            raise RefusedError(400, "a target with a malformed host")
        if host is not None and authority.lower() != host.lower():
            raise RefusedError(400, "a target of another host than Host")

    def _check_codings(self, length: bytes | None) -> None:
        codings = self._codings
        if length is not None:
            raise RefusedError(400, "Transfer-Encoding with Content-Length")
        if self._old:
            raise RefusedError(400, "Transfer-Encoding under HTTP/1.0")
        if codings[-1] != b"chunked" or codings.count(b"chunked") > 1:
            raise RefusedError(400, "a Transfer-Encoding that does not end in one chunked")
        if len(codings) > 1:
            raise RefusedError(501, "a transfer coding other than chunked")


def _elements(value: bytes) -> list[bytes]:
    """The elements of a list, in lower case; empty ones do not count (RFC 9110, 5.6.1)."""
    return [element for e in value.split(b",") if (element := e.strip(b" \t").lower())]


def _is_host(value: bytes) -> bool:
    found = _HOST.fullmatch(value)
    if found is None or found[1] is None:
        return found is not None
    import ipaddress

    try:
        ipaddress.IPv6Address(found[1].decode())
    except ValueError:
        return False
    return True


class _Chunk(Enum):
    LINE = auto()
    CONTENT = auto()
    """The content, and the CR LF behind it, which h11 sees to."""
    TRAILERS = auto()
    ENDED = auto()


class ChunkGate:
    """Judges a chunked body (RFC 9112, 7.1) as h11 consumes it."""

    __slots__ = ("_content", "_left", "_limit", "_overhead", "_settings", "_state")

    def __init__(self, settings: Settings, limit: int | None) -> None:
        """`limit` in bytes of content, None for a body that is not kept."""
        self._settings = settings
        self._limit = limit
        self._state = _Chunk.LINE
        # How much of a chunk's content is still to come, with the CR LF behind it.
        self._left = 0
        self._content = 0
        self._overhead = 0

    def judge(self, consumed: bytes, pending: bytes) -> None:
        """Judge what h11 has `consumed` since the last call, and what it waits behind.

        Raises RefusedError. Nothing of the content is to be used before this returns.
        """
        at = 0
        while at < len(consumed):
            match self._state:
                case _Chunk.LINE:
                    end = consumed.index(b"\r\n", at)
                    self._check_line(consumed[at:end])
                    self._check_overhead(end + 2 - at)
                    at = end + 2
                case _Chunk.CONTENT:
                    step = min(self._left, len(consumed) - at)
                    at += step
                    self._left -= step
                    if not self._left:
                        self._state = _Chunk.LINE
                case _Chunk.TRAILERS:
                    self._check_trailers(consumed[at:])
                    return
                case _:
                    raise AssertionError("h11 has consumed more than the body")
        self._check_pending(pending)

    def _check_pending(self, pending: bytes) -> None:
        if self._state is _Chunk.LINE and len(pending) > _MAX_CHUNK_LINE + 1:
            raise RefusedError(400, "a chunk's line over 1 KB")
        if self._state is _Chunk.TRAILERS and len(pending) > self._settings.max_head:
            raise RefusedError(431, "trailers over the size of a head")

    def _check_line(self, line: bytes) -> None:
        if len(line) > _MAX_CHUNK_LINE:
            raise RefusedError(400, "a chunk's line over 1 KB")
        found = re.fullmatch(_CHUNK_LINE, line)
        if found is None:
            raise RefusedError(400, "a malformed chunk")
        size = int(found[1], 16)
        self._left = size + 2
        self._content += size
        if self._limit is not None and self._content > self._limit:
            raise RefusedError(413, f"a body may have {self._limit} bytes")
        self._state = _Chunk.CONTENT if size else _Chunk.TRAILERS

    def _check_overhead(self, length: int) -> None:
        self._overhead += length
        # A streamed body may have any length, so the limit grows with its content.
        content = self._content if self._limit is None else 0
        if self._overhead > self._settings.max_body + content:
            raise RefusedError(413, "a body that is mostly chunk lines")

    def _check_trailers(self, data: bytes) -> None:
        if len(data) > self._settings.max_head:
            raise RefusedError(431, "trailers over the size of a head")
        if not re.fullmatch(_TRAILERS, data):
            raise RefusedError(400, "malformed trailers")
        if re.search(_FORBIDDEN_TRAILERS, data, re.MULTILINE):
            raise RefusedError(400, "a trailer that frames the message")
        self._state = _Chunk.ENDED
