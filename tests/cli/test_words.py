"""The client's words and options."""

import pytest

from rtot.cli.client import main
from rtot.cli.errors import UsageError
from rtot.cli.words import WORDS, Invocation, help_text, job_paths, parse


def asked(*argv: str) -> Invocation:
    found = parse(argv)
    assert isinstance(found, Invocation)
    return found


def test_options_of_run_end_at_the_first_word() -> None:
    found = asked("run", "-d", "-l", "a", "--label=b", "-eX=1", "job.sh", "-x", "--", "--label")
    assert found.options == {"detach": True, "labels": ["a", "b"], "env": ["X=1"]}
    assert (found.words, found.dashed) == (("job.sh", "-x", "--", "--label"), False)


def test_a_command() -> None:
    found = asked("run", "-i", "--", "ls", "-l", "--", "x")
    assert (found.words, found.dashed) == (("ls", "-l", "--", "x"), True)


def test_a_line() -> None:
    found = asked("run", "-c", "echo $1", "5", "-x")
    assert (found.options["line"], found.words) == ("echo $1", ("5", "-x"))


def test_elsewhere_options_stand_anywhere() -> None:
    found = asked("logs", "5", "-f", "-n", "3", "-t")
    assert (found.words, found.options) == (("5",), {"follow": True, "tail": 3, "times": True})
    assert asked("logs", "-fn3", "5").options == {"follow": True, "tail": 3}
    assert asked("logs", "-n=3", "5").options == {"tail": 3}
    assert asked("kill", "--", "5").words == ("5",)


@pytest.mark.parametrize(
    ("argv", "why"),
    [
        (["nope"], "there is no 'nope'"),
        (["logs"], "usage: rtot logs"),
        (["logs", "1", "2"], "usage: rtot logs"),
        (["ls", "1"], "usage: rtot ls"),
        (["ls", "--faile"], "no option --faile"),
        (["ls", "-x"], "no option -x"),
        (["ls", "--failed=1"], "takes no value"),
        (["ls", "--last"], "--last needs a value: N"),
        (["ls", "--last", "0"], "--last: '0' is not a number of at least 1"),
        (["ls", "--url", "build:80"], "--url: 'build:80'"),
        (["ls", "--color", "mauve"], "--color: 'mauve'"),
        (["logs", "-n", "x", "1"], "-n: 'x' is not a number of lines"),
        (["run", "--timeout", "soon", "x"], "--timeout: 'soon' is not a duration"),
    ],
)
def test_usage_errors(argv: list[str], why: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(argv)
    assert why in str(caught.value)


def test_ids() -> None:
    assert job_paths(["5", "/jobs/7", "007"]) == ["/jobs/5", "/jobs/7", "/jobs/7"]
    for text in ("", "x", "-1", "5/out", "\u0663"):
        with pytest.raises(UsageError, match="is not the id of a job"):
            job_paths([text])


@pytest.mark.parametrize("word", WORDS, ids=lambda word: str(word.name))
def test_help(word: object) -> None:
    name = word.name  # type: ignore[attr-defined]
    text = parse([name, "--help"])
    assert isinstance(text, str)
    assert text.startswith(f"usage: rtot {name} ")
    assert name in help_text()
    assert "--retry" in text
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize(
    ("argv", "why"),
    [
        (["run"], "run: what?"),
        (["run", "/no/such/file"], "rtot run -- /no/such/file"),
        (["run", "/"], "run: cannot read /: is a directory"),
        (["run", "-d", "-i", "-c", "x"], "-d does not stay"),
        (["run", "-i", "-"], "cannot be both"),
        (["run", "-P", "3", "-c", "x"], "-P goes with --on"),
        (["run", "--on", "http://a,http://a/", "-c", "x"], "twice"),
        (["run", "--on", ",", "-c", "x"], "there is no URL"),
        (["run", "--on", "@/no/such", "-c", "x"], "cannot read /no/such"),
        (["run", "--on", "http://a", "-d", "-c", "x"], "-d does not go with --on"),
        (["run", "--on", "nope", "-c", "x"], "want http://HOST"),
        (["run", "-e", "NOT_SET_HERE", "-c", "x"], "NOT_SET_HERE is not set here"),
        (["wait"], "wait: for what?"),
        (["wait", "1", "--label", "x"], "wait: for what?"),
        (["logs", "--since", "yesterday", "1"], "--since: 'yesterday'"),
        (["ls", "--secret-file", "/no/such"], "cannot read /no/such"),
        (["ls", "--secret-file", "/dev/null"], "there is no secret in it"),
        (["show", "x"], "'x' is not the id of a job"),
    ],
)
def test_what_makes_no_sense_is_255(
    argv: list[str], why: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RTOT_URL", raising=False)
    assert main(argv) == 255
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("rtot: ")
    assert why in err


@pytest.mark.parametrize(
    ("secret", "why"),
    [("a b", "printable ASCII without spaces"), ("sha256:" + "0" * 64, "this is the digest")],
)
def test_what_is_no_secret(
    secret: str, why: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RTOT_SECRET", secret)
    assert main(["ls"]) == 255
    assert why in capfd.readouterr()[1]


def test_help_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["help"]) == 0
    assert capfd.readouterr()[0].startswith("usage: rtot WORD")
