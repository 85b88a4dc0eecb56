"""Where rtot listens: addresses as people write them, and sockets bound to them.

Options that accepted sockets inherit from their listener (Linux does) are set here once, so
that a new connection costs no system call for them.
"""

import contextlib
import os
import re
import socket
import stat
from typing import NamedTuple

# A client whose machine is gone is noticed after about two minutes (tcp(7)).
_KEEPALIVE_IDLE = 60
_KEEPALIVE_INTERVAL = 15
_KEEPALIVE_PROBES = 4
_BACKLOG = 1024


class AddressError(ValueError):
    """A text that is no address."""


class ListenError(Exception):
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


def listen(address: Address) -> list[socket.socket]:
    """Non-blocking listening sockets, one for each address of the host. Raises ListenError."""
    if address.path:
        return [_listen_unix(address)]
    try:
        # Without a host one socket serves both protocols, where the machine speaks IPv6.
        if not address.host and socket.has_dualstack_ipv6():
            found = [(socket.AF_INET6, ("::", address.port))]
        elif not address.host:
            found = [(socket.AF_INET, ("0.0.0.0", address.port))]
        else:
            host = address.host
            infos = socket.getaddrinfo(
                # Of a str Python would make IDNA, whose tables are half a megabyte.
                host.encode() if host.isascii() else host,
                address.port,
                type=socket.SOCK_STREAM,
                flags=socket.AI_PASSIVE,
            )
            found = list(dict.fromkeys((info[0], info[4]) for info in infos))  # type: ignore[misc]
    except OSError as error:
        raise ListenError(f"cannot resolve {address}: {error.strerror or error}") from error
    sockets: list[socket.socket] = []
    for family, sockaddr in found:
        try:
            sockets.append(_listen_tcp(family, sockaddr, dual=not address.host))
        except OSError as error:
            for opened in sockets:
                opened.close()
            why = (error.strerror or str(error)).lower()
            raise ListenError(f"cannot listen on {address}: {why}") from error
    return sockets


def name_of(listener: socket.socket) -> str:
    """The listener's address as a client would write it."""
    name = listener.getsockname()
    if isinstance(name, tuple):
        return f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"
    return f"unix:{name}"


def accept(listener: socket.socket) -> tuple[socket.socket, str] | None:
    """The next connection and its peer's name; None when there is none.

    OSError is for the caller only where the machine has run out of something (EMFILE,
    ENFILE, ENOBUFS, ENOMEM); a connection that died while it waited is passed over.
    """
    while True:
        try:
            connected, name = listener.accept()
        except (BlockingIOError, InterruptedError):
            return None
        except ConnectionError:
            continue
        # accept4(2) would save this one, and Python does not let us.
        connected.setblocking(False)
        return connected, _peer(name)


def _peer(name: object) -> str:
    if not isinstance(name, tuple):
        return "unix"
    host = name[0].removeprefix("::ffff:")
    return f"[{host}]:{name[1]}" if ":" in host else f"{host}:{name[1]}"


def close(listeners: list[socket.socket]) -> None:
    """Close the listeners and remove what they left in the file system."""
    for listener in listeners:
        name = listener.getsockname() if listener.family == socket.AF_UNIX else None
        listener.close()
        if isinstance(name, str) and name:
            with contextlib.suppress(OSError):
                os.unlink(name)


def _listen_tcp(
    family: socket.AddressFamily, sockaddr: tuple[str, int], *, dual: bool
) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEPALIVE_IDLE)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _KEEPALIVE_INTERVAL)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _KEEPALIVE_PROBES)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if dual else 1)
        listener.bind(sockaddr)
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def _listen_unix(address: Address) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # Whoever can connect still needs the secret, but nobody else's business is better.
    old = os.umask(0o077)
    try:
        _remove_stale(address.path)
        listener.bind(address.path)
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        why = (error.strerror or str(error)).lower()
        raise ListenError(f"cannot listen on {address}: {why}") from error
    finally:
        os.umask(old)
    return listener


def _remove_stale(path: str) -> None:
    """Remove a socket that nobody listens on any more; leave everything else alone."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return
    except OSError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            with contextlib.suppress(OSError):
                os.unlink(path)
        except OSError:
            return
