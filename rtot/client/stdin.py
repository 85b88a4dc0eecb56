"""Our stdin into a job's, piece by piece, each at its place.

The server is told where in the whole each piece belongs, so that one that is sent again after a
lost connection is not written twice. It answers when the job has room: that holds us back.
"""

import os

from rtot.client.connection import Request
from rtot.client.failures import FailedError, RefusedError
from rtot.client.session import Session
from rtot.text import reason

_PIECE = 64 * 1024


def feed(session: Session, path: str, fd: int = 0) -> bool:
    """Send all there is, then its end. False if the job has closed its stdin before.

    Raises FailedError.
    """
    offset = 0
    while True:
        try:
            data = os.read(fd, _PIECE)
        except OSError as error:
            raise FailedError(f"cannot read stdin: {reason(error)}") from error
        query = f"offset={offset}" if data else f"offset={offset}&close"
        try:
            # A job that waits, or does not read, may say nothing for long.
            session.read(Request("POST", f"{path}/in?{query}", body=data), silence=None)
        except RefusedError as refused:
            if refused.status != 409:
                raise
            # Behind the last piece it does not matter: the job has had all of it.
            return not data
        if not data:
            return True
        offset += len(data)
