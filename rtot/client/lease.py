"""A job's lease while nobody takes its output.

A server hangs up on a client that reads nothing, and ends the job when its lease is over. A pager
that waits for a key is no reason for that. So whoever cannot write asks for the job now and then,
over a connection that is read.
"""

import threading
import time
from collections.abc import Callable

from rtot.client.connection import Request
from rtot.client.failures import FailedError
from rtot.client.session import Session

# How long a job lives on without its client, which may be about to connect again, in seconds.
LEASE = 60
# After so long a write counts as blocked.
_BLOCKED = 5.0
# How long one request holds the lease: less than the silence after which it would be lost.
_WAIT = 20


class LeaseKeeper:
    """Say when a write begins and ends; from then on it is for the thread of `keep`."""

    def __init__(self, connect: Callable[[], Session]) -> None:
        self._connect = connect
        self._writing_since: float | None = None
        self._over = threading.Event()

    def begin(self, path: str) -> None:
        """The job is known."""
        threading.Thread(target=self.keep, args=(path,), daemon=True).start()

    def write_begun(self) -> None:
        self._writing_since = time.monotonic()

    def write_ended(self) -> None:
        self._writing_since = None

    def end(self) -> None:
        """The job is complete, or lost."""
        self._over.set()

    def keep(self, path: str) -> None:
        """Until the end."""
        session: Session | None = None
        while not self._over.wait(_BLOCKED / 2):
            since = self._writing_since
            if since is None or time.monotonic() - since < _BLOCKED:
                continue
            session = session or self._connect()
            try:
                session.read(Request("GET", f"{path}?fields=&wait={_WAIT}&lease={LEASE}"))
            except FailedError:
                # Whoever follows the job hears of it, too.
                return
