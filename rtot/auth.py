"""Who may drive this server: secrets, compared in constant time.

`Authorization: rtot SECRET` is the original's scheme, `Bearer SECRET` (RFC 6750) that of
most tools. Several secrets may be good at once, so that they can be rotated.
"""

# What hmac.compare_digest is, without the megabytes of OpenSSL that come with hmac.
from _operator import _compare_digest  # type: ignore[import-not-found, unused-ignore]

_SCHEMES = ("rtot", "bearer")


def is_authorized(authorization: str | None, secrets: tuple[bytes, ...]) -> bool:
    """Whether the Authorization field names one of the secrets."""
    scheme, _, credentials = (authorization or "").partition(" ")
    if scheme.lower() not in _SCHEMES:
        return False
    given = credentials.strip(" ").encode("latin-1")
    good = False
    for secret in secrets:
        # No early way out: the time must not tell which secret was nearly right.
        good |= _compare_digest(given, secret)
    return good
