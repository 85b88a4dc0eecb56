"""One job on one server, from its submission to its end.

`Run.work` is for a thread of its own and waits for the server. What the user wants meanwhile comes
in by `Run.signalled`, which never waits.
"""

import threading
from collections.abc import Callable
from enum import Enum, auto
from signal import Signals

from rtot.client.connection import Request
from rtot.client.ending import OURS, ending
from rtot.client.events import Event, Story
from rtot.client.failures import FailedError, GaveUpError, ReaderGoneError, RefusedError
from rtot.client.receipts import receipt_line, short
from rtot.client.screen import Sink
from rtot.client.session import Session
from rtot.client.stdin import feed
from rtot.client.submission import Order

# How long a job lives on without its client, which may be about to connect again.
LEASE = 60
# How long its end waits for the receipt of a kill, in seconds.
_RECEIPT = 2.0
# After so many signals the client leaves at once.
_LEAVE = 3


class Phase(Enum):
    """Of a run; each is followed by the next, or by OVER."""

    WAITING = auto()
    """It is to begin."""
    CONNECTING = auto()
    """No server knows of the job."""
    SUBMITTING = auto()
    """A server may know of it, and has not told which it is."""
    RUNNING = auto()
    """The job has a path."""
    OVER = auto()


def _in_a_thread(action: Callable[[], None]) -> None:
    # It does not keep the client from ending.
    threading.Thread(target=action, daemon=True).start()


