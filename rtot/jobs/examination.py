"""What is alive of a job at one moment: asked for by clients, found out by the loop."""

from typing import NamedTuple


class ProcessStatus(NamedTuple):
    """One process (proc(5)): `seconds` since its start, `cpu` seconds used, `memory` in bytes.

    `state` is the letter that ps(1) shows. `argv` may be cut, and is empty if it is not known.
    """

    pid: int
    parent: int
    state: str
    command: str
    argv: tuple[str, ...]
    seconds: float
    cpu: float
    memory: int


class Examination:
    """One look at a job whose leader is or was `pid`."""

    __slots__ = ("count", "found", "job_id", "pid")

    def __init__(self, job_id: int, pid: int) -> None:
        self.job_id = job_id
        self.pid = pid
        self.count = 0
        """How many processes there are. Of many only the first are looked at."""
        self.found: list[ProcessStatus] | None = None
        """None until somebody has looked."""
