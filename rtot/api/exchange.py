"""One request, from its head to the end of its answer. It links a connection to the jobs. No I/O.

All state with the lifetime of a request is here: what its answer waits for, the lease on a job,
the time of arrival, the number of bytes sent. A malformed request that the connection refused
has an exchange too, for its answer.

An answer is decided first and begun later, by `begin`. In between, changes can be made durable.
"""

from enum import Enum, auto

from rtot.api.answers import Answer, NeedBody, Reply, Upload, Wait
from rtot.api.control import deletion_not_kept, end_lease, upload_ahead, upload_refused, uploaded
from rtot.api.handler import Handled, Handler
from rtot.api.origins import mark
from rtot.api.record import Record, job_of, make_record
from rtot.api.streams import EventsBody
from rtot.api.submission import not_stored
from rtot.api.traffic import LOST
from rtot.clock import Now
from rtot.credentials import Credential
from rtot.http import connection_state
from rtot.http.connection import HttpConnection
from rtot.http.messages import Headers, Request, Response
from rtot.jobs.leases import Lease
from rtot.jobs.stdin import StdinClosedError
from rtot.jobs.unkept import Refused


class State(Enum):
    # Enum.__hash__ is Python code that hashes the name, and would run at every transition.
    __hash__ = object.__hash__

    ASKED = auto()
    """The handler has not seen it."""
    AWAITING_BODY = auto()
    WAITING = auto()
    """For jobs."""
    FEEDING = auto()
    """Its body goes to a job's stdin."""
    AWAITING_KEEP = auto()
    """The answer is decided and not begun."""
    RESPONDING = auto()
    OVER = auto()


class Event(Enum):
    __hash__ = object.__hash__

    BODY_NEEDED = auto()
    WAIT_BEGUN = auto()
    UPLOAD_BEGUN = auto()
    ANSWERED = auto()
    BEGUN = auto()
    SENT = auto()
    """All of the answer is."""
    LOST = auto()
    """The client is gone."""


# A transition that is not listed is a bug in the caller, and raises.
TRANSITIONS: dict[State, dict[Event, State]] = {
    State.ASKED: {
        Event.BODY_NEEDED: State.AWAITING_BODY,
        Event.WAIT_BEGUN: State.WAITING,
        Event.UPLOAD_BEGUN: State.FEEDING,
        Event.ANSWERED: State.AWAITING_KEEP,
    },
    State.AWAITING_BODY: {Event.WAIT_BEGUN: State.WAITING, Event.ANSWERED: State.AWAITING_KEEP},
    # For one thing after the other.
    State.WAITING: {Event.WAIT_BEGUN: State.WAITING, Event.ANSWERED: State.AWAITING_KEEP},
    State.FEEDING: {Event.ANSWERED: State.AWAITING_KEEP},
    # If what it reports cannot be made durable, another answer replaces it.
    State.AWAITING_KEEP: {
        Event.ANSWERED: State.AWAITING_KEEP,
        Event.WAIT_BEGUN: State.WAITING,
        Event.BEGUN: State.RESPONDING,
    },
    State.RESPONDING: {Event.SENT: State.OVER},
    State.OVER: {},
}
for _state in frozenset(State) - {State.OVER}:
    TRANSITIONS[_state][Event.LOST] = State.OVER


class _Feed:
    """An upload, and how many bytes of it the job's stdin has got."""

    __slots__ = ("count", "upload")

    def __init__(self, upload: Upload) -> None:
        self.upload = upload
        self.count = 0


_Data = NeedBody | Wait | _Feed | Reply | None


