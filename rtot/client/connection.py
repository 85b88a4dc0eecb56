"""One request at a time to one server, over a connection that is kept open. h11 is the protocol.

All of it blocks. Silence for longer than was agreed is a lost connection, and so is a body that
ends before its end.
"""

import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import h11

from rtot.client.address import Address
from rtot.client.failures import FailedError, LostError
from rtot.text import reason

if TYPE_CHECKING:
    import ssl

# Followers of events hear something every 15 s, so that a stream that says nothing is dead.
SILENCE = 45.0
_CONNECT = 5.0
_READ = 256 * 1024
_SEND = 64 * 1024
_BEGINNING = b"HTTP/"
# A peer that is gone without a word is noticed in 45 s, where silence means nothing (tcp(7)).
_GONE = (
    ("TCP_KEEPIDLE", 15),
    ("TCP_KEEPINTVL", 10),
    ("TCP_KEEPCNT", 3),
    ("TCP_USER_TIMEOUT", 45_000),
)


class Request(NamedTuple):
    """One request. Names of headers as they are sent; the target without the URL's prefix."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


class TlsFiles(NamedTuple):
    """Files in PEM: whom to trust, and the certificate and key to show. None for none."""

    ca: str | None = None
    cert: str | None = None


class Response(NamedTuple):
    """An answer whose body is still to come. Names of headers are in lower case.

    `pieces` raises LostError if the body breaks off, and is to be taken to its end.
    """

    status: int
    headers: dict[str, str]
    pieces: Iterator[bytes]

    def read(self) -> bytes:
        """All of the body. Raises LostError."""
        return b"".join(self.pieces)


class Connection:
    """To one server. It connects when it has to; a connection that is lost is made anew."""

    def __init__(self, address: Address, tls: TlsFiles) -> None:
        self._address = address
        self._tls = tls
        self._sock: socket.socket | None = None
        self._protocol = h11.Connection(h11.CLIENT)
        self._eof = False

    def exchange(self, request: Request, silence: float | None = SILENCE) -> Response:
        """Send the request, and wait for the head of its answer.

        Its body is to be taken before the next one. `silence` in seconds is how long the server
        may say nothing. Raises LostError and FailedError.
        """
        sock = self._sock or self._connect()
        sock.settimeout(SILENCE)
        fields = [("Host", self._address.authority), *request.headers]
        if request.body or request.method == "POST":
            fields.append(("Content-Length", str(len(request.body))))
        head = h11.Request(
            method=request.method,
            target=self._address.prefix + request.target,
            headers=fields,
        )
        data = self._protocol.send(head) or b""
        data += self._protocol.send(h11.Data(data=request.body)) or b"" if request.body else b""
        data += self._protocol.send(h11.EndOfMessage()) or b""
        try:
            # Piece by piece, as each has its time.
            for at in range(0, len(data), _SEND):
                sock.sendall(data[at : at + _SEND])
        except TimeoutError:
            raise self._lost("the server takes nothing more") from None
        except OSError as error:
            # The answer may have come before all of the body was taken: see.
            broken: OSError | None = error
        else:
            broken = None
        sock.settimeout(silence)
        try:
            event = self._next_event()
            while isinstance(event, h11.InformationalResponse):
                event = self._next_event()
        except LostError:
            if broken is None:
                raise
            raise self._lost(reason(broken)) from broken
        assert isinstance(event, h11.Response)
        headers = {name.decode(): value.decode("latin-1") for name, value in event.headers}
        return Response(event.status_code, headers, self._body(reusable=broken is None))

    def _body(self, *, reusable: bool) -> Iterator[bytes]:
        while isinstance(event := self._next_event(), h11.Data):
            yield bytes(event.data)
        if reusable and self._protocol.our_state is self._protocol.their_state is h11.DONE:
            self._protocol.start_next_cycle()
        else:
            self.close()

    def _next_event(self) -> "h11.Event":
        """What comes next of the answer. Raises LostError and FailedError."""
        assert self._sock is not None
        try:
            while (event := self._protocol.next_event()) is h11.NEED_DATA:
                data = self._sock.recv(_READ)
                self._eof = not data
                self._protocol.receive_data(data)
                self._check_beginning()
        except TimeoutError:
            raise self._lost("the server says nothing") from None
        except OSError as error:
            alert = getattr(error, "reason", None) or ""
            if "ALERT" in alert:
                # TLS 1.3 tells only now that a certificate is wrong.
                self.close()
                raise FailedError(f"{self._address.url}: {alert}") from error
            raise self._lost(reason(error)) from error
        except h11.RemoteProtocolError as error:
            if self._eof:
                raise self._lost("the connection was closed") from error
            raise self._no_http() from error
        if isinstance(event, h11.ConnectionClosed):
            raise self._lost("the connection was closed")
        assert isinstance(event, h11.Event)
        return event

    def _check_beginning(self) -> None:
        """Raise FailedError if the answer cannot be one. h11 would wait for the end of its head."""
        if self._protocol.their_state is h11.SEND_RESPONSE:
            beginning, _ = self._protocol.trailing_data
            if not _BEGINNING.startswith(beginning[: len(_BEGINNING)]):
                raise self._no_http()

    def _no_http(self) -> FailedError:
        self.close()
        return FailedError(f"what answers at {self._address.url} speaks no HTTP")

    def close(self) -> None:
        """Hang up."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None
        self._protocol = h11.Connection(h11.CLIENT)
        self._eof = False

    def _lost(self, why: str) -> LostError:
        self.close()
        return LostError(why, sent=True)

    def _connect(self) -> socket.socket:
        address = self._address
        try:
            if address.scheme == "unix":
                sock = socket.socket(socket.AF_UNIX)
                sock.settimeout(_CONNECT)
                sock.connect(address.path)
            else:
                sock = socket.create_connection((address.host, address.port), _CONNECT)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                for name, value in _GONE:
                    if hasattr(socket, name):
                        sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        except OSError as error:
            unknown = isinstance(error, socket.gaierror | FileNotFoundError | PermissionError)
            why = f"cannot connect to {address.url}: {reason(error)}"
            raise LostError(why, unknown=unknown) from error
        if address.scheme == "https":
            sock = self._secure(sock)
        self._sock = sock
        return sock

    def _secure(self, sock: socket.socket) -> "ssl.SSLSocket":
        import ssl

        try:
            context = ssl.create_default_context(cafile=self._tls.ca)
            if self._tls.cert is not None:
                context.load_cert_chain(self._tls.cert)
        except OSError as error:
            sock.close()
            raise FailedError(f"cannot use --ca or --cert: {reason(error)}") from error
        try:
            return context.wrap_socket(sock, server_hostname=self._address.host)
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError) as error:
            sock.close()
            raise LostError("the connection was closed") from error
        except ssl.SSLError as error:
            sock.close()
            raise FailedError(f"{self._address.url}: {error.reason or error}") from error
        except OSError as error:
            sock.close()
            raise LostError(reason(error)) from error
