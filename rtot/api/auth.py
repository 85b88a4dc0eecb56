"""Authentication: who has sent a request, and a limit on wrong guesses.

`Authorization: rtot SECRET` is the original's scheme, `Bearer SECRET` (RFC 6750) that of
most tools. `Basic` (RFC 7617), with the secret as the password of any user, is what `curl -u` and
netrc files send. It is never offered: browsers would ask people for passwords. Several secrets may
be good at once, so that they can be rotated.

An address with too many wrong guesses has to wait before another secret from it is compared.
Loopback addresses are exempt: all users and proxies of this machine share them, so one client
with an old secret would lock out all others.
"""

from enum import Enum, auto

from rtot.clock import Now
from rtot.credentials import Credential, Credentials, digest
from rtot.throttle import Throttle

# Wrong guesses allowed at once, and then one more each second.
_GUESSES = 20
_GUESSES_PER_SECOND = 1.0
_ADDRESSES = 4096


class Denial(Enum):
    """Why somebody is not let in."""

    BAD = auto()
    """No secret, or a wrong one."""
    LIMITED = auto()
    """Not judged: this address has failed too often of late."""


class Authenticator:
    """The secrets, and who has failed to give one."""

    __slots__ = ("_failures", "credentials")

    def __init__(self, credentials: Credentials) -> None:
        self.credentials = credentials
        """May be replaced at any time; then whoever came with another has to leave."""
        self._failures = Throttle(_GUESSES, _GUESSES_PER_SECOND, _ADDRESSES)

    def judge(self, authorization: str | None, peer: str, now: Now) -> Credential | Denial:
        """Judge an Authorization field's value. `peer` is `address:port` or `unix`."""
        if authorization is None:
            return Denial.BAD
        address = _address(peer)
        if address and self._failures.is_empty(address, now.monotonic):
            return Denial.LIMITED
        found = self.credentials.get(digest(_secret(authorization)))
        if found is not None:
            return found
        if address:
            self._failures.take(address, now.monotonic)
        return Denial.BAD

    def is_good(self, credential: Credential) -> bool:
        """Whether it still stands for what it stood for when it was judged."""
        return self.credentials.get(credential.digest) == credential


def _secret(authorization: str) -> bytes:
    """The secret in an Authorization field; empty, which none is, for a scheme that is unknown."""
    scheme, _, text = authorization.partition(" ")
    given = text.strip(" ").encode("latin-1")
    match scheme.lower():
        case "rtot" | "bearer":
            return given
        case "basic":
            import binascii

            try:
                return binascii.a2b_base64(given, strict_mode=True).partition(b":")[2]
            except ValueError:
                return b""
        case _:
            return b""


def _address(peer: str) -> str:
    """The key under which guesses are counted; empty for loopback and unix sockets."""
    address = peer.rpartition(":")[0]
    if address.startswith("127.") or address == "[::1]":
        return ""
    if address.startswith("["):
        import ipaddress

        # One subscriber has a whole /64 (RFC 6177), more addresses than could ever be blocked.
        return str(ipaddress.ip_network((address[1:-1].partition("%")[0], 64), strict=False))
    return address
