"""One client's socket: bytes to and from the kernel, and what the loop has to remember of it.

Every OSError of the socket ends here: the peer is gone, and that is a fact like any other.
"""

import os
import select
import socket

from rtot.connection import HttpConnection
from rtot.messages import FileSpan, NeedBody, Upload, Wait

_RECEIVE = 64 * 1024
# Buffers given to one sendmsg(2).
_GATHER = 16


class Client:
    """A socket, its HTTP, and what its answer waits for."""

    __slots__ = (
        "answered",
        "asked_at",
        "blocked",
        "failure",
        "handshaking",
        "http",
        "interest",
        "lease",
        "needed",
        "peer",
        "sent",
        "shut",
        "sock",
        "upload",
        "uploaded",
        "wait",
        "watched",
    )

    def __init__(self, sock: socket.socket, peer: str, http: HttpConnection) -> None:
        self.sock = sock
        self.peer = peer
        self.http = http
        self.interest = 0
        self.needed: NeedBody | None = None
        self.wait: Wait | None = None
        self.upload: Upload | None = None
        self.uploaded = 0
        self.lease: int | None = None
        self.watched: tuple[int, ...] = ()
        self.asked_at = 0.0
        self.answered = ""
        """The method and target of the answer under way, for the log."""
        self.sent = 0
        self.shut = False
        self.handshaking = False
        """Whether there is still to be agreed on how to speak."""
        self.blocked = False
        """Whether it cannot go on before there is room to send."""
        self.failure = ""
        """Why it could not be agreed on how to speak."""

    @property
    def waits(self) -> bool:
        """Whether its answer, or the rest of it, waits for a job."""
        return self.wait is not None or self.http.watched is not None

    def receive(self, room: int) -> bytes | None:
        """What has arrived, at most `room` bytes; None for nothing yet.

        Empty at the end, or when the peer is gone.
        """
        try:
            return self.sock.recv(min(room, _RECEIVE))
        except (BlockingIOError, InterruptedError):
            return None
        except OSError:
            return b""

    def send(self, pieces: list[bytes | FileSpan]) -> int | None:
        """Send of the pieces what the kernel takes; None if the peer or the file is gone."""
        first = pieces[0]
        try:
            if isinstance(first, FileSpan):
                file = first.file.fileno()
                return os.sendfile(self.sock.fileno(), file, first.offset, first.length) or None
            if len(pieces) == 1:
                return self.sock.send(first)
            buffers: list[bytes] = []
            for piece in pieces[:_GATHER]:
                if isinstance(piece, FileSpan):
                    break
                buffers.append(piece)
            return self.sock.sendmsg(buffers)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError:
            return None

    def has_hung_up(self) -> bool:
        """Whether the peer is gone, though what it has sent before was not read."""
        poll = select.poll()
        poll.register(self.sock, select.POLLRDHUP)
        return bool(poll.poll(0))

    def shut_down(self) -> None:
        """Send no more: the peer reads the end."""
        self.shut = True
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            # It is gone already, which the next read tells.
            return
