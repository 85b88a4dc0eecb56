"""GET /jobs?since=N: what has changed after the change of that number.

The answer costs as much as has changed. `Rtot-Seq` is the number from which to ask next.
"""

from collections.abc import Iterator
from typing import NamedTuple

from rtot.api.answers import Answer, Ask, Reply
from rtot.api.listing import Listing, json_array, seq_header
from rtot.api.parameters import FROM, ORDER, UNTIL
from rtot.api.streams import JsonBody
from rtot.http.errors import JSON_TYPE
from rtot.http.messages import Response
from rtot.http.query import BadParameterError
from rtot.jobs.changes import ANY_JOB
from rtot.jobs.job import Job
from rtot.jobs.leases import Lease

# How many changed jobs are looked at before others get their turn.
_LOOK = 256
# How many changes a page, or the beginning of a wait, looks at.
_MOST = 256


def list_changes(ask: Ask, listing: Listing, since: int, wait: float | None) -> Answer:
    """What has changed in a list after that number, once there is something if it is waited for."""
    for parameter in (FROM, UNTIL, ORDER):
        if parameter in ask.query:
            raise BadParameterError(parameter.name, "does not go with since")
    changes = Changes(listing, since)
    if wait is None:
        return changes.answer()
    waiting = ChangesWait(changes, ask.now.monotonic + wait)
    return changes.answer() if waiting.changed(ANY_JOB) else waiting


class Changes(NamedTuple):
    """The changes of a list after the number `since`."""

    listing: Listing
    since: int

    def answer(self) -> Response | Reply:
        """Jobs in order of their last change, and the ids that were deleted.

        It is the whole list if that is not known: too many deletions ago, or of another server.
        """
        listing, jobs = self.listing, self.listing.jobs
        deletions = jobs.changes.deletions_after(self.since)
        if deletions is None or self.since > jobs.changes.last:
            return listing.respond(200, ',"deleted":[],"whole":true')
        last = jobs.changes.last
        chosen: Iterator[Job | None]
        if listing.limit is None:
            chosen = _changed(listing, self.since, last)
        else:
            page, last = self._page(listing.limit)
            chosen = iter(page)
        deleted = ",".join(str(job_id) for number, job_id in reversed(deletions) if number <= last)
        pieces = json_array(chosen, listing.view, jobs, f',"deleted":[{deleted}]')
        headers = (JSON_TYPE, seq_header(last), *listing.headers)
        return Response(200, headers, JsonBody(pieces))

    def _page(self, limit: int) -> tuple[list[Job], int]:
        """The first jobs that changed, and the number up to which there are no others."""
        jobs = self.listing.jobs
        looked_at = jobs.changes.after(self.since, max(limit, _MOST))
        page: list[Job] = []
        for job in looked_at:
            if self.listing.selection.matches(job):
                page.append(job)
                if len(page) == limit:
                    return page, job.change
        if len(looked_at) < max(limit, _MOST):
            return page, jobs.changes.last
        return page, looked_at[-1].change


class ChangesWait:
    """Until a job of the list changes, or any is deleted."""

    __slots__ = ("_changes", "_seen", "deadline", "lease", "topics")

    def __init__(self, changes: Changes, deadline: float) -> None:
        self._changes = changes
        self._seen = changes.since
        self.topics: tuple[int, ...] = (ANY_JOB,)
        self.deadline = deadline
        self.lease: Lease | None = None

    def changed(self, topic: int) -> bool:
        listing = self._changes.listing
        numbers = listing.jobs.changes
        deletions = numbers.deletions_after(self._seen)
        if deletions is None or deletions or self._seen > numbers.last:
            return True
        found = numbers.after(self._seen, _MOST)
        self._seen = numbers.last
        if listing.jobs.closing:
            # There may be no other change.
            return True
        # After so many the client is told how far it is, even if nothing matches.
        return len(found) == _MOST or any(map(listing.selection.matches, found))

    def answer(self) -> Response | Reply:
        return self._changes.answer()


def _changed(listing: Listing, since: int, last: int) -> Iterator[Job | None]:
    """The jobs that changed up to the number `last`, with a pause (None) between two looks."""
    while True:
        # With their numbers, as they may change while the page is told.
        page = [(job.change, job) for job in listing.jobs.changes.after(since, _LOOK)]
        for number, job in page:
            if number > last:
                return
            since = number
            # One that has changed again is in the next answer.
            if job.change == number and listing.selection.matches(job):
                yield job
        if len(page) < _LOOK:
            return
        yield None
