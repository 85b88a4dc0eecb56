"""Signals (signal(7)): noted when they come, seen to by the loop in its own time.

They are installed before any file or socket is created: a signal whose default action ends
the process would leave those behind.
"""

import contextlib
import os
import signal

_HANDLED = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Signals:
    """The signals that this process handles, from now on. There is one such object.

    Whoever is told that `fileno` is readable calls `drain`, and then `take`, which may be called
    at any time. In this order no signal goes unnoticed: one that comes between makes `fileno`
    readable again.
    """

    __slots__ = ("_noted", "_read", "_write")

    def __init__(self) -> None:
        self._noted: set[int] = set()
        self._read, self._write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        for number in _HANDLED:
            signal.signal(number, self._note)
        # Whoever started us may have had them blocked.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)

    def fileno(self) -> int:
        """A descriptor that is readable when there is something to take."""
        return self._read

    def drain(self) -> None:
        """Empty the pipe behind `fileno`."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._read, 4096)

    def take(self) -> list[signal.Signals]:
        """The signals that have come since the last call, in the order of their numbers."""
        if not self._noted:
            return []
        noted, self._noted = self._noted, set()
        return [signal.Signals(number) for number in sorted(noted)]

    def ignore(self) -> None:
        """Ignore signals from now on: the process is ending."""
        signal.set_wakeup_fd(-1)
        for number in _HANDLED[1:]:
            signal.signal(number, signal.SIG_IGN)

    def _note(self, number: int, frame: object) -> None:
        self._noted.add(number)
