"""A job as the JSON of the original: its fields and its exit string.

Large output is written incrementally: `render` is an iterator of pieces, of which none is
larger than a fixed multiple of one read of the output, whatever the job wrote.
"""

import codecs
from collections.abc import Callable, Iterator, Mapping
from signal import Signals
from typing import NamedTuple

from rtot.jobs.job import SHOWN, Job, Usage
from rtot.jobs.output import Stream, UnreadableError
from rtot.jobs.stop import Stop
from rtot.jobs.tail import Tail, tail_start
from rtot.text import EACH_BYTE, decode, format_status, format_time, string, strings

ALWAYS = ("id", "state", "exit", "href")
DEFAULT_FIELDS: tuple[str, ...] = ("out", "err", "start", "complete", "create", "hint")


class View(NamedTuple):
    """How jobs are to be shown: with these fields, the times as numbers (`unix`) or as text, and
    of their outputs only the end (`tail`) or all that was kept.
    """

    fields: tuple[str, ...] = DEFAULT_FIELDS
    unix: bool = False
    tail: Tail | None = None


DEFAULT_VIEW = View()
UNREADABLE = "its output cannot be read any more"
_PIECE = 64 * 1024
# An Enum's `name` is Python code.
_STREAMS = ((Stream.OUT, "out"), (Stream.ERR, "err"))


def exit_text(job: Job) -> str:
    """The original's `exit`: empty for 0 and for a job that is not complete."""
    if not job.over:
        return ""
    if job.failure:
        return job.failure
    return format_status(job.status)


def dropped(job: Job) -> list[tuple[str, int]]:
    """The streams of which bytes were dropped, each by the name of its field, and how many."""
    lost = ((f"{s.name.lower()}_dropped", job.output.lost(s)) for s in Stream)
    return [(name, count) for name, count in lost if count]


def processes(found: Mapping[int, str]) -> str:
    """A JSON array of processes: pids and commands."""
    rows = (f'{{"pid":{pid},"command":{string(name)}}}' for pid, name in found.items())
    return f"[{','.join(rows)}]"


def receipt(stop: Stop | None, signal: Signals) -> str:
    """A JSON object: who got the signal, who was killed, and who is left."""
    found = (stop.signalled, stop.escalated, stop.surviving) if stop is not None else ({}, {}, {})
    signalled, escalated, surviving = map(processes, found)
    text = (
        f'{{"signal":"{signal.name}","signalled":{signalled}'
        f',"escalated":{escalated},"surviving":{surviving}'
    )
    if stop is not None and stop.launcher is not None:
        rows = (
            f'{{"signal":"{o.signal.name}","exit":{string(o.exit or "0")},"text":{string(o.text)}}}'
            for o in stop.outcomes
        )
        text += f',"stop":[{",".join(rows)}]'
    return f"{text}}}"


def _usage(usage: Usage | None) -> str:
    if usage is None:
        return "null"
    user, system = usage.user / 1e6, usage.system / 1e6
    return f'{{"user":{user:.6f},"system":{system:.6f},"peak":{usage.peak}}}'


def _seconds(value: float | None) -> str:
    return "null" if value is None else f"{value:.9g}"


def _code(job: Job) -> str:
    started = job.over and not job.failure and not job.status & 0x7F
    return str(job.status >> 8) if started else "null"


def _signal(job: Job) -> str:
    number = job.status & 0x7F if job.over and not job.failure else 0
    if not number:
        return "null"
    try:
        return string(Signals(number).name)
    except ValueError:
        return string(f"SIG{number}")


# Every field that can be asked for, but `out` and `err`, which are not small, `hint`, which is
# there only if there is one, and `seconds` and `filename`, for which the table is asked.
SMALL_FIELDS: dict[str, Callable[[Job], str]] = {
    "start": lambda job: string(format_time(job.start)),
    "complete": lambda job: string(format_time(job.complete)),
    "create": lambda job: string(format_time(job.create)),
    "code": _code,
    "signal": _signal,
    "reason": lambda job: string(job.reason.value) if job.over and job.reason else "null",
    "pid": lambda job: "null" if job.pid is None else str(job.pid),
    "by": lambda job: "null" if job.by is None else string(job.by),
    "label": lambda job: strings(job.options.labels),
    "arg": lambda job: strings(job.options.args),
    "cwd": lambda job: "null" if job.options.cwd is None else string(job.options.cwd),
    # The names alone: values may be secret.
    "env": lambda job: strings(tuple(name for name, _ in job.options.env)),
    "title": lambda job: string(job.title),
    "group": lambda job: "null" if job.options.group is None else string(job.options.group),
    "after": lambda job: strings(
        tuple(
            f"{each.job_id}:any" if each.anyhow else f"{each.job_id}" for each in job.options.after
        )
    ),
    "delay": lambda job: _seconds(job.options.delay),
    "waits_for": lambda job: f"[{','.join(map(str, job.waits_for))}]",
    "timeout": lambda job: _seconds(job.timeout),
    "launcher": lambda job: (
        "null" if job.options.launcher is None else string(job.options.launcher)
    ),
    "out_bytes": lambda job: str(job.output.out_size),
    "err_bytes": lambda job: str(job.output.err_size),
    "out_dropped": lambda job: str(job.output.dropped[0]),
    "err_dropped": lambda job: str(job.output.dropped[1]),
    "holders": lambda job: processes(job.holders),
    "receipt": lambda job: "null" if job.stop is None else receipt(job.stop, job.stop.signal),
    "usage": lambda job: _usage(job.usage),
}
ALL_FIELDS = (
    *DEFAULT_FIELDS,
    "seconds",
    *(f for f in SMALL_FIELDS if f not in DEFAULT_FIELDS),
    "filename",
)
_TIMES = frozenset({"start", "complete", "create"})


