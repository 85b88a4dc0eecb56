"""The job table: every job, the queue, every deadline, and what should happen next.

It makes decisions and does not carry them out. Events are reported to it (`started`,
`output_received`, `exited`), requests are calls (`submit`, `forget`, `kill`), and what should be
done is returned as commands, which are data (`Signal`, `Survey`, …). The time is an argument. An
event of a job that was forgotten is not an error: it may arrive after a DELETE.
"""

from collections.abc import Container, Iterable, Mapping
from signal import Signals

from rtot.clock import Now
from rtot.config import Settings
from rtot.jobs import hints
from rtot.jobs.archive import Archive, Recovered, Store
from rtot.jobs.blocked import BlockedJobs, prerequisites
from rtot.jobs.changes import ANY_JOB
from rtot.jobs.commands import CloseOutputs, Command, FindHolders, Outbox, Report, ReportBug
from rtot.jobs.endings import Endings
from rtot.jobs.examinations import Examinations
from rtot.jobs.job import (
    OVER,
    PLAIN,
    SHOWN,
    TRANSITIONS,
    UNSTARTED,
    Event,
    IllegalTransitionError,
    Job,
    Key,
    Options,
    Reason,
    Running,
    State,
    Usage,
    reason_of_exit,
)
from rtot.jobs.journal import Journal
from rtot.jobs.leases import Leases
from rtot.jobs.output import Output, Stream
from rtot.jobs.queue import Queue, QueueFullError
from rtot.jobs.retention import Retention
from rtot.jobs.roster import Roster
from rtot.jobs.script import title_of
from rtot.jobs.stdin import Inputs
from rtot.jobs.stop import Cause, RunStopCommand, Stop, Why
from rtot.jobs.timers import Due, Timers
from rtot.jobs.unkept import Refused, Unkept
from rtot.storage import Storage, StorageError


class ClosingError(Exception):
    """The job was not accepted: the server is ending."""


_UNSTARTED_KILLED = "killed before it was started"