class Run:
    """`owned`: the job ends when this client has gone. `reads`: our stdin is the job's."""

    def __init__(
        self,
        connect: Callable[[], Session],
        order: Order,
        sink: Sink,
        *,
        owned: bool = True,
        reads: bool = False,
        begin: Callable[[Callable[[], None]], None] = _in_a_thread,
    ) -> None:
        """`connect` makes sessions with the one server, for what `begin` has done meanwhile."""
        self._connect = connect
        self._order = order
        self._sink = sink
        self._owned = owned
        self._reads = reads
        self._beside = begin
        self._lock = threading.Lock()
        self._path: str | None = None
        self._phase = Phase.WAITING
        self._signals: list[int] = []
        self._killed: threading.Event | None = None
        """Set when the job's receipt is there, if we have killed it."""

    def work(self) -> int:
        """Run it; the exit status. Raises ReaderGoneError."""
        try:
            return self._run()
        except ReaderGoneError:
            if self._owned and self._path is not None:
                # Nobody is there to see what it does.
                self._act(self._hang_up)
            raise
        except FailedError as error:
            self._sink.tell(self._explained(error))
            return OURS
        finally:
            self._move(Phase.OVER)
            self._sink.close()

    def submit(self) -> str | None:
        """Submit it, and do not stay; its id. None if that failed, and the user was told."""
        try:
            session = self._connect()
            session.read(Request("GET", "/ping"))
            reply = session.read(self._order.request(("fields", "")))
            return reply.headers["location"].rpartition("/")[2]
        except FailedError as error:
            self._sink.tell(self._explained(error))
            return None

    def signalled(self, number: int) -> int | None:
        """The user has sent us that signal. An exit status if we are to leave at once."""
        with self._lock:
            self._signals.append(number)
            count, phase = len(self._signals), self._phase
        leaves = 128 + number
        match phase:
            case Phase.WAITING | Phase.CONNECTING | Phase.OVER:
                return leaves
            case Phase.SUBMITTING:
                # Delivered as soon as the job is known.
                return leaves if count > 1 else None
            case Phase.RUNNING if count >= _LEAVE:
                return leaves
            case Phase.RUNNING:
                self._pass_on(number, again=count > 1)
        return None

    def _move(self, phase: Phase) -> list[int]:
        """Begin a phase; the signals that came before."""
        with self._lock:
            self._phase = phase
            return list(self._signals)

    def _run(self) -> int:
        if signals := self._move(Phase.CONNECTING):
            return 128 + signals[0]
        session = self._connect()
        # To know the server's life before there is a job that may get lost with it.
        session.read(Request("GET", "/ping"))
        if signals := self._move(Phase.SUBMITTING):
            return 128 + signals[0]
        parameters = [("follow", "events"), ("times", "unix")]
        if self._owned:
            parameters.append(("lease", str(LEASE)))
        if self._reads:
            parameters.append(("stdin", "open"))
        story = Story(session, follow=True, lease=LEASE if self._owned else 0)
        for event in story.of_new(self._order.request(*parameters)):
            match event.name:
                case "location":
                    self._submitted(event.data.decode())
                case "out" | "err":
                    self._sink.write(event.name, event.data)
                case "hint":
                    self._sink.tell(f"hint: {event.fields['text']}")
                case "complete":
                    return self._completed(event)
        raise FailedError("the server told of no end")

    def _submitted(self, path: str) -> None:
        self._path = path
        signals = self._move(Phase.RUNNING)
        if self._reads:
            self._begin(self._feed)
        if signals:
            self._pass_on(signals[0], again=False)

    def _completed(self, event: Event) -> int:
        if self._killed is not None:
            self._killed.wait(_RECEIPT)
        status, why = ending(event.fields)
        if why:
            self._sink.tell(f"{self._name} {why}")
        return status

    @property
    def _name(self) -> str:
        assert self._path is not None
        return f"job {self._path.rpartition('/')[2]}"

    def _explained(self, error: FailedError) -> str:
        if self._path is None:
            return str(error)
        job_id = self._path.rpartition("/")[2]
        if isinstance(error, GaveUpError):
            fate = f"ends in {LEASE} s without a client" if self._owned else "runs on"
            return f"{error}: job {job_id} {fate}; to go on: rtot logs -f {job_id}"
        if isinstance(error, RefusedError) and error.status == 404:
            return f"job {job_id} is gone: it was deleted"
        return f"job {job_id}: {error}"

    def _pass_on(self, number: int, *, again: bool) -> None:
        if not again:
            self._sink.tell(f"{short(Signals(number).name)} for {self._name} (again: KILL)")
            self._begin(self._deliver, Signals(number))
        elif self._killed is None:
            self._killed = threading.Event()
            self._begin(self._end, self._killed)

    def _feed(self, session: Session, path: str) -> None:
        try:
            feed(session, path)
        except FailedError:
            # Half of its input must not look whole to the job.
            self._kill(self._connect(), path, Signals.SIGTERM)
            raise

    def _hang_up(self, session: Session, path: str) -> None:
        """As a terminal does that goes away. What is left ends when its lease does."""
        session.read(_signal(path, Signals.SIGHUP, "&grace=never"))

    def _deliver(self, session: Session, path: str, signal: Signals) -> None:
        """Let the job decide what to do about it. One that has not started is ended."""
        try:
            session.read(_signal(path, signal, "&grace=never"))
        except RefusedError as refused:
            if refused.status != 409:
                raise
            self._kill(session, path, signal)

    def _end(self, session: Session, path: str, killed: threading.Event) -> None:
        try:
            self._kill(session, path, Signals.SIGKILL)
        finally:
            killed.set()

    def _kill(self, session: Session, path: str, signal: Signals) -> None:
        try:
            reply = session.read(_signal(path, signal), silence=None)
        except RefusedError as refused:
            if refused.status not in (404, 409):
                raise
            # It is complete, or gone.
            return
        self._sink.tell(f"{self._name}: {receipt_line(reply.json())}")

    def _begin(self, action: Callable[..., object], *args: object) -> None:
        self._beside(lambda: self._act(action, *args))

    def _act(self, action: Callable[..., object], *args: object) -> None:
        """Beside what `work` does, over another connection."""
        assert self._path is not None
        session = self._connect()
        try:
            action(session, self._path, *args)
        except FailedError as error:
            self._sink.tell(self._explained(error))
        finally:
            session.close()


def _signal(path: str, signal: Signals, more: str = "") -> Request:
    return Request("POST", f"{path}/kill?signal={short(signal.name)}{more}")
