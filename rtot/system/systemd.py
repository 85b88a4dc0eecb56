"""What a service manager is told (sd_notify(3)): ready, reloading, ending, still alive.

Datagrams to the socket that it named in the environment; without one nothing is sent. The
watchdog is fed by the loop, so it only shows that the loop is running.
"""

import contextlib
import os
import socket
from collections.abc import Mapping

from rtot.clock import Now

# How long to wait for a busy manager, with a message that is sent only once.
_PATIENCE = 1.0


class Notifier:
    """The socket, and when the watchdog is to be fed next."""

    __slots__ = ("_address", "_interval", "deadline")

    def __init__(self, environ: Mapping[str, str]) -> None:
        path = environ.get("NOTIFY_SOCKET", "")
        # An abstract address (unix(7)) is written with an @.
        self._address = f"\0{path[1:]}" if path.startswith("@") else path
        self._interval: float | None = None
        usec = environ.get("WATCHDOG_USEC", "")
        # It may be meant for another process.
        ours = environ.get("WATCHDOG_PID", "") in ("", str(os.getpid()))
        if self._address and ours and usec.isascii() and usec.isdigit() and int(usec):
            self._interval = int(usec) / 2e6
        self.deadline: float | None = None
        """When to call `alive` next (monotonic)."""

    def ready(self, now: Now) -> None:
        """Requests are answered from now on."""
        self._send("READY=1", _PATIENCE)
        self.alive(now)

    def reloading(self, now: Now) -> None:
        """The configuration is read again; `ready` is to follow."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={int(now.monotonic * 1e6)}", _PATIENCE)

    def stopping(self) -> None:
        """The end has begun."""
        self._send("STOPPING=1", _PATIENCE)

    def alive(self, now: Now) -> None:
        """The loop goes round."""
        if self._interval is not None:
            self._send("WATCHDOG=1", 0.0)
            self.deadline = now.monotonic + self._interval

    def _send(self, text: str, patience: float) -> None:
        if not self._address:
            return
        # A manager that does not listen must not stop the server.
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock,
        ):
            sock.settimeout(patience)
            sock.sendto(text.encode(), self._address)
