"""Response bodies that are pulled out of jobs: JSON lists, raw output, events.

A body stores its read position and no data. If a job is forgotten while a body reads from it,
the body ends as broken, so that partial output does not look complete.
"""

from collections.abc import Iterable, Iterator
from enum import IntFlag

from rtot.api.job_json import SMALL_FIELDS, dropped, exit_text, unix_time
from rtot.http.messages import BROKEN, THE_END, End, Headers
from rtot.jobs.job import Job
from rtot.jobs.output import Output, Stream, UnreadableError
from rtot.jobs.table import JobTable
from rtot.jobs.tail import Tail, tail_start
from rtot.storage import FileSpan
from rtot.text import format_time, is_number, string

EXIT = "Rtot-Exit"
DROPPED = "Rtot-Dropped"
HINT = "Rtot-Hint"
_TRAILERS = f"{EXIT}, {DROPPED}"
# Below this a copy is cheaper than a system call of its own.
_SENDFILE = 32 * 1024
_LARGEST_SPAN = 1024 * 1024
_EVENT_BYTES = 64 * 1024
_LONGEST_VALUE = 2048
# Bytes with which no character begins (RFC 3629).
_CONTINUATIONS = bytes(range(0x80, 0xC0))


def exit_field(job: Job) -> str:
    """The value of Rtot-Exit for a complete job: `0`, or its exit string."""
    return _printable(exit_text(job) or "0")


def hint_header(job: Job) -> Headers:
    """Rtot-Hint if there is a hint."""
    return ((HINT, _printable(job.hint)),) if job.hint else ()


def _printable(text: str) -> str:
    """What a field's value can be (RFC 9110, 5.5)."""
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in text[:_LONGEST_VALUE])


def dropped_header(job: Job, streams: Iterable[Stream]) -> Headers:
    """Rtot-Dropped if some bytes of these streams were dropped: how many."""
    lost = sum(map(job.output.lost, streams))
    return ((DROPPED, str(lost)),) if lost else ()


def end_of(job: Job, streams: Iterable[Stream], *, fail: bool) -> End:
    """The end of a body that told of a complete job, with what was dropped of these streams.

    `fail`: a job that failed or was cut breaks the body off.
    """
    return End(
        trailers=((EXIT, exit_field(job)), *dropped_header(job, streams)),
        broken=fail and not job.succeeded,
    )


def nothing_yet(jobs: JobTable, job: Job) -> End | None:
    """What follows the output of a job that is not complete: more, some time, or a break."""
    return BROKEN if jobs.leaves(job) else None


class JsonBody:
    """A body of pieces, as an iterator makes them. Empty pieces are pauses."""

    __slots__ = ("_pieces", "length", "topic", "trailers")

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self.length: int | None = None
        self.trailers = ""
        self.topic: int | None = None

    def pull(self, limit: int) -> bytes | End:
        pulled = []
        size = 0
        try:
            for piece in self._pieces:
                pulled.append(piece)
                size += len(piece)
                if not piece or size >= limit:
                    return b"".join(pulled)
        except UnreadableError:
            return BROKEN
        return b"".join(pulled) if size else THE_END


class OutputBody:
    """One stream of a job from an offset on: up to an end, or for as long as it grows."""

    __slots__ = (
        "_end",
        "_fail",
        "_job",
        "_jobs",
        "_offset",
        "_stream",
        "length",
        "topic",
        "trailers",
    )

    def __init__(
        self,
        jobs: JobTable,
        job: Job,
        stream: Stream,
        offset: int,
        end: int | None,
        *,
        fail: bool = False,
    ) -> None:
        """With an `end` of None the body follows the stream until the job is complete.

        `fail`: a job that failed or was cut breaks the body off.
        """
        self._jobs = jobs
        self._job = job
        self._stream = stream
        self._offset = offset
        self._end = end
        self._fail = fail
        self.length = None if end is None else end - offset
        self.trailers = _TRAILERS if end is None else ""
        self.topic = job.id if end is None else None

    def pull(self, limit: int) -> bytes | FileSpan | End | None:
        if self._jobs.get(self._job.id) is not self._job:
            return BROKEN
        output = self._job.output
        end = output.size(self._stream) if self._end is None else self._end
        rest = end - self._offset
        if rest <= 0:
            if self._end is not None:
                return THE_END
            if not self._job.over:
                return nothing_yet(self._jobs, self._job)
            return end_of(self._job, (self._stream,), fail=self._fail)
        stored = output.stored(self._stream, self._offset)
        if stored is not None and min(stored[1], rest) >= _SENDFILE:
            span = FileSpan(stored[0], self._offset, min(stored[1], rest, _LARGEST_SPAN))
            self._offset += span.length
            return span
        try:
            data = output.read(self._stream, self._offset, min(limit, rest))
        except UnreadableError:
            return BROKEN
        self._offset += len(data)
        return data


