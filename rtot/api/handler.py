"""The handler: maps a parsed request onto the job table.

No sockets, no processes. Authentication comes first. Everything that can be checked with the
head alone is checked before the body is read, so that nobody uploads a body that will be
refused. The route defines what a request does.
"""

from rtot.api.answers import TEXT_TYPE, Answer, Ask, NeedBody, RefusalError, Reply
from rtot.api.auth import Authenticator, Verdict
from rtot.api.origins import judge
from rtot.api.routes import Body, Route, find
from rtot.clock import Now
from rtot.config import Settings
from rtot.http.errors import RETRY, error
from rtot.http.messages import Request, Response
from rtot.http.query import BadParameterError, Query
from rtot.jobs.table import JobTable

_UNUSED_BODY = 64 * 1024
# RFC 9110, 9.3, and RFC 5789: without a route for one the answer is 405. All others are 501.
_METHODS = frozenset(
    {"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"}
)
_CHALLENGE = ("WWW-Authenticate", 'rtot realm="rtot", Bearer realm="rtot"')


class Handler:
    """Answers requests. It remembers nothing between them."""

    def __init__(
        self, settings: Settings, authenticator: Authenticator, jobs: JobTable, started: Now
    ) -> None:
        self.jobs = jobs
        self.settings = settings
        self._authenticator = authenticator
        self._started = started

    def handle(self, request: Request, peer: str, now: Now) -> Answer:
        """Answer a request, or say what has to come first. Never raises for a peer's fault."""
        try:
            return self._handle(request, peer, now)
        except (RefusalError, BadParameterError) as refusal:
            return _refused(refusal)

    def go_on(self, needed: NeedBody, body: bytes, now: Now) -> Answer:
        """Answer a request whose body has been read."""
        try:
            return needed.then(body, now)
        except (RefusalError, BadParameterError) as refusal:
            return _refused(refusal)

    def _handle(self, request: Request, peer: str, now: Now) -> Answer:
        if request.method not in _METHODS:
            message = f"{request.method[:200]} is no method of HTTP"
            return Reply(error(501, "not implemented", message), anonymous=True)
        place, word = find(request.path)
        denied = judge(request, self.settings.allowed_origins)
        if denied is None and not place.open:
            denied = self._deny(request, peer, now)
        if denied is not None:
            return Reply(denied, anonymous=True)
        route = place.routes.get("GET" if request.method == "HEAD" else request.method)
        if route is None:
            return _no_route(request.path, place.routes)
        refused = self._refuse_body(request, route)
        if refused is not None:
            return refused
        query = Query(request.query, route.parameters)
        ask = Ask(request, word, query, self.jobs, self.settings, self._started, now, peer)
        if request.body is None and route.body is Body.UNUSED:
            return NeedBody(_UNUSED_BODY, lambda _, now: route.call(ask._replace(now=now)))
        return route.call(ask)

    def _deny(self, request: Request, peer: str, now: Now) -> Response | None:
        match self._authenticator.judge(request.headers.get("authorization"), peer, now):
            case Verdict.BAD:
                return Response(401, (TEXT_TYPE, _CHALLENGE), b"Not Authorized\n")
            case Verdict.LIMITED:
                message = "this address has failed to authenticate too often: wait a second"
                return error(429, "too many failures", message, RETRY)
        return None

    def _refuse_body(self, request: Request, route: Route) -> Response | None:
        """Why the request's body is not to be read, if it is not."""
        encoding = request.headers.get("content-encoding")
        if encoding is not None and encoding.lower() != "identity":
            return error(415, "unsupported content encoding", "send the body as it is")
        if request.body is None and route.body in _WHOLE:
            limit = self.settings.max_body if route.body is Body.SCRIPT else _UNUSED_BODY
            if request.content_length is not None and request.content_length > limit:
                return error(413, "body too large", f"a body may have {limit} bytes")
        return None


_WHOLE = frozenset({Body.UNUSED, Body.SCRIPT})


def _refused(refusal: RefusalError | BadParameterError) -> Response:
    if isinstance(refusal, RefusalError):
        return refusal.response
    return error(400, "invalid parameter", str(refusal))


def _no_route(path: str, routes: dict[str, Route]) -> Response:
    if not routes:
        return error(404, "not found", f"there is nothing at {path[:200]}")
    allowed = ", ".join(sorted({*routes, *(["HEAD"] if "GET" in routes else [])}))
    message = f"{path[:200]} takes {allowed}"
    if path.endswith("/") and path != "/":
        message += "; without the slash at its end it is something else"
    return error(405, "method not allowed", message, ("Allow", allowed))
