"""A job as plain values, which outlive the server, and back again.

What is decided at its submission is saved once (`Submitted`), all else again after each change
(`Progress`). The names are those of columns. Texts that were not UTF-8 are bytes.
"""

import json
from collections.abc import Callable
from enum import IntEnum
from signal import Signals
from typing import Any, NamedTuple

from rtot.clock import Now
from rtot.jobs.job import (
    PLAIN,
    Blocked,
    Job,
    Key,
    Options,
    Prerequisite,
    Reason,
    State,
    Usage,
    asked_for,
)
from rtot.jobs.output import Kept, Output, Small
from rtot.jobs.stop import CommandOutcome, Stop
from rtot.storage import Storage

Text = str | bytes


class Life(IntEnum):
    """How far a job had come."""

    WAITING = 0
    STARTED = 1
    """Or it may have been."""
    HELD = 2
    """Complete, and others hold its outputs."""
    COMPLETE = 3


class Submitted(NamedTuple):
    """Times are nanoseconds since the epoch, here and below. `options`: JSON of what is not PLAIN.

    `key_text`: of an idempotency key, with its name; None for none.
    """

    id: int
    created: int
    by: Text | None
    in_group: Text | None
    title: Text
    options: str
    key_text: Text | None
    key_by: Text | None
    fingerprint: bytes


class Progress(NamedTuple):
    """`pid_started`: when the leader was started, in ticks since the boot (proc(5)).

    `waits_for`, `usage`, `holders` and `receipt` are JSON, None for none. The rest is of the
    output, as Kept has it.
    """

    life: int
    change: int
    started: int
    completed: int
    failed: bool
    reason: str | None
    status: int
    failure: Text
    hint: Text
    timeout: float | None
    pid: int | None
    pid_started: int
    waits_for: str | None
    usage: str | None
    holders: str | None
    receipt: str | None
    out: int
    err: int
    arrivals: int
    out_dropped: int
    err_dropped: int
    cut_at: int
    newest: int
    unrecorded: bool
    files: int


_FIRST_OF_OUTPUT = Progress._fields.index("out")
_LIVES = {
    State.BLOCKED: Life.WAITING,
    State.NEW: Life.WAITING,
    State.HELD: Life.HELD,
    State.COMPLETE: Life.COMPLETE,
}


def text(value: str) -> Text:
    """UTF-8 is a text, all else bytes."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-8", "surrogateescape")
    return value


def original(value: Text) -> str:
    """What `text` was called with."""
    return value if isinstance(value, str) else value.decode("utf-8", "surrogateescape")


def submitted(job: Job) -> Submitted:
    """What was decided at the job's submission."""
    options = job.options
    chosen = asked_for(options)
    key = job.key
    return Submitted(
        job.id,
        job.create,
        None if job.by is None else text(job.by),
        None if options.group is None else text(options.group),
        text(job.title),
        json.dumps(chosen) if chosen else "",
        None if key is None else text(key.text),
        None if key is None or key.by is None else text(key.by),
        job.fingerprint,
    )


def progress(job: Job) -> Progress:
    """All else of the job, as it is now."""
    pending = [] if job.blocked is None else job.blocked.pending
    return Progress(
        _LIVES.get(job.state, Life.STARTED),
        job.change,
        job.start,
        job.complete,
        job.failed,
        None if job.reason is None else job.reason.value,
        job.status,
        text(job.failure),
        text(job.hint),
        job.timeout,
        job.pid,
        job.pid_started,
        json.dumps(pending) if pending else None,
        None if job.usage is None else json.dumps(job.usage),
        json.dumps(dict(job.holders)) if job.holders else None,
        None if job.stop is None else _receipt(job.stop),
        *job.output.kept,
    )


def restore(
    about: Submitted,
    now_is: Progress,
    storage: Storage,
    load: Callable[[], Small | None],
    now: Now,
) -> Job:
    """The job of which these were saved, BLOCKED, NEW or COMPLETE.

    One that was started is NEW, for whoever restores it to say what became of it. `load` has
    what is not in files of its output.
    """
    options = _options(about.options)
    life = Life(now_is.life)
    of_output: tuple[Any, ...] = now_is[_FIRST_OF_OUTPUT:]
    kept = Kept(*of_output)
    if life in (Life.WAITING, Life.STARTED):
        # All that it has written is in files, whether they were known or not.
        kept = kept._replace(files=7)
    output = Output.restore(storage, str(about.id), kept, load)
    by = None if about.by is None else original(about.by)
    blocked = None
    if life is Life.WAITING:
        blocked = _blocked(options, now_is.waits_for, about.created, now)
    hint, title = original(now_is.hint), original(about.title)
    job = Job(about.id, options, output, about.created, hint, title, by, blocked)
    job.change = now_is.change
    job.start, job.complete = now_is.started, now_is.completed
    job.reason = None if now_is.reason is None else Reason(now_is.reason)
    job.status, job.failure = now_is.status, original(now_is.failure)
    job.timeout = now_is.timeout
    job.pid, job.pid_started = now_is.pid, now_is.pid_started
    if about.key_text is not None:
        key_by = None if about.key_by is None else original(about.key_by)
        job.key, job.fingerprint = Key(key_by, original(about.key_text)), about.fingerprint
    if now_is.usage is not None:
        job.usage = Usage(*json.loads(now_is.usage))
    if now_is.holders is not None:
        job.holders = {int(pid): name for pid, name in json.loads(now_is.holders).items()}
    if now_is.receipt is not None:
        job.stop = _stop(job, now_is.receipt)
    if life in (Life.HELD, Life.COMPLETE):
        job.state = State.COMPLETE
    return job


def _options(saved: str) -> Options:
    chosen = json.loads(saved) if saved else {}
    # A version before this one may have had options that are gone: they are not met any more.
    known = {name: _plain(value) for name, value in chosen.items() if name in Options._fields}
    if "after" in known:
        known["after"] = tuple(Prerequisite(*each) for each in known["after"])
    return PLAIN._replace(**known) if known else PLAIN


def _plain(value: Any) -> Any:
    """Tuples, where JSON has lists."""
    return tuple(map(_plain, value)) if isinstance(value, list) else value


def _blocked(options: Options, waits_for: str | None, created: int, now: Now) -> Blocked | None:
    pending = [Prerequisite(*each) for each in json.loads(waits_for or "[]")]
    until = None
    if options.delay:
        # By the clock on the wall, the only one that goes on while no server runs.
        until = now.monotonic + options.delay - (now.wall - created) / 1e9
        if until <= now.monotonic:
            until = None
    return Blocked(pending, until) if pending or until is not None else None


def _receipt(stop: Stop) -> str:
    return json.dumps(
        {
            "signal": stop.signal,
            "launcher": stop.launcher,
            "signalled": stop.signalled,
            "escalated": stop.escalated,
            "surviving": stop.surviving,
            "outcomes": stop.outcomes,
        }
    )


def _stop(job: Job, saved: str) -> Stop:
    receipt = json.loads(saved)
    stop = Stop.restore(job.id, job.pid or -1, Signals(receipt["signal"]), receipt["launcher"])
    for name in ("signalled", "escalated", "surviving"):
        setattr(stop, name, {int(pid): command for pid, command in receipt[name].items()})
    stop.outcomes = [
        CommandOutcome(Signals(s), exit, text) for s, exit, text in receipt["outcomes"]
    ]
    return stop
