"""What a handler may answer, and answers that many routes give."""

from typing import NamedTuple

from rtot.http.errors import JSON_TYPE, error
from rtot.http.messages import Request, Response

TEXT_TYPE = ("Content-Type", "text/plain; charset=utf-8")


class NeedBody(NamedTuple):
    """Read the request's body, at most `limit` bytes, and ask again with it.

    What was made of the head already is the `draft`: `Handler.go_on` takes it back.
    """

    limit: int
    draft: object = None


class Wait:
    """Not yet: ask again (`Handler.resume`) when the wait is over or `deadline` has come.

    It is over when one of `jobs` (or, for `until_all`, each of them) is complete or gone,
    or for a `stop` when that is over. `deadline` is monotonic.
    """

    __slots__ = ("context", "deadline", "jobs", "lease", "request", "until_all")

    def __init__(
        self,
        request: Request,
        jobs: set[int],
        deadline: float,
        *,
        until_all: bool = True,
        lease: int | None = None,
        context: object = None,
    ) -> None:
        self.request = request
        self.jobs = jobs
        self.deadline = deadline
        self.until_all = until_all
        self.lease = lease
        self.context = context


class Upload(NamedTuple):
    """Read the request's body and hand it to the job's stdin as the job takes it."""

    request: Request
    job_id: int
    end: bool


Answer = Response | NeedBody | Wait | Upload


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
