"""Which jobs a list or a bulk delete means."""

from typing import NamedTuple

from rtot.jobs.job import SHOWN, Job


class Selection(NamedTuple):
    """Jobs in this state, as clients see it, that have all of these labels.

    `failed`: complete jobs that have failed (True) or have not (False). `by`: jobs of that name.
    `group`: jobs of that group. `created_from`, `created_to`: jobs that were created between these
    times, both included (ns since the epoch).
    """

    state: str | None = None
    labels: frozenset[str] = frozenset()
    failed: bool | None = None
    by: str | None = None
    group: str | None = None
    created_from: int | None = None
    created_to: int | None = None

    def matches(self, job: Job) -> bool:
        if self.state is not None and SHOWN[job.state] != self.state:
            return False
        if self.failed is not None and not (job.over and job.failed is self.failed):
            return False
        if self.by is not None and job.by != self.by:
            return False
        if self.group is not None and job.options.group != self.group:
            return False
        if self.created_from is not None and job.create < self.created_from:
            return False
        if self.created_to is not None and job.create > self.created_to:
            return False
        return not self.labels or self.labels <= set(job.options.labels)
