"""Groups, prerequisites, delays and the pause, on a live server."""

import json
import subprocess
from collections.abc import Callable
from typing import Any

from tests.harness import AUTHORIZATION, Rtot, until

Start = Callable[..., Rtot]


def most_at_a_time(jobs: list[dict[str, Any]]) -> int:
    """How many of them ran at the same time."""
    times = [(job["start"], 1) for job in jobs] + [(job["complete"], -1) for job in jobs]
    running = most = 0
    for _, step in sorted(times):
        running += step
        most = max(most, running)
    return most


def test_groups(start: Start) -> None:
    rtot = start("--group=wide=3", "--max-running=30")
    for i in range(30):
        # Longer than it takes to submit a few.
        rtot.submit(b"sleep 0.2", f"group={'wide' if i % 2 else 'narrow'}&fields=")
    alone = rtot.run(b"echo alone", "&fields=start,complete&times=unix")
    fields = "&wait=60&fields=start,complete,code&times=unix"
    narrow = rtot.json(f"/jobs?group=narrow{fields}")["jobs"]
    wide = rtot.json(f"/jobs?group=wide{fields}")["jobs"]
    assert (len(narrow), len(wide)) == (15, 15)
    assert (most_at_a_time(narrow), most_at_a_time(wide)) == (1, 3)
    assert [job["start"] for job in narrow] == sorted(job["start"] for job in narrow)
    # It did not wait for those that came before it and had to wait for their groups.
    assert alone["complete"] < narrow[-1]["start"]


def test_only_the_newest_counts(rtot: Rtot) -> None:
    for i in range(5):
        rtot.submit(f"echo {i}; sleep 0.3".encode(), "group=deploy&supersede&fields=")
    jobs = rtot.json("/jobs?group=deploy&wait=30&fields=out,reason")["jobs"]
    assert [job["reason"] for job in jobs] == ["exited", *["superseded"] * 3, "exited"]
    assert [job.get("out") for job in jobs] == ["0\n", None, None, None, "4\n"]
    assert [job.get("exit") for job in jobs[1:4]] == [f"superseded by job {i}" for i in (2, 3, 4)]


def test_one_after_the_other(rtot: Rtot) -> None:
    first = rtot.submit(b"sleep 0.3; echo first")
    second = rtot.submit(b"echo second", f"after={first}")
    (job,) = rtot.json(f"/jobs/{second}?fields=waits_for")["jobs"]
    assert (job["state"], job["waits_for"]) == ("new", [first])
    third = rtot.submit(b"exit 7", f"after={second}&after={first}")
    never = rtot.submit(b"echo never", f"after={third}")
    always = rtot.submit(b"echo always", f"after={never}:any")
    jobs = rtot.json("/jobs?wait=30&fields=out,reason,start,complete&times=unix")["jobs"]
    assert [job["reason"] for job in jobs] == ["exited"] * 3 + ["dependency", "exited"]
    assert jobs[never]["exit"] == f"not run: job {third} failed"
    assert jobs[always]["out"] == "always\n"
    assert jobs[first]["complete"] <= jobs[second]["start"]
    assert jobs[second]["complete"] <= jobs[third]["start"]


def test_who_follows_a_job_that_never_runs_is_told(rtot: Rtot) -> None:
    rtot.run(b"exit 1")
    command = ["curl", "-sSN", "-m", "60", "-H", AUTHORIZATION, "-d", "echo never"]
    done = subprocess.run([*command, f"{rtot.url}/jobs?follow&fail&after=0"], capture_output=True)
    assert (done.returncode, done.stdout) == (18, b"")
    done = subprocess.run([*command, f"{rtot.url}/jobs?follow=events&after=0"], capture_output=True)
    assert b'"exit":"not run: job 0 failed"' in done.stdout
    assert b'"reason":"dependency"' in done.stdout


def test_a_chain_of_thousands_falls_at_once(rtot: Rtot) -> None:
    rtot.submit(b"sleep 0.5; exit 1", "fields=")
    for i in range(2000):
        rtot.exchange("POST", f"/jobs?after={i}&fields=", b"x")
    (last,) = rtot.json("/jobs/2000?wait=30&fields=reason")["jobs"]
    assert (last["reason"], last["exit"]) == ("dependency", "not run: job 1999 failed")


def test_later(rtot: Rtot) -> None:
    job = rtot.run(b"echo later", "&delay=500ms&fields=create,start,out&times=unix")
    assert job["out"] == "later\n"
    assert 0.5 <= job["start"] - job["create"] < 1.5


def test_pause_and_resume(rtot: Rtot) -> None:
    assert rtot.json("/jobs?fields=", "-d", "sleep 0.2")["jobs"][0]["id"] == 0
    assert json.loads(rtot.curl("-X", "POST", f"{rtot.url}/queue/pause")) == {"paused": True}
    assert json.loads(rtot.curl(f"{rtot.url}/"))["paused"] is True
    assert b"\nRtot-Paused: true\r\n" in rtot.curl("/jobs", "-D", "-", "-d", "echo")
    assert "\nrtot_queue_paused 1\n" in rtot.curl("/metrics").decode()
    # The one that runs goes on.
    (job,) = rtot.json("/jobs/0?wait=30&fields=code")["jobs"]
    assert job["code"] == 0
    assert rtot.json("/jobs/1?fields=")["jobs"][0]["state"] == "new"
    rtot.curl("-X", "POST", f"{rtot.url}/queue/resume")
    until(lambda: rtot.json("/jobs/1?fields=")["jobs"][0]["state"] == "complete")
    assert "rtot_queue_paused 0\n" in rtot.curl("/metrics").decode()


def test_a_paused_queue_costs_no_time(rtot: Rtot) -> None:
    """The loop sleeps, although there are jobs."""
    rtot.curl("-X", "POST", f"{rtot.url}/queue/pause")
    for query in ("group=a", "group=a", "delay=1h", "after=0"):
        rtot.submit(b"x", query)
    pid = rtot.pid
    switches = f"/proc/{pid}/status"

    def wakes() -> int:
        with open(switches) as status:
            lines = dict(line.split(":", 1) for line in status)
        return int(lines["voluntary_ctxt_switches"])

    before = wakes()
    subprocess.run(["sleep", "0.5"], check=True)
    assert wakes() - before <= 3
