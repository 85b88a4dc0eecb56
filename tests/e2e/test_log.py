"""What the log tells of requests and jobs, and what README's lines make of it."""

import json
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.harness import Rtot, needs, until

Start = Callable[..., Rtot]
README = Path(__file__).parents[2] / "README.md"


def lines(rtot: Rtot) -> list[dict[str, Any]]:
    return [json.loads(line) for line in rtot.log.splitlines()]


def of(rtot: Rtot, message: str) -> list[dict[str, Any]]:
    return [line for line in lines(rtot) if line["msg"] == message]


def named(start: Start, tmp_path: Path, *flags: str) -> Rtot:
    path = tmp_path / "secrets"
    path.touch(0o600)
    path.write_text("sup admin alice\n")
    return start(f"--secret-file={path}", *flags, RTOT_SECRET="")


def test_a_job_has_a_line_for_each_thing_that_happens(start: Start, tmp_path: Path) -> None:
    rtot = named(start, tmp_path, "-f", "json", "--grace=0.1")
    rtot.run(b"echo hello; exit 3", "&label=a&label=b%0Ac")
    job_id = rtot.submit(b"trap '' TERM\n(exec sleep 1000) & sleep 1000; sleep 1000")
    rtot.curl(f"/jobs/{job_id}/kill", "-X", "POST", "-H", "X-Request-Id: mine")
    rtot.json(f"/jobs/{job_id}?wait=20")
    until(lambda: len(of(rtot, "job killed")) == 1 and len(of(rtot, "job complete")) == 2)
    until(lambda: any("kill" in line["target"] for line in of(rtot, "request")))
    (first, second), (one, other) = of(rtot, "job accepted"), of(rtot, "job complete")
    assert first == {
        "time": first["time"],
        "level": "info",
        "msg": "job accepted",
        "by": "alice",
        "job": 0,
        "labels": ["a", "b\nc"],
        "title": "echo hello; exit 3",
    }
    assert (second["labels"], second["title"]) == ([], "trap '' TERM")
    assert [line["job"] for line in of(rtot, "job started")] == [0, 1]
    assert (one["reason"], one["exit"], one["bytes"]) == ("exited", "exit status 3", 6)
    assert 0 < one["seconds"] < 30
    assert one["peak"] > 100_000
    assert (other["reason"], other["by"], other["job"]) == ("killed", "alice", 1)
    (killed,) = of(rtot, "job killed")
    assert (killed["by"], killed["job"], killed["signal"]) == ("alice", 1, "SIGTERM")
    assert all(re.fullmatch(r"\d+ \S+", text) for text in killed["signalled"])
    assert len(killed["signalled"]) >= 2
    assert killed["escalated"]
    assert killed["surviving"] == []
    (request,) = [line for line in of(rtot, "request") if "kill" in line["target"]]
    assert (request["id"], request["job"], request["by"]) == ("mine", 1, "alice")


def test_the_same_in_text(start: Start, tmp_path: Path) -> None:
    rtot = named(start, tmp_path)
    rtot.run(b"echo hello")
    # The last of them: a turn's lines are written after its answers.
    until(lambda: 'msg="request"' in rtot.log)
    assert re.search(r' msg="job accepted" by="alice" job=0 labels="" title="echo hello"', rtot.log)
    assert re.search(r' msg="job complete" by="alice" job=0 .* reason="exited" exit="0"', rtot.log)
    assert re.search(r' msg="request" by="alice" .* id="[0-9a-f]+-\d+" job=0\n', rtot.log)


def test_every_answer_has_an_id(rtot: Rtot) -> None:
    seen = set()
    for words in (
        ("/jobs",),
        ("/ping",),
        ("/nope",),
        ("/jobs", "-H", "Authorization:"),
        ("/jobs", "-H", "Host;"),
        ("/jobs", "-H", f"X: {'x' * 20_000}"),
        ("/jobs", "-X", "BREW"),
        ("/jobs/0/out", "-I"),
    ):
        found = re.findall(r"(?im)^x-request-id: (\S+)\r$", rtot.curl("-i", *words).decode())
        assert len(found) == 1, words
        seen.add(found[0])
    assert len(seen) == 8
    until(lambda: all(f'id="{found}"' in rtot.log for found in seen))


@needs("jq")
def test_the_lines_of_the_readme(start: Start, tmp_path: Path) -> None:
    rtot = named(start, tmp_path, "-f", "json")
    rtot.run(b"# a comment\necho hello")
    rtot.run(b"sleep 1; exit 3")
    rtot.run(b"trap 'exit 0' TERM; sleep 1000 & wait", "&timeout=0.2")
    rtot.process.send_signal(signal.SIGHUP)
    until(lambda: len(of(rtot, "job complete")) == 3)
    (block,) = re.findall(r"```sh log\n(.*?)```", README.read_text(), re.DOTALL)
    function, who, failed, slowest = block.strip().split("\n")
    for command, expected in (
        (who, ["alice 0 0 echo hello", "alice 1 exit status 3 sleep 1; exit 3", "alice 2 0"]),
        (failed, ["alice 1 exited exit status 3 sleep", "alice 2 timeout 0 trap"]),
        (slowest, ["alice 1 sleep 1; exit 3", "alice 2 trap", "alice 0 echo hello"]),
    ):
        script = (
            f"journalctl() {{ cat '{rtot.log_path}'; }}\n{function}\nset -o pipefail\n{command}"
        )
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
        shown = done.stdout.replace("\t", " ").splitlines()
        assert len(shown) == len(expected), done
        for row, text in zip(shown, expected, strict=True):
            assert text in row, done
        assert done.stderr == ""


def test_who_ended_it_even_if_they_did_not_wait(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "secrets"
    path.touch(0o600)
    path.write_text("sup run anna\nother run rudi\n")
    rtot = start(f"--secret-file={path}", "-f", "json", "--grace=2", RTOT_SECRET="")
    for target, cause in (
        ("/jobs/{}/kill", "kill"),
        ("/jobs/{}", "delete"),
        ("/jobs/{}?wait=50&lease", "lease"),
    ):
        job_id = rtot.submit(b"trap '' TERM; echo; sleep 1000")
        until(lambda n=job_id: rtot.json(f"/jobs/{n}")["jobs"][0]["state"] == "running")  # type: ignore[misc]
        method = {"kill": "POST", "delete": "DELETE", "lease": "GET"}[cause]
        url = rtot.url + target.format(job_id)
        command = ["curl", "-sS", "-u", ":other", "-X", method, "-m", "1", url]
        subprocess.run(command, capture_output=True)
        until(lambda n=job_id: any(line["job"] == n for line in of(rtot, "job killed")))  # type: ignore[misc]
        (killed,) = [line for line in of(rtot, "job killed") if line["job"] == job_id]
        assert (killed["by"], killed["cause"], killed["killed_by"]) == ("anna", cause, "rudi")
        if cause != "delete":
            lost = [line for line in of(rtot, "request") if line["status"] == 499]
            assert (lost[-1]["by"], lost[-1]["job"]) == ("rudi", job_id)
