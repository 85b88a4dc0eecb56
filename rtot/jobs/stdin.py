"""What is sent to a job's standard input: buffered up to a limit, written as the pipe takes it.

Bytes that were accepted are written before the end; after the end, or once the job has closed
its side, nothing more is accepted.
"""

from enum import Enum, auto

# How much may be pending before the sender has to wait.
BUFFER = 64 * 1024


class StdinClosedError(Exception):
    """The job has no open stdin."""


class State(Enum):
    __hash__ = object.__hash__

    OPEN = auto()
    ENDING = auto()
    """The end was asked for and comes when what is pending is written."""
    CLOSED = auto()


class Event(Enum):
    __hash__ = object.__hash__

    END_ASKED = auto()
    """And something is pending."""
    CLOSED = auto()
    """All is written, or nobody reads it."""


# Every cell that is not here is a bug of the caller and raises.
TRANSITIONS: dict[State, dict[Event, State]] = {
    State.OPEN: {Event.END_ASKED: State.ENDING, Event.CLOSED: State.CLOSED},
    State.ENDING: {Event.CLOSED: State.CLOSED},
    State.CLOSED: {},
}


class Stdin:
    """One job's. The owner writes what is `pending` and says what was `written`.

    Once it is `closed` the owner closes the pipe.
    """

    __slots__ = ("_state", "pending")

    def __init__(self) -> None:
        self._state = State.OPEN
        self.pending = bytearray()
        """To be read, not changed."""

    @property
    def closed(self) -> bool:
        return self._state is State.CLOSED

    @property
    def room(self) -> int:
        """How many bytes `write` takes now. Raises StdinClosedError."""
        self._check_open()
        return max(0, BUFFER - len(self.pending))

    def write(self, data: bytes | memoryview) -> None:
        """Accept `data`. Raises StdinClosedError."""
        self._check_open()
        self.pending += data

    def end(self) -> None:
        """Nothing more will be sent. Raises StdinClosedError."""
        self._check_open()
        if self.pending:
            self._move(Event.END_ASKED)
        else:
            self.close()

    def written(self, count: int) -> None:
        """The pipe took the first `count` bytes of what is pending."""
        del self.pending[:count]
        if not self.pending and self._state is State.ENDING:
            self.close()

    def close(self) -> None:
        """Nobody reads it any more, or all is written."""
        if self._state is not State.CLOSED:
            self._move(Event.CLOSED)
            self.pending.clear()

    def _check_open(self) -> None:
        if self._state is not State.OPEN:
            raise StdinClosedError

    def _move(self, event: Event) -> None:
        self._state = TRANSITIONS[self._state][event]
