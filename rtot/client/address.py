"""Where a server is, as RTOT_URL and --url say it."""

from typing import NamedTuple
from urllib.parse import urlsplit

_PORTS = {"http": 80, "https": 443}


class Address(NamedTuple):
    """`host` and `port`, or the `path` of a unix socket. `prefix` comes before each target."""

    url: str
    scheme: str
    host: str = "localhost"
    port: int = 80
    path: str = ""
    prefix: str = ""

    @property
    def authority(self) -> str:
        """What Host says (RFC 9110, 7.2)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS.get(self.scheme, 80) else f"{host}:{self.port}"

    @property
    def name(self) -> str:
        """What tells this server from others, for people."""
        return self.path or self.authority


def _is_plain(host: str, text: str) -> bool:
    """Whether the host can be one, and the rest be sent as it is (RFC 3986)."""
    return (
        text.isascii()
        and text.isprintable()
        and not set(text) & set(' <>"{}|\\^`')
        and all(host.rstrip(".").split("."))
    )


def parse_url(text: str) -> Address:
    """The address of `http://HOST:PORT`, `https://HOST`, `unix:/path`. Raises ValueError."""
    scheme, _, rest = text.partition(":")
    if scheme == "unix":
        if not rest.startswith("/"):
            raise ValueError(f"{text!r}: want unix:/path")
        return Address(text, "unix", path=rest)
    if scheme not in _PORTS or not rest.startswith("//"):
        raise ValueError(f"{text!r}: want http://HOST:PORT, https://HOST or unix:/path")
    parts = urlsplit(text)
    if "@" in parts.netloc:
        # It would be seen in ps, and in what we say about the URL.
        raise ValueError("a secret does not belong into the URL: see RTOT_SECRET")
    if not parts.hostname or parts.query or parts.fragment or not _is_plain(parts.hostname, text):
        raise ValueError(f"{text!r}: want http://HOST:PORT or https://HOST")
    port = _PORTS[scheme] if parts.port is None else parts.port
    return Address(text, scheme, parts.hostname, port, prefix=parts.path.rstrip("/"))
