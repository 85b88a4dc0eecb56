"""What the job table wants done, as data. `children` does it and reports the outcome.

Commands of different kinds are never equal, even if their fields are. A test that expects one
kind must fail if it gets another.
"""

from dataclasses import dataclass

from rtot.jobs.examination import Examination
from rtot.jobs.stop import RunStopCommand, Signal, Survey


@dataclass(frozen=True, slots=True)
class FindHolders:
    """Find the processes that hold the job's outputs; the outcome is `holders_found`."""

    job_id: int


@dataclass(frozen=True, slots=True)
class CloseOutputs:
    """Close the job's outputs although they are held; the outcome is `output_closed`."""

    job_id: int


@dataclass(frozen=True, slots=True)
class WriteStdin:
    """Write what is pending; the outcome is `written` or `broken` of the inputs."""

    job_id: int


@dataclass(frozen=True, slots=True)
class CloseStdin:
    """Close the job's stdin. There is no outcome."""

    job_id: int


@dataclass(frozen=True, slots=True)
class Examine:
    """See what is alive of a job; the outcome is `done` of the examinations."""

    examination: Examination


@dataclass(frozen=True, slots=True)
class Report:
    """Tell the operator."""

    text: str


@dataclass(frozen=True, slots=True)
class ReportBug:
    """Tell the operator of an exception that should never have been raised."""

    failure: Exception


Command = (
    Signal
    | Survey
    | RunStopCommand
    | FindHolders
    | CloseOutputs
    | WriteStdin
    | CloseStdin
    | Examine
    | Report
    | ReportBug
)


class Outbox:
    """What the parts of the job table have to say: commands in their order, and changed jobs."""

    __slots__ = ("_changes", "_commands")

    def __init__(self) -> None:
        self._commands: list[Command] = []
        self._changes: set[int] = set()

    def __bool__(self) -> bool:
        return bool(self._commands or self._changes)

    def command(self, *commands: Command) -> None:
        self._commands += commands

    def changed(self, *job_ids: int) -> None:
        self._changes.update(job_ids)

    def take_commands(self) -> list[Command]:
        commands, self._commands = self._commands, []
        return commands

    def take_changes(self) -> set[int]:
        changes, self._changes = self._changes, set()
        return changes
