"""One client, as the loop knows it: a socket, its HTTP, and the exchange under way."""

from rtot.api.exchange import Exchange
from rtot.http.connection import HttpConnection
from rtot.system.sockets import ClientSocket


class Client:
    __slots__ = ("exchange", "http", "interest", "peer", "socket", "topics")

    def __init__(self, socket: ClientSocket, peer: str, http: HttpConnection) -> None:
        self.socket = socket
        self.peer = peer
        self.http = http
        self.interest = 0
        """For which events the selector has been told to look."""
        self.exchange: Exchange | None = None
        self.topics: tuple[int, ...] = ()
        """The jobs of whose changes it is told."""

    @property
    def waits(self) -> bool:
        """Whether its answer, or the rest of it, waits for a job."""
        return self.exchange is not None and self.exchange.waits