class JobTable:
    """All jobs of one server.

    The owner's duty, each turn: report facts, call `expire` when `next_deadline` has come,
    have `take_job` choose the job to be started, carry out `take_commands` and report their
    outcomes, wake those who wait for one of `take_changes`, call `retire` when they have their
    answers, and start the job that was chosen.
    """

    def __init__(
        self,
        settings: Settings,
        storage: Storage,
        archive: Archive,
        first_change: int = 0,
        store: Store | None = None,
    ) -> None:
        """`store`: the archive, if jobs outlive the server. Then call `restore` first."""
        self._settings = settings
        self._store = store
        self._unkept = Unkept(store)
        # Jobs whose place is taken by the job of that id, if that can be kept.
        self._to_supersede: list[tuple[list[Job], int]] = []
        # The job that was chosen in this turn.
        self._chosen: Job | None = None
        # Restored jobs whose scripts have no file yet.
        self._fileless: set[int] = set()
        self._storage = storage
        self.roster = Roster(archive, first_change)
        self.changes = self.roster.changes
        """The numbers of changes."""
        self.queue = Queue(settings)
        """The order of those that wait."""
        self._blocked = BlockedJobs()
        self._next_id = 0
        self._retention = Retention(settings, archive)
        self._outbox = Outbox()
        self._endings = Endings(settings, self._outbox)
        self.journal = Journal()
        """What the log is to tell, and counts."""
        self._timers = Timers()
        self.inputs = Inputs(self._outbox)
        """The stdins of running jobs."""
        self.examinations = Examinations(self._outbox)
        self.leases = Leases()
        # The time of the turn (ns since the epoch).
        self.wall = 0
        self._disk_full = False
        self._closing = False

    def __len__(self) -> int:
        return len(self.roster)

    def get(self, job_id: int) -> Job | None:
        """The job of that id, or None for one never made or forgotten."""
        return self.roster.get(job_id)

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
        by: str | None = None,
        key: Key | None = None,
        fingerprint: bytes = b"",
        hint: str = "",
    ) -> Job:
        """Accept a job of that name's. `script` is exec'd as it is.

        It may be complete at once, if it is to come after a job that has failed.

        Raises QueueFullError, ClosingError, UnknownJobError or StorageError, having kept and
        cancelled nothing.
        """
        if self._closing:
            raise ClosingError
        self._unkept.check()
        blocked, failed = prerequisites(options, self.get, now.monotonic)
        superseded = []
        if failed is None:
            # One that can never run takes no place, and nobody's.
            superseded = self._superseded(options)
            has_room = self.queue.has_room(options.group, blocked=blocked is not None)
            if not has_room and not superseded:
                raise QueueFullError
        job_id = self._next_id
        self._storage.store_script(job_id, script)
        self._next_id += 1
        output = self._new_output(job_id)
        job = Job(job_id, options, output, now.wall, hint, title_of(script), by, blocked)
        self.roster.add(job, key, fingerprint)
        self._unkept.accepted(job, script)
        self._outbox.changed(ANY_JOB)
        self.queue.add(job)
        self.journal.accepted(job)
        if blocked is not None:
            self._blocked.add(job)
        if self._store is None:
            self._supersede(superseded, job_id, now)
        elif superseded:
            # When it is sure that this one is accepted.
            self._to_supersede.append((superseded, job_id))
        if failed is not None:
            self._rule_out(job, failed, now)
        return job

    def _new_output(self, job_id: int) -> Output:
        limit, memory, end = self._settings.output_limits
        return Output(self._storage, str(job_id), limit=limit, memory=memory, keep_end=end)

    def script_path(self, job: Job) -> str:
        """Where the job's script is until the job is complete."""
        return self._storage.script_path(job.id)

    def replayed(self, key: Key, fingerprint: bytes) -> Job | None:
        """The job that was submitted under that key; as Keys.find."""
        return self.roster.by_key(key, fingerprint)

    def forget(self, job: Job, now: Now, *, tree: bool = True, by: str | None = None) -> None:
        """Kill what is left of the job and forget it, as somebody of that name wants."""
        self._outbox.changed(job.id, ANY_JOB)
        self.journal.deleted(job)
        if self.roster.archived(job):
            self.roster.remove(job)
        else:
            self.roster.forget(job)
        self._unkept.deleted(job.id, self.changes.last)
        if job.state is State.COMPLETE:
            return
        self.leases.clear(job.id)
        if job.state in UNSTARTED:
            self._cancel(job, Reason.KILLED, _UNSTARTED_KILLED, now)
        else:
            job.reason = job.reason or Reason.KILLED
            self._endings.end(job, Why(Cause.DELETE, by), now.monotonic, tree=tree)

    def kill(
        self,
        job: Job,
        now: Now,
        signal: Signals,
        grace: float | None,
        why: Why,
        *,
        tree: bool = True,
    ) -> Stop | None:
        """End what is left of a job and keep its entry.

        Returns the stop, which is over when the receipt is complete; None for a job that
        had not started, which is then complete at once. With a `grace` of None the signal
        is only delivered.
        """
        if job.state in UNSTARTED:
            if grace is not None:
                self._cancel(job, Reason.KILLED, _UNSTARTED_KILLED, now)
            return None
        if grace is not None:
            job.reason = job.reason or Reason.KILLED
        return self._endings.begin(job, signal, grace, why, now.monotonic, tree=tree)

    def set_timeout(self, job: Job, timeout: float | None, now: Now) -> None:
        """Let the job end `timeout` seconds after its start; at once if that is past."""
        job.timeout = timeout
        self._unkept.changed(job)
        if job.running is not None and job.state not in OVER:
            self._timers.set_timeout(job)

    def shut_down(self, now: Now, *, waiting: bool = True) -> None:
        """Accept nothing more, start nothing more, and end all jobs.

        Without `waiting` those are left as they are that wait, for the next server.
        """
        if self._closing:
            return
        self._closing = True
        self._outbox.changed(ANY_JOB)
        for job in self.roster.alive():
            if job.state in UNSTARTED:
                if waiting or self._store is None:
                    self._cancel(job, Reason.KILLED, _UNSTARTED_KILLED, now)
                else:
                    # Whoever waits for it is told that it goes on waiting.
                    self._outbox.changed(job.id)
            elif job.state is not State.COMPLETE:
                # A stop that is under way may only deliver a signal, or have more grace.
                job.reason = job.reason or Reason.KILLED
                self._endings.end(job, Why(Cause.SHUTDOWN), now.monotonic)

    def cancel_grace(self, now: Now) -> None:
        """No more grace for anybody that is being ended."""
        self._endings.cancel_grace(now.monotonic)

    def leaves(self, job: Job) -> bool:
        """Whether the job waits on when the server has ended: nothing more will be told of it."""
        return self._closing and job.state in UNSTARTED

    @property
    def closing(self) -> bool:
        """Whether `shut_down` was called."""
        return self._closing

    @property
    def ended(self) -> bool:
        """Whether, after `shut_down`, nothing is left to wait for."""
        busy = self.queue.busy or self._endings or self._unkept.why
        return self._closing and not busy

    def started(self, job: Job, pid: int, now: Now) -> None:
        """The job's process runs."""
        job.pid = pid
        job.start = now.wall
        job.running = Running(now.monotonic, job.options)
        if job.options.stdin_open:
            self.inputs.open(job.id)
        self._timers.set_timeout(job)
        self.queue.started(job, now.monotonic)
        self.journal.started(job)
        self._transition(job, Event.STARTED, now)

    def goes_on(self, job_id: int, pid_started: int) -> None:
        """The job's process has run for a moment, since `pid_started` (ticks since the boot).

        Most jobs do not, and need not be kept between being chosen and their end.
        """
        job = self.roster.get(job_id)
        if job is not None and job.running is not None:
            job.pid_started = pid_started
            self._unkept.changed(job)

    def not_started(self, job: Job, failure: str, now: Now) -> None:
        """The job's process cannot be started, now or later."""
        job.start = now.wall
        job.failure = failure
        self._transition(job, Event.REFUSED, now)

    def deferred(self, job: Job, failure: str, now: Now) -> None:
        """The job's process could not be started for lack of a resource; try again later."""
        if self.queue.put_back(now.monotonic):
            self._outbox.command(Report(f"cannot start jobs for now: {failure}"))
        self._transition(job, Event.DEFERRED, now)

    def output_received(self, job_id: int, stream: Stream, data: bytes, now: Now) -> None:
        """The job wrote `data`."""
        if (job := self.roster.get(job_id)) is None:
            return
        kept = job.output.append(stream, data, now.wall)
        self._unkept.written(job)
        if kept < len(data) or job.over:
            self._unkept.changed(job)
        self.journal.output(stream, kept, len(data) - kept)
        if kept == len(data):
            self._disk_full = False
        elif not job.output.full:
            self._report_full_disk()
        self._outbox.changed(job_id)

    def _report_full_disk(self) -> None:
        if not self._disk_full:
            self._disk_full = True
            self._outbox.command(Report("cannot store output: it is dropped until there is room"))

    def output_closed(self, job_id: int, stream: Stream, now: Now) -> None:
        """The stream is at its end: nobody has it open for writing any more."""
        job = self.roster.find(job_id)
        if job is None or job.running is None:
            return
        job.running.open.discard(stream)
        self._outbox.changed(job_id)
        if not job.running.open:
            self._transition(job, Event.OUTPUTS_CLOSED, now)

    def exited(self, job_id: int, status: int, usage: Usage, now: Now) -> None:
        """The job's leader is gone, with that wait status."""
        job = self.roster.find(job_id)
        if job is None or job.running is None:
            return
        job.status = status
        job.usage = usage
        self.inputs.exited(job_id)
        self.queue.ended(job_id)
        self._timers.exited(job, now.monotonic + self._settings.drain)
        self._transition(job, Event.EXITED, now)

    def holders_found(self, job_id: int, holders: Mapping[int, str]) -> None:
        """These processes, by pid and command, hold the job's outputs."""
        job = self.roster.get(job_id)
        if job is not None and job.state is State.HELD:
            job.holders = holders
            self._unkept.changed(job)
            self._outbox.changed(job_id)

    def stop_command_ended(self, command: RunStopCommand, exit: str, text: str, now: Now) -> None:
        """A stop command was carried out: its `exit`, empty for 0, and what it wrote."""
        job = self._endings.command_ended(command, exit, text, now.monotonic)
        if job is not None:
            self._stopped(job, command.stop)

    def surveyed(self, stop: Stop, found: dict[int, str], now: Now) -> None:
        """A Survey was carried out."""
        if (job := self._endings.surveyed(stop, found, now.monotonic)) is not None:
            self._stopped(job, stop)

    def expire(self, now: Now) -> None:
        """Do what is due. Call it in every turn."""
        self.wall = now.wall
        for cut in self._unkept.store_output(now.wall):
            self._unkept.changed(cut)
            self._report_full_disk()
        for job, due in self._timers.due(now.monotonic):
            if due is Due.DRAIN:
                self._transition(job, Event.DRAIN_EXPIRED, now)
            else:
                job.reason = job.reason or Reason.TIMEOUT
                self._endings.end(job, Why(Cause.TIMEOUT), now.monotonic)
        for job, failed in self._blocked.settle(now.monotonic):
            if failed is None:
                self._transition(job, Event.RELEASED, now)
            else:
                self._rule_out(job, failed, now)
        while self._blocked.reduced:
            self._unkept.changed(self._blocked.reduced.pop())
        for job_id in self.leases.due(now.monotonic):
            leased = self.get(job_id)
            assert leased is not None
            self.kill(leased, now, Signals.SIGTERM, self._settings.grace, Why(Cause.LEASE))
        for stopped, stop in self._endings.expire(now.monotonic):
            self._stopped(stopped, stop)

    def retire(self, now: Now, watched: Container[int], unwatched: Iterable[int] = ()) -> None:
        """Forget jobs that are not to be kept, unless they are `watched`, and not `unwatched`."""
        self._retention.begin()
        for job_id in unwatched:
            self._retention.unwatched(job_id)
        while (job := self._retention.overdue(now.monotonic, watched)) is not None:
            self.forget(job, now)

    def next_deadline(self) -> float | None:
        """When there will next be something to do in a turn (monotonic)."""
        if self._outbox:
            return 0.0
        times = [
            self._timers.next(),
            self._endings.next_deadline(),
            self._retention.next_deadline(),
            self.leases.next_deadline(),
            None if self._closing else self.queue.next_time(),
            self._blocked.next_deadline(),
            self._unkept.next_deadline(),
        ]
        return min((t for t in times if t is not None), default=None)

    def note_bug(self, failure: Exception) -> None:
        self._outbox.command(ReportBug(failure))

    def take_commands(self) -> list[Command]:
        """What is to be done, in this order."""
        return self._outbox.take_commands()

    def take_job(self, now: Now) -> Job | None:
        """Choose the job that is to be started in this turn, if there is one.

        Report the outcome with `started`, `not_started` or `deferred`; report nothing for a job
        that was ended in the meantime and is not STARTING any more.
        """
        # After SIGTERM some may wait on.
        job = None if self._closing else self.queue.take(now.monotonic)
        self._chosen = job
        if job is None:
            return None
        self._transition(job, Event.DISPATCHED, now)
        try:
            if job.id in self._fileless:
                script = self._unkept.script(job.id)
                if script is None:
                    self.not_started(job, "its script is not there any more", now)
                    return None
                self._storage.store_script(job.id, script)
                self._fileless.discard(job.id)
            if self._settings.stop_command(job.options.launcher):
                # Known to the next server, if this one is killed.
                self._storage.mark(job.id, job.options.launcher or "")
        except StorageError as failure:
            self.deferred(job, str(failure), now)
            return None
        return job

    def script(self, job: Job) -> bytes | None:
        """The job's script; None if it is gone. Raises StorageError."""
        return self._unkept.script(job.id)

    @property
    def unkept(self) -> tuple[int, str]:
        """How many jobs would not be what they are after a crash, and why; empty for no reason."""
        return self._unkept.count, self._unkept.why

    def keep(self, now: Now) -> Refused | None:
        """Make durable what has happened, before anybody is told of it.

        What was refused was not accepted: whoever asked for it is to be told so.
        """
        trouble = self._unkept.why
        try:
            refused = self._unkept.keep(self.last_id, self.changes.last, self.queue.paused, now)
        except Exception as bug:
            # Ours. What it has left out must not be told either.
            self.note_bug(bug)
            refused = self._unkept.refuse("internal server error", now)
        for job in self._unkept.kept():
            job.output.drop_files()
            self._archive(job, now)
        to_supersede, self._to_supersede = self._to_supersede, []
        if refused is None:
            for superseded, job_id in to_supersede:
                self._supersede(superseded, job_id, now)
            if trouble:
                self._outbox.command(Report("the state is kept again"))
            return None
        if not trouble:
            why = f"cannot keep the state: {refused.why}: after a crash jobs may be lost"
            self._outbox.command(Report(why))
        for job in refused.jobs:
            self.forget(job, now)
            self.journal.refused(job)
        if self._chosen is not None and self._chosen.state is State.STARTING:
            # After a crash nobody would know that it was started.
            self.deferred(self._chosen, refused.why, now)
        return refused

    def restore(self, now: Now) -> list[Job]:
        """Go on where the server before this one was; the jobs that it lost while they ran.

        What is left of these is being ended.
        """
        assert self._store is not None
        found = self._store.recover(now)
        self._next_id = found.next_id
        self.changes.last = max(self.changes.last, found.next_change)
        self.changes.restore_deletions(found.deletions, found.deletions_from)
        self.queue.paused = found.paused
        self.journal.retained(len(self.roster))
        known = (*found.waiting, *found.started)
        for job in sorted(known, key=lambda job: job.id):
            self.roster.restore(job)
            self.queue.add(job)
            self.journal.restored(job)
            if job.blocked is not None:
                self._blocked.add(job)
            self._fileless.add(job.id)
        for job in found.waiting:
            # By what is the limit now.
            job.output = self._new_output(job.id)
        for job in found.started:
            self._lose(job, now, rebooted=found.rebooted)
        if not found.sure:
            for job in found.waiting:
                self._cancel(job, Reason.LOST, "lost: it may have been started", now)
        for job in found.waiting:
            if job.state in UNSTARTED:
                # The server may have been killed before it could do that.
                earlier = [j for j in self._superseded(job.options) if j.id < job.id]
                self._supersede(earlier, job.id, now)
        self._settle_restored(found)
        return [] if found.rebooted else found.started

    def _settle_restored(self, found: Recovered) -> None:
        """What waiting jobs wait for may have ended in the last moments of the server before."""
        lost = {job.id for job in found.started}
        blocked = [job.blocked for job in found.waiting if job.blocked is not None]
        for job_id in sorted({each.job_id for b in blocked for each in b.pending} - lost):
            prerequisite = self.get(job_id)
            if prerequisite is None or prerequisite.over:
                well = prerequisite is not None and not prerequisite.failed
                self._blocked.ended(job_id, well=well)

    def _lose(self, job: Job, now: Now, *, rebooted: bool) -> None:
        job.output.recover(now.wall)
        launcher = job.options.launcher
        elsewhere = self._settings.stop_command(launcher)
        if launcher is not None and self._settings.launcher(launcher) is None:
            gone = f"job {job.id} may still run elsewhere: there is no launcher {launcher} any more"
            self._outbox.command(Report(gone))
        if not rebooted or elsewhere:
            self._endings.end(job, Why(Cause.LOST), now.monotonic)
        self._cancel(job, Reason.LOST, "lost: the server was killed", now)

    def take_changes(self) -> set[int]:
        """The jobs that have changed since the last call; ANY_JOB if a change has got a number."""
        return self._outbox.take_changes()

    def _transition(self, job: Job, event: Event, now: Now) -> None:
        before = job.state
        after = TRANSITIONS[before].get(event)
        if after is None:
            raise IllegalTransitionError(f"{event.name} of job {job.id} that is {before.name}")
        job.state = after
        if before is State.BLOCKED:
            self._blocked.remove(job)
        self._outbox.changed(job.id)
        if event is not Event.STARTED:
            # That it may have been started is kept before it is, and the rest if it `goes_on`.
            self._note(job)
        if SHOWN[after] != SHOWN[before] and self.roster.forgotten(job.id) is None:
            self.journal.moved(before, after)
            self.changes.changed(job)
            self._outbox.changed(ANY_JOB)
        if after in OVER and before not in OVER and job in self._endings:
            self.queue.hold(job)
        self.queue.moved(job, before, after)
        if after not in OVER:
            return
        if before not in OVER:
            self._complete(job, now)
        if after is State.COMPLETE:
            self._finish(job, now)
        else:
            forgotten = self.roster.forgotten(job.id) is not None
            self._outbox.command(CloseOutputs(job.id) if forgotten else FindHolders(job.id))

    def _complete(self, job: Job, now: Now) -> None:
        """From now on clients see the job as complete."""
        job.complete = now.wall
        self.leases.clear(job.id)
        job.hint = job.hint or hints.of_end(job, self._storage)
        if job.id in self._fileless:
            self._fileless.discard(job.id)
        else:
            self._storage.remove_script(job.id)
        self._unmark_if_gone(job)
        job.reason = job.reason or reason_of_exit(job)
        self.journal.completed(job)
        self._blocked.ended(job.id, well=not job.failed)

    def _unmark_if_gone(self, job: Job) -> None:
        """The job does not run anywhere, unless it could not be stopped elsewhere."""
        failed = job.stop is not None and job.stop.failed_elsewhere
        if job.over and job not in self._endings and not failed:
            self._storage.unmark(job.id)

    def _finish(self, job: Job, now: Now) -> None:
        """Nothing more can happen to the job."""
        job.running = None
        self._timers.clear(job)
        deleted = self.roster.forgotten(job.id) is not None
        if not self._unkept.ended(job, deleted=deleted):
            self._archive(job, now)

    def _note(self, job: Job) -> None:
        """Something of the job is to be kept, unless it was deleted."""
        if self.roster.forgotten(job.id) is None:
            self._unkept.changed(job)

    def _archive(self, job: Job, now: Now) -> None:
        job.output.seal()
        if self.roster.finish(job, now.monotonic):
            job.output.remove()

    def _supersede(self, superseded: list[Job], job_id: int, now: Now) -> None:
        for each in superseded:
            if each.state in UNSTARTED:
                self._cancel(each, Reason.SUPERSEDED, f"superseded by job {job_id}", now)

    def _superseded(self, options: Options) -> list[Job]:
        """The jobs of its group that a new one takes the place of. It may come after others."""
        if not options.supersede or options.group is None:
            return []
        spared = {each.job_id for each in options.after}
        return [job for job in self.queue.waiting(options.group) if job.id not in spared]

    def _rule_out(self, job: Job, failed: int, now: Now) -> None:
        """The job was to come after one that has not succeeded."""
        what = "was deleted" if self.get(failed) is None else "failed"
        self._cancel(job, Reason.DEPENDENCY, f"not run: job {failed} {what}", now)

    def _cancel(self, job: Job, reason: Reason, why: str, now: Now) -> None:
        """The job, which was not started, never will be."""
        job.reason = reason
        job.failure = why
        self._transition(job, Event.CANCELLED, now)

    def _stopped(self, job: Job, stop: Stop) -> None:
        """A stop is over: close the outputs of a forgotten job, even if they are still held."""
        self.journal.stopped(job, stop)
        self._note(job)
        if job not in self._endings:
            self.queue.let_go(job)
            self._unmark_if_gone(job)
        if self.roster.forgotten(job.id) is not None and job.state is State.HELD:
            self._outbox.command(CloseOutputs(job.id))
