"""The routes, as data: what may be asked for, with which parameters, and who answers.

Everything that is said about a route is said here. From this one table come dispatch, 404,
405 with Allow, the errors of parameters, who may ask, and which values the log shows.
"""

from collections.abc import Callable
from enum import Enum, auto
from typing import Any, NamedTuple

from rtot.api import collection, control, page, processes, reading, server, submission
from rtot.api.answers import Answer, Ask
from rtot.api.parameters import (
    AFTER,
    ARG,
    BY,
    CLOSE,
    CREATED_FROM,
    CREATED_TO,
    CWD,
    DELAY,
    ENV,
    FAIL,
    FAILED,
    FIELDS,
    FOLLOW,
    FOLLOWED,
    FROM,
    GRACE,
    GROUP,
    LABEL,
    LAST,
    LAUNCHER,
    LEASE,
    LIMIT,
    OFFSET,
    ORDER,
    SELECTED_GROUP,
    SELECTED_LABEL,
    SIGNAL,
    SINCE,
    STATE,
    STDERR,
    STDIN,
    SUPERSEDE,
    TAIL,
    TIMEOUT,
    TIMEOUT_AFTER,
    TIMES,
    TREE,
    UNTIL,
    WAIT,
)
from rtot.config import Settings
from rtot.credentials import Role
from rtot.http.query import Parameter


class Body(Enum):
    """What becomes of a request's body."""

    UNREAD = auto()
    """It is never read, as no secret was checked. With a body, the answer is the last one."""
    UNUSED = auto()
    """It is read and thrown away, so that the connection can go on."""
    SCRIPT = auto()
    """It is read whole."""
    STREAMED = auto()
    """It is handed on as it comes."""


# What is answered before there is a route, if there will be one.
UNROUTED = (400, 408, 412, 413, 414, 417, 431, 500, 501, 503, 505)
# A malformed request, one of another site's page, one that is too slow, one for another server, a
# body that is too large, a Content-Encoding; a bug, or no memory for the answer.
_OF_ALL = (400, 403, 408, 412, 413, 415, 500, 503)
# A wrong secret, and too many of them.
_OF_GUARDED = (401, 429)


class Route(NamedTuple):
    """One method of one path. A segment `{…}` of the path stands for any word.

    HEAD is asked of the route for GET. `role`: who may ask; None for anybody, without a secret.
    `own`: the statuses that it may answer with, besides those that every route has.
    """

    method: str
    path: str
    role: Role | None
    call: Callable[[Ask], Answer]
    parameters: tuple[Parameter[Any], ...] = ()
    body: Body = Body.UNUSED
    own: tuple[int, ...] = (200,)

    @property
    def statuses(self) -> tuple[int, ...]:
        """Every status that it may answer with."""
        return tuple(sorted({*self.own, *_OF_ALL, *(_OF_GUARDED if self.role else ())}))


