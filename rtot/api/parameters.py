"""Every parameter that any route takes: its name, what values it has, who may see them.

The routes name the ones they take. The log shows a value only if its parameter allows it: `arg`
and `env` are private to the submitter, and an unknown parameter may contain anything, even a
misplaced secret.
"""

import math
from signal import Signals

from rtot.api.job_json import ALL_FIELDS, ALWAYS
from rtot.config import parse_duration, parse_size
from rtot.credentials import Role, is_name
from rtot.http.query import Parameter, choice, duration, flag, number
from rtot.jobs.job import SHOWN
from rtot.jobs.tail import Tail

_FIELDS = frozenset({*ALL_FIELDS, *ALWAYS, "*", ""})
_STATES = frozenset({*SHOWN.values(), ""})


def _parse_env(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals or "\0" in text:
        raise ValueError
    if name.startswith("RTOT_"):
        raise ValueError("names that start with RTOT_ are rtot's own")
    return name, value


def _parse_argument(text: str) -> str:
    if "\0" in text:
        raise ValueError("a NUL byte cannot be passed")
    return text


def _parse_directory(text: str) -> str:
    if not text.startswith("/") or "\0" in text:
        raise ValueError
    return text


def _parse_label(text: str) -> str:
    if not 0 < len(text) <= 255:
        raise ValueError
    return text


def _parse_name(text: str) -> str:
    if not is_name(text):
        raise ValueError
    return text


def _parse_grace(text: str) -> float:
    return math.inf if text == "never" else parse_duration(text)


def _parse_tail(text: str) -> Tail:
    if text.isascii() and text.isdigit() and len(text) <= 18:
        return Tail(lines=int(text))
    return Tail(size=parse_size(text))


def _parse_lease(text: str) -> float | None:
    """Seconds; None for no lease."""
    if text in ("0", "false", "no"):
        return None
    return 0.0 if text in ("", "true", "yes") else parse_duration(text)


def _parse_followed(text: str) -> str:
    followed = text or "out"
    if followed not in ("out", "err", "events"):
        raise ValueError
    return followed


def _parse_timeout(text: str) -> float:
    seconds = parse_duration(text)
    if seconds == 0:
        raise ValueError("want more than 0")
    return seconds


def _parse_fields(text: str) -> tuple[str, ...]:
    names = dict.fromkeys(text.split(","))
    for name in names:
        if name not in _FIELDS:
            raise ValueError(f"there is no field {name}")
    return ALL_FIELDS if "*" in names else tuple(names)


def _parse_state(text: str) -> str | None:
    """An empty one counts as absent, as in the original."""
    if text not in _STATES:
        raise ValueError
    return text or None


def _parse_signal(text: str) -> Signals:
    try:
        if text.isascii() and text.isdigit():
            return Signals(int(text))
        name = text.upper()
        return Signals[name if name.startswith("SIG") else f"SIG{name}"]
    except (KeyError, ValueError):
        raise ValueError from None


# Of a job that is submitted.
ARG = Parameter("arg", "an argument of the script", _parse_argument, True, shown=False)
ENV = Parameter("env", "NAME=VALUE", _parse_env, True, shown=False)
CWD = Parameter("cwd", "an absolute path", _parse_directory)
LABEL = Parameter("label", "1 to 255 characters", _parse_label, repeatable=True)
TIMEOUT = Parameter("timeout", "a duration of more than nothing", _parse_timeout)
STDIN = choice("stdin", "open", "null")
STDERR = choice("stderr", "out", "err")
LAUNCHER = Parameter("launcher", "the name of a launcher", str)
LEASE = Parameter("lease", "seconds or another duration, or nothing", _parse_lease, role=Role.RUN)

# Of an answer that shows jobs.
FIELDS = Parameter("fields", "names of fields, joined by commas, or *", _parse_fields)
TIMES = choice("times", "text", "unix")
WAIT = duration("wait")
UNTIL = choice("until", "all", "any")
STATE = Parameter("state", "new, running or complete", _parse_state)
FAILED = flag("failed")
SELECTED_LABEL = Parameter("label", "a label", str, repeatable=True)
BY = Parameter("by", "a name", _parse_name)
FROM = number("from")
LIMIT = number("limit", 1)
SINCE = number("since")
ORDER = choice("order", "asc", "desc")
LAST = number("last", 1)

# Of an output, or of what is to be written to a job.
OFFSET = number("offset")
FOLLOW = flag("follow")
FOLLOWED = Parameter("follow", "out, err or events", _parse_followed)
TAIL = Parameter("tail", "a number of lines, or a size with its unit", _parse_tail)
FAIL = flag("fail")
CLOSE = flag("close")

# Of the end of a job.
SIGNAL = Parameter("signal", "a name such as TERM, or a number", _parse_signal)
GRACE = Parameter("grace", "a duration, or never", _parse_grace)
TREE = flag("tree")
TIMEOUT_AFTER = duration("after")
