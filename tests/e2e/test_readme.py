"""README.md's commands work as printed."""

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rtot.api.streams import Told
from rtot.cli.words import WORDS
from rtot.jobs.output import Stream
from tests.harness import Rtot, needs, until

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def blocks(kind: str) -> list[str]:
    found = re.findall(rf"^```{kind}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
    return [str(block) for block in found]


def fill_in(text: str, rtot: Rtot) -> str:
    """The text, with the address of a server that is there."""
    return text.replace("http://localhost:8457", rtot.url).replace(
        "http://127.0.0.1:8457", rtot.url
    )


def bash(script: str, rtot: Rtot, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", fill_in(script, rtot)],
        cwd=rtot.directory,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def seeded(start: Callable[..., Rtot]) -> Rtot:
    """A server with the secret that README's commands have."""
    return start(RTOT_SECRET="supersecret")


def test_the_first_screen_and_the_tour_work_as_printed(seeded: Rtot) -> None:
    # One after the other in one shell; every line ends well.
    done = bash("set -ex\n" + "".join(blocks("sh tour")), seeded)
    assert done.returncode == 0, done.stdout + done.stderr
    for sign in (
        '"out":"hello from ',
        "1\n2\n3\nit went well\n",
        "Rtot-Exit: exit status 3",
        "curl says 22",
        "building\nbuilt\n",
        "it was built",
        '"event":"complete"',
        '"code":1',
        '"deleted":[]',
        '"out":"a b 1 /tmp\\n"',
        '"argv":["',
        '"signal":"SIGTERM"',
        '"out":"HELLO\\n"',
        '"out":"working\\n"',
    ):
        assert sign in done.stdout, sign
    assert done.stdout.count('"out":"from python\\n"') == 2
    # A 4xx of a job that failed is what it was to show; an error is none of it.
    assert '"error"' not in done.stdout


@pytest.mark.parametrize("wrong", ["url", "secret"])
def test_the_shorthand_fails_when_the_request_did(seeded: Rtot, wrong: str) -> None:
    shorthand = "".join(blocks("sh tour")).partition("\nr ")[0]
    if wrong == "secret":
        shorthand = shorthand.replace("supersecret", "wrong")
    done = bash(f'{shorthand}\nr -N "$R/jobs/99999/out?follow&fail" && echo it went well', seeded)
    assert done.returncode == 22
    assert "it went well" not in done.stdout


def test_samples_do_no_harm_with_an_empty_variable(seeded: Rtot) -> None:
    tour = "".join(blocks("sh tour"))
    commands = [c for c in tour.splitlines() if "DELETE" in c or "/kill" in c]
    assert len(commands) == 2
    definitions = tour.partition("\nr ")[0]
    for command in commands:
        done = bash(f"{definitions}\njob=\n{command}", seeded)
        assert done.returncode != 0
    assert b"still here" in seeded.curl("/ping")


@pytest.mark.parametrize("text", blocks("python client"), ids=lambda text: text.split()[-1][-9:])
def test_clients_in_python(seeded: Rtot, text: str) -> None:
    check_client([sys.executable, "-uc", fill_in(text, seeded)])


@needs("node")
def test_a_client_in_javascript(seeded: Rtot) -> None:
    (text,) = blocks("js client")
    check_client(["node", "--input-type=module", "-e", fill_in(text, seeded)])


def check_client(command: list[str]) -> None:
    """It shows the output as it comes, and fails since the job does."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"one\n"
        first = time.monotonic()
        assert process.stdout.readline() == b"two\n"
        # The job sleeps for a second in between.
        assert time.monotonic() - first > 0.5
        assert b"424" in process.stderr.read()
    assert process.returncode == 1


def test_the_clients_tour_works_as_printed(seeded: Rtot) -> None:
    Path("/tmp/script.py").write_text('#!/usr/bin/env python3\nprint("from python")\n')
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = bash("set -e\n" + "".join(blocks("sh words")), seeded, PATH=path)
    assert done.returncode == 0, done.stdout + done.stderr
    for sign in (
        "1\n2\n3\nit went well\nfrom python\nhello world from /tmp\n",
        "10240\n",
        "it ended with 3\n",
        "begun\ndone\n",
        "ID  STATE ",
        "title ",
    ):
        assert sign in done.stdout, (sign, done.stdout)
    assert done.stderr == ""


def test_every_word_and_option_is_in_the_readme() -> None:
    section = README.partition("## At a terminal")[2].partition("\n## ")[0]
    for word in WORDS:
        assert f"`{word.name} " in section or f"`{word.name}`" in section, word.name
        for option in word.options:
            assert any(f"{name}" in section for name in option.names), option.names


@needs("wget")
def test_wget(seeded: Rtot) -> None:
    check_commands(seeded, next(block for block in blocks("sh client") if "wget" in block))


def test_httpie(seeded: Rtot) -> None:
    check_commands(seeded, next(block for block in blocks("sh client") if "http --" in block))


def check_commands(rtot: Rtot, block: str) -> None:
    """All of them end well when the script does, and none of those that wait or follow else."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    *setup, submit, follow = block.strip().splitlines()
    for job_id, status in enumerate((0, 3)):
        (rtot.directory / "script.sh").write_text(f"echo one; exit {status}")
        for command in (submit, follow.replace("/jobs/0/", f"/jobs/{job_id}/")):
            done = bash("\n".join([f"R={rtot.url}", *setup, command]), rtot, PATH=path)
            assert (done.returncode == 0) == (status == 0), (command, done.stderr)
            assert "one" in done.stdout or command == submit


def proxied(rtot: Rtot, kind: str) -> tuple[list[str], str]:
    """The command of a proxy that is configured as README says, and its URL."""
    (block,) = blocks(kind)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    block = fill_in(block, rtot).replace("127.0.0.1:8457", rtot.url.removeprefix("http://"))
    directory = rtot.directory / kind
    directory.mkdir()
    config = directory / "conf"
    if kind == "haproxy":
        config.write_text(block.replace("127.0.0.1:8080", f"127.0.0.1:{port}"))
        return ["haproxy", "-db", "-f", str(config)], f"http://127.0.0.1:{port}"
    paths = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    more = "".join(f"{name}_temp_path {directory}/{name};" for name in paths)
    config.write_text(
        f"daemon off; pid {directory}/pid; error_log {directory}/errors; events {{}}\n"
        f"http {{ access_log off; {more}\n"
        f"server {{ listen 127.0.0.1:{port};\n{block}}}\n}}\n"
    )
    return ["nginx", "-c", str(config)], f"http://127.0.0.1:{port}"


@pytest.mark.parametrize(
    "kind", [pytest.param(name, marks=needs(name)) for name in ("nginx", "haproxy")]
)
def test_proxies(seeded: Rtot, kind: str) -> None:
    """Output is live, and a failure of the job is one of curl."""
    command, url = proxied(seeded, kind)
    definitions = "".join(blocks("sh tour")).partition("\nr ")[0]
    definitions = definitions.replace("http://localhost:8457", url)
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as proxy:
        try:
            until(lambda: bash(f"{definitions}\nr $R/ping", seeded).returncode == 0)
            script = "echo one; sleep 1; echo two; exit 3"
            posted = bash(f"{definitions}\nr \"$R/jobs?wait=9&fail\" -d '{script}'", seeded)
            assert posted.returncode == 22
            seeded.process.poll()
            job_id = int(
                bash(
                    f"{definitions}\nr $R/jobs -d '{script}' -o /dev/null -w '%header{{location}}'",
                    seeded,
                ).stdout.rpartition("/")[2]
            )
            follow = f'{definitions}\nr -N "$R/jobs/{job_id}/out?follow&fail"'
            with subprocess.Popen(
                ["bash", "-c", follow], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            ) as curl:
                assert curl.stdout is not None
                assert curl.stdout.readline() == b"one\n"
                first = time.monotonic()
                assert curl.stdout.readline() == b"two\n"
                assert time.monotonic() - first > 0.5
            assert curl.returncode == 18
        finally:
            proxy.terminate()


@needs("systemd-analyze")
def test_the_unit_is_a_good_one(tmp_path: Path) -> None:
    service = next(block for block in blocks("ini") if "[Service]" in block)
    assert "--no-shutdown" in service
    assert "/opt/rtot/bin/rtot" in service
    unit = tmp_path / "rtot.service"
    # It is looked whether the program is there.
    unit.write_text(service.replace("/opt/rtot/bin/rtot", "/bin/true"))
    sockets = next(block for block in blocks("ini") if "[Socket]" in block)
    (tmp_path / "rtot.socket").write_text(sockets)
    for name in ("rtot.service", "rtot.socket"):
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", str(tmp_path / name)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")


def test_every_event_is_in_the_readme() -> None:
    section = README.partition("### Output and events")[2].partition("\n### ")[0]
    names = {str(member.name).lower() for kind in (Told, Stream) for member in kind}
    assert {name for name in names if f"`{name}`" not in section} == set()


def test_ci_runs_what_the_readme_says() -> None:
    section = README.partition("## Tests")[2]
    command = re.search(r"```sh\n(.*?)\n```", section, re.DOTALL)
    assert command is not None
    assert command[1] in (ROOT / ".ci" / "run").read_text()


def test_the_server_command_is_one_that_starts(start: Callable[..., Rtot]) -> None:
    command = next(block for block in blocks("sh") if "bin/rtot" in block)
    flags = re.findall(r"-[as]='([^']*)'", command)
    assert flags == ["supersecret"]
    rtot = start("-s=supersecret", RTOT_SECRET="")
    assert b"still here" in rtot.curl("/ping")


def test_every_flag_is_in_the_readme() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "rtot", "--help"], capture_output=True, check=True, text=True
    )
    for flag in re.findall(r"--[a-z]+(?:-[a-z]+)*", done.stdout):
        assert flag in README or flag in ("--help", "--version"), flag
