"""A list of jobs as an answer: page by page, streamed however many there are."""

from collections.abc import Iterator
from typing import NamedTuple

from rtot.api.answers import FAILED, Reply, Wait
from rtot.api.job_json import UNREADABLE, View, render, stand_in
from rtot.api.streams import JsonBody
from rtot.api.waits import NextTurn
from rtot.http.errors import JSON_TYPE
from rtot.http.messages import Header, Headers, Request, Response
from rtot.jobs.job import Job
from rtot.jobs.output import UnreadableError
from rtot.jobs.selection import Selection
from rtot.jobs.table import JobTable

# How many jobs a list looks at before others get their turn; they may have to be read first.
_LOOK = 256
# How many a page examines (or its limit, if that is more), whether they match or not.
_LOOK_OF_PAGE = 4096


class Listing(NamedTuple):
    """One list that a client asked for: from the job `first` on, at most `limit` of them.

    `down`: the newest job first.

    `fail`: the status is 424 if one of them, whatever the limit, or of those that were `awaited`
    has not succeeded or is gone, and if there is none.
    """

    request: Request
    jobs: JobTable
    selection: Selection
    view: View
    first: int
    limit: int | None
    headers: Headers
    down: bool = False
    fail: bool = False
    awaited: tuple[int, ...] = ()

    def pending(self) -> set[int]:
        """The jobs that are not complete yet."""
        found = set()
        for job in self.jobs.roster.unfinished():
            inside = job.id <= self.first if self.down else job.id >= self.first
            if inside and self.selection.matches(job):
                found.add(job.id)
        return found

    def answer(self) -> Response | Reply | Wait:
        """The list as it is now, once it is judged if that is asked for."""
        return Judgement(self).answer() if self.fail else self.respond(200)

    def respond(self, status: int, more: str = "") -> Response | Reply:
        """The list as it is now, and `more` JSON. A page that is not the last links to the next."""
        headers = (JSON_TYPE, seq_header(self.jobs.changes.last), *self.headers)
        chosen: Iterator[Job | None]
        if self.limit is None:
            chosen = _chosen(self)
        else:
            look = max(self.limit, _LOOK_OF_PAGE)
            page = self.jobs.roster.page(
                self.selection, self.first, self.limit, look, down=self.down
            )
            if page.next is not None:
                link = f'<{_next_page(self, page.next)}>; rel="next"'
                headers = (*headers, ("Link", link))
            chosen = iter(page.jobs)
        pieces = json_array(chosen, self.view, self.jobs, more)
        # What was waited for is kept until it is told.
        return Reply(Response(status, headers, JsonBody(pieces)), sources=self.awaited)


class Judgement(NextTurn):
    """Whether all jobs of a list have succeeded. A look takes one step, and waits for the next."""

    __slots__ = ("_at", "_found", "_listing")

    def __init__(self, listing: Listing) -> None:
        super().__init__(listing.awaited)
        self._listing = listing
        self._at = listing.first
        self._found = bool(listing.awaited)

    def answer(self) -> Response | Reply | Wait:
        jobs, selection = self._listing.jobs, self._listing.selection
        if self._at == self._listing.first and not all(map(self._succeeded, self.topics)):
            return self._listing.respond(FAILED)
        down = self._listing.down
        page = jobs.roster.page(selection, self._at, _LOOK, _LOOK_OF_PAGE, down=down)
        if not all(job.succeeded for job in page.jobs):
            return self._listing.respond(FAILED)
        self._found = self._found or bool(page.jobs)
        if page.next is not None:
            self._at = page.next
            return self
        return self._listing.respond(200 if self._found else FAILED)

    def _succeeded(self, job_id: int) -> bool:
        job = self._listing.jobs.get(job_id)
        return job is not None and job.succeeded


def seq_header(number: int) -> Header:
    """Rtot-Seq: the number of the newest change that the answer tells of."""
    return "Rtot-Seq", str(number)


def json_array(
    chosen: Iterator[Job | None], view: View, jobs: JobTable, more: str = ""
) -> Iterator[bytes]:
    """`{"jobs":[…]}` in pieces, `more` behind the array; None among the jobs is a pause.

    An error stands in place of a job that cannot be shown.
    """
    before = b'{"jobs":['
    for job in chosen:
        if job is None:
            yield b""
            continue
        for piece in _shown(job, view, jobs):
            yield before + piece
            before = b""
        before = b","
    yield (b"" if before == b"," else before) + f"]{more}}}\n".encode()


def _shown(job: Job, view: View, jobs: JobTable) -> Iterator[bytes]:
    begun = False
    try:
        for piece in render(job, view, jobs.script_path(job), jobs.wall):
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


def _pages(jobs: JobTable, selection: Selection, first: int, *, down: bool) -> Iterator[list[Job]]:
    at: int | None = first
    while at is not None:
        page = jobs.roster.page(selection, at, _LOOK, _LOOK, down=down)
        yield page.jobs
        at = page.next


def _chosen(listing: Listing) -> Iterator[Job | None]:
    """The jobs that were there at the beginning, with a pause (None) between two looks."""
    jobs, selection = listing.jobs, listing.selection
    last = jobs.last_id
    pages = _pages(jobs, selection, listing.first, down=listing.down)
    for index, page in enumerate(pages):
        if index:
            yield None
        for job in page:
            if job.id > last:
                return
            # While the page is told, jobs may be forgotten and change their state.
            if jobs.get(job.id) is job and selection.matches(job):
                yield job


_OF_ONE_PAGE = frozenset({"from", "wait", "until", "since", "last"})


def _next_page(listing: Listing, first: int) -> str:
    from urllib.parse import quote, unquote

    parts = [part for part in listing.request.query.split("&") if part]
    names = [unquote(part.partition("=")[0]) for part in parts]
    rest = [p for p, name in zip(parts, names, strict=True) if name not in _OF_ONE_PAGE]
    if "last" in names:
        rest += ["order=desc", f"limit={listing.limit}"]
    return quote("/jobs?" + "&".join([*rest, f"from={first}"]), safe="/?&=%+,*.-_~:;@!$'()")
