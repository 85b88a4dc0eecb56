"""The loop: sole owner of the selector and of the clock.

One turn has seven phases. Observe what the kernel has to tell; expire what is due; decide
what requests mean and which job is next; act on the world; keep what has happened; flush what
clients will take, now that it is kept, and retire jobs; start the job that was chosen, last,
because that alone takes long. Cores are told facts and asked for what they want; none of them calls
back. Work in a turn is bounded for every descriptor. What is left over is first in the next turn,
which then does not wait for the selector.
"""

import gc
import selectors
import signal
import time
from collections.abc import Sequence

from rtot import __version__
from rtot.api.handler import Handler
from rtot.api.job_lines import job_line
from rtot.clock import Now
from rtot.config import Settings
from rtot.jobs.job import Job
from rtot.jobs.table import JobTable
from rtot.loop.children import Children
from rtot.loop.client import Client
from rtot.loop.clients import Clients
from rtot.loop.reload import Reload
from rtot.loop.run import Descriptor
from rtot.loop.signals import Signals
from rtot.loop.vitals import Vitals
from rtot.system.leftovers import Leftover
from rtot.system.listeners import Listener, close_listeners
from rtot.system.log import Log
from rtot.system.processes import Processes
from rtot.system.systemd import Notifier

# The garbage collector runs after this many new objects.
_OBJECTS = 20_000
# epoll_wait(2) counts milliseconds in an int, which holds 24 days.
_LONGEST_WAIT = 86400.0
# Seconds without accepting, when there is no descriptor for a connection.
_REST = 0.5
# Seconds beyond the grace that an ending server waits for processes to die: for a stop command,
# and for what is killed after that.
_PATIENCE = 12.0


