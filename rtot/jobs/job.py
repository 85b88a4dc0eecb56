"""One job: what it is, the states it goes through, and what each state has to remember.

Exit of the leader and end of the pipes are independent facts, and either may come first.
A job is complete when both have come, or when the pipes have been held open by somebody
else for longer than the drain time; then it is complete and HELD, and what the holder
writes is still collected.
"""

from collections.abc import Mapping
from enum import Enum, auto
from types import MappingProxyType
from typing import Any, NamedTuple

from rtot.jobs.output import NOTHING_DROPPED, Output, Stream
from rtot.jobs.stop import Stop


class State(Enum):
    # Enum.__hash__ is Python code that hashes the name, and would run at every transition.
    __hash__ = object.__hash__

    BLOCKED = auto()
    """To come after other jobs, or after some time."""
    NEW = auto()
    """In the queue."""
    STARTING = auto()
    """Chosen to be started in this turn."""
    RUNNING = auto()
    MUTE = auto()
    """Running, with both outputs closed by the job."""
    DRAINING = auto()
    """The leader has exited, its outputs are still open."""
    HELD = auto()
    """Complete, although somebody still holds the outputs."""
    COMPLETE = auto()


class Event(Enum):
    __hash__ = object.__hash__

    RELEASED = auto()
    DISPATCHED = auto()
    DEFERRED = auto()
    STARTED = auto()
    REFUSED = auto()
    CANCELLED = auto()
    OUTPUTS_CLOSED = auto()
    EXITED = auto()
    DRAIN_EXPIRED = auto()


# A transition that is not listed is a bug in the caller, and raises.
TRANSITIONS: dict[State, dict[Event, State]] = {
    State.BLOCKED: {Event.RELEASED: State.NEW, Event.CANCELLED: State.COMPLETE},
    State.NEW: {Event.DISPATCHED: State.STARTING, Event.CANCELLED: State.COMPLETE},
    State.STARTING: {
        Event.STARTED: State.RUNNING,
        Event.DEFERRED: State.NEW,
        Event.REFUSED: State.COMPLETE,
        Event.CANCELLED: State.COMPLETE,
    },
    State.RUNNING: {Event.OUTPUTS_CLOSED: State.MUTE, Event.EXITED: State.DRAINING},
    State.MUTE: {Event.EXITED: State.COMPLETE},
    State.DRAINING: {Event.OUTPUTS_CLOSED: State.COMPLETE, Event.DRAIN_EXPIRED: State.HELD},
    State.HELD: {Event.OUTPUTS_CLOSED: State.COMPLETE},
    State.COMPLETE: {},
}

# The three states that clients see.
SHOWN = {
    State.BLOCKED: "new",
    State.NEW: "new",
    State.STARTING: "new",
    State.RUNNING: "running",
    State.MUTE: "running",
    State.DRAINING: "running",
    State.HELD: "complete",
    State.COMPLETE: "complete",
}

OVER = frozenset({State.HELD, State.COMPLETE})
UNSTARTED = frozenset({State.BLOCKED, State.NEW, State.STARTING})


class IllegalTransitionError(Exception):
    """An event that is impossible in the job's state."""


class Reason(Enum):
    """Why a job is complete."""

    EXITED = "exited"
    SIGNALED = "signaled"
    TIMEOUT = "timeout"
    KILLED = "killed"
    DEPENDENCY = "dependency"
    SUPERSEDED = "superseded"
    NOT_STARTED = "not started"
    LOST = "lost"
    """The server was killed while it ran, or may have run."""


class Key(NamedTuple):
    """An idempotency key: the name that it belongs to, and what was sent."""

    by: str | None
    text: str


class Prerequisite(NamedTuple):
    """A job that is to be complete first, and have succeeded, or `anyhow`."""

    job_id: int
    anyhow: bool = False


class Options(NamedTuple):
    """What the submitter asked for beyond the script. `timeout` and `delay` in seconds.

    `private_args` follow `args`, and are shown to nobody. `supersede`: cancel the jobs of the
    group that wait.
    """

    args: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    cwd: str | None = None
    labels: tuple[str, ...] = ()
    timeout: float | None = None
    stdin_open: bool = False
    launcher: str | None = None
    stderr_to_stdout: bool = False
    private_args: tuple[str, ...] = ()
    group: str | None = None
    supersede: bool = False
    after: tuple[Prerequisite, ...] = ()
    delay: float | None = None


