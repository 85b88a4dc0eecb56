"""What the job table wants done, as data. `children` does it and reports the outcome.

Values here and elsewhere are named tuples: a dataclass compiles its methods anew at every
start, a millisecond each.
"""

from signal import Signals
from typing import NamedTuple

from rtot.stop import Scope, Stop


class Signal(NamedTuple):
    """Signal the stop's processes; the outcome is `signalled`."""

    stop: Stop
    signal: Signals
    scope: Scope


class Survey(NamedTuple):
    """See which of the stop's processes are left; the outcome is `surveyed`."""

    stop: Stop
    scope: Scope


class FindHolders(NamedTuple):
    """Name who holds the job's outputs; the outcome is `holders_found`."""

    job_id: int


class CloseOutputs(NamedTuple):
    """Close the job's outputs although they are held; the outcome is `output_closed`."""

    job_id: int


class WriteStdin(NamedTuple):
    """Write what is pending; the outcome is `stdin_written` or `stdin_broken`."""

    job_id: int


class CloseStdin(NamedTuple):
    """Close the job's stdin. There is no outcome."""

    job_id: int


class Report(NamedTuple):
    """Tell the operator."""

    text: str


Command = Signal | Survey | FindHolders | CloseOutputs | WriteStdin | CloseStdin | Report
