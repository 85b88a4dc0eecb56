"""rtot wait: until jobs are complete, by one request at a time, however many they are."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from rtot.client.ending import OURS, TIMED_OUT, Ending, ending
from rtot.client.failures import GaveUpError, NoJobError
from rtot.client.jobs import Changes, Job, JobList, get_job, query
from rtot.client.screen import Screen
from rtot.client.session import Session

_FIELDS = "code,signal,reason,exit"


class WaitOptions(NamedTuple):
    """Jobs by path, or by label. `timeout` in seconds."""

    paths: Sequence[str] = ()
    label: str | None = None
    any: bool = False
    timeout: float | None = None


class _Waiting:
    """Which jobs are waited for, which have ended, and how."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self.pending: set[int] = set()
        self.ended: list[tuple[int, Ending]] = []

    def look(self, job: Job) -> None:
        """The job as it is now."""
        if job["state"] != "complete":
            self.pending.add(job["id"])
        else:
            self.end(job["id"], ending(job))

    def end(self, job_id: int, how: Ending) -> None:
        self.pending.discard(job_id)
        self.ended.append((job_id, how))
        if how.status:
            self._screen.tell(f"job {job_id} {how.why or f'exit status {how.status}'}")

    @property
    def failed(self) -> list[Ending]:
        return [how for _, how in self.ended if how.status]

    def progress(self) -> str:
        known = len(self.ended) + len(self.pending)
        failed = f", {len(self.failed)} failed" if self.failed else ""
        return f"{len(self.ended)} of {known} complete{failed}"


def wait(session: Session, options: WaitOptions, screen: Screen, now: Callable[[], float]) -> int:
    """The exit status of the first that failed, or with `any` of the first that ended."""
    waiting = _Waiting(screen)
    end = None if options.timeout is None else now() + options.timeout
    try:
        _wait(session, options, screen, waiting, lambda: None if end is None else end - now())
    except GaveUpError:
        if end is None or now() < end:
            raise
    finally:
        screen.progress("")
    if waiting.pending and not (options.any and waiting.ended):
        ids = ", ".join(map(str, sorted(waiting.pending)))
        screen.tell(f"timed out: not complete: {ids}")
        return TIMED_OUT
    if options.any:
        job_id, how = waiting.ended[0]
        screen.print(f"{job_id} {how.status}")
        return how.status
    return waiting.failed[0].status if waiting.failed else 0


def _wait(
    session: Session,
    options: WaitOptions,
    screen: Screen,
    waiting: _Waiting,
    left: Callable[[], float | None],
) -> None:
    """Until there is nothing to wait for, or no time `left` (s; None for any)."""
    selection = [("fields", _FIELDS)]
    if options.label is not None:
        selection.append(("label", options.label))
    else:
        selection.append(("state", "complete"))
    jobs = JobList(session, query(*selection))
    if options.label is None:
        jobs.begin()
        for path in options.paths:
            waiting.look(get_job(session, path, f"fields={_FIELDS}"))
    else:
        for page in jobs.pages():
            for job in page:
                waiting.look(job)
        if not waiting.pending and not waiting.ended:
            raise NoJobError(f"no job has the label {options.label}")
    while waiting.pending and not (options.any and waiting.ended):
        seconds = left()
        if seconds is not None and seconds <= 0:
            return
        screen.progress(waiting.progress())
        _note(jobs.changes() if seconds is None else jobs.changes(seconds), waiting, session)


def _note(changes: Changes, waiting: _Waiting, session: Session) -> None:
    gone = waiting.pending.intersection(changes.deleted)
    for job in changes.jobs:
        if job["id"] in waiting.pending:
            waiting.look(job)
    for job_id in sorted(waiting.pending) if changes.whole else ():
        # The server does not remember who was deleted.
        try:
            waiting.look(get_job(session, f"/jobs/{job_id}", f"fields={_FIELDS}"))
        except NoJobError:
            gone.add(job_id)
    for job_id in sorted(gone):
        waiting.end(job_id, Ending(OURS, "was deleted"))
