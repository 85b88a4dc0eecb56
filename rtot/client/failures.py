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
    """The server cannot be reached, or the connection broke. It may be tried again."""


class ReaderGoneError(Exception):
    """Nobody reads what we write (EPIPE)."""
