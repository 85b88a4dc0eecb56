"""The flags: what may be asked for on the command line and in the environment."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from rtot import __version__
from rtot.cli.errors import UsageError
from rtot.config import parse_count, parse_duration, parse_size
from rtot.credentials import Credential, is_secret, parse_credential
from rtot.jobs.launch import placeholders
from rtot.system.listeners import parse_address


class _Flag(NamedTuple):
    """One flag: its name and its value's, what makes a value of its text, what it means.

    `setting` is the field of Settings that it is for, or what `_serve` knows it by. A flag
    that is given again replaces what was given before, unless it is `repeatable`. Without a
    `metavar` it takes no value.
    """

    name: str
    metavar: str
    convert: Callable[[str], Any]
    setting: str
    help: str
    repeatable: bool = False


def _number(text: str) -> int:
    if not re.fullmatch("[0-9]{1,12}", text):
        raise ValueError(f"{text!r} is not a number of at least 0")
    return int(text)


def _size(text: str) -> int:
    """A size of more than nothing."""
    size = parse_size(text)
    if not size:
        raise ValueError("want more than 0")
    return size


def _timeout(text: str) -> float:
    """Seconds; none of them is no limit."""
    return parse_duration(text) or math.inf


def _origin(text: str) -> str:
    """As browsers send it (RFC 6454, 6.2): in lower case, without a port that is the default."""
    found = re.fullmatch(r"(https?)://([a-z0-9.-]+|\[[0-9a-f:.]+\])(:[1-9][0-9]{0,4})?", text)
    if found is None or (found[1], found[3]) in (("http", ":80"), ("https", ":443")):
        raise ValueError(f"{text!r}: want an origin as a browser sends it, https://ci.example")
    return text


def _sync(text: str) -> str:
    if text not in ("normal", "full"):
        raise ValueError(f"{text!r}: want normal or full")
    return text


def _variable(text: str) -> tuple[str, str]:
    """`NAME=VALUE`."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise ValueError(f"{text!r}: want NAME=VALUE")
    if name.startswith("RTOT_"):
        raise ValueError("names that start with RTOT_ are rtot's own")
    return name, value


def _secret(text: str) -> Credential:
    if not is_secret(text):
        raise ValueError("a secret is printable ASCII without spaces")
    return parse_credential(text)


def _mode(text: str) -> int:
    if not re.fullmatch("0?[0-7]{3}", text):
        raise ValueError(f"{text!r} is not a mode: want three octal digits")
    return int(text, 8)


def _log_format(text: str) -> str:
    if text not in ("text", "json"):
        raise ValueError(f"{text!r} is neither text nor json")
    return text


def _group(text: str) -> tuple[str, int]:
    """`NAME=N`."""
    name, _, number = text.rpartition("=")
    if not 0 < len(name) <= 255:
        raise ValueError(f"{text!r}: want NAME=N")
    return name, parse_count(number)


def _launcher(text: str) -> tuple[str, tuple[str, ...]]:
    """`NAME=ARGV PREFIX`, split like a shell splits words, but by no shell."""
    name, argv = _words(text)
    if "signal" in placeholders(argv):
        raise ValueError(f"{text!r}: {{signal}} is for --stop")
    return name, argv


def _stop(text: str) -> tuple[str, tuple[str, ...]]:
    """`NAME=ARGV`, as a launcher."""
    name, argv = _words(text)
    if "script" in placeholders(argv):
        raise ValueError(f"{text!r}: {{script}} is for --launcher")
    return name, argv


def _words(text: str) -> tuple[str, tuple[str, ...]]:
    import shlex

    name, equals, rest = text.partition("=")
    argv = tuple(shlex.split(rest))
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", name) or not equals or not argv:
        raise ValueError(f"{text!r}: want NAME='word word'")
    return name, argv


