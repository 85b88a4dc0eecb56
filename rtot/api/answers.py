"""What a route's function is asked, and what it may answer."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from rtot.clock import Now
from rtot.config import Settings
from rtot.credentials import Credential
from rtot.http.errors import JSON_TYPE, error
from rtot.http.messages import Request, Response
from rtot.http.query import Query
from rtot.jobs.leases import Lease
from rtot.jobs.table import JobTable
from rtot.metrics import Source

# RFC 4918, 11.4: the request was fine, and what it asked for failed. Nobody sends it again for
# that, as curl does after a 5xx, 408 or 429.
FAILED = 424
TEXT_TYPE = ("Content-Type", "text/plain; charset=utf-8")


class Description(Protocol):
    """What the server offers. `paths`: of all routes."""

    paths: tuple[str, ...]

    def document(self) -> bytes:
        """The OpenAPI document, as JSON."""


class Ask(NamedTuple):
    """A request that was accepted, with its parsed parameters.

    `word` is the path segment that matched `{…}` in the route's path. `started` is when the
    server started. `peer` is `address:port` or `unix`. `credential` is None where none is needed.
    `sources`: who counts what for /metrics. `page`: the web page's files by name.
    """

    request: Request
    word: str
    query: Query
    jobs: JobTable
    settings: Settings
    started: Now
    now: Now
    peer: str
    credential: Credential | None
    sources: tuple[Source, ...]
    description: Description
    page: "Callable[[str], bytes | None]"

    @property
    def by(self) -> str | None:
        """The name of whoever asks."""
        return None if self.credential is None else self.credential.name


class Reply(NamedTuple):
    """A response, and what the exchange has to know of it.

    `lease`: on a job, that the client holds until it has all of the response.
    `sources`: the jobs that the body reads from.
    """

    response: Response
    lease: Lease | None = None
    sources: tuple[int, ...] = ()


class NeedBody(NamedTuple):
    """Read the request's body, at most `limit` bytes, and call `then` with it."""

    limit: int
    then: "Callable[[bytes, Now], Answer]"


class Wait(Protocol):
    """No answer yet: it depends on jobs that have to change first.

    The exchange calls `changed` when one of the jobs in `topics` has changed. It calls `answer`
    once `changed` returns True or `deadline` (monotonic) has passed. `lease` is as in Reply.
    """

    topics: tuple[int, ...]
    deadline: float
    lease: Lease | None

    def changed(self, job_id: int) -> bool:
        """Whether the wait is over, now that the job has changed or is gone."""

    def answer(self) -> "Response | Reply | Wait":
        """What is to be answered now, or what is to be waited for instead."""


class Upload(NamedTuple):
    """Read the request's body and hand it to the job's stdin as the job takes it.

    `offset` is where in all of the stdin the body begins, None for behind what is there.
    """

    job_id: int
    close: bool
    offset: int | None = None


Answer = Response | Reply | NeedBody | Wait | Upload


class RefusalError(Exception):
    """An answer that ends the handling of a request."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status)
        self.response = response


def json(status: int, text: str) -> Response:
    """An answer of JSON text."""
    return Response(status, (JSON_TYPE,), text.encode())


def no_content() -> Response:
    """Done, and nothing to say about it."""
    return Response(204, (JSON_TYPE,))


def unsatisfiable(size: int, *headers: tuple[str, str]) -> Response:
    """The range lies outside of what there is."""
    message = f"there are {size} bytes"
    return error(
        416, "range not satisfiable", message, ("Content-Range", f"bytes */{size}"), *headers
    )
