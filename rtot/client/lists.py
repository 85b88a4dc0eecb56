"""rtot ls and show."""

import json
from collections.abc import Callable, Iterable
from typing import NamedTuple

from rtot.client.jobs import Job, JobList, get_job, query
from rtot.client.screen import Screen, visible
from rtot.client.session import Session
from rtot.client.table import duration, lay_out

_FIELDS = "create,seconds,code,signal,reason,exit,by,label,title"
_HEAD = ("ID", "STATE", "AGE", "DURATION", "EXIT", "BY", "LABELS", "TITLE")
# How much of a job's output `show` has.
_LINES = 10


class ListOptions(NamedTuple):
    """`json`: one object of the server's a line. `last`: the newest so many."""

    json: bool = False
    failed: bool = False
    labels: tuple[str, ...] = ()
    last: int | None = None
    watch: bool = False


def list_jobs(
    session: Session, options: ListOptions, screen: Screen, wall: Callable[[], float]
) -> int:
    """The jobs, and with `watch` how they change, until the user has had enough."""
    selection = [("times", "unix"), ("fields", "*" if options.json else _FIELDS)]
    selection += [("label", label) for label in options.labels]
    if options.failed:
        selection.append(("failed", "1"))
    if options.json:
        # Without all of the output.
        selection.append(("tail", str(_LINES)))
    jobs = JobList(session, query(*selection))
    view = View(screen, wall, as_json=options.json)
    pages = [jobs.last(options.last)] if options.last is not None else jobs.pages()
    if not options.watch:
        for page in pages:
            view.add(page)
        return 0
    known = {job["id"]: job for page in pages for job in page}
    view.show(known.values())
    while True:
        changes = jobs.changes()
        if changes.whole:
            known.clear()
        changed = [job for job in changes.jobs if known.get(job["id"]) != job]
        for job_id in changes.deleted:
            known.pop(job_id, None)
        known.update({job["id"]: job for job in changes.jobs})
        if options.last is not None:
            known = {job_id: known[job_id] for job_id in sorted(known)[-options.last :]}
            changed = [job for job in changed if job["id"] in known]
        view.update(known.values(), changed)


class View:
    """Jobs on the screen: a table, or a line of JSON each."""

    def __init__(self, screen: Screen, wall: Callable[[], float], *, as_json: bool) -> None:
        """`wall`: seconds since 1970."""
        self._screen = screen
        self._wall = wall
        self._as_json = as_json
        self._headed = False

    def add(self, jobs: Iterable[Job]) -> None:
        """Below what is there."""
        if self._as_json:
            for job in jobs:
                self._screen.print(json.dumps(job))
            return
        rows = [self._row(job) for job in jobs]
        if not self._headed:
            rows.insert(0, _HEAD)
            self._headed = True
        self._print(rows)

    def show(self, jobs: Iterable[Job]) -> None:
        """In place of what is there, on a terminal; as many of the last as it has lines for."""
        height = None if self._as_json else self._screen.height
        if height is None:
            self.add(jobs)
            return
        rows = [self._row(job) for job in jobs][-(height - 2) :]
        self._screen.clear()
        self._print([_HEAD, *rows])

    def update(self, jobs: Iterable[Job], changed: Iterable[Job]) -> None:
        """Show all again, or add what has changed."""
        if self._as_json or self._screen.height is None:
            self.add(changed)
        else:
            self.show(jobs)

    def _print(self, rows: list[tuple[str, ...]]) -> None:
        for row, line in zip(rows, lay_out(rows, self._screen.width), strict=True):
            color = {"failed": "red", "running": "green", "new": "dim"}.get(_outcome(row))
            self._screen.print(line if color is None else self._screen.painted(line, color))

    def _row(self, job: Job) -> tuple[str, ...]:
        seconds = job["seconds"]
        return (
            str(job["id"]),
            job["state"],
            duration(self._wall() - job["create"]),
            "" if seconds is None else duration(seconds),
            _exit(job),
            job["by"] or "",
            ",".join(job["label"]),
            job["title"],
        )


def _outcome(row: tuple[str, ...]) -> str:
    return "failed" if row[1] == "complete" and row[4] != "0" else row[1]


def _exit(job: Job) -> str:
    """The exit of a complete job in a word: a code, a signal, or the reason."""
    if job["state"] != "complete":
        return ""
    if job["reason"] not in ("exited", "signaled"):
        return str(job["reason"])
    return str(job["signal"].removeprefix("SIG") if job["signal"] else job["code"])


def show_job(session: Session, path: str, screen: Screen, *, as_json: bool) -> int:
    """All that is known of the job, and the last lines of its output."""
    job = get_job(session, path, query(("fields", "*"), ("tail", str(_LINES))))
    if as_json:
        screen.print(json.dumps(job))
        return 0
    names = [name for name in job if name not in ("out", "err", "href")]
    rows = [(name, _shown(job[name])) for name in names if job[name] not in (None, [], "")]
    for line in lay_out(rows):
        screen.print(line)
    for name in ("out", "err"):
        for line in (job.get(name) or "").splitlines():
            screen.print(f"{name}: {visible(line)}")
    return 0


def _shown(value: object) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)
