"""A run: the process of a started job, and the server's ends of its descriptors.

Descriptors are in a list, each with its number in the job. So a job may have more descriptors
than stdin, stdout and stderr, or lack one of them.
"""


class Descriptor:
    """The server's end of one of a job's pipes."""

    __slots__ = ("fd", "number", "registered", "run")

    def __init__(self, run: "Run", number: int, fd: int) -> None:
        self.run = run
        self.number = number
        """What the other end is in the job: 0, 1 or 2 for stdin, stdout and stderr."""
        self.fd = fd
        self.registered = False
        """Whether the selector has been told to look at it."""


class Run:
    """A job's process. It is over when it has exited and no descriptor is left."""

    __slots__ = ("descriptors", "exited", "job_id", "pid")

    def __init__(self, job_id: int, pid: int, ends: list[tuple[int, int]]) -> None:
        """`ends`: the number that each descriptor has in the job, and the server's end of it."""
        self.job_id = job_id
        self.pid = pid
        self.exited = False
        self.descriptors = [Descriptor(self, number, fd) for number, fd in ends]

    @property
    def over(self) -> bool:
        return self.exited and not self.descriptors

    @property
    def outputs(self) -> list[Descriptor]:
        """Those that the job writes to."""
        return [descriptor for descriptor in self.descriptors if descriptor.number != 0]

    @property
    def stdin(self) -> Descriptor | None:
        for descriptor in self.descriptors:
            if descriptor.number == 0:
                return descriptor
        return None
