"""Pages of other origins: refused, unless the operator has named their origin (Fetch standard).

A browser sends what a page asks for with whatever it has for this server, and runs in a network
that others cannot reach. So a page may use this server only if it is the server's own, as
Sec-Fetch-Site says, or as Origin does where a browser is too old for that; or if its origin was
allowed, and then it may read the answers too.
"""

from rtot.http.errors import error
from rtot.http.messages import Headers, Request, Response

_METHODS = "GET, HEAD, POST, DELETE"
_ASKED = (
    "Authorization, Content-Type, Accept, Range, Prefer, Last-Event-ID, Idempotency-Key"
    ", X-Request-Id, Rtot-Arg, Rtot-Env, Rtot-Server"
)
_EXPOSED = (
    "Location, Link, Allow, Accept-Ranges, Content-Range, Retry-After, Preference-Applied"
    ", Idempotency-Replayed, Rtot-Exit, Rtot-Dropped, Rtot-Hint, Rtot-Paused, Rtot-Seq"
    ", X-Request-Id, Rtot-Server"
)
# Seconds for which a browser need not ask again.
_MAX_AGE = "600"


def judge(request: Request, allowed: tuple[str, ...]) -> Response | None:
    """The answer to a request of a page that may not use this server, or to a preflight.

    None for any other request.
    """
    headers = request.headers
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    if origin is None and site is None:
        return None
    if origin is not None and origin in allowed:
        preflight = "access-control-request-method" in headers
        return _preflight() if preflight and request.method == "OPTIONS" else None
    if site is not None:
        own = site in ("same-origin", "none") or _navigates(request)
    else:
        host = headers.get("host")
        own = origin in (f"http://{host}", f"https://{host}")
    return None if own else error(403, "forbidden", "requests of other sites are refused")


def mark(response: Response, request: Request | None, allowed: tuple[str, ...]) -> Response:
    """The response as it is to be sent: with what lets pages of allowed origins read it."""
    if not allowed:
        return response
    headers: Headers = (("Vary", "Origin"),)
    origin = request.headers.get("origin") if request is not None else None
    if origin is not None and origin in allowed:
        allow = ("Access-Control-Allow-Origin", origin)
        headers = (*headers, allow, ("Access-Control-Expose-Headers", _EXPOSED))
    return response._replace(headers=(*response.headers, *headers))


def _preflight() -> Response:
    allowed = (
        ("Access-Control-Allow-Methods", _METHODS),
        ("Access-Control-Allow-Headers", _ASKED),
        ("Access-Control-Max-Age", _MAX_AGE),
    )
    return Response(204, allowed)


def _navigates(request: Request) -> bool:
    """Whether somebody has followed a link to this server, in a window of its own."""
    headers = request.headers
    return (
        request.path == "/"
        and request.method in ("GET", "HEAD")
        and headers.get("sec-fetch-mode") == "navigate"
        and headers.get("sec-fetch-dest") == "document"
    )
