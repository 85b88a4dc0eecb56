"""GET /jobs/ID/processes: what is alive of a job, and what it is doing."""

from rtot.api.answers import Answer, Ask, json
from rtot.api.reading import require_job
from rtot.credentials import Role
from rtot.http.errors import RETRY, error
from rtot.http.messages import Response
from rtot.jobs.examination import Examination, ProcessStatus
from rtot.jobs.leases import Lease
from rtot.text import string, strings

_MOST = 64 * 1024
# A look takes milliseconds: this is for a bug.
_LONGEST = 10.0


def list_processes(ask: Ask) -> Answer:
    """The processes of the job that are alive; of a complete one, those that it left behind."""
    examination = ask.jobs.examinations.begin(require_job(ask))
    # An argument may be private.
    argv = ask.credential is not None and ask.credential.role >= Role.RUN
    if examination.found is not None:
        return _answer(examination, argv=argv)
    return ExaminationWait(examination, ask.now.monotonic + _LONGEST, argv=argv)


class ExaminationWait:
    """Until somebody has looked."""

    __slots__ = ("_argv", "_examination", "deadline", "lease", "topics")

    def __init__(self, examination: Examination, deadline: float, *, argv: bool) -> None:
        """`argv`: whether command lines are to be shown."""
        self._examination = examination
        self._argv = argv
        self.topics: tuple[int, ...] = (examination.job_id,)
        self.deadline = deadline
        self.lease: Lease | None = None

    def changed(self, topic: int) -> bool:
        return self._examination.found is not None

    def answer(self) -> Response:
        return _answer(self._examination, argv=self._argv)


def _answer(examination: Examination, *, argv: bool) -> Response:
    if examination.found is None:
        return error(503, "not known", "the processes could not be looked at", RETRY)
    rows: list[str] = []
    size = 0
    for process in examination.found:
        row = _row(process, argv=argv)
        size += len(row)
        if size > _MOST:
            break
        rows.append(row)
    return json(200, f'{{"count":{examination.count},"processes":[{",".join(rows)}]}}\n')


def _row(process: ProcessStatus, *, argv: bool) -> str:
    pid, parent, state, command, words, seconds, cpu, memory = process
    line = strings(words) if argv else "null"
    return (
        f'{{"pid":{pid},"parent":{parent},"state":"{state}","command":{string(command)}'
        f',"argv":{line},"seconds":{seconds:.2f},"cpu":{cpu:.2f},"memory":{memory}}}'
    )
