"""README.md's commands work as printed."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.harness import Rtot

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def blocks(kind: str) -> list[str]:
    found = re.findall(rf"^```{kind}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
    return [str(block) for block in found]


def test_the_tour_works_as_printed(start: Callable[..., Rtot]) -> None:
    rtot = start(RTOT_SECRET="supersecret")
    # Every line ends well, and the port is one that is free here.
    script = "set -ex\n" + "".join(blocks("sh tour")).replace("http://localhost:8457", rtot.url)
    done = subprocess.run(
        ["bash", "-c", script], cwd=rtot.directory, capture_output=True, timeout=60, check=False
    )
    output = done.stdout.decode()
    assert done.returncode == 0, output + done.stderr.decode()
    for sign in (
        '"out":"wat is happening\\n"',
        "Rtot-Exit: exit status 3",
        "building\nbuilt\n",
        "it went well",
        '"event":"complete"',
        '"out":"a b 1 /tmp\\n"',
        '"signal":"SIGTERM"',
        '"out":"HELLO\\n"',
        '"out":"working\\n"',
    ):
        assert sign in output, sign
    # A 4xx is no failure of curl, but would be one of ours; the DELETE's 204 is silent.
    assert '"error"' not in output


def test_ci_runs_what_the_readme_says() -> None:
    section = README.partition("## Tests")[2]
    command = re.search(r"```sh\n(.*?)\n```", section, re.DOTALL)
    assert command is not None
    assert command[1] in (ROOT / ".ci" / "run").read_text()


def test_the_server_command_is_one_that_starts(start: Callable[..., Rtot]) -> None:
    command = next(block for block in blocks("sh") if "bin/rtot" in block)
    flags = re.findall(r"-[as]='([^']*)'", command)
    assert flags == [":8457", "supersecret"]
    rtot = start("-s=supersecret", RTOT_SECRET="")
    assert b"still here" in rtot.curl("/ping")


def test_every_flag_is_in_the_readme() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "rtot", "--help"], capture_output=True, check=True, text=True
    )
    for flag in re.findall(r"--[a-z]+(?:-[a-z]+)*", done.stdout):
        assert flag in README or flag in ("--help", "--version"), flag
