"""Why a command of the client fails for a reason that is not the job's."""


class FailedError(Exception):
    """It cannot be done; the text says why, for the user."""


class RefusedError(FailedError):
    """The server says no. Trying again would not change that."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class NoJobError(FailedError):
    """There is no such job."""


class RestartedError(FailedError):
    """It is another server than the one that was met first, and has other jobs (412)."""


class GaveUpError(FailedError):
    """It was tried for as long as was asked for."""


class LostError(Exception):
    """The server cannot be reached, or the connection broke. It may be tried again.

    `sent`: the server may have done what was asked. `unknown`: there is no such place, unless the
    network is down.
    """

    def __init__(self, why: str, *, sent: bool = False, unknown: bool = False) -> None:
        super().__init__(why)
        self.sent = sent
        self.unknown = unknown


class ReaderGoneError(Exception):
    """Nobody reads what we write (EPIPE)."""
