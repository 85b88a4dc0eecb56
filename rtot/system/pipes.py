"""Pipes between the server and a process. The server's end does not block."""

import os
from collections.abc import Sequence
from typing import NamedTuple

# Bytes read at a time: what a pipe holds (pipe(7)).
READ = 64 * 1024


class Pipe(NamedTuple):
    """A pipe between a process, where it is descriptor `number`, and the server."""

    number: int
    ours: int
    theirs: int

    @classmethod
    def open(cls, number: int) -> "Pipe":
        """Raises OSError."""
        read, write = os.pipe2(os.O_CLOEXEC)
        ours, theirs = (write, read) if number == 0 else (read, write)
        os.set_blocking(ours, False)
        return cls(number, ours, theirs)


def close_pipes(pipes: Sequence[Pipe]) -> None:
    """Close both ends of them."""
    for pipe in pipes:
        os.close(pipe.ours)
        os.close(pipe.theirs)


def read_pipe(fd: int) -> bytes | None:
    """What is in the pipe; empty at its end, None for nothing yet."""
    try:
        return os.read(fd, READ)
    except BlockingIOError:
        return None
    except OSError:
        return b""


def write_pipe(fd: int, data: bytearray) -> int | None:
    """Write what the pipe takes and return how much that was; None if nobody reads it."""
    try:
        return os.write(fd, data)
    except BlockingIOError:
        return 0
    except OSError:
        return None
