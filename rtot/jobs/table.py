"""The job table: every job, the queue, every deadline, and what should happen next.

It decides and does nothing. What the world did comes in as facts (`started`, `output`,
`exited`), what people want as calls (`submit`, `forget`, `kill`), and what the world should
do goes out as commands that are data (`Signal`, `Survey`, …). Time is an argument. A fact
about a job that nobody knows any more is no error: the world is slower than a DELETE.
"""

from collections.abc import Iterable, Mapping
from signal import Signals

from rtot.clock import Now
from rtot.config import Settings
from rtot.deadlines import Deadlines
from rtot.jobs.archive import Archive, JobsById, Page, merge
from rtot.jobs.commands import CloseOutputs, CloseStdin, Command, FindHolders, Report, WriteStdin
from rtot.jobs.endings import Endings
from rtot.jobs.job import (
    OVER,
    PLAIN,
    TRANSITIONS,
    UNSTARTED,
    Event,
    IllegalTransitionError,
    Job,
    Options,
    Reason,
    Running,
    State,
    Usage,
)
from rtot.jobs.output import Output, Stream
from rtot.jobs.queue import Queue
from rtot.jobs.retention import Retention
from rtot.jobs.selection import Selection
from rtot.jobs.stdin import Stdin, StdinClosedError
from rtot.jobs.stop import Scope, Signal, Stop, Survey
from rtot.storage import Storage


class QueueFullError(Exception):
    """The job was not accepted: too many are waiting."""


class ClosingError(Exception):
    """The job was not accepted: the server is ending."""


class KeyConflictError(Exception):
    """The idempotency key belongs to another request."""