class Server:
    """The server: the selector, the listeners, and both sides of the loop."""

    def __init__(
        self,
        settings: Settings,
        signals: Signals,
        handler: Handler,
        jobs: JobTable,
        processes: Processes,
        listeners: list[Listener],
        log: Log,
        notifier: Notifier,
        reload: Reload,
        vitals: Vitals,
        leftovers: Sequence[Leftover] = (),
    ) -> None:
        self._settings = settings
        self._signals = signals
        self._jobs = jobs
        self._listeners = listeners
        self._log = log
        self._notifier = notifier
        self._reload = reload
        self._vitals = vitals
        self._leftovers = leftovers
        self._selector = selectors.DefaultSelector()
        self._children = Children(settings, jobs, processes, self._selector, log)
        self._clients = Clients(settings, handler, jobs, self._selector, log, vitals)
        self._listening = False
        self._listen_at: float | None = None
        self._status: int | None = None
        self._give_up_at: float | None = None

    def run(self) -> int:
        """Serve until told to end; return the exit status of the process."""
        self._selector.register(self._signals, selectors.EVENT_READ, self._signals)
        now = read_clock()
        self._listen(now)
        for listener in self._listeners:
            self._log.info(now, "listening", address=listener.name, version=__version__)
        for leftover in self._leftovers:
            self._children.end_leftover(leftover, now)
        self._log.flush(now)
        self._notifier.ready(now)
        # Reference counting frees nearly everything. Looking for cycles at every 700th new
        # object (the default) took a tenth of the time.
        gc.enable()
        gc.freeze()
        gc.set_threshold(_OBJECTS, 10, 10)
        while not self._has_ended(now):
            patience = self._patience(now)
            ready = self._selector.select(patience)
            if not ready and patience:
                # Much time may have passed (SIGSTOP). What arrived meanwhile counts before the
                # deadlines that have come since.
                ready = self._selector.select(0)
            now = read_clock()
            try:
                self._turn(ready, now)
            except Exception as failure:
                # Each phase handles its own errors. This is the last resort: the loop goes on.
                self._log.bug(failure, now)
            self._log.flush(now)
            self._vitals.turned(read_clock().monotonic - now.monotonic)
        self._signals.ignore()
        self._keep(now)
        self._clients.close(now)
        self._children.close()
        close_listeners(self._listeners)
        self._log.flush(now)
        assert self._status is not None
        return self._status

    def _turn(self, ready: list[tuple[selectors.SelectorKey, int]], now: Now) -> None:
        self._observe(ready, now)
        self._expire(now)
        job = self._decide(now)
        try:
            self._act(now)
            self._keep(now)
            self._tell(now)
            # The log tells how long an answer took, this turn's work included.
            self._clients.flush(read_clock())
            watchers = self._clients.watchers
            self._jobs.retire(now, watchers, watchers.take_unwatched())
        finally:
            # Even after a bug above, or the job would stay STARTING for ever.
            self._start(job, now)

    def _patience(self, now: Now) -> float | None:
        """How long the selector may wait: until the nearest deadline, or not at all."""
        if self._clients.has_work:
            return 0.0
        times = (
            self._jobs.next_deadline(),
            self._children.next_deadline(),
            self._clients.next_deadline(),
            self._listen_at,
            self._give_up_at,
            self._notifier.deadline,
        )
        nearest = min((t for t in times if t is not None), default=None)
        return None if nearest is None else min(max(0.0, nearest - now.monotonic), _LONGEST_WAIT)

    def _observe(self, ready: list[tuple[selectors.SelectorKey, int]], now: Now) -> None:
        for key, mask in ready:
            try:
                match key.data:
                    case Client() as client:
                        if mask & selectors.EVENT_READ:
                            self._clients.receive(client, now)
                        if mask & selectors.EVENT_WRITE:
                            self._clients.writable(client, now)
                    case Descriptor(number=0) as stdin:
                        self._children.write_input(stdin)
                    case Descriptor() as output:
                        self._children.read_output(output, now)
                    case Signals():
                        self._signals.drain()
                    case listener:
                        self._accept(listener, now)
            except Exception as failure:
                self._log.bug(failure, now)
        # Signals that came after select() too: an exit counts before a deadline.
        for number in self._signals.take():
            try:
                self._take_signal(number, now)
            except Exception as failure:
                self._log.bug(failure, now)

    def _expire(self, now: Now) -> None:
        try:
            self._jobs.expire(now)
            self._children.expire(now)
        except Exception as failure:
            self._log.bug(failure, now)
        self._clients.expire(now)
        if self._listen_at is not None and self._listen_at <= now.monotonic:
            self._listen(now)
        if self._give_up_at is not None and self._give_up_at <= now.monotonic:
            _, why = self._jobs.unkept
            what = "the state could not be kept" if why else "some processes could not be ended"
            self._log.warning(now, what)
            self._jobs.cancel_grace(now)
        if self._notifier.deadline is not None and self._notifier.deadline <= now.monotonic:
            self._notifier.alive(now)

    def _decide(self, now: Now) -> Job | None:
        """Have requests answered, and choose the job to be started in this turn."""
        self._clients.decide(now)
        return self._jobs.take_job(now)

    def _act(self, now: Now) -> None:
        try:
            if self._jobs.closing and self._status is None:
                self._log.info(now, "ending", request="DELETE /")
                self._end(1, now)
            self._children.begin_turn()
            while commands := self._jobs.take_commands():
                self._children.carry_out(commands, now)
        except Exception as failure:
            # What has happened before is to be kept.
            self._log.bug(failure, now)

    def _keep(self, now: Now) -> None:
        """Make changes durable before they are reported, if jobs are to outlive the server."""
        try:
            refused = self._jobs.keep(now)
        except Exception as failure:
            self._log.bug(failure, now)
            return
        if refused is not None:
            self._clients.not_kept(refused, now)

    def _tell(self, now: Now) -> None:
        """Have the log and those who wait know what has happened."""
        for entry in self._jobs.journal.take():
            message, pairs = job_line(entry)
            self._log.info(now, message, **pairs)
        self._clients.wake(self._jobs.take_changes(), now)

    def _start(self, job: Job | None, now: Now) -> None:
        """Start the job that was chosen. That takes a millisecond: no answer waits for it."""
        try:
            if job is not None:
                self._children.start(job, read_clock())
            self._children.start_stop_commands(now)
        except Exception as failure:
            self._log.bug(failure, read_clock())

    def _listen(self, now: Now) -> None:
        self._listen_at = None
        if self._listening or self._status is not None:
            return
        self._listening = True
        try:
            for listener in self._listeners:
                self._selector.register(listener.sock, selectors.EVENT_READ, listener)
        except OSError as failure:
            self._rest(failure, now)

    def _stop_listening(self) -> None:
        self._listen_at = None
        if self._listening:
            self._listening = False
            for listener in self._listeners:
                if listener.sock in self._selector.get_map():
                    self._selector.unregister(listener.sock)

    def _accept(self, listener: Listener, now: Now) -> None:
        if not self._listening:
            return
        try:
            self._clients.accept(listener, now)
        except OSError as failure:
            self._rest(failure, now)

    def _rest(self, failure: OSError, now: Now) -> None:
        """Stop accepting for a while: there is no descriptor, or no memory, for a connection.

        Connections stay in the backlog, and asking again at once would only burn the
        processor.
        """
        self._log.warning(now, "cannot accept connections for now", error=str(failure))
        self._stop_listening()
        self._listen_at = now.monotonic + _REST

    def _take_signal(self, number: signal.Signals, now: Now) -> None:
        if number == signal.SIGCHLD:
            self._children.reap(now)
        elif number == signal.SIGHUP:
            if self._status is None:
                self._notifier.reloading(now)
                self._reload.carry_out(self._log, now)
                self._clients.revoke(now)
                self._notifier.ready(now)
        elif self._status is None:
            self._log.info(now, "ending", signal=number.name)
            self._end(0, now)
        else:
            self._log.info(now, "killing what is left", signal=number.name)
            self._jobs.cancel_grace(now)

    def _end(self, status: int, now: Now) -> None:
        """Stop accepting, finish the answers under way, end all jobs."""
        self._status = status
        self._notifier.stopping()
        self._stop_listening()
        close_listeners(self._listeners)
        self._listeners = []
        # DELETE / ends those that wait too.
        self._jobs.shut_down(now, waiting=bool(status))
        self._give_up_at = now.monotonic + self._settings.grace + _PATIENCE
        self._clients.wind_down(now)

    def _has_ended(self, now: Now) -> bool:
        if self._status is None:
            return False
        if self._give_up_at is not None and now.monotonic >= self._give_up_at:
            return True
        return self._jobs.ended and not self._clients


def read_clock() -> Now:
    """The only place that reads the clocks."""
    return Now(time.monotonic(), time.time_ns())
