"""SHA-256, without the megabytes of OpenSSL that hashlib would bring."""

try:
    from _sha2 import sha256  # type: ignore[import-not-found, unused-ignore]
except ImportError:  # Python 3.11
    from _sha256 import sha256  # type: ignore[import-not-found, unused-ignore]

__all__ = ["sha256"]