_FLAGS = (
    _Flag(
        *("-a", "ADDRESS", parse_address, "addresses"),
        ":PORT, HOST:PORT, [::1]:PORT or unix:/path (default $RTOT_ADDR or localhost:8457)",
        repeatable=True,
    ),
    _Flag(
        *("-s", "SECRET", _secret, "secret"),
        "the secret, or sha256:HEX; visible to all in ps, unlike $RTOT_SECRET (default: generated)",
    ),
    _Flag(
        *("--secret-file", "FILE", str, "secret_file"),
        "lines of SECRET [ROLE [NAME]]: read, run or admin (the default); read again on SIGHUP",
    ),
    _Flag("--tls-cert", "FILE", str, "tls_cert", "speak TLS, with this certificate chain in PEM"),
    _Flag(
        *("--tls-key", "FILE", str, "tls_key"),
        "the certificate's key in PEM (default: in the same file)",
    ),
    _Flag(
        *("--tls-client-ca", "FILE", str, "tls_client_ca"),
        "let only clients in that have a certificate of this authority",
    ),
    _Flag(
        *("--socket-mode", "MODE", _mode, "socket_mode"),
        "of a socket in the file system (default 600)",
    ),
    _Flag(
        *("-f", "FORMAT", _log_format, "log_format"),
        "log format, text or json (default $RTOT_LOG_FORMAT or text)",
    ),
    _Flag(
        *("--no-shutdown", "", lambda _: False, "shutdown"),
        "refuse DELETE /, which ends the server",
    ),
    _Flag(
        *("--allow-origin", "ORIGIN", _origin, "allowed_origins"),
        "let pages of this origin use the server, such as https://ci.example",
        repeatable=True,
    ),
    _Flag("--grace", "DURATION", parse_duration, "grace", "between TERM and KILL (default 5s)"),
    _Flag(
        *("--drain", "DURATION", parse_duration, "drain"),
        "how long a job whose pipes are held by others stays running (default 1s)",
    ),
    _Flag(
        *("--max-running", "N", parse_count, "max_running"),
        "jobs at a time (default: from the limit of open files)",
    ),
    _Flag("--max-queued", "N", _number, "max_queued", "jobs that may wait (default 100000)"),
    _Flag("--max-body", "SIZE", _size, "max_body", "the largest script (default 16M)"),
    _Flag(
        *("--max-output", "SIZE", parse_size, "max_output"),
        "output kept of a job, beyond which it is dropped and counted (default 1G)",
    ),
    _Flag(
        *("--keep-end", "SIZE", parse_size, "keep_end"),
        "kept of the end of a stream of which something was dropped (default 64K)",
    ),
    _Flag(
        *("--max-connections", "N", parse_count, "max_connections"),
        "clients at a time (default: from the limit of open files)",
    ),
    _Flag("--spool-dir", "DIR", str, "spool_dir", "scripts and large output ($TMPDIR or /tmp)"),
    _Flag("--state", "DIR", str, "state_dir", "keep jobs and their output there, over restarts"),
    _Flag(
        *("--state-sync", "normal|full", _sync, "state_sync"),
        "whether each turn waits for the disk, so that a power cut loses nothing (default normal)",
    ),
    _Flag("--keep", "N", _number, "keep", "complete jobs to keep (default: all)"),
    _Flag(
        *("--ttl", "DURATION", parse_duration, "ttl"),
        "how long to keep complete jobs (default: until deleted)",
    ),
    _Flag(
        *("--launcher", "NAME='ARGV PREFIX'", _launcher, "launchers"),
        "what a job may be started under; `default` is used for all",
        repeatable=True,
    ),
    _Flag(
        *("--stop", "NAME='ARGV'", _stop, "stop_commands"),
        "what delivers {signal} to job {id} of that launcher, where that runs elsewhere",
        repeatable=True,
    ),
    _Flag(
        *("--group", "NAME=N", _group, "groups"),
        "how many jobs of this group may run at a time (default 1)",
        repeatable=True,
    ),
    _Flag(
        *("--env", "NAME=VALUE", _variable, "env"),
        "a variable for every job; visible to all in ps",
        repeatable=True,
    ),
    _Flag(
        *("--heartbeat", "DURATION", _timeout, "heartbeat"),
        "of silence, after which followers of events are told so (default 15s; 0: never)",
    ),
    _Flag(
        *("--max-wait", "DURATION", _timeout, "max_wait"),
        "the longest `wait` of a request (default 0: any)",
    ),
    _Flag(
        *("--head-timeout", "DURATION", _timeout, "head_timeout"),
        "for a request's head (default 10s; 0: none, as for the next three)",
    ),
    _Flag(
        *("--body-timeout", "DURATION", _timeout, "body_timeout"),
        "for progress of a body (default 20s)",
    ),
    _Flag(
        *("--send-timeout", "DURATION", _timeout, "send_timeout"),
        "for progress of an answer (default 30s)",
    ),
    _Flag(
        *("--idle-timeout", "DURATION", _timeout, "idle_timeout"),
        "between requests (default 75s)",
    ),
)


_EXAMPLES = """\
examples:
  rtot -s='supersecret'
        on loopback, with a secret that everybody on this machine can see in ps
  rtot -a=':8457' --secret-file=secrets --tls-cert=cert.pem --no-shutdown
        on all interfaces, encrypted, and never ended by a request
  RTOT_SECRET='supersecret' rtot -a=unix:/run/rtot.sock --keep=1000 --ttl=7d
        on a unix socket, without the output of last week
  rtot secret read alice
        print a new secret, and the line for --secret-file that makes it alice's, who may read"""


