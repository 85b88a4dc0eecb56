"""GET and DELETE of /jobs: the jobs that are meant, all together."""

from rtot.api.answers import Answer, Ask, no_content
from rtot.api.changes import list_changes
from rtot.api.listing import Listing, iter_matching
from rtot.api.parameters import (
    BY,
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
from rtot.api.waits import JobsWait, asked_view, asked_wait
from rtot.http.query import BadParameterError
from rtot.jobs.selection import Selection


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
    for job in iter_matching(ask.jobs, _selection(ask)):
        ask.jobs.forget(job, ask.now, by=ask.by)
    return no_content()


def _selection(ask: Ask) -> Selection:
    query = ask.query
    labels = frozenset(query.all(SELECTED_LABEL))
    return Selection(
        query.get(STATE), labels, query.get(FAILED), query.get(BY), query.get(SELECTED_GROUP)
    )
