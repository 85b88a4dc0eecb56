"""The jobs' side of the loop: commands carried out, pipes read, exits told.

It turns the job table's commands into calls of `processes` and their outcomes into facts for
the table. The selector is the server's; here it is only told which pipes to watch.
"""

import os
import selectors
from signal import Signals

from rtot.clock import Now
from rtot.config import Settings
from rtot.deadlines import Deadlines
from rtot.jobs.commands import (
    CloseOutputs,
    CloseStdin,
    Command,
    Examine,
    FindHolders,
    Report,
    ReportBug,
    WriteStdin,
)
from rtot.jobs.job import Job, State, Usage
from rtot.jobs.launch import launch_command, stop_command
from rtot.jobs.output import Stream
from rtot.jobs.stop import RunStopCommand, Scope, Signal, Survey
from rtot.jobs.table import JobTable
from rtot.loop.run import Descriptor, Run
from rtot.loop.stop_commands import Ended, LeftoverJob, StopCommands
from rtot.system.leftovers import Leftover
from rtot.system.log import Log
from rtot.system.pipes import READ, close_pipes, read_pipe, write_pipe
from rtot.system.proc import read_start
from rtot.system.processes import Exit, NotStartedError, Processes, Target, TryLaterError
from rtot.text import original_bytes

# Most jobs end sooner than this after their start, and their output is read at their end: to
# have the selector tell of it would cost them four system calls and two turns of the loop.
_FRESH = 0.01
_RETRY = 0.1
# Seconds before a job of a killed server is stopped again, if that has failed: twice as many each
# time.
_FIRST_RETRY = 15.0
_LONGEST_RETRY = 3600.0
# Bytes read from one pipe in a turn.
_READ_PER_TURN = 512 * 1024


