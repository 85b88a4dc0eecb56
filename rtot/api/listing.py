"""A list of jobs as an answer: page by page, streamed however many there are."""

from collections.abc import Iterator
from typing import NamedTuple

from rtot.api.answers import FAILED
from rtot.api.job_json import UNREADABLE, render, stand_in
from rtot.api.streams import JsonBody
from rtot.http.errors import JSON_TYPE
from rtot.http.messages import Header, Headers, Request, Response
from rtot.jobs.job import Job
from rtot.jobs.output import UnreadableError
from rtot.jobs.selection import Selection
from rtot.jobs.table import JobTable

# How many jobs a list looks at before others get their turn.
_LOOK = 256
# How many a page examines (or its limit, if that is more), whether they match or not.
_LOOK_OF_PAGE = 4096


class Listing(NamedTuple):
    """One list that a client asked for: from the job `first` on, at most `limit` of them.

    `fail`: the status is 424 if one of them, whatever the limit, has not succeeded, if one of
    those that were `awaited` is gone, or if there is none.
    """

    request: Request
    jobs: JobTable
    selection: Selection
    fields: tuple[str, ...]
    first: int
    limit: int | None
    headers: Headers
    fail: bool = False
    awaited: frozenset[int] = frozenset()

    def pending(self) -> set[int]:
        """The jobs that are not complete yet."""
        return {
            job.id
            for job in self.jobs.unfinished()
            if job.id >= self.first and self.selection.matches(job)
        }

    def answer(self, more: str = "") -> Response:
        """The list as it is now, and `more` JSON. A page that is not the last links to the next."""
        headers = (JSON_TYPE, seq_header(self.jobs.changes.last), *self.headers)
        chosen: Iterator[Job | None]
        if self.limit is None:
            chosen = _chosen(self.jobs, self.selection, self.first)
        else:
            look = max(self.limit, _LOOK_OF_PAGE)
            page = self.jobs.page(self.selection, self.first, self.limit, look)
            if page.next is not None:
                link = f'<{_next_page(self.request, page.next)}>; rel="next"'
                headers = (*headers, ("Link", link))
            chosen = iter(page.jobs)
        pieces = json_array(chosen, self.fields, self.jobs, more)
        return Response(self._status(), headers, JsonBody(pieces))

    def _status(self) -> int:
        if not self.fail:
            return 200
        if any(self.jobs.get(job_id) is None for job_id in self.awaited):
            return FAILED
        found = False
        for job in iter_matching(self.jobs, self.selection, self.first):
            found = True
            if not job.succeeded:
                return FAILED
        return 200 if found else FAILED


def seq_header(number: int) -> Header:
    """Rtot-Seq: the number of the newest change that the answer tells of."""
    return "Rtot-Seq", str(number)


def json_array(
    chosen: Iterator[Job | None], fields: tuple[str, ...], jobs: JobTable, more: str = ""
) -> Iterator[bytes]:
    """`{"jobs":[…]}` in pieces, `more` behind the array; None among the jobs is a pause.

    An error stands in place of a job that cannot be shown.
    """
    before = b'{"jobs":['
    for job in chosen:
        if job is None:
            yield b""
            continue
        for piece in _shown(job, fields, jobs):
            yield before + piece
            before = b""
        before = b","
    yield (b"" if before == b"," else before) + f"]{more}}}\n".encode()


def _shown(job: Job, fields: tuple[str, ...], jobs: JobTable) -> Iterator[bytes]:
    begun = False
    try:
        for piece in render(job, fields, jobs.script_path(job)):
            yield piece
            begun = True
    except UnreadableError:
        if not begun:
            yield stand_in(job, UNREADABLE)
    except Exception as failure:
        if begun:
            raise
        jobs.note_bug(failure)
        yield stand_in(job, "internal server error")


def iter_matching(jobs: JobTable, selection: Selection, first: int = 0) -> Iterator[Job]:
    """Every job that matches the selection, from the id `first` on."""
    for page in _pages(jobs, selection, first):
        yield from page


def _pages(jobs: JobTable, selection: Selection, first: int) -> Iterator[list[Job]]:
    at: int | None = first
    while at is not None:
        page = jobs.page(selection, at, _LOOK, _LOOK)
        yield page.jobs
        at = page.next


def _chosen(jobs: JobTable, selection: Selection, first: int) -> Iterator[Job | None]:
    """The jobs that were there at the beginning, with a pause (None) between two looks."""
    last = jobs.last_id
    for index, page in enumerate(_pages(jobs, selection, first)):
        if index:
            yield None
        for job in page:
            if job.id > last:
                return
            # While the page is told, jobs may be forgotten and change their state.
            if jobs.get(job.id) is job and selection.matches(job):
                yield job


def _next_page(request: Request, first: int) -> str:
    from urllib.parse import quote, unquote

    rest = [
        part
        for part in request.query.split("&")
        if part and unquote(part.partition("=")[0]) not in ("from", "wait", "until")
    ]
    return quote("/jobs?" + "&".join([*rest, f"from={first}"]), safe="/?&=%+,*.-_~:;@!$'()")
