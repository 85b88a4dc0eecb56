"""What an answer waits for: jobs that are to complete, or a job that is being ended."""

import re
from collections.abc import Callable
from signal import Signals

from rtot.api.answers import Ask, Reply, Wait, json
from rtot.api.job_json import DEFAULT_FIELDS, View, receipt
from rtot.api.parameters import FIELDS, TAIL, TIMES, WAIT
from rtot.http.messages import Headers, Response
from rtot.http.query import Query
from rtot.jobs.leases import Lease
from rtot.jobs.stop import Stop
from rtot.jobs.table import JobTable


class JobsWait:
    """Until one of the jobs (or for `until_all` each of them) is complete or gone."""

    __slots__ = ("_answer", "_jobs", "_until_all", "_waiting", "deadline", "lease", "topics")

    def __init__(
        self,
        jobs: JobTable,
        job_ids: set[int],
        deadline: float,
        answer: Callable[[], Response | Reply | Wait],
        *,
        until_all: bool = True,
        lease: Lease | None = None,
    ) -> None:
        self._jobs = jobs
        self._waiting = job_ids
        self._answer = answer
        self._until_all = until_all
        self.topics = tuple(job_ids)
        self.deadline = deadline
        self.lease = lease

    def changed(self, job_id: int) -> bool:
        job = self._jobs.get(job_id)
        if job is not None and not job.over and not self._jobs.leaves(job):
            return False
        self._waiting.discard(job_id)
        return not self._until_all or not self._waiting

    def answer(self) -> Response | Reply | Wait:
        return self._answer()


class NextTurn:
    """What is no wait for anything: the `answer` goes on in the next turn, after others."""

    __slots__ = ("deadline", "lease", "topics")

    def __init__(self, topics: tuple[int, ...] = ()) -> None:
        self.topics = topics
        self.deadline = 0.0
        self.lease: Lease | None = None

    def changed(self, topic: int) -> bool:
        return False


class StopWait:
    """Until the stop of a job is over."""

    __slots__ = ("_stop", "deadline", "lease", "topics")

    def __init__(self, stop: Stop, deadline: float) -> None:
        self._stop = stop
        self.topics: tuple[int, ...] = (stop.job_id,)
        self.deadline = deadline
        self.lease: Lease | None = None

    def changed(self, job_id: int) -> bool:
        return self._stop.over

    def answer(self) -> Response:
        return receipt_answer(self._stop, self._stop.signal)


def receipt_answer(stop: Stop | None, signal: Signals) -> Response:
    """What became of a kill with that signal; without a `stop` there was nobody to kill."""
    return json(200, f"{receipt(stop, signal)}\n")


def asked_view(query: Query) -> View:
    """How the client wants jobs to be shown."""
    return View(query.get(FIELDS, DEFAULT_FIELDS), query.get(TIMES) == "unix", query.get(TAIL))


def asked_wait(ask: Ask) -> tuple[float | None, Headers]:
    """How many seconds the client wants to wait (None: not at all), and headers that confirm it.

    Taken from `?wait`, or from Prefer (RFC 7240).
    """
    wait = ask.query.get(WAIT)
    longest = ask.settings.max_wait
    if wait is not None:
        return min(wait, longest), ()
    prefer = ask.request.headers.get("prefer")
    if prefer is None:
        return None, ()
    from rtot.http.lists import parse_list

    for preference in parse_list(prefer):
        # What is not understood is ignored (RFC 7240, 2).
        if preference.name == "wait" and re.fullmatch("[0-9]{1,9}", preference.value):
            applied = int(min(float(preference.value), longest))
            return float(applied), (("Preference-Applied", f"wait={applied}"),)
    return None, ()