def parse(argv: Sequence[str], environ: Mapping[str, str]) -> dict[str, Any] | str:
    """The options by `setting`, or the text to print (--help, --version). Raises UsageError."""
    options: dict[str, Any] = {}
    flags = {flag.name: flag for flag in _FLAGS}
    for name, text in _split(argv):
        if name in ("-h", "--help"):
            return _help()
        if name in ("-v", "--version"):
            return f"rtot {__version__}"
        flag = flags[name]
        value = _convert(name, flag.convert, text)
        if flag.repeatable:
            options.setdefault(flag.setting, []).append(value)
        else:
            options[flag.setting] = value
    if "secret_file" in options and "secret" in options:
        raise UsageError("-s and --secret-file: give one of them")
    if "state_sync" in options and "state_dir" not in options:
        raise UsageError("--state-sync goes with --state")
    if "tls_cert" not in options and ("tls_key" in options or "tls_client_ca" in options):
        raise UsageError("--tls-key and --tls-client-ca go with --tls-cert")
    for variable, setting, convert in (
        ("RTOT_ADDR", "addresses", lambda text: [parse_address(text)]),
        ("RTOT_SECRET", "secret", _secret),
        ("RTOT_LOG_FORMAT", "log_format", _log_format),
        ("TMPDIR", "spool_dir", str),
    ):
        if setting not in options and environ.get(variable):
            options[setting] = _convert(variable, convert, environ[variable])
    for flag in (flags["--launcher"], flags["--stop"], flags["--group"]):
        chosen = options.setdefault(flag.setting, [])
        if len(dict(chosen)) < len(chosen):
            raise UsageError(f"{flag.name}: a name was given twice")
    for name in dict(options["stop_commands"]).keys() - dict(options["launchers"]).keys():
        raise UsageError(f"--stop: there is no launcher {name}")
    return options


def wants_json(argv: Sequence[str], environ: Mapping[str, str]) -> bool:
    """Whether lines on stderr are to be JSON, as far as a faulty command line tells."""
    found = environ.get("RTOT_LOG_FORMAT")
    for word, following in zip(argv, (*argv[1:], ""), strict=False):
        if word.startswith("-f"):
            found = word[2:].removeprefix("=") or following
    return found == "json"


def _split(argv: Sequence[str]) -> list[tuple[str, str]]:
    """Flags and their values, in the order in which they were given. Raises UsageError."""
    # Not argparse, which costs 0.7 MB and 5 ms at every start.
    import getopt

    # Go's spelling of a flag and its value in one word, as the original took it.
    words = [
        part
        for word in argv
        for part in ((word[:2], word[3:]) if re.match("-[a-z]=", word) else (word,))
    ]
    known = {flag.name for flag in _FLAGS} | {"--help", "--version"}
    for word in words:
        # getopt takes abbreviations, which new flags would make ambiguous; and an error that
        # repeats a value might repeat a secret.
        if word.startswith("--") and word.partition("=")[0] not in known:
            raise UsageError(f"option {word.partition('=')[0]} not recognized")
    short = "".join(f"{flag.name[1]}:" for flag in _FLAGS if len(flag.name) == 2)
    long = [flag.name[2:] + ("=" if flag.metavar else "") for flag in _FLAGS if len(flag.name) > 2]
    try:
        given, rest = getopt.getopt(words, f"{short}hv", [*long, "help", "version"])
    except getopt.GetoptError as error:
        raise UsageError(str(error)) from None
    if rest:
        raise UsageError(f"unexpected argument {rest[0]!r}")
    return given


def _convert(name: str, convert: Callable[[str], Any], text: str) -> Any:
    try:
        return convert(text)
    except ValueError as error:
        raise UsageError(f"{name}: {error}") from None


def _help() -> str:
    lines = ["usage: rtot [FLAG]...", "       rtot secret [ROLE [NAME]]"]
    lines += ["       rtot run|logs|wait|ls|show|ps|kill|rm|in ...  (a client: see rtot help)"]
    lines += ["", "Run this over there: a job server that you curl.", ""]
    for flag in _FLAGS:
        repeatable = "; repeatable" if flag.repeatable else ""
        lines.append(f"  {f'{flag.name} {flag.metavar}'.strip()}\n        {flag.help}{repeatable}")
    lines += ["  -h, --help\n        print this", "  -v, --version\n        print the version"]
    return "\n".join([*lines, "", _EXAMPLES])
