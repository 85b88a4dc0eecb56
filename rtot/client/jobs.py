"""Lists of jobs, and how they change: page by page, and by one request that waits for changes."""

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

from rtot.client.connection import Request
from rtot.client.failures import NoJobError, RefusedError
from rtot.client.session import Session

Job = Mapping[str, Any]
PAGE = 500
# Less than the silence after which a connection counts as lost.
_POLL = 25


class Changes(NamedTuple):
    """Jobs of a list that have changed, and ids of deleted jobs, of that list or not.

    `whole`: the server did not know what has changed, and this is the list as it is.
    """

    jobs: list[Job]
    deleted: list[int]
    whole: bool


def job_path(text: str) -> str:
    """The path of a job by its id, or as the server gave it. Raises ValueError."""
    found = re.fullmatch(r"(?:/jobs/)?([0-9]{1,18})", text)
    if found is None:
        raise ValueError(f"{text!r} is not the id of a job")
    return f"/jobs/{int(found[1])}"


def id_of(path: str) -> str:
    """The id of the job with that path, for people."""
    return path.rpartition("/")[2]


def get_job(session: Session, path: str, query: str) -> Job:
    """One job. Raises NoJobError."""
    try:
        job: Job = session.read(Request("GET", f"{path}?{query}")).json()["jobs"][0]
    except RefusedError as refused:
        if refused.status != 404:
            raise
        raise NoJobError(f"there is no job {id_of(path)}") from None
    return job


def query(*parameters: tuple[str, str]) -> str:
    """A query of those parameters, whose bytes need not be UTF-8 (PEP 383)."""
    return "&".join(
        f"{name}={quote(os.fsencode(value), safe='/:,*')}" for name, value in parameters
    )


class JobList:
    """The jobs of a selection, which is a query, and what changes of them."""

    def __init__(self, session: Session, selection: str) -> None:
        self._session = session
        self._selection = selection
        self._seq: str | None = None

    def pages(self) -> Iterator[list[Job]]:
        """All of them, as they were one after another."""
        target: str | None = f"/jobs?{self._selection}&limit={PAGE}"
        while target is not None:
            reply = self._session.read(Request("GET", target))
            self._seq = self._seq or reply.header("rtot-seq")
            yield reply.json()["jobs"]
            found = re.search(r'<([^>]*)>; *rel="?next', reply.headers.get("link", ""))
            target = found[1] if found else None

    def last(self, count: int) -> list[Job]:
        """The newest, in order."""
        reply = self._session.read(Request("GET", f"/jobs?{self._selection}&last={count}"))
        self._seq = reply.header("rtot-seq")
        jobs: list[Job] = reply.json()["jobs"]
        return jobs

    def begin(self) -> None:
        """Only what changes from now on is of interest."""
        reply = self._session.read(Request("GET", "/jobs?fields=&limit=1"))
        self._seq = reply.header("rtot-seq")

    def changes(self, wait: float = _POLL) -> Changes:
        """What has changed since it was asked last, when something has, or time is up (s)."""
        wait = max(0.0, min(wait, _POLL))
        target = f"/jobs?{self._selection}&since={self._seq}&wait={wait:.3f}"
        reply = self._session.read(Request("GET", target))
        self._seq = reply.header("rtot-seq")
        found = reply.json()
        return Changes(found["jobs"], found["deleted"], found.get("whole", False))
