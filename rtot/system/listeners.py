"""Where rtot listens: addresses as people write them, and sockets bound to them.

Options that accepted sockets inherit from their listener (Linux does) are set here once, so
that a new connection costs no system call for them.
"""

import contextlib
import errno
import os
import re
import socket
import stat
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from rtot.config import SetupError
from rtot.system.sockets import ClientSocket
from rtot.text import reason

if TYPE_CHECKING:
    from rtot.system.tls import Tls

# A client whose machine is gone is noticed after about two minutes (tcp(7)).
_KEEPALIVE_IDLE = 60
_KEEPALIVE_INTERVAL = 15
_KEEPALIVE_PROBES = 4
_BACKLOG = 1024
_FIRST_INHERITED = 3
_NOT_HERE = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})


class AddressError(ValueError):
    """A text that is no address."""


class ListenError(SetupError):
    """An address that cannot be listened on; the text says which and why."""


class Address(NamedTuple):
    """`host` and `port`, where an empty host is every interface; or the `path` of a socket."""

    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


_ADDRESS = re.compile(r"(?:\[([0-9A-Fa-f:.%\w]+)\]|([^:\[\]/\s]*)):([0-9]{1,5})")


def parse_address(text: str) -> Address:
    """`:PORT`, `HOST:PORT`, `[::1]:PORT` or `unix:/path`. Raises AddressError."""
    if text.startswith("unix:"):
        path = text[5:]
        if not path or "\0" in path:
            raise AddressError(f"{text!r}: want unix:/path")
        return Address(path=os.path.abspath(path))
    found = _ADDRESS.fullmatch(text)
    if found is None or int(found[3]) > 65535:
        raise AddressError(f"{text!r}: want :PORT, HOST:PORT, [::1]:PORT or unix:/path")
    return Address(host=found[1] or found[2] or "", port=int(found[3]))


class Listener:
    """A non-blocking listening socket.

    `tls`: clients of this listener speak TLS with it; None for plain text.
    """

    __slots__ = ("_owned", "path", "sock", "tls")

    def __init__(self, sock: socket.socket, path: str = "") -> None:
        """`path` is that of a socket in the file system which is ours to remove."""
        self.sock = sock
        self.tls: Tls | None = None
        self.path = path
        self._owned = _identity(path) if path else None

    @property
    def name(self) -> str:
        """The address as a client would write it."""
        name = self.sock.getsockname()
        if isinstance(name, tuple):
            return f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"
        return f"unix:{name}"

    def accept(self) -> tuple[ClientSocket, str] | None:
        """The next connection and its peer's name; None when there is none.

        OSError is for the caller only where the machine has run out of something (EMFILE,
        ENFILE, ENOBUFS, ENOMEM); a connection that died while it waited is passed over.
        """
        while True:
            try:
                connected, name = self.sock.accept()
            except (BlockingIOError, InterruptedError):
                return None
            except ConnectionError:
                continue
            # Python cannot have accept4(2) do this.
            connected.setblocking(False)
            if self.tls is None:
                return ClientSocket(connected), _peer(name)
            if (encrypted := self.tls.wrap(connected)) is not None:
                return encrypted, _peer(name)

    def close(self) -> None:
        """Close the socket, and remove its file if that is still the one it made."""
        self.sock.close()
        with contextlib.suppress(OSError):
            if self._owned is not None and _identity(self.path) == self._owned:
                os.unlink(self.path)


def _identity(path: str) -> tuple[int, int, int]:
    """Identify the file. An inode number may be reused at once, so mtime is included."""
    status = os.lstat(path)
    return status.st_dev, status.st_ino, status.st_mtime_ns


