"""The loop: sole owner of the selector and of the clock.

One turn has five phases: observe what the kernel has to tell, expire what is due, decide
what requests mean, act on the world, flush what clients will take. Cores are told facts and
asked for what they want; none of them calls back. Work in a turn is bounded for every
descriptor, and what is left over is first in the next turn, for which nobody is waited for.
"""

import selectors
import signal
import socket
import time
from collections.abc import Iterable

from rtot import listeners as net
from rtot.answers import error
from rtot.children import Children, InputPipe, OutputPipe
from rtot.client import Client
from rtot.clock import Now
from rtot.commands import Spawn
from rtot.config import Settings
from rtot.connection import HttpConnection, State
from rtot.deadlines import Deadlines
from rtot.handler import Handler
from rtot.heads import Heads
from rtot.jobs import JobTable, StdinClosedError
from rtot.log import Log, redact
from rtot.messages import Answer, NeedBody, Response, Upload, Wait
from rtot.process import Processes

_READ = selectors.EVENT_READ
_WRITE = selectors.EVENT_WRITE
_ACCEPTS = 64
# Bytes sent to one client in a turn.
_SENT_PER_TURN = 512 * 1024
# epoll_wait(2) counts milliseconds in an int, which holds 24 days.
_LONGEST_WAIT = 86400.0
# How long listeners rest when there is no descriptor for a connection.
_REST = 0.5
# Beyond the grace: how long at most an ending server waits for the last of the dying.
_PATIENCE = 10.0


class _Wakeup:
    """The descriptor that tells of signals, as the selector knows it."""


