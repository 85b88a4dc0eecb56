"""Heads of responses: reason phrase, date, and the headers for safety that every one carries."""

import time
from functools import lru_cache

import h11

from rtot.http.messages import Headers

REASONS = {
    100: "Continue",
    200: "OK",
    201: "Created",
    202: "Accepted",
    204: "No Content",
    206: "Partial Content",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    409: "Conflict",
    410: "Gone",
    412: "Precondition Failed",
    413: "Content Too Large",
    414: "URI Too Long",
    415: "Unsupported Media Type",
    416: "Range Not Satisfiable",
    417: "Expectation Failed",
    422: "Unprocessable Content",
    424: "Failed Dependency",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
    505: "HTTP Version Not Supported",
    507: "Insufficient Storage",
}

_REASONS = {status: text.encode() for status, text in REASONS.items()}

# No page may run, frame or keep what a job wrote.
_SAFETY = (
    ("X-Content-Type-Options", "nosniff"),
    ("Cache-Control", "no-store"),
    ("Content-Security-Policy", "default-src 'none'"),
)

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def response_head(
    status: int,
    headers: Headers,
    length: int | None,
    trailers: str,
    last: bool,
    seconds: int,
    *,
    unique: Headers = (),
) -> h11.Response:
    """The head of a response (RFC 9112, 4), as told at `seconds` since the epoch.

    `length` is its body's, None where that is not known; `trailers` names the headers that may
    come behind a body. `last`: no other one follows on this connection. `unique`: headers that no
    other response has. Raises h11.LocalProtocolError for a header that cannot be one.
    """
    lines = _encoded(status, headers, length, trailers, last, seconds)
    more = [(name.encode(), value.encode()) for name, value in unique]
    return h11.Response(status_code=status, headers=[*lines, *more], reason=_REASONS[status])


# A third of what h11 takes for a head it spends on encoding texts that the next client that polls
# gets again.
@lru_cache(maxsize=64)
def _encoded(
    status: int, headers: Headers, length: int | None, trailers: str, last: bool, seconds: int
) -> list[tuple[bytes, bytes]]:
    given = {name for name, _ in headers}
    safety = [header for header in _SAFETY if header[0] not in given]
    lines = [*headers, *safety, ("Date", http_date(seconds))]
    if status != 204 and length is not None:
        lines.append(("Content-Length", str(length)))
    if trailers:
        lines.append(("Trailer", trailers))
    if last:
        lines.append(("Connection", "close"))
    try:
        return [(name.encode("ascii"), value.encode("ascii")) for name, value in lines]
    except UnicodeEncodeError as error:
        raise h11.LocalProtocolError(str(error)) from error


# Shared by all responses of one second.
@lru_cache(maxsize=2)
def http_date(seconds: int) -> str:
    """IMF-fixdate (RFC 9110, 5.6.7), in English whatever the locale."""
    t = time.gmtime(seconds)
    day, month = _DAYS[t.tm_wday], _MONTHS[t.tm_mon - 1]
    return (
        f"{day}, {t.tm_mday:02d} {month} {t.tm_year:04d}"
        f" {t.tm_hour:02d}:{t.tm_min:02d}:{t.tm_sec:02d} GMT"
    )
