"""The client's words and their options, as data; and argv made sense of by that table.

Options may stand anywhere, but for `run`, whose end at the first word that is none: what follows is
the script's.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from rtot.cli.errors import UsageError
from rtot.client.address import parse_url
from rtot.client.jobs import job_path
from rtot.config import parse_count, parse_duration


class Option(NamedTuple):
    """One option: its names, its value's (empty for none), what makes a value of the text."""

    names: tuple[str, ...]
    metavar: str
    key: str
    convert: Callable[[str], Any]
    help: str
    repeatable: bool = False


class Word(NamedTuple):
    """A command: what follows its name in its usage, and how many words that may be."""

    name: str
    usage: str
    summary: str
    options: tuple[Option, ...]
    fewest: int = 0
    most: int | None = None
    ends_early: bool = False
    """Options end at the first word that is none."""


class Invocation(NamedTuple):
    """What was asked for. `dashed`: `--` came before the words that are no options."""

    word: Word
    options: dict[str, Any]
    words: tuple[str, ...]
    dashed: bool


def _lines(text: str) -> int:
    if not re.fullmatch("[0-9]{1,9}", text):
        raise ValueError(f"{text!r} is not a number of lines")
    return int(text)


def _duration(text: str) -> str:
    """The text as it is: the server makes sense of it too."""
    parse_duration(text)
    return text


def _url(text: str) -> str:
    parse_url(text)
    return text


def _color(text: str) -> str:
    if text not in ("always", "never", "auto"):
        raise ValueError(f"{text!r}: want always, never or auto")
    return text


def _flag(name: str, key: str, help: str, *more: str) -> Option:
    return Option((*more, name), "", key, lambda _: True, help)


_COMMON = (
    Option(("--url",), "URL", "url", _url, "http://, https:// or unix:/path (default $RTOT_URL)"),
    Option(
        *(("--secret-file",), "FILE", "secret_file", str),
        "the secret is in there (default $RTOT_SECRET, or what $RTOT_SECRET_FILE names)",
    ),
    Option(("--ca",), "FILE", "ca", str, "the authority of the server's certificate, in PEM"),
    Option(("--cert",), "FILE", "cert", str, "our certificate and key, in PEM"),
    Option(
        *(("--retry",), "DURATION", "retry", parse_duration),
        "how long to try again without a connection (default 5m for what runs or waits, else 0)",
    ),
    Option(("--color",), "WHEN", "color", _color, "always, never or auto"),
    _flag("--help", "help", "print this", "-h"),
)
_LABEL = Option(("-l", "--label"), "LABEL", "labels", str, "of jobs", repeatable=True)
_JSON = _flag("--json", "json", "as the server tells it, an object a line")
_PASSED = (
    # Options that are parameters of POST /jobs by the same name.
    Option(("-w", "--cwd"), "DIR", "cwd", str, "where to run it, on the server"),
    Option(("--timeout",), "DURATION", "timeout", _duration, "end it after that time: status 124"),
    Option(("--launcher",), "NAME", "launcher", str, "what to run it under"),
    Option(("--group",), "NAME", "group", str, "one at a time of this group"),
    Option(("--delay",), "DURATION", "delay", _duration, "not before that time is over"),
    _flag("--supersede", "supersede", "in place of those of its group that wait"),
)
PASSED = tuple(option.key for option in _PASSED)

_RUN = Word(
    "run",
    "[OPTION]... SCRIPT [ARG]... | -c LINE [ARG]... | -- COMMAND [ARG]...",
    "run a script, show its output, end as it does",
    (
        Option(("-c",), "LINE", "line", str, "a script of one line, for bash"),
        _flag("--detach", "detach", "print the job's id, and do not stay", "-d"),
        _flag("--keep-running", "keep_running", "the job goes on when this client is gone"),
        _flag("--interactive", "interactive", "our stdin is the job's", "-i"),
        Option(
            *(("-e", "--env"), "NAME[=VALUE]", "env", str),
            "a variable, by itself with our value of it",
            repeatable=True,
        ),
        Option(("-l", "--label"), "LABEL", "labels", str, "a label of it", repeatable=True),
        *_PASSED,
        Option(("--after",), "ID[:any]", "after", str, "when that job is over", repeatable=True),
        _flag("--stderr-to-stdout", "merged", "one stream, in its true order"),
        Option(
            *(("--on",), "URL,URL|@FILE", "on", str),
            "on each of these servers; of a file, one URL a line",
        ),
        Option(
            ("-P", "--parallel"), "N", "parallel", parse_count, "so many at a time (default all)"
        ),
        _flag("--group-output", "grouped", "the output of one server after that of another"),
    ),
    ends_early=True,
)
WORDS = (
    _RUN,
    Word(
        "logs",
        "[OPTION]... ID",
        "show what a job has written",
        (
            _flag("--follow", "follow", "to its end, and end as it does", "-f"),
            Option(("-n", "--tail"), "N", "tail", _lines, "the last lines of each stream"),
            _flag("--timestamps", "times", "when each line came", "-t"),
            _flag("--out", "out", "stdout only"),
            _flag("--err", "err", "stderr only"),
            Option(("--since",), "TIME", "since", str, "10m ago, or 2026-11-25T10:00:00Z"),
        ),
        1,
        1,
    ),
    Word(
        "wait",
        "[OPTION]... ID... | --label LABEL",
        "until jobs are complete; ends as the first that failed",
        (
            Option(("-l", "--label"), "LABEL", "label", str, "all jobs that have it"),
            _flag("--any", "any", "until the first is: prints its id and exit status"),
            Option(("--timeout",), "DURATION", "timeout", parse_duration, "status 124 after it"),
        ),
    ),
    Word(
        "ls",
        "[OPTION]...",
        "list jobs",
        (
            _flag("--failed", "failed", "those that have failed"),
            _LABEL,
            Option(("-n", "--last"), "N", "last", parse_count, "the newest"),
            _JSON,
            _flag("--watch", "watch", "and go on as they change", "-w"),
        ),
        0,
        0,
    ),
    Word("show", "[OPTION]... ID", "all about a job", (_JSON,), 1, 1),
    Word("ps", "ID", "the processes of a job", (), 1, 1),
    Word(
        "kill",
        "[OPTION]... ID...",
        "end jobs, and tell what died",
        (
            Option(("-s", "--signal"), "SIGNAL", "signal", str, "instead of TERM"),
            Option(
                *(("--grace",), "DURATION", "grace", str),
                "until KILL, or never: only deliver the signal",
            ),
        ),
        1,
    ),
    Word("rm", "ID...", "end jobs, and forget them", (), 1),
    Word("in", "ID", "our stdin into that of a job (run -i is simpler)", (), 1, 1),
)


