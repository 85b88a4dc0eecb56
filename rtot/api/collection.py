"""GET and DELETE of /jobs: the jobs that are meant, all together."""

from rtot.api.answers import Answer, Ask, Wait, no_content
from rtot.api.changes import list_changes
from rtot.api.listing import Listing
from rtot.api.parameters import (
    BY,
    CREATED_FROM,
    CREATED_TO,
    FAIL,
    FAILED,
    FROM,
    LAST,
    LIMIT,
    ORDER,
    SELECTED_GROUP,
    SELECTED_LABEL,
    SINCE,
    STATE,
    UNTIL,
    WAIT,
)
from rtot.api.waits import JobsWait, NextTurn, asked_view, asked_wait
from rtot.http.messages import Response
from rtot.http.query import BadParameterError
from rtot.jobs.job import Job
from rtot.jobs.selection import Selection

# How many complete jobs are deleted in a turn, and how many looked at.
DELETED = 50
_LOOKED_AT = 4096


def list_jobs(ask: Ask) -> Answer:
    """The jobs that match the query, after a wait if one was requested."""
    query, jobs = ask.query, ask.jobs
    wait, headers = asked_wait(ask)
    if UNTIL in query and wait is None:
        raise BadParameterError("until", "goes with wait")
    last = query.get(LAST)
    down = last is not None or query.get(ORDER) == "desc"
    for parameter in (ORDER, FROM, LIMIT, SINCE, WAIT, FAIL):
        if last is not None and parameter in query:
            raise BadParameterError("last", f"does not go with {parameter.name}")
    listing = Listing(
        ask.request,
        jobs,
        _selection(ask),
        asked_view(query),
        query.get(FROM, jobs.last_id if down else 0),
        query.get(LIMIT) if last is None else last,
        headers,
        down,
        query.get(FAIL, False),
    )
    since = query.get(SINCE)
    if listing.fail and (since is not None or query.get(UNTIL) == "any"):
        raise BadParameterError("fail", "goes with all jobs of a list, not with since or until=any")
    if since is not None:
        return list_changes(ask, listing, since, wait)
    if wait is not None and (pending := listing.pending()):
        deadline = ask.now.monotonic + wait
        until_all = query.get(UNTIL, "all") == "all"
        listing = listing._replace(awaited=tuple(pending))
        return JobsWait(jobs, pending, deadline, listing.answer, until_all=until_all)
    return listing.answer()


def delete_jobs(ask: Ask) -> Answer:
    """Kill and forget all jobs that match the query."""
    return Deletion(ask, _selection(ask)).answer()


class Deletion(NextTurn):
    """The deletion of many jobs, some of them in each turn: first those that are not complete."""

    __slots__ = ("_ask", "_at", "_last", "_selection")

    def __init__(self, ask: Ask, selection: Selection) -> None:
        super().__init__()
        self._ask = ask
        self._selection = selection
        # Those that come later are not meant.
        self._last = ask.jobs.last_id
        self._at = -1

    def answer(self) -> Response | Wait:
        jobs = self._ask.jobs
        if self._at < 0:
            self._forget([j for j in jobs.roster.alive() if self._selection.matches(j)])
            self._at = 0
        page = jobs.roster.page(self._selection, self._at, DELETED, _LOOKED_AT)
        self._forget(page.jobs)
        if page.next is None or page.next > self._last:
            return no_content()
        self._at = page.next
        return self

    def _forget(self, found: list[Job]) -> None:
        for job in found:
            if job.id <= self._last:
                self._ask.jobs.forget(job, self._ask.now, by=self._ask.by)


def _selection(ask: Ask) -> Selection:
    query = ask.query
    labels = frozenset(query.all(SELECTED_LABEL))
    return Selection(
        query.get(STATE),
        labels,
        query.get(FAILED),
        query.get(BY),
        query.get(SELECTED_GROUP),
        query.get(CREATED_FROM),
        query.get(CREATED_TO),
    )
