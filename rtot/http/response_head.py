"""Heads of responses: reason phrase, date, and the safety fields that every one carries."""

import time
from functools import lru_cache

from rtot.clock import Now
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
    413: "Content Too Large",
    414: "URI Too Long",
    415: "Unsupported Media Type",
    416: "Range Not Satisfiable",
    417: "Expectation Failed",
    422: "Unprocessable Content",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
    505: "HTTP Version Not Supported",
    507: "Insufficient Storage",
}

# No page may run, frame or keep what a job wrote.
_SAFETY = (
    "X-Content-Type-Options: nosniff\r\n"
    "Cache-Control: no-store\r\n"
    "Content-Security-Policy: default-src 'none'\r\n"
)

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def write_head(status: int, headers: Headers, framing: str, now: Now) -> bytes:
    """The head of a response (RFC 9112, 4). `framing` is lines that end in CR LF.

    ValueError for a field that would be more than one line.
    """
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers])
    if lines.count("\n") != len(headers) or lines.count("\r") != len(headers):
        raise ValueError(f"a response field of several lines: {lines!r}")
    reason = REASONS.get(status, "")
    date = http_date(now.wall // 1_000_000_000)
    return (f"HTTP/1.1 {status} {reason}\r\n{lines}{_SAFETY}Date: {date}\r\n{framing}\r\n").encode(
        "latin-1"
    )


# All answers of a second have the same.
@lru_cache(maxsize=2)
def http_date(seconds: int) -> str:
    """IMF-fixdate (RFC 9110, 5.6.7), in English whatever the locale."""
    t = time.gmtime(seconds)
    day, month = _DAYS[t.tm_wday], _MONTHS[t.tm_mon - 1]
    return (
        f"{day}, {t.tm_mday:02d} {month} {t.tm_year:04d}"
        f" {t.tm_hour:02d}:{t.tm_min:02d}:{t.tm_sec:02d} GMT"
    )
