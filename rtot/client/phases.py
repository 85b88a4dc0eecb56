"""What a run is at, and what a signal of the user's means then. Tables, and nothing else."""

from enum import Enum, auto
from signal import Signals


class Phase(Enum):
    WAITING = auto()
    """It is to begin."""
    CONNECTING = auto()
    """No server knows of the job."""
    SUBMITTING = auto()
    """A server may know of it, and has not told which it is."""
    RUNNING = auto()
    """The job is known."""
    OVER = auto()


class Event(Enum):
    BEGUN = auto()
    MET = auto()
    """The server has answered, and there is no job yet."""
    SUBMITTED = auto()
    ENDED = auto()
    """The job did, or it cannot be told of any more."""


class Reaction(Enum):
    LEAVE = auto()
    """At once: nothing is lost by it, or the user insists."""
    HOLD = auto()
    """Deliver it when the job is known."""
    DELIVER = auto()
    """The job decides what to do."""
    KILL = auto()
    NOTHING = auto()


# A transition that is not listed is a bug in the caller, and raises.
TRANSITIONS: dict[Phase, dict[Event, Phase]] = {
    Phase.WAITING: {Event.BEGUN: Phase.CONNECTING, Event.ENDED: Phase.OVER},
    Phase.CONNECTING: {Event.MET: Phase.SUBMITTING, Event.ENDED: Phase.OVER},
    Phase.SUBMITTING: {Event.SUBMITTED: Phase.RUNNING, Event.ENDED: Phase.OVER},
    Phase.RUNNING: {Event.ENDED: Phase.OVER},
    Phase.OVER: {},
}
# By how often the user has interrupted before; the last one stands for all that follow.
_INTERRUPTED: dict[Phase, tuple[Reaction, ...]] = {
    Phase.WAITING: (Reaction.LEAVE,),
    Phase.CONNECTING: (Reaction.LEAVE,),
    Phase.SUBMITTING: (Reaction.HOLD, Reaction.LEAVE),
    Phase.RUNNING: (Reaction.DELIVER, Reaction.KILL, Reaction.LEAVE),
    Phase.OVER: (Reaction.NOTHING,),
}


def reaction(phase: Phase, number: int, interrupts: int) -> Reaction:
    """What a signal means. `interrupts`: how many INT there were before it.

    Only INT is the user's patience running out: TERM and HUP are passed on, however many come.
    """
    reactions = _INTERRUPTED[phase]
    if number != Signals.SIGINT:
        return reactions[0]
    return reactions[min(interrupts, len(reactions) - 1)]
