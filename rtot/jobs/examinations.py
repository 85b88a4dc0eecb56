"""Looks at what is alive of a job, which take a walk of /proc."""

from rtot.jobs.commands import Examine, Outbox
from rtot.jobs.examination import Examination
from rtot.jobs.job import Job


class Examinations:
    """Asked for by `begin`; the owner carries out an Examine, fills it in and reports `done`."""

    __slots__ = ("_outbox",)

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    def begin(self, job: Job) -> Examination:
        """Have somebody look what is alive of the job, which has changed when that is done."""
        examination = Examination(job.id, job.pid or 0)
        if job.pid is None:
            examination.found = []
        else:
            self._outbox.command(Examine(examination))
        return examination

    def done(self, examination: Examination) -> None:
        """Somebody has looked."""
        self._outbox.changed(examination.job_id)
