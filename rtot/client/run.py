"""One job on one server, from its submission to its end.

`Run.work` is for a thread of its own and waits for the server. What the user wants meanwhile comes
in by `Run.signalled`, which never waits: what it brings about has a thread and a connection too.
"""

import threading
from collections.abc import Callable
from signal import Signals

from rtot.client.connection import Request
from rtot.client.ending import OURS, ending
from rtot.client.events import Event as Told
from rtot.client.events import Story, job_at
from rtot.client.failures import FailedError, GaveUpError, ReaderGoneError, RefusedError
from rtot.client.jobs import get_job, id_of
from rtot.client.lease import LEASE, LeaseKeeper
from rtot.client.phases import TRANSITIONS, Event, Phase, Reaction, reaction
from rtot.client.receipts import receipt_line, short
from rtot.client.screen import Sink
from rtot.client.session import Session
from rtot.client.stdin import feed
from rtot.client.submission import Order

_BEFORE_THE_JOB = {Phase.WAITING, Phase.CONNECTING, Phase.SUBMITTING}
# How long its end waits for the receipt of a kill, in seconds.
_RECEIPT = 2.0


def _in_a_thread(action: Callable[[], None]) -> None:
    # It does not keep the client from ending.
    threading.Thread(target=action, daemon=True).start()


