"""One client, as the loop knows it: a socket, its HTTP, and what its answer waits for."""

from rtot.api.answers import NeedBody, Upload, Wait
from rtot.http.connection import HttpConnection
from rtot.system.sockets import ClientSocket


class Client:
    __slots__ = (
        "anonymous",
        "answered",
        "asked_at",
        "http",
        "interest",
        "lease",
        "needed",
        "peer",
        "sent",
        "socket",
        "upload",
        "uploaded",
        "wait",
        "watched",
    )

    def __init__(self, socket: ClientSocket, peer: str, http: HttpConnection) -> None:
        self.socket = socket
        self.peer = peer
        self.http = http
        self.interest = 0
        """For which events the selector has been told to look."""
        self.needed: NeedBody | None = None
        self.wait: Wait | None = None
        self.upload: Upload | None = None
        self.uploaded = 0
        self.lease: int | None = None
        """The job to be ended if the client goes away before its answer is through."""
        self.watched: tuple[int, ...] = ()
        self.asked_at = 0.0
        self.answered = ""
        """The method and target of the answer under way, for the log."""
        self.sent = 0
        self.anonymous = True
        """Whether the answer under way needed no secret."""

    @property
    def waits(self) -> bool:
        """Whether its answer, or the rest of it, waits for a job."""
        return self.wait is not None or self.http.watched is not None