def parse(argv: Sequence[str]) -> Invocation | str:
    """What the words ask for, or the text to print (--help). Raises UsageError."""
    name, *rest = argv
    words = {word.name: word for word in WORDS}
    if name == "help":
        return help_text()
    if name not in words:
        raise UsageError(f"there is no {name!r} (see rtot help)")
    word = words[name]
    options, others, dashed = _split(word, rest)
    if options.get("help"):
        return _word_help(word)
    if len(others) < word.fewest or (word.most is not None and len(others) > word.most):
        raise UsageError(f"usage: rtot {word.name} {word.usage}")
    return Invocation(word, options, tuple(others), dashed)


def job_paths(words: Sequence[str]) -> list[str]:
    """The paths of jobs by their ids. Raises UsageError."""
    try:
        return [job_path(word) for word in words]
    except ValueError as error:
        raise UsageError(str(error)) from None


def _split(word: Word, argv: Sequence[str]) -> tuple[dict[str, Any], list[str], bool]:
    """Options, other words, and whether `--` stood before these."""
    # Neither getopt nor argparse tells whether there was a `--`.
    known = {name: option for option in (*word.options, *_COMMON) for name in option.names}
    options: dict[str, Any] = {}
    others: list[str] = []
    rest = list(argv)
    while rest:
        text = rest.pop(0)
        if text == "--":
            return options, [*others, *rest], not others
        if not text.startswith("-") or text == "-":
            others.append(text)
            if word.ends_early:
                return options, [*others, *rest], False
            continue
        name, equals, value = text.partition("=")
        if not text.startswith("--"):
            # -n5, -fn5; Go's -n=5 too, as the server's flags.
            name, value = text[:2], text[2:].removeprefix("=")
            equals = value
        option = known.get(name)
        if option is None:
            raise UsageError(f"{word.name}: there is no option {name}")
        if option.metavar:
            if not equals:
                if not rest:
                    raise UsageError(f"{name} needs a value: {option.metavar}")
                value = rest.pop(0)
        elif text.startswith("--"):
            if equals:
                raise UsageError(f"{name} takes no value")
        elif value:
            rest.insert(0, f"-{value}")
        _set(options, option, name, value)
    return options, others, False


def _set(options: dict[str, Any], option: Option, name: str, text: str) -> None:
    try:
        value = option.convert(text)
    except ValueError as error:
        raise UsageError(f"{name}: {error}") from None
    if option.repeatable:
        options.setdefault(option.key, []).append(value)
    else:
        options[option.key] = value


def help_text() -> str:
    """All of the client's words."""
    lines = ["usage: rtot WORD [OPTION]...", "", "At a terminal, a client of rtot:", ""]
    lines += [f"  {word.name:8}{word.summary}" for word in WORDS]
    lines += ["  secret  make a secret, and its line for --secret-file", ""]
    lines += ["rtot WORD --help tells more; rtot --help tells of the server."]
    return "\n".join(lines)


def _word_help(word: Word) -> str:
    lines = [f"usage: rtot {word.name} {word.usage}", "", f"{word.summary}.", ""]
    for option in (*word.options, *_COMMON):
        names = ", ".join(option.names)
        repeatable = "; repeatable" if option.repeatable else ""
        lines.append(f"  {f'{names} {option.metavar}'.strip()}\n        {option.help}{repeatable}")
    return "\n".join(lines)
