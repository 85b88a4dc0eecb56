"""The handler: maps a parsed request onto the job table.

No sockets, no processes. Authentication comes first, then the role. Everything that can be
checked with the head alone is checked before the body is read, so that nobody uploads a body that
will be refused. The route defines what a request does.
"""

import re
from typing import NamedTuple

from rtot.api.answers import TEXT_TYPE, Answer, Ask, NeedBody, RefusalError
from rtot.api.auth import Authenticator, Denial
from rtot.api.description import ApiDescription
from rtot.api.origins import judge
from rtot.api.page import Page, no_page, place_of
from rtot.api.routes import Body, Route, find, is_offered
from rtot.api.traffic import Traffic
from rtot.clock import Now
from rtot.config import Settings
from rtot.credentials import Credential, Role
from rtot.http.errors import RETRY, error
from rtot.http.messages import Request, Response
from rtot.http.query import BadParameterError, Query
from rtot.jobs.table import JobTable
from rtot.metrics import Source
from rtot.storage import StorageError

_UNUSED_BODY = 64 * 1024
# RFC 9110, 9.3, RFC 5789 and QUERY: without a route for one the answer is 405. All others are 501.
_METHODS = frozenset(
    {"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"}
)
# A token (RFC 9110, 5.6.2).
_REQUEST_ID = r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}"
_CHALLENGE = ("WWW-Authenticate", 'rtot realm="rtot", Bearer realm="rtot"')


class Handled(NamedTuple):
    """A request as far as it came: to a `credential`, to a `route`.

    `word` is what matched `{…}` in the route's path.
    """

    answer: Answer
    credential: Credential | None = None
    route: Route | None = None
    word: str = ""

    @property
    def by(self) -> str | None:
        """The name of whoever asks."""
        return None if self.credential is None else self.credential.name


class Handler:
    """Answers requests. It counts them, and remembers nothing else of them."""

    def __init__(
        self,
        settings: Settings,
        authenticator: Authenticator,
        jobs: JobTable,
        started: Now,
        server_id: str,
        sources: tuple[Source, ...] = (),
        page: Page = no_page,
    ) -> None:
        """`server_id` is the header Rtot-Server.

        `sources`: who counts what for /metrics, besides the jobs and the requests. `page`: the
        web page's files.
        """
        self.jobs = jobs
        self.traffic = Traffic()
        self.server_id = server_id
        self._sources: tuple[Source, ...] = (jobs.journal, jobs.queue, self.traffic, *sources)
        self.settings = settings
        self._description = ApiDescription(settings)
        self._page = page
        self._authenticator = authenticator
        self._started = started
        # No other server has it, even if it was started in the same second.
        self._prefix = f"{started.wall // 1000:x}-"
        self._count = 0

    def handle(self, request: Request, peer: str, now: Now) -> Handled:
        """Answer a request, or say what has to come first. Never raises for a peer's fault."""
        if request.method not in _METHODS:
            message = f"{request.method[:200]} is no method of HTTP"
            return Handled(error(501, "not implemented", message))
        place, word = find(place_of(request))
        denied = judge(request, self.settings.allowed_origins)
        if denied is not None:
            return Handled(denied)
        credential = None
        if not place.open:
            judged = self._authenticator.judge(request.headers.get("authorization"), peer, now)
            if isinstance(judged, Denial):
                return Handled(_denied(judged))
            credential = judged
        route = place.routes.get("GET" if request.method == "HEAD" else request.method)
        meant = request.headers.get("rtot-server", self.server_id)
        if meant != self.server_id:
            return Handled(_other_server(self.server_id), credential, route, word)
        if route is None:
            offered = [r.method for r in place.routes.values() if is_offered(r, self.settings)]
            return Handled(_no_route(request.path, offered), credential)
        answer: Answer
        try:
            answer = self._answer(request, route, word, credential, peer, now)
        except (RefusalError, BadParameterError) as refusal:
            answer = _refused(refusal)
        except StorageError as failure:
            message = f"the state cannot be read: {failure}"
            answer = error(500, "unreadable state", message)
        return Handled(answer, credential, route, word)

    def request_id(self, request: Request | None) -> str:
        """The id that the client gave the request, or a new one. None: it was malformed."""
        self._count += 1
        given = None if request is None else request.headers.get("x-request-id")
        if given is not None and re.fullmatch(_REQUEST_ID, given):
            return given
        return f"{self._prefix}{self._count:x}"

    def is_good(self, credential: Credential | None) -> bool:
        """Whether who came with it may still be here."""
        return credential is None or self._authenticator.is_good(credential)

    def go_on(self, needed: NeedBody, body: bytes, now: Now) -> Answer:
        """Answer a request whose body has been read."""
        try:
            return needed.then(body, now)
        except (RefusalError, BadParameterError) as refusal:
            return _refused(refusal)

    def _answer(
        self,
        request: Request,
        route: Route,
        word: str,
        credential: Credential | None,
        peer: str,
        now: Now,
    ) -> Answer:
        _require_role(route.role, credential, f"{route.method} {route.path}")
        refused = self._refuse_body(request, route)
        if refused is not None:
            return refused
        query = Query(request.query, route.parameters)
        if credential is not None and credential.role is Role.READ:
            for parameter in route.parameters:
                if parameter in query:
                    _require_role(parameter.role, credential, parameter.name)
        ask = Ask(
            request,
            word,
            query,
            self.jobs,
            self.settings,
            self._started,
            now,
            peer,
            credential,
            self._sources,
            self._description,
            self._page,
        )
        if request.body is None and route.body is Body.UNUSED:
            return NeedBody(_UNUSED_BODY, lambda _, now: route.call(ask._replace(now=now)))
        return route.call(ask)

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


def _denied(denial: Denial) -> Response:
    if denial is Denial.BAD:
        return Response(401, (TEXT_TYPE, _CHALLENGE), b"Not Authorized\n")
    message = "this address has failed to authenticate too often: wait a second"
    return error(429, "too many failures", message, RETRY)


def _other_server(server_id: str) -> Response:
    message = f"this is the server {server_id}: ids and changes of another one mean nothing here"
    return error(412, "another server", message)


def _require_role(role: Role | None, credential: Credential | None, what: str) -> None:
    """Refuse what the role of the credential is not enough for."""
    if role is not None and credential is not None and credential.role < role:
        message = f"{what} takes the role {role.word}, and this secret has {credential.role.word}"
        raise RefusalError(error(403, "forbidden", message))


def _refused(refusal: RefusalError | BadParameterError) -> Response:
    if isinstance(refusal, RefusalError):
        return refusal.response
    return error(400, "invalid parameter", str(refusal))


def _no_route(path: str, methods: list[str]) -> Response:
    if not methods:
        return error(404, "not found", f"there is nothing at {path[:200]}")
    allowed = ", ".join(sorted({*methods, *(["HEAD"] if "GET" in methods else [])}))
    message = f"{path[:200]} takes {allowed}"
    if path.endswith("/") and path != "/":
        message += "; without the slash at its end it is something else"
    return error(405, "method not allowed", message, ("Allow", allowed))
