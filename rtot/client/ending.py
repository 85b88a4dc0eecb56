"""What a job's end is for a shell: an exit status, and a line that says why.

The status is the job's own where it has one, 128 and the signal for one that ended it, 124 after a
timeout, 127 if it was not started, and 255 for all that is rtot's. Nothing that failed is 0.
"""

from collections.abc import Mapping
from signal import Signals
from typing import Any, NamedTuple

OURS = 255
TIMED_OUT = 124
NOT_STARTED = 127
READER_GONE = 141
"""128 and SIGPIPE, as a shell would tell it."""


class Ending(NamedTuple):
    """The exit status, and why if that does not tell; empty if it does."""

    status: int
    why: str = ""


def ending(fields: Mapping[str, Any]) -> Ending:
    """The ending of a job, from `code`, `signal`, `reason` and `exit`, and what was dropped."""
    code, signal = fields.get("code"), fields.get("signal")
    reason, exit = fields.get("reason"), fields.get("exit") or "0"
    match reason:
        case "exited":
            found = Ending(code if isinstance(code, int) else OURS)
        case "timeout":
            found = Ending(TIMED_OUT, f"timed out ({_how(exit)})")
        case "not started":
            found = Ending(NOT_STARTED, f"not started: {exit}")
        case "signaled" | "killed" if isinstance(signal, str):
            found = Ending(128 + _number(signal), f"{reason}: {signal}")
        case "killed" if isinstance(code, int) and code:
            found = Ending(code, f"killed ({exit})")
        case "lost":
            found = Ending(OURS, "lost: the server was killed while the job ran, or may have run")
        case "killed":
            found = Ending(OURS, f"killed ({_how(exit)})")
        case _:
            found = Ending(OURS, exit)
    lost = sum(fields.get(name) or 0 for name in ("out_dropped", "err_dropped"))
    if lost:
        cut = f"{lost} bytes of output were dropped"
        why = f"{found.why}; {cut}" if found.why else cut
        return Ending(found.status or OURS, why)
    return found


def _how(exit: str) -> str:
    return "it exited with 0" if exit == "0" else exit


def _number(name: str) -> int:
    """Of a signal; of one that this machine does not know 127, so that 255 says it."""
    try:
        return Signals[name].value
    except KeyError:
        return 127
