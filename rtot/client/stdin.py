"""Our stdin into a job's, piece by piece.

A piece of which the answer was lost may have been written or not. Where all of the job's stdin is
ours, the server is told at which byte each begins, and passes over what it has.
"""

import os
import select

from rtot.client.connection import Request
from rtot.client.failures import FailedError, RefusedError
from rtot.client.session import Session
from rtot.text import reason

_PIECE = 64 * 1024
_CLOSED = 409


def feed(session: Session, path: str, fd: int = 0, *, all_of_it: bool = True) -> bool:
    """Send all there is, then its end. False if the job has closed its stdin before.

    `all_of_it`: nobody else writes, or has written. Otherwise nothing is sent twice, and a lost
    connection is a failure. Raises FailedError.
    """
    offset = 0
    while True:
        data = _read(fd)
        parameters = [f"offset={offset}"] if all_of_it else []
        parameters += [] if data else ["close"]
        request = Request("POST", f"{path}/in?{'&'.join(parameters)}", body=data)
        try:
            # A job that waits, or does not read, may say nothing for long.
            session.read(request, silence=None, once=not all_of_it)
        except RefusedError as refused:
            if refused.status != _CLOSED:
                raise
            # Behind the last piece it does not matter: the job has had all of it.
            return not data
        if not data:
            return True
        offset += len(data)


def _read(fd: int) -> bytes:
    """The next piece, empty at the end. Raises FailedError."""
    while True:
        try:
            return os.read(fd, _PIECE)
        except BlockingIOError:
            # Another process that has it open has set O_NONBLOCK.
            select.select([fd], [], [])
        except OSError as error:
            raise FailedError(f"cannot read stdin: {reason(error)}") from error