_OF_OUTPUT = (OFFSET, TAIL, FOLLOW, FAIL, LEASE)
_FROM_OUTPUT = (200, 206, 404, 416, 424)
ROUTES = (
    Route("GET", "/", Role.READ, server.links),
    Route("DELETE", "/", Role.ADMIN, control.end_server, own=(204, 405)),
    Route("GET", "/ping", None, server.ping, body=Body.UNREAD),
    Route("GET", "/metrics", Role.READ, server.metrics),
    Route("GET", "/openapi.json", None, server.openapi, body=Body.UNREAD),
    Route("GET", "/page/{name}", None, page.get_file, body=Body.UNREAD, own=(200, 404)),
    Route(
        "GET",
        "/jobs",
        Role.READ,
        collection.list_jobs,
        (
            STATE,
            FAILED,
            SELECTED_LABEL,
            SELECTED_GROUP,
            BY,
            CREATED_FROM,
            CREATED_TO,
            FIELDS,
            TIMES,
            TAIL,
            WAIT,
            UNTIL,
            FAIL,
            FROM,
            LIMIT,
            SINCE,
            ORDER,
            LAST,
        ),
        own=(200, 424),
    ),
    Route(
        "POST",
        "/jobs",
        Role.RUN,
        submission.submit,
        (
            ARG,
            ENV,
            CWD,
            LABEL,
            TIMEOUT,
            STDIN,
            STDERR,
            LAUNCHER,
            GROUP,
            SUPERSEDE,
            AFTER,
            DELAY,
            FIELDS,
            TIMES,
            WAIT,
            FOLLOWED,
            FAIL,
            LEASE,
        ),
        Body.SCRIPT,
        (201, 204, 410, 422, 424, 507),
    ),
    Route(
        "DELETE",
        "/jobs",
        Role.ADMIN,
        collection.delete_jobs,
        (STATE, FAILED, SELECTED_LABEL, SELECTED_GROUP, BY, CREATED_FROM, CREATED_TO),
        own=(204, 507),
    ),
    Route(
        "GET",
        "/jobs/{id}",
        Role.READ,
        reading.get_job,
        (FIELDS, TIMES, TAIL, WAIT, FAIL, LEASE),
        own=(200, 202, 404, 424),
    ),
    Route("DELETE", "/jobs/{id}", Role.RUN, control.delete_job, (TREE,), own=(204, 404, 507)),
    Route("GET", "/jobs/{id}/out", Role.READ, reading.get_out, _OF_OUTPUT, own=_FROM_OUTPUT),
    Route("GET", "/jobs/{id}/err", Role.READ, reading.get_err, _OF_OUTPUT, own=_FROM_OUTPUT),
    Route(
        "GET",
        "/jobs/{id}/events",
        Role.READ,
        reading.get_events,
        (TAIL, FOLLOW, FAIL, LEASE, TIMES),
        own=(200, 204, 404, 424),
    ),
    Route("GET", "/jobs/{id}/script", Role.RUN, reading.get_script, own=(200, 404)),
    Route("GET", "/jobs/{id}/processes", Role.READ, processes.list_processes, own=(200, 404)),
    Route(
        "POST",
        "/jobs/{id}/in",
        Role.RUN,
        control.write_stdin,
        (CLOSE, OFFSET),
        Body.STREAMED,
        (200, 404, 409, 416),
    ),
    Route(
        "POST",
        "/jobs/{id}/kill",
        Role.RUN,
        control.kill,
        (SIGNAL, GRACE, TREE),
        own=(200, 404, 409),
    ),
    Route(
        "POST",
        "/jobs/{id}/timeout",
        Role.RUN,
        control.set_timeout,
        (TIMEOUT_AFTER, TIMES),
        own=(200, 404, 409),
    ),
    Route("POST", "/queue/pause", Role.ADMIN, control.pause),
    Route("POST", "/queue/resume", Role.ADMIN, control.resume),
)


def is_offered(route: Route, settings: Settings) -> bool:
    """Whether a server with these settings has the route."""
    if route.call is reading.get_script:
        return settings.state
    return settings.shutdown or route.call is not control.end_server


class Place:
    """A node in the tree of paths: its routes by method, and its child nodes."""

    __slots__ = ("any_word", "open", "routes", "words")

    def __init__(self) -> None:
        self.words: dict[str, Place] = {}
        self.any_word: Place | None = None
        self.routes: dict[str, Route] = {}
        """By method."""
        self.open = False
        """Whether one of them needs no secret."""


def _add(root: Place, route: Route) -> None:
    place = root
    for segment in route.path.split("/")[1:]:
        if segment.startswith("{"):
            place.any_word = place.any_word or Place()
            place = place.any_word
        else:
            place = place.words.setdefault(segment, Place())
    assert route.method not in place.routes, route
    place.routes[route.method] = route
    place.open |= route.role is None


_NOWHERE = Place()
_ROOT = Place()
for _route in ROUTES:
    _add(_ROOT, _route)
_SHOWN = frozenset(p.name for r in ROUTES for p in r.parameters if p.shown)
_HIDDEN = frozenset(p.name for r in ROUTES for p in r.parameters if not p.shown)


def find(path: str) -> tuple[Place, str]:
    """The node for the path, and the segment that matched `{…}`, empty for none.

    For an unknown path, a node without routes.
    """
    segments = path.split("/")[1:]
    if "%" in path:
        from urllib.parse import unquote

        segments = [unquote(segment, errors="replace") for segment in segments]
    place = _ROOT
    word = ""
    for segment in segments:
        following = place.words.get(segment)
        if following is None:
            following, word = place.any_word, segment
            if following is None:
                return _NOWHERE, ""
        place = following
    return place, word


def redact(target: str) -> str:
    """A target for the log: the values of parameters that may be anybody's secret left out."""
    path, mark, query = target.partition("?")
    if not mark:
        return target
    return path + mark + "&".join(map(_redact_parameter, query.split("&")))


def _redact_parameter(text: str) -> str:
    name, equals, _ = text.partition("=")
    if name in _SHOWN or not text:
        return text
    return f"{name}=..." if name in _HIDDEN and equals else "..."
