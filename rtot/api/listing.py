"""Lists of jobs: which ones are meant, page by page, streamed however many there are."""

from collections.abc import Iterator
from typing import NamedTuple

from rtot.api.answers import Answer, Ask
from rtot.api.job_json import DEFAULT_FIELDS, UNREADABLE, render, stand_in
from rtot.api.parameters import FAILED, FIELDS, FROM, LIMIT, SELECTED_LABEL, STATE, UNTIL
from rtot.api.streams import JsonBody
from rtot.api.waits import JobsWait, asked_wait
from rtot.http.errors import JSON_TYPE
from rtot.http.messages import Headers, Request, Response
from rtot.http.query import BadParameterError
from rtot.jobs.job import Job
from rtot.jobs.output import UnreadableError
from rtot.jobs.selection import Selection
from rtot.jobs.table import JobTable

# How many jobs a list looks at before others get their turn.
_LOOK = 256
# How many a page examines (or its limit, if that is more), whether they match or not.
_LOOK_OF_PAGE = 4096


def list_jobs(ask: Ask) -> Answer:
    """The jobs that match the query, after a wait if one was requested."""
    query, jobs = ask.query, ask.jobs
    wait, headers = asked_wait(ask)
    until_all = query.get(UNTIL, "all") == "all"
    if UNTIL in query and wait is None:
        raise BadParameterError("until", "goes with wait")
    listing = Listing(
        ask.request,
        jobs,
        asked_selection(ask),
        query.get(FIELDS, DEFAULT_FIELDS),
        query.get(FROM, 0),
        query.get(LIMIT),
        headers,
    )
    if wait is not None and (pending := listing.pending(until_all)):
        deadline = ask.now.monotonic + wait
        return JobsWait(jobs, pending, deadline, listing.answer, until_all=until_all)
    return listing.answer()


def asked_selection(ask: Ask) -> Selection:
    """The selection in the query."""
    query = ask.query
    return Selection(query.get(STATE), frozenset(query.all(SELECTED_LABEL)), query.get(FAILED))


class Listing(NamedTuple):
    """One list that a client asked for: from the job `first` on, at most `limit` of them."""

    request: Request
    jobs: JobTable
    selection: Selection
    fields: tuple[str, ...]
    first: int
    limit: int | None
    headers: Headers

    def pending(self, until_all: bool) -> set[int]:
        """The jobs that are to be waited for until all, or until any of them, are complete."""
        jobs, selection, first = self.jobs, self.selection, self.first
        pending = {j.id for j in jobs.unfinished() if j.id >= first and selection.matches(j)}
        if not until_all and any(j.over for j in iter_matching(jobs, selection, first)):
            pending.clear()
        return pending

    def answer(self) -> Response:
        """The list as it is now. A page that is not the last links to the next."""
        headers = (JSON_TYPE, *self.headers)
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
        return Response(200, headers, JsonBody(json_array(chosen, self.fields, self.jobs)))


def json_array(
    chosen: Iterator[Job | None], fields: tuple[str, ...], jobs: JobTable
) -> Iterator[bytes]:
    """`{"jobs":[…]}` in pieces; None among the jobs is a pause.

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
    yield (b"" if before == b"," else before) + b"]}\n"


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
