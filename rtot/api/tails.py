"""The end of an output as a body: from there to its end, or for as long as it grows."""

from rtot.api.streams import EXIT, end_of, nothing_yet
from rtot.http.messages import BROKEN, THE_END, End
from rtot.jobs.job import Job
from rtot.jobs.output import Stream, UnreadableError
from rtot.jobs.table import JobTable
from rtot.jobs.tail import Tail, tail_start


class TailBody:
    """One stream of a job as it was written, from a tail on. Lines of rtot's own tell of gaps."""

    __slots__ = ("_at", "_end", "_fail", "_job", "_jobs", "_stream", "length", "topic", "trailers")

    def __init__(
        self,
        jobs: JobTable,
        job: Job,
        stream: Stream,
        tail: Tail,
        *,
        follow: bool,
        fail: bool,
    ) -> None:
        """`fail`: a job that failed or was cut breaks the body off, if it is followed."""
        self._jobs = jobs
        self._job = job
        self._stream = stream
        self._at = tail_start(job.output, stream, tail)
        self._end = None if follow else job.output.written(stream)
        self._fail = fail
        self.length: int | None = None
        self.trailers = EXIT if follow else ""
        self.topic: int | None = job.id if follow else None

    def pull(self, limit: int) -> bytes | End | None:
        job = self._job
        if self._jobs.get(job.id) is not job:
            return BROKEN
        end = job.output.written(self._stream) if self._end is None else self._end
        if self._at < end:
            try:
                data, self._at = job.output.read_written(
                    self._stream, self._at, min(limit, end - self._at)
                )
            except UnreadableError:
                return BROKEN
            return data
        if self._end is not None:
            return THE_END
        if not job.over:
            return nothing_yet(self._jobs, job)
        # Where bytes were dropped, a line within the body has told how many.
        return end_of(job, (), fail=self._fail)