class Told(IntFlag):
    """The events of a job besides its output that were told; each is told once."""

    NEW = 1
    RUNNING = 2
    HINT = 4
    DROPPED = 8
    """The first time that something was dropped. How much it is in the end, COMPLETE tells."""
    COMPLETE = 16


class Position:
    """How much of a job's history was sent: which of those events, and bytes of both streams.

    Its text is an event's id. It counts bytes and not events, so that it stays valid however
    the bytes are split into events.
    """

    __slots__ = ("err", "out", "told")

    def __init__(self, told: int = 0, out: int = 0, err: int = 0) -> None:
        self.told = told
        self.out = out
        self.err = err

    @classmethod
    def parse(cls, text: str) -> "Position":
        """The position of that id; ValueError for a text that is no id."""
        parts = text.split(".")
        if len(parts) != 3 or not all(map(is_number, parts)):
            raise ValueError(f"{text!r} is not the id of an event")
        position = cls(*map(int, parts))
        if position.told >= 2 * Told.COMPLETE:
            raise ValueError(f"{text!r} is not the id of an event")
        return position

    @classmethod
    def of_tail(cls, job: Job, tail: Tail) -> "Position":
        """Behind what is before the tail of each stream, as far as it was kept."""
        out, err = (_tail_offset(job.output, stream, tail) for stream in Stream)
        return cls(Told.NEW | Told.RUNNING if job.start else 0, out, err)

    def __str__(self) -> str:
        return f"{int(self.told)}.{self.out}.{self.err}"


def _tail_offset(output: Output, stream: Stream, tail: Tail) -> int:
    """Where the tail begins in the stream as it was kept."""
    start = tail_start(output, stream, tail)
    dropped = output.first_dropped(stream)
    if dropped is not None and start > dropped:
        # What was kept after that byte is as old as its distance from the end tells.
        start = max(dropped, output.size(stream) - (output.written(stream) - start))
    if tail.size is not None:
        # Not in the midst of a character.
        rest = output.read(stream, start, 3)
        start += len(rest) - len(rest.lstrip(_CONTINUATIONS))
    return start