class JobTable:
    """All jobs of one server.

    The owner's duty, each turn: report facts, call `expire` when `next_deadline` has come,
    have `take_job` choose the job to be started, carry out `take_commands` and report their
    outcomes, wake those who wait for one of `take_changes`, and start the job that was chosen.
    """

    def __init__(self, settings: Settings, storage: Storage, archive: Archive) -> None:
        self._settings = settings
        self._storage = storage
        self._archive = archive
        # Those to whom something can still happen: known to the world, and forgotten.
        self._alive = JobsById()
        self._forgotten: dict[int, Job] = {}
        self._queue = Queue(settings.max_starting)
        self._queued = 0
        self._busy = 0
        self._next_id = 0
        self._keys: dict[str, Job] = {}
        self._retention = Retention(settings, archive)
        self._commands: list[Command] = []
        self._changes: set[int] = set()
        self._deadlines: Deadlines[int] = Deadlines()
        self._endings = Endings()
        self._disk_full = False
        self._closing = False

    def __len__(self) -> int:
        return len(self._alive) + len(self._archive)

    def get(self, job_id: int) -> Job | None:
        """The job of that id, or None for one never made or forgotten."""
        return self._alive.get(job_id) or self._archive.get(job_id)

    def page(self, selection: Selection, first: int, limit: int, look: int) -> Page:
        """At most `limit` of the jobs that are meant, with an id of at least `first`.

        Not many more than `look` jobs are looked at, so that a page may be short and not the
        last.
        """
        alive = self._alive.page(selection, first, limit, look)
        if selection.state in ("new", "running"):
            return alive
        return merge(alive, self._archive.page(selection, first, limit, look), limit)

    def unfinished(self) -> list[Job]:
        """The jobs that are not complete, in order of id."""
        return [job for job in self._alive.all() if not job.over]

    @property
    def last_id(self) -> int:
        """The newest id ever given, -1 before the first."""
        return self._next_id - 1

    def submit(
        self,
        script: bytes,
        now: Now,
        options: Options = PLAIN,
        *,
        key: str | None = None,
        fingerprint: int = 0,
    ) -> Job:
        """Accept a job. `script` is exec'd as it is.

        Raises QueueFullError, ClosingError or StorageError, having kept nothing.
        """
        if self._closing:
            raise ClosingError
        free = max(0, self._settings.max_running - self._busy)
        if self._queued >= self._settings.max_queued + free:
            raise QueueFullError
        job_id = self._next_id
        self._storage.store_script(job_id, script)
        self._next_id += 1
        output = Output(
            self._storage,
            str(job_id),
            limit=self._settings.max_output,
            memory=self._settings.max_memory,
        )
        job = Job(job_id, options, output, now.wall)
        self._alive.add(job)
        self._queue.add(job)
        self._queued += 1
        if key is not None:
            job.key = key
            job.fingerprint = fingerprint
            self._keys[key] = job
        return job

    def script_path(self, job: Job) -> str:
        """Where the job's script is until the job is complete."""
        return self._storage.script_path(job.id)

    def replayed(self, key: str, fingerprint: int) -> Job | None:
        """The job that was submitted under that key, None where there is none.

        Raises KeyConflictError where it was submitted by another request.
        """
        job = self._keys.get(key) or self._archive.by_key(key)
        if job is not None and job.fingerprint != fingerprint:
            raise KeyConflictError
        return job

    def forget(self, job: Job, now: Now, *, tree: bool = True) -> None:
        """Kill what is left of the job and know it no more."""
        self._changes.add(job.id)
        if job.state is State.COMPLETE:
            self._archive.remove(job)
            return
        self._leave(job)
        self._forgotten[job.id] = job
        if job.state in UNSTARTED:
            self._transition(job, Event.CANCELLED, now)
        else:
            scope = Scope.TREE if tree else Scope.GROUP
            self._stop(job, Signals.SIGTERM, self._settings.grace, scope, now)

    def forget_all(self, jobs: Iterable[Job], now: Now) -> None:
        """Forget many."""
        for job in jobs:
            self.forget(job, now)

    def kill(
        self, job: Job, now: Now, signal: Signals, grace: float | None, *, tree: bool = True
    ) -> Stop | None:
        """End a job that is not complete and keep its entry.

        Returns the stop, which is over when the receipt is complete; None for a job that
        had not started, which is then complete at once. With a `grace` of None the signal
        is only delivered.
        """
        if grace is not None:
            job.reason = job.reason or Reason.KILLED
        if job.state in UNSTARTED:
            if grace is not None:
                self._transition(job, Event.CANCELLED, now)
            return None
        return self._stop(job, signal, grace, Scope.TREE if tree else Scope.GROUP, now)

    def set_timeout(self, job: Job, timeout: float | None, now: Now) -> None:
        """Let the job end `timeout` seconds after its start; at once if that is past."""
        job.timeout = timeout
        if job.running is not None and job.state not in OVER:
            job.running.timeout_at = None if timeout is None else job.running.started + timeout
            self._arm(job)

    def stdin_room(self, job: Job) -> int:
        """How many bytes `write_stdin` takes now. Raises StdinClosedError."""
        return _stdin(job).room

    def write_stdin(self, job: Job, data: bytes | memoryview) -> None:
        """Send `data` to the job's stdin. Raises StdinClosedError."""
        stdin = _stdin(job)
        idle = not stdin.pending
        stdin.write(data)
        if idle:
            self._commands.append(WriteStdin(job.id))

    def stdin_pending(self, job_id: int) -> bytearray:
        """What is to be written to the job's stdin. To be read, not changed."""
        job = self._find(job_id)
        stdin = job.running.stdin if job is not None and job.running is not None else None
        return stdin.pending if stdin is not None else bytearray()

    def end_stdin(self, job: Job) -> None:
        """Close the job's stdin once what was sent is written. Raises StdinClosedError."""
        stdin = _stdin(job)
        stdin.end()
        if stdin.closed:
            self._close_stdin(job)

    def shut_down(self, now: Now) -> None:
        """Accept nothing more, start nothing more, and end all jobs."""
        if self._closing:
            return
        self._closing = True
        for job in self._alive.all():
            if job.state in UNSTARTED:
                job.reason = Reason.KILLED
                self._transition(job, Event.CANCELLED, now)
            else:
                # Another stop may be under way: one that only delivers a signal, or one with
                # more grace than the server has left.
                job.reason = job.reason or Reason.KILLED
                self._stop(job, Signals.SIGTERM, self._settings.grace, Scope.TREE, now)

    def cancel_grace(self, now: Now) -> None:
        """No more grace for anybody that is being ended."""
        for stop in self._endings.all():
            self._follow(stop, stop.cancel_grace(now.monotonic))

    @property
    def closing(self) -> bool:
        """Whether `shut_down` was called."""
        return self._closing

    @property
    def ended(self) -> bool:
        """Whether, after `shut_down`, nothing is left to wait for."""
        return self._closing and not self._queued and not self._busy and not self._endings

    def started(self, job: Job, pid: int, now: Now) -> None:
        """The job's process runs."""
        job.pid = pid
        job.start = now.wall
        job.running = Running(now.monotonic, Stdin() if job.options.stdin_open else None)
        if job.timeout is not None:
            job.running.timeout_at = now.monotonic + job.timeout
        self._queue.started(job, now.monotonic)
        self._transition(job, Event.STARTED, now)
        self._arm(job)

    def not_started(self, job: Job, failure: str, now: Now) -> None:
        """The job's process cannot be started, now or later."""
        job.start = now.wall
        job.failure = failure
        self._transition(job, Event.REFUSED, now)

    def deferred(self, job: Job, failure: str, now: Now) -> None:
        """The job's process could not be started for want of something that may come back."""
        if self._queue.put_back(job, now.monotonic):
            self._commands.append(Report(f"cannot start jobs for now: {failure}"))
        self._transition(job, Event.DEFERRED, now)

    def output_received(self, job_id: int, stream: Stream, data: bytes, now: Now) -> None:
        """The job wrote `data`."""
        job = self._alive.get(job_id)
        if job is None:
            return
        kept = job.output.append(stream, data, now.wall)
        if kept == len(data):
            self._disk_full = False
        elif not job.output.full and not self._disk_full:
            self._disk_full = True
            self._commands.append(Report("cannot store output: it is dropped until there is room"))
        self._changes.add(job_id)

    def output_closed(self, job_id: int, stream: Stream, now: Now) -> None:
        """The stream is at its end: nobody has it open for writing any more."""
        job = self._find(job_id)
        if job is None or job.running is None:
            return
        job.running.open.discard(stream)
        self._changes.add(job_id)
        if not job.running.open:
            self._transition(job, Event.OUTPUTS_CLOSED, now)

    def exited(self, job_id: int, status: int, usage: Usage, now: Now) -> None:
        """The job's leader is gone, with that wait status."""
        job = self._find(job_id)
        if job is None or job.running is None:
            return
        job.status = status
        job.usage = usage
        if job.running.stdin is not None and not job.running.stdin.closed:
            job.running.stdin.close()
            self._close_stdin(job)
        self._queue.ended(job_id)
        job.running.timeout_at = None
        job.running.drain_at = now.monotonic + self._settings.drain
        self._transition(job, Event.EXITED, now)
        if job.running is not None:
            self._arm(job)

    def holders_found(self, job_id: int, holders: Mapping[int, str]) -> None:
        """These processes, by pid and command, hold the job's outputs."""
        job = self._alive.get(job_id)
        if job is not None and job.state is State.HELD:
            job.holders = holders
            self._changes.add(job_id)

    def stdin_written(self, job_id: int, count: int) -> None:
        """The pipe took the first `count` of the pending bytes."""
        job = self._find(job_id)
        if job is None or job.running is None or job.running.stdin is None:
            return
        stdin = job.running.stdin
        if stdin.closed:
            return
        stdin.written(count)
        self._changes.add(job_id)
        if stdin.closed:
            self._close_stdin(job)

    def stdin_broken(self, job_id: int) -> None:
        """The job closed its stdin."""
        job = self._find(job_id)
        stdin = job.running.stdin if job is not None and job.running is not None else None
        if job is not None and stdin is not None and not stdin.closed:
            stdin.close()
            self._close_stdin(job)

    def signalled(self, stop: Stop, found: dict[int, str], signal: Signals) -> None:
        """A Signal was carried out."""
        stop.delivered(found, signal)

    def surveyed(self, stop: Stop, found: dict[int, str], now: Now) -> None:
        """A Survey was carried out."""
        self._follow(stop, stop.surveyed(found, now.monotonic))

    def expire(self, now: Now) -> None:
        """Do what is due."""
        for job_id in self._deadlines.due(now.monotonic):
            job = self._find(job_id)
            # Whoever finishes a job clears its deadline.
            assert job is not None
            assert job.running is not None
            run = job.running
            if run.timeout_at is not None and run.timeout_at <= now.monotonic:
                run.timeout_at = None
                job.reason = job.reason or Reason.TIMEOUT
                self._stop(job, Signals.SIGTERM, self._settings.grace, Scope.TREE, now)
            if run.drain_at is not None and run.drain_at <= now.monotonic:
                run.drain_at = None
                self._transition(job, Event.DRAIN_EXPIRED, now)
            self._arm(job)
        for stop in self._endings.due(now.monotonic):
            self._follow(stop, stop.expire(now.monotonic))
        self._retire(now)

    def next_deadline(self) -> float | None:
        """When there will next be something to do in a turn (monotonic)."""
        if self._commands or self._changes:
            return 0.0
        times = [
            self._deadlines.next(),
            self._endings.next_deadline(),
            self._retention.next_deadline(),
        ]
        if self._queued and self._busy < self._settings.max_running:
            times.append(self._queue.next_time())
        return min((t for t in times if t is not None), default=None)

    def take_commands(self) -> list[Command]:
        """What is to be done, in this order."""
        commands, self._commands = self._commands, []
        return commands

    def take_job(self, now: Now) -> Job | None:
        """Choose the job that is to be started in this turn, if there is one.

        The outcome is `started`, `not_started` or `deferred`; none for a job that has been
        ended before it came to that and is not STARTING any more.
        """
        if self._busy >= self._settings.max_running:
            return None
        job = self._queue.take(now.monotonic)
        if job is not None:
            self._transition(job, Event.DISPATCHED, now)
        return job

    def take_changes(self) -> set[int]:
        """The jobs that have changed since the last call."""
        changes, self._changes = self._changes, set()
        return changes

    def _find(self, job_id: int) -> Job | None:
        return self._alive.get(job_id) or self._forgotten.get(job_id)

    def _transition(self, job: Job, event: Event, now: Now) -> None:
        before = job.state
        after = TRANSITIONS[before].get(event)
        if after is None:
            raise IllegalTransitionError(f"{event.name} of job {job.id} that is {before.name}")
        job.state = after
        self._changes.add(job.id)
        self._queued += (after in _QUEUED) - (before in _QUEUED)
        self._busy += (after in _BUSY) - (before in _BUSY)
        if after not in OVER:
            return
        if before not in OVER:
            self._complete(job, now)
        if after is State.COMPLETE:
            self._finish(job, now)
        else:
            held = job.id in self._forgotten
            self._commands.append(CloseOutputs(job.id) if held else FindHolders(job.id))

    def _complete(self, job: Job, now: Now) -> None:
        """The world is told that the job is complete."""
        job.complete = now.wall
        self._storage.remove_script(job.id)
        if job.reason is None:
            if job.failure:
                job.reason = Reason.NOT_STARTED
            else:
                job.reason = Reason.SIGNALED if job.status & 0x7F else Reason.EXITED
        elif not job.start:
            job.failure = "killed before it was started"

    def _finish(self, job: Job, now: Now) -> None:
        """Nothing more can happen to the job."""
        job.running = None
        job.output.seal()
        self._deadlines.clear(job.id)
        if self._forgotten.pop(job.id, None) is not None:
            job.output.remove()
        else:
            self._leave(job)
            self._archive.add(job, now.monotonic)
            self._retire(now)

    def _leave(self, job: Job) -> None:
        """The job is not among those that are alive any more."""
        self._alive.remove(job.id)
        if job.key is not None:
            del self._keys[job.key]

    def _retire(self, now: Now) -> None:
        while (job_id := self._retention.overdue(now.monotonic)) is not None:
            job = self._archive.get(job_id)
            assert job is not None
            self.forget(job, now)

    def _arm(self, job: Job) -> None:
        run = job.running
        times = [t for t in (run.timeout_at, run.drain_at) if t is not None] if run else []
        if times:
            self._deadlines.set(job.id, min(times))
        else:
            self._deadlines.clear(job.id)

    def _stop(self, job: Job, signal: Signals, grace: float | None, scope: Scope, now: Now) -> Stop:
        assert job.pid is not None
        stop = Stop(job.id, job.pid, signal, grace, scope, now.monotonic)
        self._follow(stop, stop.begin())
        return stop

    def _follow(self, stop: Stop, commands: list[Signal | Survey]) -> None:
        """Have the stop's commands carried out, and look at it again when it says."""
        self._commands += commands
        self._endings.track(stop)
        if stop.over:
            self._changes.add(stop.job_id)
            job = self._forgotten.get(stop.job_id)
            if job is not None and job.state is State.HELD:
                self._commands.append(CloseOutputs(job.id))

    def _close_stdin(self, job: Job) -> None:
        self._commands.append(CloseStdin(job.id))
        self._changes.add(job.id)


_QUEUED = frozenset({State.NEW})
_BUSY = frozenset(State) - _QUEUED - OVER


def _stdin(job: Job) -> Stdin:
    stdin = job.running.stdin if job.running is not None else None
    if stdin is None:
        raise StdinClosedError
    return stdin
