"""Every parameter that any route takes: its name, what it is for, its values, who may see them.

The routes name the ones they take. The log shows a value only if its parameter allows it: `arg`
and `env` are private to the submitter, and an unknown parameter may contain anything, even a
misplaced secret.
"""

import math
from signal import Signals

from rtot.api.job_json import ALL_FIELDS, ALWAYS
from rtot.config import parse_duration, parse_size
from rtot.credentials import Role, is_name
from rtot.http.query import DURATION, Parameter, choice, duration, flag, number, pattern, time
from rtot.jobs.job import SHOWN, Prerequisite
from rtot.jobs.tail import Tail
from rtot.text import is_number

_FIELDS = frozenset({*ALL_FIELDS, *ALWAYS, "*", ""})
_STATES = frozenset({*SHOWN.values(), ""})
_FIELD = "|".join([*ALWAYS, *ALL_FIELDS, r"\*", ""])
_ANY_TEXT = {"type": "string"}
_TEXT = pattern(r"[^\u0000]*")


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


def _parse_prerequisite(text: str) -> Prerequisite:
    number, colon, how = text.partition(":")
    if not is_number(number) or (colon and how != "any"):
        raise ValueError
    return Prerequisite(int(number), bool(colon))


def _parse_name(text: str) -> str:
    if not is_name(text):
        raise ValueError
    return text


def _parse_grace(text: str) -> float:
    return math.inf if text == "never" else parse_duration(text)


def _parse_tail(text: str) -> Tail:
    if is_number(text):
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
ARG = Parameter(
    "arg",
    "An argument of the script.",
    "an argument of the script",
    _parse_argument,
    _TEXT,
    repeatable=True,
    shown=False,
)
ENV = Parameter(
    "env",
    "A variable for the job.",
    "NAME=VALUE",
    _parse_env,
    pattern(r"(?!RTOT_)[^=\u0000]+=[^\u0000]*"),
    repeatable=True,
    shown=False,
)
CWD = Parameter(
    "cwd",
    "The directory that the job is started in.",
    "an absolute path",
    _parse_directory,
    pattern(r"/[^\u0000]*"),
)
LABEL = Parameter(
    "label",
    "A label of the job, to find it by.",
    "1 to 255 characters",
    _parse_label,
    {"type": "string", "minLength": 1, "maxLength": 255},
    repeatable=True,
)
TIMEOUT = Parameter(
    "timeout",
    "How long the job may run.",
    "a duration of more than nothing",
    _parse_timeout,
    pattern(rf"(?=.*[1-9])(?:{DURATION})"),
)
STDIN = choice("stdin", "Whether the job's stdin can be written to.", "open", "null")
STDERR = choice("stderr", "Where stderr goes: `out` for one pipe for both.", "out", "err")
LAUNCHER = Parameter(
    "launcher", "What the job is started under.", "the name of a launcher", str, _ANY_TEXT
)
GROUP = Parameter(
    "group",
    "Jobs of a group run one at a time, or as many as the operator says.",
    "1 to 255 characters",
    _parse_label,
    {"type": "string", "minLength": 1, "maxLength": 255},
)
SUPERSEDE = flag("supersede", "Cancel the jobs of the group that wait.")
AFTER = Parameter(
    "after",
    "Wait until that job is complete and has not failed; with `:any`, whatever came of it.",
    "the id of a job, or ID:any",
    _parse_prerequisite,
    pattern("[0-9]{1,18}(?::any)?"),
    repeatable=True,
)
DELAY = duration("delay", "Do not start the job before so much time has passed.")
LEASE = Parameter(
    "lease",
    "End the job when the client has gone, at once or so much later.",
    "seconds or another duration, or nothing",
    _parse_lease,
    pattern("", "true", "yes", "false", "no", DURATION),
    role=Role.RUN,
)

# Of an answer that shows jobs.
FIELDS = Parameter(
    "fields",
    "Which fields of a job are shown.",
    "names of fields, joined by commas, or *",
    _parse_fields,
    pattern(rf"(?:{_FIELD})(?:,(?:{_FIELD}))*"),
)
TIMES = choice("times", "How times are shown: `unix` for numbers of seconds.", "text", "unix")
WAIT = duration("wait", "How long to wait until jobs are complete.")
UNTIL = choice("until", "Whether to wait for all of the jobs or for one.", "all", "any")
STATE = Parameter(
    "state",
    "Only jobs in this state.",
    "new, running or complete",
    _parse_state,
    {"enum": [*dict.fromkeys(SHOWN.values()), ""]},
)
FAILED = flag("failed", "Only complete jobs that have failed, or with 0 that have not.")
SELECTED_LABEL = Parameter(
    "label", "Only jobs with this label.", "a label", str, _ANY_TEXT, repeatable=True
)
BY = Parameter(
    "by",
    "Only jobs that were submitted under this name.",
    "a name",
    _parse_name,
    pattern("[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}"),
)
CREATED_FROM = time("created-from", "Only jobs that were accepted then or later.")
CREATED_TO = time("created-to", "Only jobs that were accepted then or earlier.")
SELECTED_GROUP = Parameter("group", "Only jobs of this group.", "a group", str, _ANY_TEXT)
FROM = number("from", "Only jobs with this id or a higher one; a lower one in descending order.")
LIMIT = number("limit", "How many jobs at most.", 1)
SINCE = number("since", "Only jobs that changed after the change of this number.")
ORDER = choice("order", "In which order of ids.", "asc", "desc")
LAST = number("last", "Only the newest so many, the newest first.", 1)

# Of an output, or of what is to be written to a job.
OFFSET = number("offset", "From which byte on.")
FOLLOW = flag("follow", "Go on until the job is complete.")
FOLLOWED = Parameter(
    "follow",
    "Answer with this output, or with the events, as they come; nothing is `out`.",
    "out, err or events",
    _parse_followed,
    {"enum": ["", "out", "err", "events"]},
)
TAIL = Parameter(
    "tail",
    "Only the last lines of output, or the last bytes.",
    "a number of lines, or a size with its unit",
    _parse_tail,
    pattern("[0-9]{1,18}", r"[0-9]{1,15}(?:\.[0-9]{1,9})?[KMGTkmgt]i?[Bb]?", "[0-9]{1,15}i?[Bb]"),
)
FAIL = flag("fail", "Answer 424, or break the stream off, if a job has failed or was cut.")
CLOSE = flag("close", "End the job's stdin after that.")

# Of the end of a job.
SIGNAL = Parameter(
    "signal",
    "Which signal is sent.",
    "a name such as TERM, or a number",
    _parse_signal,
    pattern("(?:SIG)?(?:HUP|INT|QUIT|USR1|USR2|TERM|KILL|CONT|STOP|TSTP|WINCH)", "[1-9]"),
)
GRACE = Parameter(
    "grace",
    "How long to wait before KILL; `never` sends none.",
    "a duration, or never",
    _parse_grace,
    pattern("never", DURATION),
)
TREE = flag("tree", "With 0, processes that have left the group are spared.")
TIMEOUT_AFTER = duration("after", "How long the job may run, from its start.", required=True)
