"""The clients' side of the loop: connections accepted, requests handed on, answers sent.

It moves bytes between sockets and connections, gives every exchange its turn, and wakes
those that wait for a job. The selector is the server's; here it is only told for which
sockets, and for what, it is to look.
"""

import selectors

from rtot.api.exchange import State as Phase
from rtot.api.exchange import next_exchange
from rtot.api.handler import Handler
from rtot.api.record import Record
from rtot.api.traffic import CONNECTIONS, TLS
from rtot.clock import Now
from rtot.config import Settings
from rtot.deadlines import Deadlines
from rtot.http.connection import HttpConnection
from rtot.http.connection_state import State
from rtot.http.errors import RETRY, error
from rtot.jobs.table import JobTable
from rtot.jobs.unkept import Refused
from rtot.loop.client import Client
from rtot.loop.vitals import Vitals
from rtot.loop.watchers import Watchers
from rtot.system.listeners import Listener
from rtot.system.log import Log

_READ = selectors.EVENT_READ
_WRITE = selectors.EVENT_WRITE
_RESTING = frozenset({State.IDLE, State.FRESH, State.LINGERING})
_UNANSWERED = frozenset({State.HANDED, State.BODY, State.STREAMING, State.REFUSED})
_ACCEPTS = 64
# TLS handshakes per turn: each takes a millisecond of computing.
_HANDSHAKES = 4
# Bytes sent to one client in a turn.
_SENT_PER_TURN = 512 * 1024
# How often a client that is not read from is checked for a hang-up.
_PROBE = 5.0
# How often a client is looked at that has not got all of a response that broke off.
_ACKNOWLEDGED = 0.05
# How many idle clients are checked for a new request before one of them is closed.
_EVICTIONS = 16


