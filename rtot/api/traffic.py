"""Counts of requests: by route and status, by why they were refused, and how long answers took.

A route has a series for each status that it names, and `other` for any that it does not, so that
no client can make new ones.
"""

from collections.abc import Iterator

from rtot.api.routes import ROUTES, UNROUTED, Route
from rtot.metrics import Family, Histogram, Sample, labelled

_BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5)
# What can be said of a request whose route is not known.
_UNROUTED = (*UNROUTED, 401, 403, 404, 405, 429)
_REFUSALS = {
    400: "malformed",
    401: "unauthorized",
    403: "forbidden",
    408: "timeout",
    413: "too_large",
    414: "too_large",
    417: "malformed",
    429: "throttled",
    431: "too_large",
    501: "malformed",
    503: "overloaded",
    505: "malformed",
    507: "storage",
}
_Key = tuple[str, str]
_NO_ROUTE = ("-", "-")
# In place of a status.
_OTHER = 0
# The client went away, or was sent away, before there was an answer: nginx's number for that.
LOST = 499
# Who is not let in is not told of by route.
_UNKNOWN = frozenset({401, 429})
# Before there is a request.
CONNECTIONS = "connections"
TLS = "tls"
_KINDS = (*dict.fromkeys(_REFUSALS.values()), CONNECTIONS, TLS)


class Traffic:
    """What was asked of one server."""

    __slots__ = ("_counts", "_refusals", "_seconds")

    def __init__(self) -> None:
        # By method and path. A route itself would take long to hash.
        self._counts = {_key(r): dict.fromkeys(_statuses(r), 0) for r in ROUTES}
        self._counts[_NO_ROUTE] = dict.fromkeys((*_UNROUTED, _OTHER), 0)
        self._seconds = {_key(route): Histogram(_BOUNDS) for route in ROUTES}
        self._refusals = dict.fromkeys(_KINDS, 0)

    def answered(self, route: Route | None, status: int, seconds: float | None) -> None:
        """An answer was sent. `seconds`: how long it took the server, where that can be said."""
        key = _NO_ROUTE if route is None else _key(route)
        counts = self._counts[key]
        counts[status if status in counts else _OTHER] += 1
        if route is not None and seconds is not None:
            self._seconds[key].observe(seconds)
        kind = _REFUSALS.get(status)
        if kind is not None:
            self.refused(kind)

    def refused(self, kind: str) -> None:
        """Somebody was turned away: CONNECTIONS, TLS, or what a status says."""
        self._refusals[kind] += 1

    def families(self) -> Iterator[Family]:
        """As metrics.Source."""
        yield Family(
            "rtot_http_requests_total",
            "counter",
            "Answers to requests, by route and status.",
            [
                Sample("", f'{_labels(key)},code="{status or "other"}"', count)
                for key, counts in self._counts.items()
                for status, count in counts.items()
            ],
        )
        yield Family(
            "rtot_http_request_seconds",
            "histogram",
            "From a whole request to its whole answer; without streams, waits and uploads.",
            [s for key, h in self._seconds.items() for s in h.samples(_labels(key))],
        )
        yield Family(
            "rtot_refusals_total",
            "counter",
            "Requests and connections that were turned away, by the kind of reason.",
            labelled("kind", self._refusals.items()),
        )


def _statuses(route: Route) -> list[int]:
    return [*(status for status in route.statuses if status not in _UNKNOWN), LOST, _OTHER]


def _key(route: Route) -> _Key:
    return route.method, route.path


def _labels(key: _Key) -> str:
    return f'method="{key[0]}",route="{key[1]}"'