PLAIN = Options()


def asked_for(options: Options) -> dict[str, Any]:
    """What differs from PLAIN, in the order of the fields, so that later ones change nothing."""
    pairs = zip(Options._fields, options, PLAIN, strict=True)
    return {name: value for name, value, plain in pairs if value != plain}


class Usage(NamedTuple):
    """What a job's leader and its waited-for children used: microseconds, peak bytes."""

    user: int
    system: int
    peak: int


class Blocked:
    """What a job waits for before it is in the queue. `until` is monotonic, None for no time."""

    __slots__ = ("pending", "until")

    def __init__(self, pending: list[Prerequisite], until: float | None) -> None:
        self.pending = pending
        self.until = until


class Running:
    """What a job has to remember from its start until the last of its pipes is closed."""

    __slots__ = ("drain_at", "open", "started", "timeout_at")

    def __init__(self, started: float, options: Options) -> None:
        self.started = started
        self.open = {Stream.OUT} if options.stderr_to_stdout else {Stream.OUT, Stream.ERR}
        self.timeout_at: float | None = None
        self.drain_at: float | None = None

    @property
    def deadline(self) -> float | None:
        """When something of it is due (monotonic)."""
        times = [t for t in (self.timeout_at, self.drain_at) if t is not None]
        return min(times, default=None)


class Job:
    """One job. Only the job table changes it; everybody else reads.

    Times are nanoseconds since the epoch, 0 for not yet. `status` is a wait status
    (waitpid(2)), meaningful once the job is complete and `failure` is empty; `failure`
    says why there is none.
    """

    __slots__ = (
        "__weakref__",
        "blocked",
        "by",
        "change",
        "complete",
        "create",
        "failure",
        "fingerprint",
        "hint",
        "holders",
        "id",
        "key",
        "options",
        "output",
        "pid",
        "pid_started",
        "reason",
        "running",
        "start",
        "state",
        "status",
        "stop",
        "timeout",
        "title",
        "usage",
    )

    def __init__(
        self,
        id: int,
        options: Options,
        output: Output,
        create: int,
        hint: str = "",
        title: str = "",
        by: str | None = None,
        blocked: Blocked | None = None,
    ) -> None:
        self.id = id
        self.options = options
        self.output = output
        self.create = create
        self.start = 0
        self.complete = 0
        self.state = State.NEW if blocked is None else State.BLOCKED
        self.blocked = blocked
        self.status = 0
        self.failure = ""
        self.reason: Reason | None = None
        self.pid: int | None = None
        self.pid_started = 0
        """When the leader was, in ticks since the boot (proc(5)); 0 if that is not to be kept."""
        self.usage: Usage | None = None
        self.timeout = options.timeout
        self.holders: Mapping[int, str] = _NOBODY
        self.running: Running | None = None
        self.key: Key | None = None
        self.fingerprint = b""
        self.hint = hint
        """What was probably done wrong, for people (`jobs.hints`)."""
        self.title = title
        """The beginning of the script's first line that does something."""
        self.by = by
        """The name of whoever submitted it."""
        self.stop: Stop | None = None
        """The last attempt to end it, for the receipt."""
        self.change = 0
        """The number of its last change (`jobs.changes`)."""

    @property
    def waits_for(self) -> tuple[int, ...]:
        """The jobs that have to be complete before it may be started."""
        pending = () if self.blocked is None else self.blocked.pending
        return tuple(dict.fromkeys(each.job_id for each in pending))

    @property
    def over(self) -> bool:
        """Whether clients are told that the job is complete."""
        return self.state in OVER

    @property
    def failed(self) -> bool:
        """Whether it is complete, and by anything but an exit with 0 of its own accord."""
        return self.over and (self.reason is not Reason.EXITED or self.status != 0)

    @property
    def cut(self) -> bool:
        """Whether something of its output was dropped."""
        return self.output.dropped != NOTHING_DROPPED

    @property
    def succeeded(self) -> bool:
        """Whether it is complete, has not failed and was not cut: what `fail` asks for."""
        return self.over and not self.failed and not self.cut


def reason_of_exit(job: Job) -> Reason:
    """Why a job is complete if nobody has ended it."""
    if job.failure:
        return Reason.NOT_STARTED
    return Reason.SIGNALED if job.status & 0x7F else Reason.EXITED


_NOBODY: Mapping[int, str] = MappingProxyType({})