class EventsBody:
    """A job's story: state changes and both streams in order of arrival."""

    __slots__ = (
        "_fail",
        "_follow",
        "_idle",
        "_index",
        "_job",
        "_jobs",
        "_position",
        "_sse",
        "_unix",
        "length",
        "topic",
        "trailers",
    )

    def __init__(
        self,
        jobs: JobTable,
        job: Job,
        position: Position,
        *,
        follow: bool,
        fail: bool,
        sse: bool,
        unix: bool,
    ) -> None:
        """From `position` on, as Server-Sent Events (`sse`) or as lines of JSON.

        `fail`: a job that failed or was cut breaks the body off at its end. `unix`: times are
        numbers.
        """
        self._jobs = jobs
        self._job = job
        self._position = position
        self._follow = follow
        self._fail = fail
        self._sse = sse
        self._unix = unix
        self._idle = b""
        self._index = _first_untold(job, position)
        self.length: int | None = None
        self.trailers = _TRAILERS
        self.topic: int | None = job.id if follow else None

    def pull(self, limit: int) -> bytes | End | None:
        if self._jobs.get(self._job.id) is not self._job:
            return BROKEN
        pulled = []
        size = 0
        if self._idle:
            pulled.append(self._idle)
            self._idle = b""
        try:
            while size < limit and (event := self._next()):
                pulled.append(event)
                size += len(event)
        except UnreadableError:
            return BROKEN
        if pulled:
            return b"".join(pulled)
        if self._position.told & Told.COMPLETE:
            return end_of(self._job, Stream, fail=self._fail)
        return nothing_yet(self._jobs, self._job) if self._follow else THE_END

    def rest(self, wall: int) -> None:
        """Nothing was sent for long: say so next, lest a proxy takes the connection for dead."""
        time = unix_time(wall) if self._unix else string(format_time(wall))
        self._idle = b":\n\n" if self._sse else f'{{"event":"idle","time":{time}}}\n'.encode()

    def _next(self) -> bytes:
        """The next event; empty for none yet."""
        job, position = self._job, self._position
        if not position.told & Told.NEW:
            position.told |= Told.NEW
            return self._event("new", job.create, "")
        if not position.told & Told.RUNNING:
            if not job.start and not job.over:
                return b""
            position.told |= Told.RUNNING
            if job.start:
                return self._event("running", job.start, "")
        if job.hint and not position.told & Told.HINT:
            position.told |= Told.HINT
            return self._event("hint", job.complete or job.create, f',"text":{string(job.hint)}')
        while self._index < job.output.arrivals():
            arrival = job.output.arrival(self._index)
            for stream, end in ((Stream.OUT, arrival.out_end), (Stream.ERR, arrival.err_end)):
                if event := self._tell(stream, end, arrival.wall, final=False):
                    return event
            if self._index == job.output.arrivals() - 1:
                # The newest record may still grow.
                break
            self._index += 1
        if job.cut and not position.told & Told.DROPPED:
            position.told |= Told.DROPPED
            return self._event("dropped", job.output.cut_at, _dropped_pairs(job))
        if not job.over:
            return b""
        for stream in Stream:
            # The rest of a character has not come: send what was held back.
            if event := self._tell(stream, job.output.size(stream), job.complete, final=True):
                return event
        if position.told & Told.COMPLETE:
            return b""
        position.told |= Told.COMPLETE
        more = f',"exit":{string(exit_field(job))}'
        for name in ("code", "signal", "reason"):
            more += f',"{name}":{SMALL_FIELDS[name](job)}'
        return self._event("complete", job.complete, more + _dropped_pairs(job))

    def _tell(self, stream: Stream, end: int, wall: int, *, final: bool) -> bytes:
        """An event of the stream's bytes up to `end` at most; empty if there is none."""
        position = self._position
        offset = position.out if stream is Stream.OUT else position.err
        if offset >= end:
            return b""
        data = self._job.output.read(stream, offset, min(_EVENT_BYTES, end - offset))
        if not final or offset + len(data) < end:
            data = data[: _whole_characters(data)]
        if not data:
            # Only part of a character.
            return b""
        if stream is Stream.OUT:
            position.out += len(data)
        else:
            position.err += len(data)
        try:
            content = f'"text":{string(data.decode())}'
        except UnicodeDecodeError:
            import binascii

            content = f'"base64":"{binascii.b2a_base64(data, newline=False).decode()}"'
        return self._event(stream.name.lower(), wall, f',"offset":{offset},{content}')

    def _event(self, name: str, wall: int, more: str) -> bytes:
        time = unix_time(wall) if self._unix else string(format_time(wall))
        if self._sse:
            data = f'{{"time":{time}{more}}}'
            return f"id: {self._position}\nevent: {name}\ndata: {data}\n\n".encode()
        identity = f'"id":"{self._position}","event":"{name}"'
        return f'{{{identity},"time":{time}{more}}}\n'.encode()


def _dropped_pairs(job: Job) -> str:
    return "".join(f',"{name}":{count}' for name, count in dropped(job))


def _first_untold(job: Job, position: Position) -> int:
    """The first record of arrival that has bytes beyond the position."""
    low, high = 0, job.output.arrivals()
    while low < high:
        middle = (low + high) // 2
        arrival = job.output.arrival(middle)
        if arrival.out_end > position.out or arrival.err_end > position.err:
            high = middle
        else:
            low = middle + 1
    return low


def _whole_characters(data: bytes) -> int:
    """How many bytes of `data` there are before a character that is cut off at its end."""
    for back in range(1, min(3, len(data)) + 1):
        byte = data[-back]
        if byte & 0xC0 == 0x80:
            continue
        if 0xC0 <= byte <= 0xF4:
            needed = 2 + (byte >= 0xE0) + (byte >= 0xF0)
            return len(data) - back if needed > back else len(data)
        break
    return len(data)