def unix_time(wall: int) -> str:
    """Nanoseconds since the epoch as a JSON number of seconds; null for not yet."""
    return f"{wall // 1_000_000_000}.{wall % 1_000_000_000:09d}" if wall else "null"


def _running_time(job: Job, wall: int) -> str:
    """Seconds from the start to the end, or until now; null for a job that was never started."""
    if not job.start:
        return "null"
    # A clock may have been set back meanwhile.
    return f"{max(0, (job.complete or wall) - job.start) / 1e9:.6f}"


def whole(job: Job, view: View, filename: str, wall: int) -> str | None:
    """The job as a JSON object; None where its output is too large to be told at once.

    `wall` is the time (ns since the epoch).

    The fields that are there ALWAYS need not be named. Raises UnreadableError.
    """
    spans = _spans(job, view)
    if spans and sum(end - start for start, end in spans.values()) > _PIECE:
        return None
    text = f'{{"id":{job.id}'
    for stream, (start, end) in spans.items():
        data = b"".join(_pieces(job, stream, start, end, view))
        text += f',"{stream.name.lower()}":{string(decode(data))}'
    return text + _rest(job, view, filename, wall)


def _spans(job: Job, view: View) -> dict[Stream, tuple[int, int]]:
    """Where what is to be shown of each output begins and ends; without those that are empty."""
    spans = {}
    for stream, name in _STREAMS:
        if name not in view.fields:
            continue
        if view.tail is None:
            start, end = 0, job.output.size(stream)
        else:
            start = tail_start(job.output, stream, view.tail)
            end = job.output.written(stream)
        if start < end:
            spans[stream] = start, end
    return spans


def render(job: Job, view: View, filename: str, wall: int) -> Iterator[bytes]:
    """The job as a JSON object, in pieces.

    It shows the job as it was when the first piece was requested. Raises UnreadableError if
    the output is gone, for example because the job was forgotten in the meantime. An object that
    was begun is ended before that, with an `error`.
    """
    text = whole(job, view, filename, wall)
    if text is not None:
        yield text.encode()
        return
    head = f'{{"id":{job.id}'
    spans = _spans(job, view)
    tail = _rest(job, view, filename, wall)
    for stream, (start, end) in spans.items():
        yield f'{head},"{stream.name.lower()}":"'.encode()
        head = ""
        try:
            yield from _escaped(_pieces(job, stream, start, end, view))
        except UnreadableError:
            yield f'","error":"{UNREADABLE}"{tail}'.encode()
            raise
        yield b'"'
    yield tail.encode()


def stand_in(job: Job, why: str) -> bytes:
    """What stands in a list in place of a job that cannot be shown."""
    state = SHOWN[job.state]
    return f'{{"id":{job.id},"state":"{state}","error":"{why}","href":"/jobs/{job.id}"}}'.encode()


def _rest(job: Job, view: View, filename: str, wall: int) -> str:
    """What comes after the output."""
    text = f',"state":"{SHOWN[job.state]}"'
    if exit := exit_text(job):
        text += f',"exit":{string(exit)}'
    if job.cut:
        # Whatever was asked for: it must not look whole.
        text += "".join(f',"{name}":{n}' for name, n in dropped(job) if name not in view.fields)
    for name in view.fields:
        if name in _TIMES and view.unix:
            text += f',"{name}":{unix_time(getattr(job, name))}'
        elif name in SMALL_FIELDS:
            text += f',"{name}":{SMALL_FIELDS[name](job)}'
        elif name == "hint" and job.hint:
            text += f',"hint":{string(job.hint)}'
        elif name == "seconds":
            text += f',"seconds":{_running_time(job, wall)}'
        elif name == "filename":
            text += f',"filename":{string(filename)}'
    return f'{text},"href":"/jobs/{job.id}"}}'


def _pieces(job: Job, stream: Stream, at: int, end: int, view: View) -> Iterator[bytes]:
    """The stream from `at` to `end`, part of which may be in memory and part in a file."""
    while at < end:
        most = min(_PIECE, end - at)
        if view.tail is None:
            data = job.output.read(stream, at, most)
            at += len(data)
        else:
            data, at = job.output.read_written(stream, at, most)
        yield data


def _escaped(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The inside of a JSON string."""
    decoder = codecs.getincrementaldecoder("utf-8")(EACH_BYTE)
    for data in pieces:
        yield string(decoder.decode(data))[1:-1].encode()
    yield string(decoder.decode(b"", final=True))[1:-1].encode()