class Exchange:
    """The owner's duty: `advance` when more of the request may have come, `changed` when one of
    the jobs of `topics` has, `expire` at `deadline`; `begin` an answer that is decided, count
    what has `progressed`, and say when it is `complete`, or the client `lost`.
    """

    __slots__ = (
        "_data",
        "_handled",
        "_handler",
        "_http",
        "_last_sent",
        "_peer",
        "_request",
        "_since",
        "_state",
        "_whole_at",
        "id",
        "sent",
    )

    def __init__(
        self,
        handler: Handler,
        http: HttpConnection,
        peer: str,
        request: Request | None,
        now: Now,
    ) -> None:
        """`request` is None if the connection has refused it (a malformed head)."""
        self._handler = handler
        self._http = http
        self._peer = peer
        self._request = request
        self._since = now.monotonic
        # When all of the request was there. None if that does not tell how long it took us: what
        # is uploaded, waited for or followed takes as long as others like. It is no state, since
        # it has to do with no transition but is told of at the end.
        self._whole_at: float | None = now.monotonic
        self._state = State.ASKED
        self._handled: Handled | None = None
        self.id = handler.request_id(request)
        """By which the client and the log know it."""
        # What the state is about, None while it is about the request alone.
        self._data: _Data = None
        self.sent = 0
        """How many bytes the client has taken of the answer."""
        self._last_sent = now.monotonic

    @property
    def state(self) -> State:
        return self._state

    @property
    def credential(self) -> Credential | None:
        """What the client came with; None as long as it is not known, or needs no secret."""
        return None if self._handled is None else self._handled.credential

    @property
    def topics(self) -> tuple[int, ...]:
        """The jobs that it depends on, and whose changes it is to be told of."""
        match self._data:
            case None | NeedBody():
                return ()
            case Reply(sources=sources):
                topic = self._http.topic
                return (topic,) if topic is not None and not sources else sources
            case _Feed(upload=upload):
                return (upload.job_id,)
            case wait:
                return wait.topics

    @property
    def _unique(self) -> Headers:
        return (("X-Request-Id", self.id), ("Rtot-Server", self._handler.server_id))

    @property
    def waits(self) -> bool:
        """Whether its answer, or the rest of it, waits for a job."""
        if self._state is State.RESPONDING:
            return self._http.topic is not None
        return self._state is State.WAITING and bool(self.topics)

    @property
    def deadline(self) -> float | None:
        """When to call `expire` (monotonic)."""
        match self._data:
            case Reply(response=Response(body=EventsBody())) if self.waits:
                return self._last_sent + self._handler.settings.heartbeat
            case None | NeedBody() | Reply() | _Feed():
                return None
            case wait:
                return wait.deadline

    def advance(self, now: Now) -> None:
        """Take the next step of the request: to the handler, its body, a piece of an upload."""
        match self._data:
            case None if self._request is None:
                self._take_refusal(now)
            case None:
                assert self._request is not None
                self._handled = self._handler.handle(self._request, self._peer, now)
                self._take(self._handled.answer, now)
            case NeedBody() as needed:
                self._read_body(needed, now)
            case _Feed() as feed:
                self._feed(feed, now)
            case _:
                pass

    def changed(self, topic: int, now: Now) -> None:
        """A job of `topics` has changed or is gone."""
        match self._data:
            case None | NeedBody() | Reply():
                pass
            case _Feed() as feed:
                self._feed(feed, now)
            case wait:
                if wait.changed(topic):
                    self._take(wait.answer(), now)

    def expire(self, now: Now) -> None:
        """The time of `deadline` has come."""
        match self._data:
            case Reply(response=Response(body=EventsBody() as body)):
                if self.waits and (self.deadline or 0.0) <= now.monotonic:
                    body.rest(now.wall)
            case None | NeedBody() | Reply() | _Feed():
                pass
            case wait:
                if wait.deadline <= now.monotonic:
                    self._take(wait.answer(), now)

    def progressed(self, count: int, now: Now) -> None:
        """The client has taken so many bytes of the answer."""
        self.sent += count
        self._last_sent = now.monotonic

    def answer(self, response: Response, now: Now) -> None:
        """Decide on `response` as the answer, in place of one decided earlier."""
        self._move(Event.ANSWERED, Reply(response), now)

    def not_kept(self, refused: Refused, now: Now) -> None:
        """What has happened in this turn could not be kept.

        Whoever asked for a job that was refused is told so, and whoever deleted one that it may
        come back. An answer that tells of jobs is decided anew. What has ended is told as it is.
        """
        if self._state not in (State.AWAITING_KEEP, State.WAITING) or self._request is None:
            return
        handled = self._handled
        route = None if handled is None else handled.route
        if route is None or not route.path.startswith("/jobs"):
            return
        response = self._data.response if isinstance(self._data, Reply) else None
        about = {*self.topics, job_of(response, handled or _UNHANDLED)}
        if not about.isdisjoint(job.id for job in refused.jobs):
            self.answer(not_stored(refused.why), now)
        elif route.method == "DELETE" and (response is None or response.status == 204):
            self.answer(deletion_not_kept(refused.why), now)
        elif route.method == "GET" and self._state is State.AWAITING_KEEP:
            again = self._request._replace(body=b"")
            self._handled = self._handler.handle(again, self._peer, now)
            self._take(self._handled.answer, now)

    def begin(self, now: Now) -> None:
        """Begin the answer if one is decided: from now on there are bytes of it to be sent."""
        if self._state is State.AWAITING_KEEP:
            assert isinstance(self._data, Reply)
            self._last_sent = now.monotonic
            allowed = self._handler.settings.allowed_origins
            response = mark(self._data.response, self._request, allowed)
            self._http.respond(response, now, self._unique)
            if self._http.topic is not None:
                self._whole_at = None
            self._move(Event.BEGUN, self._data, now)

    def complete(self, now: Now) -> Record:
        """All of the answer is sent: what the log is to tell of it."""
        record = self._record(now)
        self._move(Event.SENT, None, now)
        return record

    def lost(self, now: Now) -> Record | None:
        """The client is gone, or sent away: what the log is to tell of a request that was judged.

        Its lease on a job is released.
        """
        record = self._record(now) if self._data is not None else None
        self._move(Event.LOST, None, now)
        return record

    def _move(self, event: Event, data: _Data, now: Now) -> None:
        after = TRANSITIONS[self._state].get(event)
        if after is None:
            raise AssertionError(f"{event.name} of an exchange that is {self._state.name}")
        before, self._data = self._data, data
        self._state = after
        if before is not data:
            self._change_lease(_lease(before), _lease(data), event is Event.LOST, now)

    def _change_lease(
        self, before: Lease | None, after: Lease | None, lost: bool, now: Now
    ) -> None:
        """Take the lease that there is now, and release the one that there was before."""
        if before is after:
            return
        jobs = self._handler.jobs
        if after is not None:
            jobs.leases.take(after.job_id)
        if before is None:
            return
        if not lost and not before.seconds:
            # It has its answer, and the job runs on.
            jobs.leases.give_back(before.job_id)
        elif jobs.leases.release(before, now.monotonic):
            by = None if self._handled is None else self._handled.by
            end_lease(before.job_id, jobs, self._handler.settings, now, by)

    def _take(self, answer: Answer, now: Now) -> None:
        match answer:
            case Response():
                self._move(Event.ANSWERED, Reply(answer), now)
            case Reply():
                self._move(Event.ANSWERED, answer, now)
            case NeedBody():
                self._move(Event.BODY_NEEDED, answer, now)
                self._http.read_body(answer.limit, now)
                self._read_body(answer, now)
            case Upload():
                feed = _Feed(answer)
                self._whole_at = None
                self._move(Event.UPLOAD_BEGUN, feed, now)
                self._http.stream_body(now)
                self._feed(feed, now)
            case wait:
                self._whole_at = None
                self._move(Event.WAIT_BEGUN, wait, now)

    def _read_body(self, needed: NeedBody, now: Now) -> None:
        request = self._http.next_request(now)
        if request is not None:
            assert request.body is not None
            self._whole_at = now.monotonic
            self._take(self._handler.go_on(needed, request.body, now), now)
        else:
            self._take_refusal(now)

    def _take_refusal(self, now: Now) -> None:
        """The answer is the connection's, if it has refused the request."""
        if self._http.refusal is not None:
            self._take(self._http.refusal, now)

    def _feed(self, feed: _Feed, now: Now) -> None:
        """Move what has arrived into the job's stdin, as far as that has room."""
        http = self._http
        if http.state is not connection_state.State.STREAMING:
            self._take_refusal(now)
            return
        jobs, job_id = self._handler.jobs, feed.upload.job_id
        job = jobs.get(job_id)
        try:
            if job is None:
                raise StdinClosedError
            waiting = job.running is None and not job.over
            room = 0 if waiting else jobs.inputs.room(job_id)
            if not room:
                http.pause_body()
                return
            offset, accepted = feed.upload.offset, jobs.inputs.accepted(job_id)
            if offset is not None and offset > accepted:
                self._take(upload_ahead(job_id, offset, accepted), now)
                return
            while piece := http.next_piece(room, now):
                new = self._new_of(feed, piece)
                feed.count += len(piece)
                if new:
                    jobs.inputs.write(job_id, new)
                    return
                # The job has all of this: nothing will come of it that would bring the next.
            if piece is None:
                if feed.upload.close:
                    jobs.inputs.end(job_id)
                self._take(uploaded(job_id, feed.count, jobs), now)
            else:
                self._take_refusal(now)
        except StdinClosedError:
            self._take(upload_refused(job_id, feed.count), now)

    def _new_of(self, feed: _Feed, piece: bytes | memoryview) -> bytes | memoryview:
        """The part of the upload's next piece that the job's stdin does not have yet."""
        upload = feed.upload
        if upload.offset is None:
            return piece
        there = self._handler.jobs.inputs.accepted(upload.job_id)
        return piece[max(0, there - (upload.offset + feed.count)) :]

    def _record(self, now: Now) -> Record:
        """Count the answer, and make what the log is to tell."""
        handled = self._handled or _UNHANDLED
        begun = self._state is State.RESPONDING
        status = self._http.status if begun else LOST
        # Without an answer nobody can say how long it took.
        timed = begun and self._whole_at is not None
        seconds = now.monotonic - (self._whole_at or 0.0) if timed else None
        self._handler.traffic.answered(handled.route, status, seconds)
        job = job_of(self._data.response if isinstance(self._data, Reply) else None, handled)
        if job is None and handled.route is not None and handled.route.method == "POST":
            # It waits for the one that it has submitted.
            job = next(iter(self.topics), None)
        took = now.monotonic - self._since
        return make_record(self._request, handled, status, self.sent, took, job, self.id)


# The connection has refused the request.
_UNHANDLED = Handled(Response(0))


def _lease(data: _Data) -> Lease | None:
    return None if data is None or isinstance(data, NeedBody | _Feed) else data.lease


def next_exchange(handler: Handler, http: HttpConnection, peer: str, now: Now) -> Exchange | None:
    """The exchange of the next request, or of its refusal; None if there is none yet.

    Call this only when the previous exchange is over.
    """
    request = http.next_request(now)
    if request is None and http.refusal is None:
        return None
    return Exchange(handler, http, peer, request, now)
