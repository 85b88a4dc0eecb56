"""The states of a connection, and how one leads to another."""

from enum import Enum, auto


class State(Enum):
    # Enum.__hash__ is Python code that hashes the name, and would run at every transition.
    __hash__ = object.__hash__

    FRESH = auto()
    """Connected, and nothing received yet."""
    IDLE = auto()
    HEAD = auto()
    """Part of a request's head has arrived."""
    HANDED = auto()
    """A request was returned by `next_request` and has no response yet."""
    BODY = auto()
    """Its body is being read whole."""
    STREAMING = auto()
    """Its body is being read piece by piece."""
    REFUSED = auto()
    """The request is bad, too slow or one too many, and `refusal` says so to the peer."""
    RESPONDING = auto()
    BREAKING = auto()
    """A response under HTTP/1.0 broke off. Its end would look like the end of the body."""
    LINGERING = auto()
    """The last response was sent; what still arrives is read and discarded."""
    CLOSED = auto()


class Event(Enum):
    __hash__ = object.__hash__

    RECEIVED = auto()
    HEAD_ENDED = auto()
    BODY_WANTED = auto()
    STREAM_WANTED = auto()
    BODY_ENDED = auto()
    REFUSED = auto()
    ANSWERED = auto()
    SENT = auto()
    SENT_LAST = auto()
    SENT_PART = auto()
    CLOSED = auto()


_BEGINNING = {
    Event.RECEIVED: State.HEAD,
    Event.HEAD_ENDED: State.HANDED,
    Event.REFUSED: State.REFUSED,
}
# A transition that is not listed is a bug in the caller, and raises.
TRANSITIONS: dict[State, dict[Event, State]] = {
    State.FRESH: _BEGINNING,
    State.IDLE: _BEGINNING,
    State.HEAD: {Event.HEAD_ENDED: State.HANDED, Event.REFUSED: State.REFUSED},
    State.HANDED: {
        Event.BODY_WANTED: State.BODY,
        Event.STREAM_WANTED: State.STREAMING,
        Event.ANSWERED: State.RESPONDING,
    },
    State.BODY: {
        Event.BODY_ENDED: State.HANDED,
        Event.REFUSED: State.REFUSED,
        Event.ANSWERED: State.RESPONDING,
    },
    State.STREAMING: {Event.REFUSED: State.REFUSED, Event.ANSWERED: State.RESPONDING},
    State.REFUSED: {Event.ANSWERED: State.RESPONDING},
    State.RESPONDING: {
        Event.SENT: State.IDLE,
        Event.SENT_LAST: State.LINGERING,
        Event.SENT_PART: State.BREAKING,
    },
    State.BREAKING: {},
    State.LINGERING: {},
    State.CLOSED: {},
}
for _row in TRANSITIONS.values():
    _row[Event.CLOSED] = State.CLOSED
