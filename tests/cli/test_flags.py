import math
import re
import shlex

import pytest

from rtot.cli.errors import UsageError
from rtot.cli.flags import parse, wants_json
from rtot.credentials import parse_credential
from rtot.system.listeners import Address


def test_nothing_is_asked_for() -> None:
    assert parse([], {}) == {"launchers": [], "stop_commands": [], "groups": []}


def test_flags_of_every_kind() -> None:
    options = parse(
        [
            *("-a=:8457", "-a", "unix:/run/s", "-s=secret", "--ttl", "1h", "--keep=0"),
            *("--max-running=3", "--socket-mode=0660", "-f", "json", "--max-body", "1K"),
            *("--launcher", "low=nice -n '1 9'", "--no-shutdown"),
            *("--stop", "low=kill -s {signal} '{server} {id}'"),
            *("--group=deploy=2", "--group", "a=b=1"),
            *("--env=A=1", "--env", "B=x=y", "--head-timeout=0", "--idle-timeout", "1d"),
            *("--allow-origin=https://ci.example", "--allow-origin", "http://[::1]:8080"),
        ],
        {"RTOT_ADDR": ":1", "RTOT_SECRET": "other", "TMPDIR": "/spool"},
    )
    assert options == {
        "addresses": [Address("", 8457), Address(path="/run/s")],
        "secret": parse_credential("secret"),
        "ttl": 3600.0,
        "keep": 0,
        "max_running": 3,
        "socket_mode": 0o660,
        "log_format": "json",
        "max_body": 1024,
        "shutdown": False,
        "allowed_origins": ["https://ci.example", "http://[::1]:8080"],
        "env": [("A", "1"), ("B", "x=y")],
        "head_timeout": math.inf,
        "idle_timeout": 86400.0,
        "launchers": [("low", ("nice", "-n", "1 9"))],
        "stop_commands": [("low", ("kill", "-s", "{signal}", "{server} {id}"))],
        "groups": [("deploy", 2), ("a=b", 1)],
        "spool_dir": "/spool",
    }


def test_the_environment() -> None:
    environ = {"RTOT_ADDR": "[::1]:1", "RTOT_SECRET": "s", "RTOT_LOG_FORMAT": "json", "TMPDIR": ""}
    assert parse([], environ) == {
        "addresses": [Address("::1", 1)],
        "secret": parse_credential("s"),
        "log_format": "json",
        "launchers": [],
        "stop_commands": [],
        "groups": [],
    }


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help(flag: str) -> None:
    text = parse([flag], {})
    assert isinstance(text, str)
    assert text.startswith("usage: rtot [FLAG]...\n")
    assert "--launcher NAME='ARGV PREFIX'\n" in text
    assert "\n  --no-shutdown\n" in text
    examples = text.partition("\nexamples:\n")[2]
    commands = re.findall("(?m)^  (?:[A-Z_]+='.*?' )?rtot (.*)$", examples)
    assert len(commands) == 4
    assert commands.pop() == "secret read alice"
    for command in commands:
        assert isinstance(parse(shlex.split(command), {}), dict)


@pytest.mark.parametrize("flag", ["-v", "--version"])
def test_version(flag: str) -> None:
    text = parse([flag], {})
    assert isinstance(text, str)
    assert text.startswith("rtot ")


@pytest.mark.parametrize(
    ("argv", "why"),
    [
        (["--no-shutdown=1"], "option --no-shutdown must not have an argument"),
        (["x"], "unexpected argument 'x'"),
        (["--bogus"], "option --bogus not recognized"),
        (["--secret=topsecret"], "option --secret not recognized"),
        (["-z"], "option -z not recognized"),
        (["-s"], "option -s requires argument"),
        (["--keep", "x"], "--keep: 'x' is not a number"),
        (["--keep", "-1"], "--keep: '-1' is not a number of at least 0"),
        (["--max-running=0"], "--max-running: '0' is not a number of at least 1"),
        (["--max-running=-1"], "--max-running: '-1' is not a number of at least 1"),
        (["--max-body=0"], "--max-body: want more than 0"),
        (["--max-body=0.0001K"], "--max-body: want more than 0"),
        *(
            ([f"--allow-origin={text}"], f"--allow-origin: '{text}': want an origin")
            for text in (
                *("*", "null", "ci.example", "https://ci.example/", "https://CI.example"),
                *("https://ci.example:443", "http://a:80", "ftp://a", "https://u@a", "https://a:0"),
            )
        ),
        (["--env=A"], "--env: 'A': want NAME=VALUE"),
        (["--env==b"], "--env: '=b': want NAME=VALUE"),
        (["--env=RTOT_SECRET=x"], "--env: names that start with RTOT_ are rtot's own"),
        (["-s=a b"], "-s: a secret is printable ASCII without spaces"),
        (["-s=sha256:a"], "-s: of a digest, want sha256: and 64 hexadecimal digits"),
        (["--socket-mode=9"], "--socket-mode: '9' is not a mode: want three octal digits"),
        (["-f", "xml"], "-f: 'xml' is neither text nor json"),
        (["--ttl=x"], "--ttl: 'x' is not a duration"),
        (["-a=nowhere"], "-a: 'nowhere': want :PORT"),
        (["-s=a", "--secret-file=b"], "-s and --secret-file: give one of them"),
        (["--tls-key=a"], "--tls-key and --tls-client-ca go with --tls-cert"),
        (["--launcher", "a=b", "--launcher", "a=c"], "--launcher: a name was given twice"),
        (["--launcher", "a"], "--launcher: "),
        (["--launcher", "a=b {signal}"], "--launcher: 'a=b {signal}': {signal} is for --stop"),
        (["--launcher", "a=b", "--stop", "a=b x{script}"], "--stop: 'a=b x{script}': {script} is"),
        (["--launcher", "a=b", "--stop", "a="], "--stop: 'a=': want NAME='word word'"),
        (["--launcher", "a=b", "--stop", "a=b", "--stop", "a=c"], "--stop: a name was given twice"),
        (["--launcher", "a=b", "--stop", "b=b"], "--stop: there is no launcher b"),
        (["--group", "a=1", "--group", "a=2"], "--group: a name was given twice"),
        (["--group", "a"], "--group: 'a': want NAME=N"),
        (["--group", "=2"], "--group: '=2': want NAME=N"),
        (["--group", "a=0"], "--group: '0' is not a number of at least 1"),
        (["--group", f"{'a' * 256}=1"], "--group: 'aaa"),
    ],
)
def test_usage_errors(argv: list[str], why: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(argv, {})
    assert str(caught.value).startswith(why)


def test_what_is_wrong_with_the_environment() -> None:
    with pytest.raises(UsageError, match="RTOT_ADDR: "):
        parse([], {"RTOT_ADDR": "nowhere"})


@pytest.mark.parametrize(
    ("argv", "environ", "json"),
    [
        (["-f=json"], {}, True),
        (["--bogus", "-f", "json"], {}, True),
        (["-fjson", "-z"], {}, True),
        (["-f=text"], {"RTOT_LOG_FORMAT": "json"}, False),
        (["--bogus"], {"RTOT_LOG_FORMAT": "json"}, True),
        (["--bogus"], {}, False),
        (["-f=jsonx"], {}, False),
        ([], {}, False),
        ([], {"RTOT_LOG_FORMAT": "json"}, True),
        (["--launcher", "a=x -f json", "-f"], {}, False),
    ],
)
def test_the_format_of_an_error(argv: list[str], environ: dict[str, str], json: bool) -> None:
    assert wants_json(argv, environ) == json
