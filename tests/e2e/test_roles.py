"""Secrets with roles and names, as their owners use them."""

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import COMMAND, Rtot, until

Start = Callable[..., Rtot]


def make_secret(*words: str) -> tuple[str, str]:
    """A new secret, and its line."""
    done = subprocess.run([*COMMAND, "secret", *words], capture_output=True, text=True, check=True)
    return done.stderr.strip(), done.stdout.strip()


@pytest.fixture(name="people")
def _people(start: Start, tmp_path: Path) -> tuple[Rtot, Path, dict[str, str]]:
    path = tmp_path / "secrets"
    path.touch(0o600)
    secrets = {}
    lines = ["sup"]
    for role, name in (("read", "rita"), ("run", "ulf"), ("admin", "ada")):
        secrets[name], line = make_secret(role, name)
        lines.append(line)
    path.write_text("\n".join(lines))
    return start(f"--secret-file={path}", RTOT_SECRET=""), path, secrets


def status(rtot: Rtot, *args: str) -> str:
    words = [f"{rtot.url}{a}" if a.startswith("/jobs") else a for a in args]
    command = ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "-m", "20", *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_roles(people: tuple[Rtot, Path, dict[str, str]], tmp_path: Path) -> None:
    rtot, path, secrets = people
    assert not any(secret in path.read_text() for secret in secrets.values())
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine 127.0.0.1 login x password {secrets['ulf']}\n")
    job = ["/jobs", "-d", "echo hi; sleep 1000"]
    assert status(rtot, *job, "-u", f":{secrets['rita']}") == "403"
    assert status(rtot, *job, "--netrc-file", str(netrc)) == "201"
    assert status(rtot, *job, "-H", f"Authorization: Bearer {secrets['ada']}") == "201"
    assert status(rtot, "/jobs?by=ulf", "-u", f"me:{secrets['rita']}") == "200"
    assert [j["by"] for j in rtot.json("/jobs?fields=by")["jobs"]] == ["ulf", "ada"]
    assert status(rtot, "/jobs/0?wait=5&lease", "-u", f":{secrets['rita']}") == "403"
    assert status(rtot, "/jobs", "-X", "DELETE", "-u", f":{secrets['ulf']}") == "403"
    assert status(rtot, "/jobs/0", "-X", "DELETE", "-u", f":{secrets['ulf']}") == "204"
    assert status(rtot, "/jobs", "-X", "DELETE", "-u", f":{secrets['ada']}") == "204"
    assert status(rtot, "/jobs", "-u", ":wrong") == "401"
    assert rtot.curl("-i", "/jobs", "-H", "Authorization:").lower().count(b"basic") == 0


def test_whose_secret_has_gone_loses_what_they_follow(
    people: tuple[Rtot, Path, dict[str, str]],
) -> None:
    rtot, path, secrets = people
    job_id = rtot.submit(b"echo begun; exec sleep 1000")
    until(lambda: "out" in rtot.json(f"/jobs/{job_id}")["jobs"][0])
    following = [
        subprocess.Popen(
            [*("curl", "-sSN", "-m", "50", "-u", f":{secret}", rtot.url + target)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        for secret, target in (
            (secrets["ulf"], f"/jobs/{job_id}/out?follow"),
            (secrets["rita"], f"/jobs/{job_id}/events?follow"),
        )
    ]
    for process in following:
        assert process.stdout is not None
        assert process.stdout.readline()
    waiting = ["-u", f":{secrets['ulf']}", f"{rtot.url}/jobs?wait=40", "-d", "sleep 1000"]
    command = ["curl", "-sS", "-m", "50", *waiting]
    following.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL))
    until(lambda: len(rtot.json("/jobs?fields=")["jobs"]) == 2)
    # One has gone, the other may do something else now.
    lines = [line for line in path.read_text().split("\n") if "ulf" not in line]
    path.write_text("\n".join(lines).replace("read rita", "run rita"))
    rtot.process.send_signal(signal.SIGHUP)
    for process in following:
        process.communicate(timeout=20)
    # The last chunk is missing, and the answer is.
    assert [process.returncode for process in following] == [18, 18, 52]
    assert status(rtot, "/jobs", "-u", f":{secrets['rita']}") == "200"
    assert status(rtot, "/jobs", "-u", f":{secrets['ulf']}") == "401"
    follower = subprocess.Popen(
        ["curl", "-sSN", "-m", "50", "-u", f":{secrets['rita']}", f"{rtot.url}/jobs/0/out?follow"],
        stdout=subprocess.PIPE,
    )
    assert follower.stdout is not None
    assert follower.stdout.readline() == b"begun\n"
    # A file with a mistake is not taken, and nobody is sent away.
    path.write_text("\n".join([*lines, "sup reed"]))
    rtot.process.send_signal(signal.SIGHUP)
    until(lambda: "an unknown role" in rtot.log)
    rtot.curl(f"/jobs/{job_id}/kill?signal=KILL", "-X", "POST")
    follower.communicate(timeout=20)
    assert follower.returncode == 0
    assert secrets["rita"] not in rtot.log


def test_a_file_with_an_unknown_role_starts_nothing(tmp_path: Path) -> None:
    path = tmp_path / "secrets"
    path.touch(0o600)
    path.write_text("hunter2 reed\n")
    done = subprocess.run(
        [*COMMAND, "-a=127.0.0.1:0", f"--secret-file={path}"], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr == f"rtot: {path}: line 1: an unknown role: want read, run or admin\n"


def test_a_secret_is_asked_for_with_a_wrong_role() -> None:
    done = subprocess.run([*COMMAND, "secret", "reed"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert "an unknown role: want read, run or admin" in done.stderr
