"""What is sent to a job's standard input: buffered up to a limit, written as the pipe takes it.

Bytes that were accepted are written before the end; after the end, or once the job has closed
its side, nothing more is accepted.
"""

from enum import Enum, auto

from rtot.jobs.commands import CloseStdin, Outbox, WriteStdin

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
    """The sender has ended it while bytes are pending."""
    CLOSED = auto()
    """All is written, or nobody reads it."""


# A transition that is not listed is a bug in the caller, and raises.
TRANSITIONS: dict[State, dict[Event, State]] = {
    State.OPEN: {Event.END_ASKED: State.ENDING, Event.CLOSED: State.CLOSED},
    State.ENDING: {Event.CLOSED: State.CLOSED},
    State.CLOSED: {},
}


class Stdin:
    """One job's. The owner writes what is `pending` and says what was `written`.

    Once it is `closed` the owner closes the pipe.
    """

    __slots__ = ("_state", "accepted", "pending")

    def __init__(self) -> None:
        self._state = State.OPEN
        self.accepted = 0
        """How many bytes there were so far."""
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
        self.accepted += len(data)
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


class Inputs:
    """The stdins of running jobs, by the id of the job.

    `write` and `end` take what clients send. `written` and `broken` report what the pipe did;
    they ignore a job that has no stdin any more.
    """

    __slots__ = ("_outbox", "_stdins")

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._stdins: dict[int, Stdin] = {}

    def open(self, job_id: int) -> None:
        """The job runs, and has a stdin."""
        self._stdins[job_id] = Stdin()

    def exited(self, job_id: int) -> None:
        """The job's process is gone."""
        stdin = self._stdins.pop(job_id, None)
        if stdin is not None and not stdin.closed:
            self._closed(job_id)

    def room(self, job_id: int) -> int:
        """How many bytes `write` takes now. Raises StdinClosedError."""
        return self._get(job_id).room

    def accepted(self, job_id: int) -> int:
        """How many bytes were sent to it so far. Raises StdinClosedError."""
        return self._get(job_id).accepted

    def write(self, job_id: int, data: bytes | memoryview) -> None:
        """Send `data`. Raises StdinClosedError."""
        stdin = self._get(job_id)
        idle = not stdin.pending
        stdin.write(data)
        if idle:
            self._outbox.command(WriteStdin(job_id))

    def pending(self, job_id: int) -> bytearray:
        """What is to be written. To be read, not changed."""
        stdin = self._stdins.get(job_id)
        return bytearray() if stdin is None else stdin.pending

    def end(self, job_id: int) -> None:
        """Close it once what was sent is written. Raises StdinClosedError."""
        stdin = self._get(job_id)
        stdin.end()
        if stdin.closed:
            self._closed(job_id)

    def written(self, job_id: int, count: int) -> None:
        """The pipe took the first `count` of the pending bytes."""
        stdin = self._stdins.get(job_id)
        if stdin is None or stdin.closed:
            return
        stdin.written(count)
        self._outbox.changed(job_id)
        if stdin.closed:
            self._closed(job_id)

    def broken(self, job_id: int) -> None:
        """The job has closed its side."""
        stdin = self._stdins.get(job_id)
        if stdin is not None and not stdin.closed:
            stdin.close()
            self._closed(job_id)

    def _get(self, job_id: int) -> Stdin:
        stdin = self._stdins.get(job_id)
        if stdin is None:
            raise StdinClosedError
        return stdin

    def _closed(self, job_id: int) -> None:
        self._outbox.command(CloseStdin(job_id))
        self._outbox.changed(job_id)
