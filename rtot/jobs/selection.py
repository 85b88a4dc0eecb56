"""Which jobs a list or a bulk delete means."""

from typing import NamedTuple

from rtot.jobs.job import SHOWN, Job


class Selection(NamedTuple):
    """Jobs in this state, as clients see it, that have all of these labels."""

    state: str | None = None
    labels: frozenset[str] = frozenset()

    def matches(self, job: Job) -> bool:
        if self.state is not None and SHOWN[job.state] != self.state:
            return False
        return not self.labels or self.labels <= set(job.options.labels)
