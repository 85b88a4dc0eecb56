"""Authentication: secrets, compared in constant time, and a limit on wrong guesses.

`Authorization: rtot SECRET` is the original's scheme, `Bearer SECRET` (RFC 6750) that of
most tools. Several secrets may be good at once, so that they can be rotated.

An address with too many wrong guesses has to wait before another secret from it is compared.
Loopback addresses are exempt: all users and proxies of this machine share them, so one client
with an old secret would lock out all others.
"""

# What hmac.compare_digest is, without the megabytes of OpenSSL that come with hmac.
from _operator import _compare_digest  # type: ignore[import-not-found, unused-ignore]
from enum import Enum, auto

from rtot.clock import Now
from rtot.throttle import Throttle

_SCHEMES = ("rtot", "bearer")
# Wrong guesses allowed at once, and then one more each second.
_GUESSES = 20
_GUESSES_PER_SECOND = 1.0
_ADDRESSES = 4096


class Verdict(Enum):
    GOOD = auto()
    BAD = auto()
    LIMITED = auto()
    """Not judged: this address has failed too often of late."""


class Authenticator:
    """The secrets, and who has failed to give one."""

    __slots__ = ("_failures", "secrets")

    def __init__(self, secrets: tuple[bytes, ...]) -> None:
        self.secrets = secrets
        """May be replaced at any time."""
        self._failures = Throttle(_GUESSES, _GUESSES_PER_SECOND, _ADDRESSES)

    def judge(self, authorization: str | None, peer: str, now: Now) -> Verdict:
        """Judge an Authorization field's value. `peer` is `address:port` or `unix`."""
        if authorization is None:
            return Verdict.BAD
        address = _address(peer)
        if address and self._failures.is_empty(address, now.monotonic):
            return Verdict.LIMITED
        if self._is_good(authorization):
            return Verdict.GOOD
        if address:
            self._failures.take(address, now.monotonic)
        return Verdict.BAD

    def _is_good(self, authorization: str) -> bool:
        scheme, _, credentials = authorization.partition(" ")
        if scheme.lower() not in _SCHEMES:
            return False
        given = credentials.strip(" ").encode("latin-1")
        good = False
        for secret in self.secrets:
            # Compare with all, so that the time does not depend on which secret matches.
            good |= _compare_digest(given, secret)
        return good


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