class Clients:
    """All connected clients.

    The owner's duty, each turn: hand on what the selector tells (`accept`, `receive`,
    `writable`), then call `expire`, `decide`, `wake` with the jobs that have changed, and
    `flush`, in this order; and not wait for the selector while there is `has_work`.
    """

    def __init__(
        self,
        settings: Settings,
        handler: Handler,
        jobs: JobTable,
        selector: selectors.BaseSelector,
        log: Log,
        vitals: Vitals,
    ) -> None:
        self._settings = settings
        self._handler = handler
        self._jobs = jobs
        self._selector = selector
        self._log = log
        self._vitals = vitals
        self._clients: set[Client] = set()
        # The idle clients, in the order in which they became idle.
        self._idle: dict[Client, None] = {}
        # Clients that need attention in this turn. Those that `flush` adds have the next turn.
        self._active: dict[Client, None] = {}
        self.watchers = Watchers()
        self._deadlines: Deadlines[Client] = Deadlines()
        self._handshakes = 0

    def __len__(self) -> int:
        return len(self._clients)

    @property
    def has_work(self) -> bool:
        """Whether some client needs attention in the next turn at once."""
        return bool(self._active)

    def next_deadline(self) -> float | None:
        """When `expire` will next have something to do (monotonic)."""
        return self._deadlines.next()

    def accept(self, listener: Listener, now: Now) -> None:
        """Take connections that wait at the listener.

        Raises OSError when the machine has run out of what a connection needs; then leave
        the listener alone for a while.
        """
        for _ in range(_ACCEPTS):
            accepted = listener.accept()
            if accepted is None:
                return
            client = Client(*accepted, HttpConnection(self._settings, now))
            self._clients.add(client)
            self._vitals.accepted += 1
            self._vitals.connected += 1
            over = len(self._clients) - self._settings.max_connections
            if over > 0 and not self._evict(now):
                self._handler.traffic.refused(CONNECTIONS)
                if over > self._settings.max_refused:
                    self._drop(client, now)
                    continue
                client.http.refuse(503, "too many connections", now)
                self._active[client] = None
            try:
                self._end_turn(client, now)
            except OSError:
                # The selector has no room for it.
                self._drop(client, now)
                raise
            # Its first request has often arrived already.
            self.receive(client, now)

    def receive(self, client: Client, now: Now) -> None:
        """Something has arrived."""
        if client not in self._clients:
            return
        try:
            self._receive(client, now)
        except Exception as failure:
            # Received bytes may be lost, so that what follows cannot be trusted.
            self._answer_for_bug(client, failure, now)

    def _receive(self, client: Client, now: Now) -> None:
        if client.socket.handshaking:
            if self._handshakes >= _HANDSHAKES:
                # The selector will report it again in the next turn.
                return
            self._handshakes += 1
        room = client.http.room
        data = client.socket.receive(room) if room else None
        if data is None:
            # The handshake goes on, or is done and output may be waiting.
            self._active[client] = None
            return
        if client.socket.failure:
            self._handler.traffic.refused(TLS)
            self._log.warn_rarely(now, "no TLS", peer=client.peer, error=client.socket.failure)
        if not data and (client.waits or client.socket.handshaking or client.http.unused):
            # There is no request, or nobody left to read its response.
            self._drop(client, now)
            return
        self._idle.pop(client, None)
        client.http.receive_data(data, now)
        self._active[client] = None

    def writable(self, client: Client, now: Now) -> None:
        """The socket can take more output."""
        if client.socket.blocked:
            self.receive(client, now)
        self._active[client] = None

    def expire(self, now: Now) -> None:
        """Do what is due."""
        self._handshakes = 0
        for client in self._deadlines.due(now.monotonic):
            try:
                self._expire(client, now)
            except Exception as failure:
                self._answer_for_bug(client, failure, now)
            self._active[client] = None

    def decide(self, now: Now) -> None:
        """Let the clients that need attention take their next step."""
        for client in list(self._active):
            try:
                self._advance(client, now)
            except Exception as failure:
                self._answer_for_bug(client, failure, now)

    def wake(self, changes: set[int], now: Now) -> None:
        """Tell those who wait for one of these jobs that it has changed."""
        for job_id in changes:
            for client in self.watchers.of(job_id):
                try:
                    self._wake(client, job_id, now)
                except Exception as failure:
                    self._answer_for_bug(client, failure, now)

    def not_kept(self, refused: Refused, now: Now) -> None:
        """What was decided in this turn could not be kept."""
        for client in list(self._active):
            if client.exchange is not None:
                try:
                    client.exchange.not_kept(refused, now)
                except Exception as failure:
                    self._answer_for_bug(client, failure, now)

    def flush(self, now: Now) -> None:
        """Begin the answers that are decided, and send what clients will take."""
        active, self._active = self._active, {}
        # All begin before one is sent: in a burst the receivers are woken once, and not each.
        for client in active:
            if client.exchange is not None and not client.socket.handshaking:
                try:
                    client.exchange.begin(now)
                except Exception as failure:
                    self._answer_for_bug(client, failure, now)
        for client in active:
            if client not in self._clients:
                continue
            try:
                self._send(client, now)
                self._end_turn(client, now)
            except Exception as failure:
                self._answer_for_bug(client, failure, now)

    def revoke(self, now: Now) -> None:
        """Close on those whose secret is not good any more, in the midst of what they get."""
        for client in list(self._clients):
            exchange = client.exchange
            if exchange is not None and not self._handler.is_good(exchange.credential):
                self._drop(client, now)

    def wind_down(self, now: Now) -> None:
        """Finish the answers under way and close."""
        for client in self._clients:
            client.http.wind_down(now)
            self._active[client] = None

    def close(self, now: Now) -> None:
        """Close them all, whatever was under way."""
        for client in list(self._clients):
            self._drop(client, now)

    def _evict(self, now: Now) -> bool:
        """Close the one that has been idle for longest; False if there is none.

        One whose next request is in the kernel already only seems to be idle.
        """
        for _ in range(min(_EVICTIONS, len(self._idle))):
            client = next(iter(self._idle))
            if client.http.state is not State.LINGERING:
                self.receive(client, now)
            if client not in self._clients:
                return True
            if client in self._idle:
                self._drop(client, now)
                return True
        return False

    def _expire(self, client: Client, now: Now) -> None:
        exchange = client.exchange
        feeding = exchange is not None and exchange.state is Phase.FEEDING
        if exchange is not None and client.http.deadline is None and exchange.deadline is not None:
            exchange.expire(now)
        elif feeding and client.http.deadline is None:
            # Nothing is read from it, so a hang-up would go unnoticed.
            if client.socket.has_hung_up():
                self._drop(client, now)
        else:
            client.http.expire(now)

    def _advance(self, client: Client, now: Now) -> None:
        """Take the client's next step: a request, a body, a piece of an upload."""
        if client not in self._clients:
            return
        if client.exchange is None:
            client.exchange = next_exchange(self._handler, client.http, client.peer, now)
        if client.exchange is not None:
            client.exchange.advance(now)
            # The wait may be over in this very turn.
            self.watchers.watch(client, client.exchange.topics)

    def _wake(self, client: Client, job_id: int, now: Now) -> None:
        exchange = client.exchange
        assert exchange is not None
        exchange.changed(job_id, now)
        match exchange.state:
            case Phase.WAITING:
                # For other jobs, or for more of this one.
                return
            case Phase.RESPONDING if client.interest & _WRITE:
                # Its socket is full. The selector will report when there is room.
                return
        self._active[client] = None

    def _send(self, client: Client, now: Now) -> None:
        if client.socket.handshaking:
            return
        exchange, http = client.exchange, client.http
        budget = _SENT_PER_TURN
        while pieces := http.data_to_send(now):
            if budget <= 0:
                self._active[client] = None
                return
            count = client.socket.send(pieces)
            if count is None:
                http.close(now)
                return
            if not count:
                return
            if exchange is not None:
                exchange.progressed(count, now)
            budget -= count
            http.sent(count, now)
        if http.has_more_to_send:
            self._active[client] = None

    def _end_turn(self, client: Client, now: Now) -> None:
        """After a client's turn: log, close, set the selector's interest and the deadline."""
        http = client.http
        state = http.state
        if state is State.CLOSED:
            self._drop(client, now)
            return
        exchange = client.exchange
        if exchange is not None:
            if exchange.state is Phase.RESPONDING and state is not State.RESPONDING:
                self._log_answer(client.peer, exchange.complete(now), now)
                client.exchange = exchange = None
            self.watchers.watch(client, () if exchange is None else exchange.topics)
        if state is State.BREAKING:
            self._break_off(client, now)
            return
        if state is State.LINGERING and not client.socket.shut:
            client.socket.shut_down()
        if state in _RESTING:
            self._idle[client] = None
        else:
            self._idle.pop(client, None)
        if http.has_work:
            self._active[client] = None
        room = http.room
        if client.waits and not room:
            # It has hung up; or it keeps sending while it waits, and a client that is not
            # read from cannot be seen to hang up.
            self._drop(client, now)
            return
        interest = _READ if room else 0
        if client.socket.blocked or (
            http.has_unsent and client not in self._active and not client.socket.handshaking
        ):
            interest |= _WRITE
        client.set_interest(self._selector, interest)
        deadline = http.deadline
        if exchange is not None and deadline is None:
            deadline = exchange.deadline
            if not interest and exchange.state is Phase.FEEDING:
                deadline = now.monotonic + _PROBE
        if deadline is not None:
            self._deadlines.set(client, deadline)
        else:
            self._deadlines.clear(client)

    def _break_off(self, client: Client, now: Now) -> None:
        """Reset the connection, but not before the client's kernel has got what was sent."""
        deadline = client.http.deadline
        assert deadline is not None
        client.set_interest(self._selector, 0)
        if not client.socket.unacknowledged() or deadline <= now.monotonic:
            self._drop(client, now)
            return
        self._deadlines.set(client, min(now.monotonic + _ACKNOWLEDGED, deadline))

    def _drop(self, client: Client, now: Now) -> None:
        """Close the client's socket and forget it."""
        if client not in self._clients:
            return
        self._clients.discard(client)
        self._vitals.connected -= 1
        self._idle.pop(client, None)
        self._active.pop(client, None)
        self._deadlines.clear(client)
        client.set_interest(self._selector, 0)
        client.http.close(now)
        client.socket.reset() if client.http.broke_off else client.socket.close()
        self.watchers.watch(client, ())
        exchange, client.exchange = client.exchange, None
        if exchange is not None:
            self._log_answer(client.peer, exchange.lost(now), now)

    def _log_answer(self, peer: str, record: Record | None, now: Now) -> None:
        if record is not None:
            self._log.request(now, peer, *record)

    def _answer_for_bug(self, client: Client, failure: Exception, now: Now) -> None:
        """Log a bug of ours, or a lack of memory; answer 500 or 503 if that is possible."""
        self._log.bug(failure, now)
        if client not in self._clients:
            return
        exchange = client.exchange
        if exchange is None or client.http.state not in _UNANSWERED:
            self._drop(client, now)
            return
        try:
            begun = exchange.state is Phase.AWAITING_KEEP
            if isinstance(failure, MemoryError):
                message = "there is no room for this now"
                exchange.answer(error(503, "out of memory", message, RETRY), now)
            else:
                exchange.answer(
                    error(500, "internal server error", "this is a bug of the server"), now
                )
            if begun:
                # Beginning the response failed.
                exchange.begin(now)
            self._active[client] = None
        except Exception as again:
            self._log.bug(again, now)
            self._drop(client, now)
