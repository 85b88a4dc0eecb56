"""One client, as the loop knows it: a socket, its HTTP, and the exchange under way."""

import selectors

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

    def set_interest(self, selector: selectors.BaseSelector, interest: int) -> None:
        """Have the selector look for these events. Raises OSError if it has no room."""
        if interest == self.interest:
            return
        if not self.interest:
            selector.register(self.socket, interest, self)
        elif not interest:
            selector.unregister(self.socket)
        else:
            selector.modify(self.socket, interest, self)
        self.interest = interest

    @property
    def waits(self) -> bool:
        """Whether its answer, or the rest of it, waits for a job."""
        return self.exchange is not None and self.exchange.waits
