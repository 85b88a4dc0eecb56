"""TLS (RFC 8446), where it is asked for: contexts of certificates, and sockets that use them.

This is the one module that imports ssl, and it is imported only when a certificate is given:
OpenSSL costs megabytes and every handshake a millisecond. The loop sees a socket like any
other, except that nothing can be sent while it is `handshaking`.
"""

import os
import re
import socket
import ssl
import stat

from rtot.config import SetupError
from rtot.storage import FileSpan
from rtot.system.sockets import ClientSocket
from rtot.text import reason

# What is encrypted at a time. A record has at most 16 KB.
_MOST = 64 * 1024
_LARGEST_FILE = 1024 * 1024


class TlsError(SetupError):
    """No certificate to serve with; the text says why."""


class Tls:
    """The certificates of one server. `reload` takes new ones for new connections."""

    __slots__ = ("_ca", "_cert", "_context", "_key")

    def __init__(self, cert: str, key: str | None, ca: str | None) -> None:
        """Files in PEM. With a `ca` clients need a certificate of it. Raises TlsError."""
        self._cert = cert
        self._key = key
        self._ca = ca
        self._context = self._load()

    def reload(self) -> str | None:
        """Read the files again. On failure, keep the old certificates and return the reason."""
        try:
            self._context = self._load()
        except TlsError as error:
            return str(error)
        return None

    def wrap(self, sock: socket.socket) -> "TlsSocket | None":
        """The encrypted side of a new connection; None if its peer is gone already."""
        try:
            wrapped = self._context.wrap_socket(
                sock, server_side=True, do_handshake_on_connect=False
            )
        except OSError:
            sock.close()
            return None
        return TlsSocket(wrapped)

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
        context.set_alpn_protocols(["http/1.1"])
        at = self._cert
        try:
            # Without a password here OpenSSL would ask for one on the terminal.
            context.load_cert_chain(self._cert, self._key, password="")
            if self._ca is not None:
                at = self._ca
                context.load_verify_locations(self._ca)
                context.verify_mode = ssl.CERT_REQUIRED
        except OSError as error:
            _explain(self._cert, self._key or self._cert)
            raise TlsError(f"{at}: {_failure(error)}") from error
        return context


class TlsSocket(ClientSocket):
    """A socket whose bytes are encrypted."""

    __slots__ = ("_tls",)

    def __init__(self, sock: ssl.SSLSocket) -> None:
        super().__init__(sock)
        self._tls = sock
        self.handshaking = True

    def receive(self, room: int) -> bytes | None:
        """What has arrived and could be decrypted; as for any socket."""
        if self.shut:
            # What still arrives is discarded without decrypting it.
            return super().receive(room)
        self.blocked = False
        try:
            if self.handshaking:
                self._tls.do_handshake()
                self.handshaking = False
            return self._tls.recv(min(room, _MOST))
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLWantWriteError:
            self.blocked = True
            return None
        except OSError as error:
            if self.handshaking:
                self.failure = _failure(error)
            return b""

    def send(self, pieces: list[bytes | FileSpan]) -> int | None:
        """Encrypt and send of the pieces what the kernel takes; as for any socket.

        After a send for which there was no room, OpenSSL needs the same bytes again, and more may
        follow them. Callers do that: the first piece stays the first until it is taken.
        """
        try:
            return self._tls.send(_beginning(pieces))
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return 0
        except OSError:
            return None

    def shut_down(self) -> None:
        """Say that there is nothing more to come (close_notify), and send no more."""
        try:
            self._tls.unwrap()
        except OSError:
            # The peer's own close_notify is not waited for.
            pass
        except ValueError:
            # The handshake never began.
            pass
        super().shut_down()


def _explain(cert: str, key: str) -> None:
    """Raise TlsError if it can be seen what is wrong with the files. OpenSSL names no file."""
    certs, keys = _read(cert), _read(key)
    if certs is not None and b"CERTIFICATE-----" not in certs:
        raise TlsError(f"{cert}: there is no certificate in it")
    if keys is not None and b"PRIVATE KEY-----" not in keys:
        raise TlsError(f"{key}: there is no private key in it")
    if keys is not None and re.search(rb"BEGIN ENCRYPTED|Proc-Type: 4,ENCRYPTED", keys):
        raise TlsError(f"{key}: the key is encrypted; want it without a password")


def _read(path: str) -> bytes | None:
    """A regular file; None for another one, such as a pipe. Raises TlsError."""
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
            return file.read(_LARGEST_FILE) if regular else None
    except OSError as error:
        raise TlsError(f"{path}: {reason(error)}") from error


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def _beginning(pieces: list[bytes | FileSpan]) -> bytes:
    first = pieces[0]
    if isinstance(first, FileSpan):
        return os.pread(first.file.fileno(), min(first.length, _MOST), first.offset)
    data = first[:_MOST]
    for piece in pieces[1:]:
        if isinstance(piece, FileSpan) or len(data) + len(piece) > _MOST:
            break
        data += piece
    return data


def _failure(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or str(error)).lower().replace("_", " ")
    return reason(error)
