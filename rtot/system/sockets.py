"""One client's socket: bytes to and from the kernel.

Every OSError of the socket ends here: the peer is gone, and that is a fact like any other.
"""

import os
import select
import socket
import struct
import sys

from rtot.storage import FileSpan

_RECEIVE = 64 * 1024
# Buffers given to one sendmsg(2).
_GATHER = 16


class ClientSocket:
    """A connected socket that does not block. The owner closes it."""

    __slots__ = ("_sock", "blocked", "failure", "handshaking", "shut")

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.shut = False
        """Whether `shut_down` was called."""
        self.handshaking = False
        """Whether the TLS handshake is not finished: nothing can be sent yet."""
        self.blocked = False
        """Whether TLS has to send before it can receive, and the socket is full."""
        self.failure = ""
        """Why the TLS handshake failed."""

    def fileno(self) -> int:
        """The descriptor, for a selector."""
        return self._sock.fileno()

    def receive(self, room: int) -> bytes | None:
        """What has arrived, at most `room` bytes; None for nothing yet.

        Empty at the end, or when the peer is gone.
        """
        try:
            return self._sock.recv(min(room, _RECEIVE))
        except (BlockingIOError, InterruptedError):
            return None
        except OSError:
            return b""

    def send(self, pieces: list[bytes | FileSpan]) -> int | None:
        """Send as much of the pieces as the kernel takes; None if the peer or the file is gone."""
        first = pieces[0]
        try:
            if isinstance(first, FileSpan):
                file = first.file.fileno()
                return os.sendfile(self._sock.fileno(), file, first.offset, first.length) or None
            if len(pieces) == 1:
                return self._sock.send(first)
            buffers: list[bytes] = []
            for piece in pieces[:_GATHER]:
                if isinstance(piece, FileSpan):
                    break
                buffers.append(piece)
            return self._sock.sendmsg(buffers)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError:
            return None

    def has_hung_up(self) -> bool:
        """Whether the peer is gone, though what it has sent before was not read."""
        poll = select.poll()
        poll.register(self._sock, select.POLLRDHUP)
        return bool(poll.poll(0))

    def shut_down(self) -> None:
        """Send no more: the peer reads the end."""
        self.shut = True
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            # The peer is gone, which the next read will tell.
            return

    def unacknowledged(self) -> int:
        """How many bytes the peer's kernel has not acknowledged (tcp(7), SIOCOUTQ)."""
        import fcntl
        import termios

        try:
            count = fcntl.ioctl(self._sock, termios.TIOCOUTQ, b"\0\0\0\0")
        except OSError:
            return 0
        return int.from_bytes(count, sys.byteorder)

    def reset(self) -> None:
        """Close it so that the peer gets an error instead of the end. A unix socket has none."""
        linger = struct.pack("ii", 1, 0)
        try:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        except OSError:
            # The peer is gone.
            return
        finally:
            self._sock.close()

    def close(self) -> None:
        """Give the descriptor back. What was sent is still delivered."""
        self._sock.close()
