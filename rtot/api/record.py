"""What the log tells of an answer."""

from typing import NamedTuple

from rtot.api.handler import Handled
from rtot.api.job_lines import NOBODY
from rtot.api.reading import job_number
from rtot.api.routes import redact
from rtot.http.messages import Request, Response


class Record(NamedTuple):
    """What the log tells of an answer: `seconds` since it was asked, `sent` in bytes.

    `by`: who asked. `job`: the one that it was about. `id`: of the request.
    """

    method: str
    target: str
    status: int
    sent: int
    seconds: float
    by: str
    job: int | None
    id: str
    anonymous: bool


def make_record(
    request: Request | None,
    handled: Handled,
    status: int,
    sent: int,
    seconds: float,
    job: int | None,
    id: str,
) -> Record:
    """Without a request it was malformed."""
    return Record(
        "-" if request is None else request.method,
        "-" if request is None else redact(request.target),
        status,
        sent,
        seconds,
        handled.by or NOBODY,
        job,
        id,
        handled.credential is None,
    )


def job_of(response: Response | None, handled: Handled) -> int | None:
    """The job that a request was about: the one that the answer names, or the path."""
    for name, value in () if response is None else response.headers:
        if name == "Location":
            return int(value.rpartition("/")[2])
    return job_number(handled.word) if handled.word else None