def inherited(environ: Mapping[str, str]) -> list[Listener]:
    """The sockets that a service manager passed (sd_listen_fds(3)). Raises ListenError."""
    count = environ.get("LISTEN_FDS", "")
    if environ.get("LISTEN_PID") != str(os.getpid()) or not re.fullmatch("[0-9]{1,4}", count):
        return []
    found = []
    for fd in range(_FIRST_INHERITED, _FIRST_INHERITED + int(count)):
        try:
            sock = socket.socket(fileno=fd)
            listening = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            if not listening or sock.type != socket.SOCK_STREAM:
                raise ListenError(f"descriptor {fd} is no listening stream socket")
            sock.set_inheritable(False)
            if sock.family != socket.AF_UNIX:
                _set_options(sock)
            sock.setblocking(False)
        except OSError as error:
            raise ListenError(f"descriptor {fd}: {reason(error)}") from error
        found.append(Listener(sock))
    return found


def listen(address: Address, mode: int) -> list[Listener]:
    """Listeners, one for each address of the host. Raises ListenError.

    `mode` is that of a socket in the file system.
    """
    if address.path:
        return [_listen_unix(address, mode)]
    try:
        # Without a host one socket serves both protocols, where the machine speaks IPv6.
        if not address.host and socket.has_dualstack_ipv6():
            found = [(socket.AF_INET6, ("::", address.port))]
        elif not address.host:
            found = [(socket.AF_INET, ("0.0.0.0", address.port))]
        else:
            host = address.host
            infos = socket.getaddrinfo(
                # Bytes, since Python encodes a str as IDNA, whose tables take half a megabyte.
                host.encode() if host.isascii() else host,
                address.port,
                type=socket.SOCK_STREAM,
                flags=socket.AI_PASSIVE,
            )
            found = list(dict.fromkeys((info[0], info[4]) for info in infos))  # type: ignore[misc]
    except (OSError, UnicodeError) as error:
        why = reason(error) if isinstance(error, OSError) else "no such name"
        raise ListenError(f"cannot resolve {address}: {why}") from error
    listeners: list[Listener] = []
    missing: OSError | None = None
    for family, sockaddr in found:
        try:
            listeners.append(Listener(_listen_tcp(family, sockaddr, dual=not address.host)))
        except OSError as error:
            if error.errno in _NOT_HERE:
                # The name has addresses of two protocols, and this machine speaks one of them.
                missing = error
                continue
            close_listeners(listeners)
            raise ListenError(f"cannot listen on {address}: {reason(error)}") from error
    if not listeners and missing is not None:
        raise ListenError(f"cannot listen on {address}: {reason(missing)}") from missing
    return listeners


def _peer(name: object) -> str:
    if not isinstance(name, tuple):
        return "unix"
    host = name[0].removeprefix("::ffff:")
    return f"[{host}]:{name[1]}" if ":" in host else f"{host}:{name[1]}"


def close_listeners(listeners: list[Listener]) -> None:
    """Close them."""
    for listener in listeners:
        listener.close()


def _listen_tcp(
    family: socket.AddressFamily, sockaddr: tuple[str, int], *, dual: bool
) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _set_options(listener)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if dual else 1)
        listener.bind(sockaddr)
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def _set_options(listener: socket.socket) -> None:
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEPALIVE_IDLE)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _KEEPALIVE_INTERVAL)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _KEEPALIVE_PROBES)


def _listen_unix(address: Address, mode: int) -> Listener:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # The mode is right from the start, so that nobody can connect in between.
    old = os.umask(0o777 & ~mode)
    try:
        _remove_stale(address.path)
        if os.path.isdir(address.path):
            raise ListenError(f"cannot listen on {address}: it is a directory, want a new file")
        sock.bind(address.path)
        sock.listen(_BACKLOG)
        sock.setblocking(False)
        return Listener(sock, address.path)
    except OSError as error:
        sock.close()
        raise ListenError(f"cannot listen on {address}: {reason(error)}") from error
    except ListenError:
        sock.close()
        raise
    finally:
        os.umask(old)


def _remove_stale(path: str) -> None:
    """Remove a socket that nobody listens on any more; leave everything else alone."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return
    except OSError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        # EAGAIN: the server is alive, and busy.
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            with contextlib.suppress(OSError):
                os.unlink(path)
        except OSError:
            return
