"""Lists of jobs: which ones are meant, page by page, streamed however many there are."""

from collections.abc import Iterator

from rtot.api.job_json import render
from rtot.api.streams import JsonBody
from rtot.http.errors import JSON_TYPE
from rtot.http.messages import Headers, Request, Response
from rtot.http.query import Query
from rtot.jobs.job import SHOWN, Job
from rtot.jobs.table import JobTable

# How many jobs a list looks at before others get their turn.
_LOOK = 256
# How many a page looks at, whatever it finds.
_LOOK_OF_PAGE = 4096


class Selection:
    """Which jobs a list or a bulk delete means."""

    __slots__ = ("labels", "state")

    def __init__(self, query: Query) -> None:
        # An empty state is no state, as with the original.
        self.state = query.one("state") or None
        self.labels = frozenset(query.all("label"))

    def takes(self, job: Job) -> bool:
        if self.state is not None and SHOWN[job.state] != self.state:
            return False
        return not self.labels or self.labels <= set(job.options.labels)


class Listing:
    """One list that a client asked for."""

    __slots__ = ("fields", "first", "headers", "limit", "selection")

    def __init__(
        self,
        selection: Selection,
        fields: tuple[str, ...],
        first: int,
        limit: int | None,
        headers: Headers,
    ) -> None:
        """From the job `first` on, at most `limit` of them."""
        self.selection = selection
        self.fields = fields
        self.first = first
        self.limit = limit
        self.headers = headers

    def answer(self, request: Request, jobs: JobTable) -> Response:
        """The list as it is now. A page that is not the last links to the next."""
        headers = (JSON_TYPE, *self.headers)
        chosen: Iterator[Job | None]
        if self.limit is None:
            chosen = _chosen(jobs, self.selection, self.first)
        else:
            page, after = self._page(self.limit, jobs)
            if after is not None:
                headers = (*headers, ("Link", f'<{_next_page(request, after)}>; rel="next"'))
            chosen = iter(page)
        return Response(200, headers, JsonBody(json_array(chosen, self.fields, jobs)))

    def _page(self, limit: int, jobs: JobTable) -> tuple[list[Job], int | None]:
        """The jobs of this page, and the id at which the next one begins.

        Whatever the selection, one page looks at a bounded number of jobs; the next one
        goes on from there.
        """
        look = max(limit, _LOOK_OF_PAGE)
        page: list[Job] = []
        for index, job in enumerate(jobs.after(self.first, look + 1)):
            if len(page) == limit or index == look:
                return page, job.id
            if self.selection.takes(job):
                page.append(job)
        return page, None


def json_array(
    chosen: Iterator[Job | None], fields: tuple[str, ...], jobs: JobTable
) -> Iterator[bytes]:
    """`{"jobs":[…]}` in pieces; None among the jobs is a pause."""
    before = b'{"jobs":['
    for job in chosen:
        if job is None:
            yield b""
            continue
        for piece in render(job, fields, jobs.script_path(job)):
            yield before + piece
            before = b""
        before = b","
    yield (b"" if before == b"," else before) + b"]}\n"


def all_jobs(jobs: JobTable, first: int) -> Iterator[Job]:
    """Every job from the id `first` on."""
    while found := jobs.after(first, _LOOK):
        yield from found
        first = found[-1].id + 1


def _chosen(jobs: JobTable, selection: Selection, first: int) -> Iterator[Job | None]:
    """The jobs that were there at the beginning, with a pause (None) after each look."""
    last = jobs.last_id
    if selection.state in ("new", "running"):
        # Among 100,000 complete jobs only the few others need looking at.
        for job in jobs.unfinished():
            if job.id >= first and jobs.get(job.id) is job and selection.takes(job):
                yield job
        return
    while found := jobs.after(first, _LOOK):
        for job in found:
            if job.id > last:
                return
            if selection.takes(job) and jobs.get(job.id) is job:
                yield job
        first = found[-1].id + 1
        yield None


def _next_page(request: Request, first: int) -> str:
    from urllib.parse import quote, unquote

    rest = [
        part
        for part in request.query.split("&")
        if part and unquote(part.partition("=")[0]) not in ("from", "wait", "until")
    ]
    return quote("/jobs?" + "&".join([*rest, f"from={first}"]), safe="/?&=%+,*.-_~:;@!$'()")
