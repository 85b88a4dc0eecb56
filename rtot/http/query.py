"""Query parameters, every one of them accounted for.

A parameter that is misspelt would otherwise be ignored, and `DELETE /jobs?stat=complete`
would delete everything. So a route says what it takes, and all else is an error that names
the parameter.
"""

from collections.abc import Callable, Iterator
from typing import TypeVar

from rtot.config import parse_duration

T = TypeVar("T")


_MOST = 1000


class BadParameterError(ValueError):
    """A parameter that is unknown, repeated or malformed; the text names it."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"{name}: {why}")
        self.name = name


class Query:
    """The parameters of one request."""

    __slots__ = ("_values",)

    def __init__(self, text: str, known: frozenset[str]) -> None:
        """Parse application/x-www-form-urlencoded text; raises BadParameterError."""
        self._values: dict[str, list[str]] = {}
        if not text:
            return
        pairs = text.split("&", _MOST)
        if len(pairs) > _MOST:
            raise BadParameterError("query", f"more than {_MOST} parameters")
        for pair in pairs:
            if not pair:
                continue
            raw_name, _, raw_value = pair.partition("=")
            name, value = _decode(raw_name), _decode(raw_value)
            if name not in known:
                raise BadParameterError(_printable(name), "no such parameter here")
            self._values.setdefault(name, []).append(value)

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def all(self, name: str) -> tuple[str, ...]:
        """Every value of a parameter that may be repeated."""
        return tuple(self._values.get(name, ()))

    def one(self, name: str) -> str | None:
        """The value of a parameter that may not be repeated."""
        values = self._values.get(name)
        if values is None:
            return None
        if len(values) > 1:
            raise BadParameterError(name, "given more than once")
        return values[0]

    def flag(self, name: str, default: bool = False) -> bool:
        """`?name` and `?name=1` are true, `?name=0` is false."""
        value = self.one(name)
        if value is None:
            return default
        if value in ("", "1", "true", "yes"):
            return True
        if value in ("0", "false", "no"):
            return False
        raise BadParameterError(name, "want 1 or 0")

    def integer(self, name: str) -> int | None:
        """A decimal number of at most 18 digits."""
        value = self.one(name)
        if value is None:
            return None
        if not (value.isascii() and value.isdigit() and len(value) <= 18):
            raise BadParameterError(name, "want a number")
        return int(value)

    def duration(self, name: str) -> float | None:
        """Seconds, as `parse_duration` understands them."""
        return self._convert(name, parse_duration)

    def _convert(self, name: str, convert: Callable[[str], T]) -> T | None:
        value = self.one(name)
        if value is None:
            return None
        try:
            return convert(value)
        except ValueError as error:
            raise BadParameterError(name, _printable(str(error))) from None


def _decode(text: str) -> str:
    if "%" not in text and "+" not in text:
        return text
    # Half a megabyte, which most servers never need.
    from urllib.parse import unquote_plus

    return unquote_plus(text, errors="surrogateescape")


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "\ufffd" for c in text[:200])
