"""Query parameters, every one of them accounted for.

A parameter that is misspelt would otherwise be ignored, and `DELETE /jobs?stat=complete`
would delete everything. So a route says what it takes, and all else is an error that names
the parameter. Values are parsed before the route's function is called: what it gets is good.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Generic, NamedTuple, TypeVar, overload

from rtot.config import parse_duration
from rtot.credentials import Role
from rtot.text import is_number

T = TypeVar("T")
D = TypeVar("D")

_MOST = 1000
_TRUE = ("", "1", "true", "yes")
_FALSE = ("0", "false", "no")
# What every program should send. More digits are taken too, up to a century.
DURATION = (
    r"[0-9]{1,9}(?:\.[0-9]{0,9})?|(?=[0-9])(?:[0-9]{1,4}d)?(?:[0-9]{1,5}h)?(?:[0-9]{1,6}m)?"
    r"(?:[0-9]{1,8}(?:\.[0-9]{1,9})?s)?(?:[0-9]{1,8}ms)?"
)


class BadParameterError(ValueError):
    """A parameter that is unknown, repeated or malformed; the text names it."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"{name}: {why}")
        self.name = name


class Parameter(NamedTuple, Generic[T]):
    """One parameter: `about` says what it is for. `parse` makes its value of a text, or raises
    ValueError.

    The error's text is the reason; without one it is that `wanted` is wanted, which says what
    values there are. `schema` says it to programs (JSON Schema), as exactly as it can.
    `shown`: whether the log may show them. `role`: who may give it. `required`: whether there
    has to be one.
    """

    name: str
    about: str
    wanted: str
    parse: Callable[[str], T]
    schema: Mapping[str, object]
    repeatable: bool = False
    shown: bool = True
    role: Role = Role.READ
    required: bool = False


def flag(name: str, about: str) -> Parameter[bool]:
    """`?name` and `?name=1` are true, `?name=0` is false."""
    return Parameter(name, about, "1 or 0", _parse_flag, {"enum": [*_TRUE, *_FALSE]})


def time(name: str, about: str) -> Parameter[int]:
    """Nanoseconds since the epoch, of seconds since then or of a date and time (RFC 3339)."""
    date = "[12][0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])"
    clock = r"([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?"
    schema = pattern(r"[0-9]{1,10}(\.[0-9]{1,9})?", f"{date}T{clock}(Z|[+-]0[0-9]:00)")
    wanted = "seconds since 1970, or a time like 2026-11-25T10:00:00Z"
    return Parameter(name, about, wanted, _parse_time, schema)


def _parse_time(text: str) -> int:
    if found := re.fullmatch(r"([0-9]{1,10})(?:\.([0-9]{1,9}))?", text, re.ASCII):
        return int(found[1]) * 10**9 + int((found[2] or "").ljust(9, "0"))
    from datetime import UTC, datetime, timedelta

    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError from None
    since = (time if time.tzinfo else time.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
    return since // timedelta(microseconds=1) * 1000


def number(name: str, about: str, least: int = 0) -> Parameter[int]:
    """A decimal number of at most 18 digits."""

    def parse(text: str) -> int:
        if not is_number(text):
            raise ValueError("want a number")
        value = int(text)
        if value < least:
            raise ValueError
        return value

    schema = {"type": "integer", "minimum": least, "maximum": 10**18 - 1}
    return Parameter(name, about, f"at least {least}", parse, schema)


def duration(name: str, about: str, *, required: bool = False) -> Parameter[float]:
    """Seconds, as `parse_duration` understands them."""
    wanted = "a duration, such as 90, 1.5s, 1h30m or 2d"
    return Parameter(name, about, wanted, parse_duration, pattern(DURATION), required=required)


def choice(name: str, about: str, *values: str) -> Parameter[str]:
    """One of a few words."""

    def parse(text: str) -> str:
        if text not in values:
            raise ValueError
        return text

    return Parameter(name, about, " or ".join(values), parse, {"enum": list(values)})


def pattern(*choices: str) -> Mapping[str, object]:
    """The schema of a text that as a whole matches one of these regular expressions."""
    return {"type": "string", "pattern": f"^(?:{'|'.join(choices)})$"}


class Query:
    """The parameters of one request."""

    __slots__ = ("_values",)

    def __init__(self, text: str, known: tuple[Parameter[Any], ...]) -> None:
        """Parse application/x-www-form-urlencoded text; raises BadParameterError."""
        self._values: dict[str, list[Any]] = {}
        if text:
            self._parse(text, {parameter.name: parameter for parameter in known})
        for parameter in known:
            if parameter.required and parameter.name not in self._values:
                raise BadParameterError(parameter.name, "is missing")

    def _parse(self, text: str, known: dict[str, Parameter[Any]]) -> None:
        pairs = text.split("&", _MOST)
        if len(pairs) > _MOST:
            raise BadParameterError("query", f"more than {_MOST} parameters")
        for pair in pairs:
            if not pair:
                continue
            raw_name, _, raw_value = pair.partition("=")
            name = _decode(raw_name)
            parameter = known.get(name)
            if parameter is None:
                raise BadParameterError(_printable(name), "no such parameter here")
            values = self._values.setdefault(name, [])
            if values and not parameter.repeatable:
                raise BadParameterError(name, "given more than once")
            try:
                values.append(parameter.parse(_decode(raw_value)))
            except ValueError as error:
                why = str(error) or f"want {parameter.wanted}"
                raise BadParameterError(name, _printable(why)) from None

    def __contains__(self, parameter: Parameter[Any]) -> bool:
        return parameter.name in self._values

    def isdisjoint(self, names: frozenset[str]) -> bool:
        """Whether none of these parameters is given."""
        return names.isdisjoint(self._values)

    def require(self, parameter: Parameter[T]) -> T:
        """The value of a parameter that is required."""
        value: T = self._values[parameter.name][0]
        return value

    def all(self, parameter: Parameter[T]) -> tuple[T, ...]:
        """Every value of a parameter that may be repeated."""
        return tuple(self._values.get(parameter.name, ()))

    @overload
    def get(self, parameter: Parameter[T]) -> T | None: ...
    @overload
    def get(self, parameter: Parameter[T], default: D) -> T | D: ...
    def get(self, parameter: Parameter[T], default: D | None = None) -> T | D | None:
        """The value of a parameter that may not be repeated."""
        values = self._values.get(parameter.name)
        return default if values is None else values[0]


def _parse_flag(text: str) -> bool:
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError


def _decode(text: str) -> str:
    if "%" not in text and "+" not in text:
        return text
    # Imported here because it takes half a megabyte, and most servers never need it.
    from urllib.parse import unquote_plus

    return unquote_plus(text, errors="surrogateescape")


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "\ufffd" for c in text[:200])