class Run:
    """`keeper`: the job ends when this client has gone, but not because its reader is slow.

    `reads`: our stdin is the job's.
    """

    def __init__(
        self,
        connect: Callable[[], Session],
        order: Order,
        sink: Sink,
        *,
        keeper: LeaseKeeper | None = None,
        reads: bool = False,
        begin: Callable[[Callable[[], None]], None] = _in_a_thread,
    ) -> None:
        """`connect` makes sessions with the one server, for what `begin` has done meanwhile."""
        self._connect = connect
        self._order = order
        self._sink = sink
        self._keeper = keeper
        self._reads = reads
        self._beside = begin
        self._lock = threading.Lock()
        # Under the lock, as signals come at any time.
        self._phase = Phase.WAITING
        self._interrupts = 0
        self._early: int | None = None
        """The first signal that came before the job was known."""
        self._session: Session | None = None
        self._killed: threading.Event | None = None
        """Set when the job's receipt is there, if we have killed it."""
        # Written once, before RUNNING.
        self._path = ""

    def work(self) -> int:
        """Run it; the exit status. Raises ReaderGoneError."""
        try:
            status = self._told_why(self._run)
            # What it has kept until now may fail to be written, too.
            return self._told_why(self._close) or status
        except ReaderGoneError:
            if self._keeper is not None and self._path:
                # Nobody is there to see what it does.
                self._act(self._hang_up)
            raise
        finally:
            if self._keeper is not None:
                self._keeper.end()
            self._move(Event.ENDED)

    def _close(self) -> int:
        self._sink.close()
        return 0

    def _told_why(self, work: Callable[[], int]) -> int:
        try:
            return work()
        except FailedError as error:
            if self._early is not None and not self._path:
                if self._phase is Phase.SUBMITTING:
                    self._sink.tell(f"left without an answer (see rtot ls): {error}")
                return 128 + self._early
            self._sink.tell(self._explained(error))
            return OURS

    def submit(self) -> str | None:
        """Submit it, and do not stay; its id. None if that failed, and the user was told."""
        try:
            session = self._connect()
            session.read(Request("GET", "/ping"))
            reply = session.read(self._order.request(("fields", "")))
            return id_of(job_at(reply.header("location")))
        except FailedError as error:
            self._sink.tell(self._explained(error))
            return None

    def signalled(self, number: int) -> Reaction:
        """The user has sent us that signal. What comes of it; to LEAVE is up to the caller."""
        with self._lock:
            found = reaction(self._phase, number, self._interrupts)
            self._interrupts += number == Signals.SIGINT
            first = self._killed is None
            if found in (Reaction.HOLD, Reaction.LEAVE) and self._phase in _BEFORE_THE_JOB:
                self._early = self._early or number
                if self._session is not None:
                    # Whoever has had enough waits for an answer, but not for a server.
                    self._session.retries.stop()
            elif found is Reaction.KILL and first:
                self._killed = threading.Event()
        match found:
            case Reaction.HOLD:
                what = "the job may be submitted already: waiting for the answer (again: leave)"
                self._beside(lambda: self._sink.tell(what))
            case Reaction.DELIVER:
                self._begin(self._deliver, Signals(number))
            case Reaction.KILL if first:
                self._begin(self._end)
        return found

    def _move(self, event: Event) -> None:
        with self._lock:
            self._phase = TRANSITIONS[self._phase][event]

    def _run(self) -> int:
        session = self._connect()
        with self._lock:
            self._session = session
        if self._early is not None:
            return 128 + self._early
        self._move(Event.BEGUN)
        # To know the server's life before there is a job that may get lost with it.
        session.read(Request("GET", "/ping"))
        if self._early is not None:
            return 128 + self._early
        self._move(Event.MET)
        parameters = [("follow", "events"), ("times", "unix")]
        if self._keeper is not None:
            parameters.append(("lease", str(LEASE)))
        if self._reads:
            parameters.append(("stdin", "open"))
        story = Story(session, follow=True, lease=0 if self._keeper is None else LEASE)
        for told in story.of_new(self._order.request(*parameters)):
            match told.name:
                case "location":
                    self._submitted(told.data.decode())
                case "out" | "err":
                    self._write(told)
                case "hint":
                    self._sink.tell(f"hint: {told.fields['text']}")
                case "complete":
                    return self._completed(told)
        raise FailedError("the server told of no end")

    def _submitted(self, path: str) -> None:
        self._path = path
        self._move(Event.SUBMITTED)
        if self._keeper is not None:
            self._keeper.begin(path)
        if self._reads:
            self._begin(self._feed)
        if self._early is not None:
            self._begin(self._deliver, Signals(self._early))

    def _write(self, told: Told) -> None:
        if self._keeper is None:
            self._sink.write(told.name, told.data)
            return
        self._keeper.write_begun()
        try:
            self._sink.write(told.name, told.data)
        finally:
            self._keeper.write_ended()

    def _completed(self, told: Told) -> int:
        if self._killed is not None:
            self._killed.wait(_RECEIPT)
        status, why = ending(told.fields)
        if why:
            self._sink.tell(f"{self._name} {why}")
        return status

    @property
    def _name(self) -> str:
        return f"job {id_of(self._path)}"

    def _explained(self, error: FailedError) -> str:
        if not self._path:
            return str(error)
        if isinstance(error, GaveUpError):
            fate = "runs on" if self._keeper is None else "ends without its client"
            return f"{error}: {self._name} {fate}; to go on: rtot logs -f {id_of(self._path)}"
        if isinstance(error, RefusedError) and error.status == 404:
            return f"{self._name} is gone: it was deleted"
        return f"{self._name}: {error}"

    def _feed(self, session: Session) -> None:
        try:
            feed(session, self._path)
        except FailedError as error:
            self._sink.tell(f"{self._name} does not get all of its stdin, and is ended: {error}")
            # Half of it must not look whole to the job.
            self._kill(session, Signals.SIGTERM)

    def _hang_up(self, session: Session) -> None:
        """As a terminal does that goes away. What is left ends when its lease does."""
        try:
            session.read(self._signal(Signals.SIGHUP, "&grace=never"), once=True)
        except RefusedError as refused:
            # 409: it has ended already.
            if refused.status != 409:
                raise

    def _deliver(self, session: Session, signal: Signals) -> None:
        """Let the job decide what to do about it. One that has not started is ended."""
        again = " (again: KILL)" if signal is Signals.SIGINT else ""
        try:
            session.read(self._signal(signal, "&grace=never"), once=True)
        except RefusedError as refused:
            if refused.status != 409:
                raise
            if get_job(session, self._path, "fields=")["state"] == "new":
                self._kill(session, Signals.SIGTERM)
        else:
            self._sink.tell(f"{short(signal.name)} sent to {self._name}{again}")

    def _end(self, session: Session) -> None:
        assert self._killed is not None
        try:
            self._kill(session, Signals.SIGKILL)
        finally:
            self._killed.set()

    def _kill(self, session: Session, signal: Signals) -> None:
        try:
            reply = session.read(self._signal(signal), silence=None)
        except RefusedError as refused:
            if refused.status not in (404, 409):
                raise
            # It is complete, or gone.
            return
        self._sink.tell(f"{self._name}: {receipt_line(reply.json())}")

    def _signal(self, signal: Signals, more: str = "") -> Request:
        return Request("POST", f"{self._path}/kill?signal={short(signal.name)}{more}")

    def _begin(self, action: Callable[..., object], *args: object) -> None:
        self._beside(lambda: self._act(action, *args))

    def _act(self, action: Callable[..., object], *args: object) -> None:
        """Beside what `work` does, over another connection."""
        session = self._connect()
        try:
            action(session, *args)
        except FailedError as error:
            self._sink.tell(self._explained(error))
        finally:
            session.close()