class Children:
    """All running jobs' processes and pipes."""

    def __init__(
        self,
        settings: Settings,
        jobs: JobTable,
        processes: Processes,
        selector: selectors.BaseSelector,
        log: Log,
    ) -> None:
        self._settings = settings
        self._jobs = jobs
        self._processes = processes
        self._selector = selector
        self._log = log
        # By the id of the job; and by pid, until the process has exited.
        self._runs: dict[int, Run] = {}
        self._pids: dict[int, Run] = {}
        # When the selector is to be told of their outputs.
        self._unwatched: Deadlines[Run] = Deadlines()
        self._stop_commands = StopCommands(processes)
        # Jobs of killed servers that could not be stopped: when to try again, and how often it was.
        self._leftovers: Deadlines[LeftoverJob] = Deadlines()
        self._tried: dict[LeftoverJob, int] = {}

    def next_deadline(self) -> float | None:
        """When `expire` will next have something to do (monotonic)."""
        times = (
            self._unwatched.next(),
            self._stop_commands.next_deadline(),
            self._leftovers.next(),
        )
        return min((t for t in times if t is not None), default=None)

    def expire(self, now: Now) -> None:
        """Watch the jobs that were started a while ago and still run."""
        for run in self._unwatched.due(now.monotonic):
            if self._settings.state and not run.exited:
                # Of a child that is not reaped the pid is its own.
                self._jobs.goes_on(run.job_id, read_start(run.pid))
            self._watch(run, now)
        for ended in self._stop_commands.expire(now):
            self._finish_stop_command(ended, now)
        for left in self._leftovers.due(now.monotonic):
            self._end_leftover_job(left)

    def begin_turn(self) -> None:
        """Forget what was read of /proc in earlier turns."""
        self._processes.drop_census()

    def read_output(self, output: Descriptor, now: Now, *, to_the_end: bool = False) -> None:
        """Read what is there. With `to_the_end`, read until the pipe is empty or at its end."""
        size = 0
        while size < _READ_PER_TURN:
            data = read_pipe(output.fd)
            if data is None:
                return
            if not data:
                self._close_output(output, now)
                return
            size += len(data)
            self._jobs.output_received(output.run.job_id, Stream(output.number), data, now)
            if len(data) < READ and not to_the_end:
                # A short read has emptied the pipe, so another one would only return EAGAIN.
                return

    def _close_output(self, output: Descriptor, now: Now) -> None:
        run = output.run
        self._close(output)
        if not run.outputs:
            self._unwatched.clear(run)
        self._jobs.output_closed(run.job_id, Stream(output.number), now)

    def _close(self, descriptor: Descriptor) -> None:
        if descriptor.registered:
            self._selector.unregister(descriptor.fd)
        os.close(descriptor.fd)
        run = descriptor.run
        run.descriptors.remove(descriptor)
        self._forget_if_over(run)

    def _forget_if_over(self, run: Run) -> None:
        if run.over:
            del self._runs[run.job_id]

    def reap(self, now: Now) -> None:
        """Some child has exited."""
        for exit in self._processes.reap():
            try:
                self._finish_run(exit, now)
            except Exception as failure:
                self._log.bug(failure, now)

    def _finish_run(self, exit: Exit, now: Now) -> None:
        run = self._pids.pop(exit.pid, None)
        if run is None:
            ended = self._stop_commands.exited(exit)
            if ended is not None:
                self._finish_stop_command(ended, now)
            # An orphan that this process adopted as PID 1, or a child it had before exec.
            return
        try:
            # What it wrote is in the pipes: a job that leaves nobody behind is complete now.
            for output in run.outputs:
                self.read_output(output, now, to_the_end=True)
            if run.outputs:
                # Another process still holds the pipes that are open.
                self._unwatched.clear(run)
                self._watch(run, now)
        finally:
            run.exited = True
            self._forget_if_over(run)
            usage = Usage(exit.user, exit.system, exit.peak)
            self._jobs.exited(run.job_id, exit.status, usage, now)

    def carry_out(self, commands: list[Command], now: Now) -> None:
        """Do it all, and tell the table what came of it."""
        signals = [command for command in commands if isinstance(command, Signal)]
        if signals:
            self._signal(signals)
        for command in commands:
            try:
                self._carry_out(command, now)
            except Exception as failure:
                self._log.bug(failure, now)

    def _signal(self, signals: list[Signal]) -> None:
        """Send all signals of a turn together, since each needs a walk over all of /proc."""
        targets = [Target(s.stop.job_id, s.stop.pid, s.scope) for s in signals]
        numbers = [int(s.signal) for s in signals]
        for command, found in zip(signals, self._processes.signal(targets, numbers), strict=True):
            command.stop.delivered(found, command.signal)

    def _carry_out(self, command: Command, now: Now) -> None:
        match command:
            case Signal():
                pass
            case Survey(stop, scope):
                found = self._processes.find(Target(stop.job_id, stop.pid, scope))
                self._jobs.surveyed(stop, found, now)
            case RunStopCommand(stop, signal):
                words = self._settings.stop_command(stop.launcher)
                argv = stop_command(words, stop.job_id, self._processes.server_id, signal)
                for ended in self._stop_commands.add(command, argv):
                    self._finish_stop_command(ended, now)
            case FindHolders(job_id):
                found = self._processes.holders([o.fd for o in self._outputs(job_id)])
                self._jobs.holders_found(job_id, found)
            case Examine(examination):
                target = Target(examination.job_id, examination.pid, Scope.TREE)
                self._processes.examine(examination, target, now.monotonic)
                self._jobs.examinations.done(examination)
            case CloseOutputs(job_id):
                for output in self._outputs(job_id):
                    self._close_output(output, now)
            case WriteStdin(job_id):
                self._write_stdin(job_id)
            case CloseStdin(job_id):
                self._close_stdin(job_id)
            case Report(text):
                self._log.warning(now, text)
            case ReportBug(failure):
                self._log.bug(failure, now)

    def _outputs(self, job_id: int) -> list[Descriptor]:
        run = self._runs.get(job_id)
        return [] if run is None else run.outputs

    def end_leftover(self, leftover: Leftover, now: Now) -> None:
        """Have the jobs of a server that was killed stopped where they may still run."""
        for job_id, killed in leftover.killed.items():
            self._log.info(
                now,
                "processes of a killed server's job killed",
                job=job_id,
                server=leftover.server_id,
                killed=" ".join(f"{pid}:{name}" for pid, name in killed.items()),
            )
        for job_id, launcher in list(leftover.jobs.items()):
            words = self._settings.stop_command(launcher)
            if words:
                self._end_leftover_job(LeftoverJob(leftover, job_id, launcher))
            else:
                leftover.stopped(job_id)
                self._log.warning(
                    now,
                    "a job of a server that was killed may still run: its launcher has no --stop",
                    job=job_id,
                    server=leftover.server_id,
                    launcher=launcher,
                )

    def _end_leftover_job(self, subject: LeftoverJob) -> None:
        leftover, job_id, launcher = subject
        words = self._settings.stop_command(launcher)
        argv = stop_command(words, job_id, leftover.server_id, Signals.SIGKILL)
        self._stop_commands.add(subject, argv)

    def close(self) -> None:
        """The server ends: leave no stop command running."""
        self._stop_commands.kill()

    def start_stop_commands(self, now: Now) -> None:
        """Spawn some of the stop commands that wait."""
        for ended in self._stop_commands.start(now):
            self._finish_stop_command(ended, now)

    def _finish_stop_command(self, ended: Ended, now: Now) -> None:
        command, exit, text = ended
        match command.subject:
            case RunStopCommand(stop) as order:
                about: dict[str, str | int] = {"job": stop.job_id}
                self._jobs.stop_command_ended(order, exit, text, now)
            case LeftoverJob(leftover, job_id) as left:
                about = {"job": job_id, "server": leftover.server_id}
                if not exit:
                    leftover.stopped(job_id)
                    self._log.info(now, "job of a killed server stopped", **about)
                else:
                    # The place may not be reachable yet.
                    tried = self._tried[left] = self._tried.get(left, 0) + 1
                    pause = min(_FIRST_RETRY * 2**tried, _LONGEST_RETRY)
                    self._leftovers.set(left, now.monotonic + pause)
        if exit:
            argv = " ".join(command.argv)
            self._log.warning(
                now, "stop command failed", **about, command=argv, exit=exit, text=text
            )

    def start(self, job: Job, now: Now) -> None:
        """Spawn the process of a job that was chosen, and tell the table what came of it."""
        if job.state is not State.STARTING:
            # Ended since it was chosen.
            return
        options = job.options
        prefix = self._settings.launcher(options.launcher) if options.launcher else ()
        if prefix is None:
            # A server before this one had it.
            self._jobs.not_started(job, f"there is no launcher {options.launcher}", now)
            return
        script = self._jobs.script_path(job)
        words = launch_command(prefix, job.id, self._processes.server_id, script)
        # The operator's words are in the encoding of the locale, the client's in UTF-8.
        argv = [os.fsencode(word) for word in words]
        argv += map(original_bytes, (*options.args, *options.private_args))
        env = {original_bytes(name): original_bytes(value) for name, value in options.env}
        cwd = None if options.cwd is None else original_bytes(options.cwd)
        try:
            pipes = self._processes.open_pipes(
                stdin=options.stdin_open, stderr=not options.stderr_to_stdout
            )
        except TryLaterError as failure:
            self._jobs.deferred(job, str(failure), now)
            return
        try:
            pid = self._processes.spawn(job.id, argv, env, cwd, pipes)
        except Exception as failure:
            close_pipes(pipes)
            match failure:
                case TryLaterError() | MemoryError():
                    self._jobs.deferred(job, str(failure) or "cannot allocate memory", now)
                case NotStartedError():
                    self._jobs.not_started(job, str(failure), now)
                case _:
                    self._log.bug(failure, now)
                    self._jobs.not_started(job, "internal server error", now)
            return
        run = Run(job.id, pid, [(pipe.number, pipe.ours) for pipe in pipes])
        self._runs[job.id] = self._pids[pid] = run
        self._unwatched.set(run, now.monotonic + _FRESH)
        self._jobs.started(job, pid, now)

    def _watch(self, run: Run, now: Now) -> None:
        """Have the selector tell of the job's output from now on."""
        for output in run.outputs:
            if output.registered:
                continue
            try:
                self._selector.register(output.fd, selectors.EVENT_READ, output)
            except OSError:
                # The selector is full: the output stays in the pipe until the next attempt.
                self._unwatched.set(run, now.monotonic + _RETRY)
                return
            output.registered = True

    def write_input(self, stdin: Descriptor) -> None:
        """There is room in a pipe that was full."""
        self._selector.unregister(stdin.fd)
        stdin.registered = False
        self._write_stdin(stdin.run.job_id)

    def _stdin(self, job_id: int) -> Descriptor | None:
        run = self._runs.get(job_id)
        return None if run is None else run.stdin

    def _write_stdin(self, job_id: int) -> None:
        stdin = self._stdin(job_id)
        pending = self._jobs.inputs.pending(job_id)
        if stdin is None or stdin.registered or not pending:
            return
        written = write_pipe(stdin.fd, pending)
        if written is None:
            self._jobs.inputs.broken(job_id)
            return
        more = written < len(pending)
        self._jobs.inputs.written(job_id, written)
        if more:
            try:
                self._selector.register(stdin.fd, selectors.EVENT_WRITE, stdin)
            except OSError:
                # The rest would never be written: closing is better than hanging.
                self._jobs.inputs.broken(job_id)
                return
            stdin.registered = True

    def _close_stdin(self, job_id: int) -> None:
        stdin = self._stdin(job_id)
        if stdin is not None:
            self._close(stdin)