class Server:
    """Everything together, for as long as the process lives."""

    def __init__(
        self,
        settings: Settings,
        handler: Handler,
        jobs: JobTable,
        processes: Processes,
        listeners: list[socket.socket],
        log: Log,
    ) -> None:
        self._settings = settings
        self._handler = handler
        self._jobs = jobs
        self._listeners = listeners
        self._log = log
        self._selector = selectors.DefaultSelector()
        self._children = Children(settings, jobs, processes, self._selector, log)
        self._heads = Heads()
        self._clients: set[Client] = set()
        # In the order in which they became idle.
        self._idle: dict[Client, None] = {}
        self._ready: dict[Client, None] = {}
        self._flushable: dict[Client, None] = {}
        self._watchers: dict[int, set[Client]] = {}
        self._deadlines: Deadlines[Client] = Deadlines()
        self._child_exited = False
        self._listening = False
        self._listen_at: float | None = None
        self._status: int | None = None
        self._give_up_at: float | None = None
        self._wakeup, self._wakeup_write = socket.socketpair()
        self._wakeup.setblocking(False)
        self._wakeup_write.setblocking(False)

    def run(self) -> int:
        """Serve until told to end; return the exit status of the process."""
        self._selector.register(self._wakeup, _READ, _Wakeup())
        signal.set_wakeup_fd(self._wakeup_write.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            # The handler does nothing; the number arrives by the wakeup descriptor.
            signal.signal(number, _note)
        self._listen()
        now = read_clock()
        while not self._has_ended(now):
            ready = self._selector.select(self._patience(now))
            now = read_clock()
            self._observe(ready, now)
            self._expire(now)
            self._decide(now)
            self._act(now)
            self._flush(now)
        for client in list(self._clients):
            self._drop(client, now)
        net.close(self._listeners)
        self._log.flush(now)
        assert self._status is not None
        return self._status

    def _patience(self, now: Now) -> float | None:
        """How long the selector may wait: until the nearest deadline, or not at all."""
        if self._ready or self._flushable:
            return 0.0
        times = [
            self._jobs.next_deadline(),
            self._deadlines.next(),
            self._listen_at,
            self._give_up_at,
        ]
        nearest = min((t for t in times if t is not None), default=None)
        return None if nearest is None else min(max(0.0, nearest - now.monotonic), _LONGEST_WAIT)

    def _observe(self, ready: list[tuple[selectors.SelectorKey, int]], now: Now) -> None:
        for key, mask in ready:
            try:
                match key.data:
                    case Client() as client:
                        if mask & _READ:
                            self._receive(client, now)
                        if mask & _WRITE:
                            self._flushable[client] = None
                    case OutputPipe() as pipe:
                        self._children.read_output(pipe, now)
                    case InputPipe() as pipe:
                        self._children.write_input(pipe)
                    case _Wakeup():
                        self._receive_signals(now)
                    case listener:
                        self._accept(listener, now)
            except Exception:
                self._confess()
        if self._child_exited:
            self._child_exited = False
            self._children.reap(now)

    def _expire(self, now: Now) -> None:
        try:
            self._jobs.expire(now)
        except Exception:
            self._confess()
        for client in self._deadlines.due(now.monotonic):
            try:
                self._expire_client(client, now)
            except Exception:
                self._blame_ourselves(client, now)
            self._flushable[client] = None
        if self._listen_at is not None and self._listen_at <= now.monotonic:
            self._listen()
        if self._give_up_at is not None and self._give_up_at <= now.monotonic:
            self._log.warning(now, "some processes could not be ended")
            self._jobs.hurry(now)

    def _expire_client(self, client: Client, now: Now) -> None:
        if client.wait is not None and client.wait.deadline <= now.monotonic:
            self._resume(client, client.wait, now)
            return
        client.http.expire(now)

    def _decide(self, now: Now) -> None:
        ready, self._ready = self._ready, {}
        for client in ready:
            try:
                self._advance(client, now)
            except Exception:
                self._blame_ourselves(client, now)
            self._flushable[client] = None

    def _act(self, now: Now) -> None:
        self._children.begin_turn()
        while commands := self._jobs.take_commands(now):
            spawned = False
            for command in commands:
                spawned = spawned or isinstance(command, Spawn)
                try:
                    self._children.carry_out(command, now)
                except Exception:
                    self._confess()
            if spawned:
                break

    def _flush(self, now: Now) -> None:
        self._wake(now)
        flushable, self._flushable = self._flushable, {}
        for client in flushable:
            if client not in self._clients:
                continue
            try:
                self._send(client, now)
                self._settle(client, now)
            except Exception:
                self._blame_ourselves(client, now)
        self._log.flush(now)

    def _listen(self) -> None:
        self._listen_at = None
        if not self._listening and self._status is None:
            self._listening = True
            for listener in self._listeners:
                self._selector.register(listener, _READ, listener)

    def _stop_listening(self) -> None:
        self._listen_at = None
        if self._listening:
            self._listening = False
            for listener in self._listeners:
                self._selector.unregister(listener)

    def _accept(self, listener: socket.socket, now: Now) -> None:
        for _ in range(_ACCEPTS):
            if not self._listening:
                return
            try:
                accepted = net.accept(listener)
            except OSError as failure:
                # Nothing to accept with: the connection stays in the backlog, and asking
                # again at once would only burn the processor.
                self._log.warning(now, "cannot accept connections for now", error=str(failure))
                self._stop_listening()
                self._listen_at = now.monotonic + _REST
                return
            if accepted is None:
                return
            sock, peer = accepted
            client = Client(sock, peer, HttpConnection(self._settings, self._heads, now))
            self._clients.add(client)
            if len(self._clients) > self._settings.max_connections:
                if self._idle:
                    self._drop(next(iter(self._idle)), now)
                else:
                    client.http.refuse(503, "too many connections", now)
                    self._flushable[client] = None
            self._settle(client, now)
            # Who connects has something to say, and has often said it already.
            self._receive(client, now)

    def _receive(self, client: Client, now: Now) -> None:
        if client not in self._clients:
            return
        data = client.receive()
        if data is None:
            return
        if not data and client.waits:
            # Its answer would come when nobody is there to read it.
            self._drop(client, now)
            return
        self._idle.pop(client, None)
        client.http.receive_data(data, now)
        self._ready[client] = None

    def _receive_signals(self, now: Now) -> None:
        try:
            numbers = self._wakeup.recv(4096)
        except BlockingIOError:
            return
        for number in numbers:
            if number == signal.SIGCHLD:
                self._child_exited = True
                continue
            name = signal.Signals(number).name
            if self._status is None:
                self._log.info(now, "ending", signal=name)
                self._end(0, now)
            else:
                self._log.info(now, "killing what is left", signal=name)
                self._jobs.hurry(now)

    def _advance(self, client: Client, now: Now) -> None:
        """Take the client's next step: a request, a body, a piece of an upload."""
        if client not in self._clients:
            return
        if client.upload is not None:
            if client.http.state is State.STREAMING:
                self._pump(client, client.upload, now)
                return
            # It has answered itself: what still comes of it is thrown away.
            client.upload = None
            self._watch(client, ())
        while (request := client.http.next_request(now)) is not None:
            if not client.asked_at:
                client.asked_at = now.monotonic
            needed, client.needed = client.needed, None
            answer = (
                self._handler.handle(request, client.peer, self._jobs, now)
                if needed is None
                else self._handler.go_on(request, needed, client.peer, self._jobs, now)
            )
            self._apply(client, answer, now)

    def _apply(self, client: Client, answer: Answer, now: Now) -> None:
        match answer:
            case Response():
                self._respond(client, answer, now)
            case NeedBody():
                client.needed = answer
                client.http.read_body(answer.limit, now)
            case Wait():
                client.wait = answer
                client.lease = answer.lease
                self._watch(client, tuple(answer.jobs))
            case Upload():
                client.http.stream_body(now)
                client.upload = answer
                client.uploaded = 0
                self._watch(client, (answer.job_id,))
                self._pump(client, answer, now)
        if self._jobs.closing and self._status is None:
            self._log.info(now, "ending", request="DELETE /")
            self._end(1, now)

    def _respond(self, client: Client, response: Response, now: Now) -> None:
        client.wait = None
        client.upload = None
        client.lease = response.lease
        client.http.respond(response, now)
        watched = client.http.watched
        self._watch(client, () if watched is None else (watched,))
        self._flushable[client] = None

    def _resume(self, client: Client, wait: Wait, now: Now) -> None:
        self._apply(client, self._handler.resume(wait, self._jobs, now), now)
        self._flushable[client] = None

    def _pump(self, client: Client, upload: Upload, now: Now) -> None:
        """Move what has arrived of an upload into the job's stdin, as far as that has room."""
        job = self._jobs.get(upload.job_id)
        try:
            if job is None:
                raise StdinClosedError
            if job.run is None and not job.over:
                # It waits in the queue, and so do we.
                client.http.pause_body()
                return
            room = self._jobs.stdin_room(job)
            if not room:
                client.http.pause_body()
                return
            piece = client.http.next_piece(room, now)
            if piece is None:
                if upload.end:
                    self._jobs.end_stdin(job)
                answer = self._handler.uploaded(upload.job_id, client.uploaded, self._jobs)
                self._respond(client, answer, now)
            elif piece:
                client.uploaded += len(piece)
                self._jobs.write_stdin(job, piece)
            elif client.http.has_work:
                self._ready[client] = None
        except StdinClosedError:
            answer = self._handler.upload_refused(upload.job_id, client.uploaded)
            self._respond(client, answer, now)

    def _wake(self, now: Now) -> None:
        """Tell those who wait for a job that it has changed."""
        for job_id in self._jobs.take_changes():
            for client in list(self._watchers.get(job_id, ())):
                try:
                    self._wake_client(client, job_id, now)
                except Exception:
                    self._blame_ourselves(client, now)

    def _wake_client(self, client: Client, job_id: int, now: Now) -> None:
        if client.wait is not None:
            if self._handler.settle(client.wait, job_id, self._jobs):
                self._resume(client, client.wait, now)
        elif client.upload is not None:
            self._ready[client] = None
        elif not client.interest & _WRITE:
            # One that is full already is told by the kernel when it has room.
            self._flushable[client] = None

    def _send(self, client: Client, now: Now) -> None:
        budget = _SENT_PER_TURN
        http = client.http
        if http.state is State.RESPONDING and not client.answered:
            request = http.request
            client.answered = f"{request.method} {request.target}" if request else "- -"
            client.sent = 0
        while pieces := http.data_to_send(now):
            if budget <= 0:
                self._flushable[client] = None
                return
            count = client.send(pieces)
            if count is None:
                http.close(now)
                return
            if not count:
                return
            client.sent += count
            budget -= count
            http.sent(count, now)
        if http.has_more_to_send:
            self._flushable[client] = None

    def _settle(self, client: Client, now: Now) -> None:
        """After a client's turn: log, close, wait for the right thing until the right time."""
        http = client.http
        state = http.state
        if client.answered and state is not State.RESPONDING:
            self._log_answer(client, now)
        if state is State.CLOSED:
            self._drop(client, now)
            return
        if state is State.LINGERING and not client.shut:
            client.shut_down()
        if state in (State.IDLE, State.FRESH):
            self._idle[client] = None
        else:
            self._idle.pop(client, None)
        if http.has_work and client.upload is None:
            self._ready[client] = None
        if client.waits and not http.wants_data and not http.peer_closed:
            # It sends on and on while its answer is not due. To stop reading would be not to
            # see it hang up.
            self._drop(client, now)
            return
        interest = _READ if http.wants_data else 0
        if http.has_unsent and client not in self._flushable:
            interest |= _WRITE
        self._set_interest(client, interest)
        # A connection that waits for a job has no deadline of its own.
        deadline = client.wait.deadline if client.wait is not None else http.deadline
        if deadline is not None:
            self._deadlines.set(client, deadline)
        else:
            self._deadlines.clear(client)

    def _set_interest(self, client: Client, interest: int) -> None:
        if interest == client.interest:
            return
        if not client.interest:
            self._selector.register(client.sock, interest, client)
        elif not interest:
            self._selector.unregister(client.sock)
        else:
            self._selector.modify(client.sock, interest, client)
        client.interest = interest

    def _watch(self, client: Client, job_ids: Iterable[int]) -> None:
        """Let the client be woken when one of these jobs changes, and by no other."""
        for job_id in client.watched:
            watchers = self._watchers.get(job_id)
            if watchers is not None:
                watchers.discard(client)
                if not watchers:
                    del self._watchers[job_id]
        client.watched = tuple(job_ids)
        for job_id in client.watched:
            self._watchers.setdefault(job_id, set()).add(client)

    def _drop(self, client: Client, now: Now) -> None:
        """Close the client's socket and forget it."""
        if client not in self._clients:
            return
        self._clients.discard(client)
        self._idle.pop(client, None)
        self._ready.pop(client, None)
        self._deadlines.clear(client)
        self._watch(client, ())
        lease = client.wait.lease if client.wait is not None else client.lease
        if lease is not None and client.http.state is not State.IDLE:
            self._handler.hung_up(lease, self._jobs, now)
        client.http.close(now)
        if client.answered:
            self._log_answer(client, now)
        self._set_interest(client, 0)
        client.sock.close()

    def _log_answer(self, client: Client, now: Now) -> None:
        method, _, target = client.answered.partition(" ")
        client.answered = ""
        client.lease = None
        self._log.info(
            now,
            "request",
            peer=client.peer,
            method=method,
            target=redact(target),
            status=client.http.status,
            bytes=client.sent,
            seconds=round(read_clock().monotonic - client.asked_at, 6) if client.asked_at else 0,
        )
        client.asked_at = 0.0

    def _blame_ourselves(self, client: Client, now: Now) -> None:
        """A bug of ours: the client gets a 500 if it still can, the operator the traceback."""
        self._confess()
        if client not in self._clients:
            return
        try:
            if client.http.state is State.HANDED:
                answer = error(500, "internal server error", "this is a bug of the server")
                self._respond(client, answer, now)
            else:
                self._drop(client, now)
        except Exception:
            self._confess()
            self._drop(client, now)

    def _confess(self) -> None:
        import traceback

        self._log.trace(traceback.format_exc())

    def _end(self, status: int, now: Now) -> None:
        """Stop accepting, finish the answers under way, end all jobs."""
        self._status = status
        self._stop_listening()
        net.close(self._listeners)
        self._listeners = []
        self._jobs.shut_down(now)
        self._give_up_at = now.monotonic + self._settings.grace + _PATIENCE
        for client in list(self._clients):
            client.http.wind_down(now)
            self._flushable[client] = None

    def _has_ended(self, now: Now) -> bool:
        if self._status is None:
            return False
        if self._give_up_at is not None and now.monotonic >= self._give_up_at:
            return True
        return self._jobs.ended and not self._clients


def read_clock() -> Now:
    """What time it is: the one place that asks."""
    return Now(time.monotonic(), time.time_ns())


def _note(number: int, frame: object) -> None:
    pass
