"""What the job table wants done, as data. `children` does it and reports the outcome.

Commands of different kind are never equal, whatever they hold: a test that expects one of
them must not be content with another.
"""

from dataclasses import dataclass

from rtot.jobs.stop import Signal, Survey


@dataclass(frozen=True, slots=True)
class FindHolders:
    """Name who holds the job's outputs; the outcome is `holders_found`."""

    job_id: int


@dataclass(frozen=True, slots=True)
class CloseOutputs:
    """Close the job's outputs although they are held; the outcome is `output_closed`."""

    job_id: int


@dataclass(frozen=True, slots=True)
class WriteStdin:
    """Write what is pending; the outcome is `stdin_written` or `stdin_broken`."""

    job_id: int


@dataclass(frozen=True, slots=True)
class CloseStdin:
    """Close the job's stdin. There is no outcome."""

    job_id: int


@dataclass(frozen=True, slots=True)
class Report:
    """Tell the operator."""

    text: str


Command = Signal | Survey | FindHolders | CloseOutputs | WriteStdin | CloseStdin | Report
