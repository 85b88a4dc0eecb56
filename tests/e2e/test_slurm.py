"""Jobs on a cluster, with Debian's daemons of Slurm and README's scripts as printed."""

import json
import os
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.slurm import FRONT, Front, Slurm, descendants, needs_slurm
from tests.harness import needs, until

Start = Callable[..., Front]

pytestmark = needs_slurm()
TRAP = b"trap 'echo trapped; sleep 0.2; exit 5' TERM; echo ready; sleep 1000 & wait"
# The node knows the script by this name.
DEAF = b"trap '' TERM; echo ready; while :; do sleep 0.1; done"


@pytest.fixture
def slurm() -> Iterator[Slurm]:
    slurm = Slurm()
    yield slurm
    slurm.close()


@pytest.fixture
def flags(slurm: Slurm) -> list[str]:
    return slurm.flags()


@pytest.fixture
def start(slurm: Slurm, flags: list[str], tmp_path: Path) -> Iterator[Start]:
    """Start servers in front of the cluster, with README's flags and more."""
    servers: list[Front] = []

    def start_one(*more: str, only: bool = False, **environ: str) -> Front:
        directory = tmp_path / str(len(servers))
        directory.mkdir()
        chosen = more if only else (*flags, *more)
        environ = {"SLURM_CONF": str(slurm.conf), **environ}
        servers.append(Front(directory, *chosen, environ=environ, command=FRONT))
        return servers[-1]

    yield start_one
    for server in servers:
        server.close()


@pytest.fixture
def rtot(start: Start) -> Front:
    return start("--grace=20")


def ready(rtot: Front, job_id: int = 0) -> None:
    until(lambda: b"ready" in rtot.curl(f"/jobs/{job_id}/out"), "the job")


def nothing_is_left(slurm: Slurm) -> bool:
    """Neither a job in Slurm's queue, nor a process of one on a node."""
    left = [*slurm.queue(), *(name for name in slurm.steps() if name != "slurmstepd")]
    if left:
        # For a test that fails.
        print(left)
    return not left


def test_jobs_run_on_both_nodes(
    slurm: Slurm, start: Start, flags: list[str], tmp_path: Path
) -> None:
    # One of some thousand times srun 22.05 writes nothing of what a short job wrote to stderr,
    # be it to a file. So this keeps what it wrote, and not a byte of that may be missing.
    copied = tmp_path / "copied"
    copied.write_text(
        f'#!/bin/sh\n"$@" 2> {tmp_path}/err.$RTOT_JOB_ID\ncode=$?\n'
        f"cat {tmp_path}/err.$RTOT_JOB_ID >&2\nexit $code\n"
    )
    copied.chmod(0o755)
    (default,) = [flag for flag in flags if flag.startswith("default=") and "slurm-run" in flag]
    rtot = start("--launcher", default.replace("default=", f"copied={copied} "))
    for i in range(200):
        script = f"echo $SLURMD_NODENAME; echo err >&2; exit {i}"
        rtot.submit(script.encode(), "launcher=copied&fields=")
    jobs = rtot.json("/jobs?wait=55&fields=out,err,code,reason")["jobs"]
    assert [job["code"] for job in jobs] == list(range(200))
    written = [(tmp_path / f"err.{job['id']}").read_text() for job in jobs]
    assert [job.get("err", "") for job in jobs] == written
    assert set(written) - {""} == {"err\n"}
    assert written.count("") < 5
    nodes = Counter(job["out"] for job in jobs)
    assert nodes.keys() == {"n1\n", "n2\n"}
    assert min(nodes.values()) >= 20
    until(lambda: nothing_is_left(slurm))
    assert list(rtot.spool.glob("rtot-*/*")) == []


@pytest.mark.parametrize(("name", "code"), [("KILL", 137), ("TERM", 143), ("SEGV", 139)])
def test_a_signal_is_told_as_a_shell_does(rtot: Front, name: str, code: int) -> None:
    # What was written in the moment before that srun may lose.
    script = f"echo out; sleep 0.2; kill -{name} $$"
    job = rtot.run(script.encode(), "&fields=out,err,code,reason")
    assert (job["out"], job["code"], job["reason"]) == ("out\n", code, "exited")
    assert "err" not in job


def test_arguments_variables_and_directory(rtot: Front) -> None:
    query = "&arg=a&arg=b%20c&env=X=1=2&cwd=/usr&fields=out,err"
    job = rtot.run(b'echo "$1,$2,$X,$PWD,$#,$RTOT_JOB_ID"', query)
    assert job["out"] == "a,b c,1=2,/usr,2,0\n", job


def test_both_streams_are_live(rtot: Front) -> None:
    """Line by line, in less than 50 ms; half of the lines must show it."""
    script = b"for i in 1 2 3 4 5; do date +%s.%N; sleep 0.1; date +%s.%N >&2; sleep 0.1; done"
    delays: dict[str, list[float]] = {"out": [], "err": []}
    with rtot.ask("POST", "/jobs?follow=events&fail", script) as sock, sock.makefile("rb") as lines:
        while not lines.readline().startswith(b"event: running"):
            pass
        for line in lines:
            if line.startswith(b"data: ") and b'"text":' in line:
                event = json.loads(line[6:])
                stream = "out" if len(delays["out"]) == len(delays["err"]) else "err"
                delays[stream].append(time.time() - float(event["text"]))
    assert [len(found) for found in delays.values()] == [5, 5]
    assert all(sorted(found)[2] < 0.05 for found in delays.values()), delays


def test_stdin(rtot: Front) -> None:
    job_id = rtot.submit(b"tr a-z A-Z", "stdin=open")
    rtot.curl(f"/jobs/{job_id}/in", "--data-binary", "@-", text=b"one\n")
    rtot.curl(f"/jobs/{job_id}/in?close", "--data-binary", "@-", text=b"two")
    assert rtot.json(f"/jobs/{job_id}?wait=30")["jobs"][0]["out"] == "ONE\nTWO"
    assert "out" not in rtot.run(b"cat")


def test_without_a_stop_command_the_step_survives(
    slurm: Slurm, start: Start, flags: list[str]
) -> None:
    rtot = start(*(flags[: flags.index("--stop")]), only=True)
    rtot.submit(DEAF)
    ready(rtot)
    receipt = rtot.json("/jobs/0/kill?signal=KILL", "-X", "POST")
    assert {process["command"] for process in receipt["signalled"]} >= {"srun"}
    # rtot has done what it can, and takes the job for ended.
    assert rtot.json("/jobs/0?fields=reason")["jobs"][0]["reason"] == "killed"
    assert "job-0" in slurm.steps()
    assert [line.split()[1] for line in slurm.queue()] == ["RUNNING"]


def test_term_gets_to_the_trap_and_the_grace_is_kept(slurm: Slurm, rtot: Front) -> None:
    rtot.submit(TRAP)
    ready(rtot)
    receipt = rtot.json("/jobs/0/kill", "-X", "POST")
    assert receipt["stop"] == [{"signal": "SIGTERM", "exit": "0", "text": ""}]
    assert (receipt["signalled"], receipt["escalated"], receipt["surviving"]) == ([], [], [])
    (job,) = rtot.json("/jobs/0?fields=out,code,reason")["jobs"]
    assert (job["out"], job["code"], job["reason"]) == ("ready\ntrapped\n", 5, "killed")
    until(lambda: nothing_is_left(slurm))


@pytest.mark.parametrize("query", ["signal=KILL", "grace=0.3"])
def test_kill_leaves_nothing(slurm: Slurm, rtot: Front, query: str) -> None:
    rtot.submit(b"sleep 1000 & setsid env -i sleep 1000 &" + DEAF)
    ready(rtot)
    begin = time.monotonic()
    receipt = rtot.json(f"/jobs/0/kill?{query}", "-X", "POST")
    assert [each["exit"] for each in receipt["stop"]] == ["0"] * len(receipt["stop"])
    assert receipt["stop"][-1]["signal"] == "SIGKILL"
    assert "job-0" not in slurm.steps()
    # Well before what Slurm itself would do about it (KillWait).
    until(lambda: nothing_is_left(slurm))
    assert time.monotonic() - begin < 5


@needs("bwrap")
def test_kill_leaves_nothing_in_a_sandbox_on_the_node(slurm: Slurm, start: Start) -> None:
    """Neither what has left the session of the script nor what has left its environment."""
    box = "bwrap --dev-bind / / --proc /proc --unshare-pid --die-with-parent"
    run = f"{slurm.directory}/lib/slurm-run rtot-{{server}}-{{id}} {box}"
    stop = f"{slurm.directory}/lib/slurm-stop rtot-{{server}}-{{id}} {{signal}}"
    rtot = start("--launcher", f"box={run}", "--stop", f"box={stop}")
    rtot.submit(b"setsid sleep 1000 & setsid env -i sleep 1000 &" + DEAF, "launcher=box")
    ready(rtot)
    assert slurm.steps().count("sleep") >= 2
    rtot.json("/jobs/0/kill?signal=KILL", "-X", "POST")
    until(lambda: nothing_is_left(slurm))


def test_another_signal_is_only_delivered(rtot: Front) -> None:
    rtot.submit(b"trap 'echo caught; exit 0' USR1; echo ready; sleep 1000 & wait")
    ready(rtot)
    receipt = rtot.json("/jobs/0/kill?signal=USR1", "-X", "POST")
    assert receipt["stop"] == [{"signal": "SIGUSR1", "exit": "0", "text": ""}]
    (job,) = rtot.json("/jobs/0?wait=30&fields=out,code")["jobs"]
    assert (job["out"], job["code"]) == ("ready\ncaught\n", 0)


@pytest.mark.parametrize("state", ["RUNNING", "PENDING"])
def test_a_signal_that_cannot_be_delivered_ends_nothing(
    slurm: Slurm, rtot: Front, state: str
) -> None:
    for _ in range(2):
        rtot.submit(DEAF, "launcher=large")
    for job_id in range(2):
        ready(rtot, job_id)
    rtot.submit(b"echo never", "launcher=large")
    until(lambda: any(line.endswith(" PENDING") for line in slurm.queue()))
    # Slurm does not know WINCH, and nobody is there who could get USR1.
    target = "/jobs/0/kill?signal=WINCH" if state == "RUNNING" else "/jobs/2/kill?signal=USR1"
    receipt = rtot.json(target, "-X", "POST")
    assert [each["exit"] for each in receipt["stop"]] == ["exit status 1"]
    assert len(slurm.queue()) == 3
    for job_id in range(3):
        rtot.json(f"/jobs/{job_id}/kill?signal=KILL", "-X", "POST")
    until(lambda: nothing_is_left(slurm))


def test_a_step_does_not_survive_its_srun(slurm: Slurm, rtot: Front) -> None:
    rtot.submit(DEAF)
    ready(rtot)
    for pid in descendants(rtot.pid):
        if Path(f"/proc/{pid}/comm").read_text() == "srun\n":
            os.kill(pid, signal.SIGKILL)
    (job,) = rtot.json("/jobs/0?wait=30&fields=code,reason")["jobs"]
    assert (job["code"], job["reason"]) == (137, "exited")
    until(lambda: nothing_is_left(slurm))


def test_a_job_that_waits_in_slurm_is_cancelled(slurm: Slurm, rtot: Front) -> None:
    for _ in range(2):
        rtot.submit(DEAF, "launcher=large")
    for job_id in range(2):
        ready(rtot, job_id)
    waits = rtot.submit(b"echo never", "launcher=large")
    until(lambda: any(line.endswith(" PENDING") for line in slurm.queue()))
    begin = time.monotonic()
    receipt = rtot.json(f"/jobs/{waits}/kill", "-X", "POST")
    assert time.monotonic() - begin < 5
    assert receipt["stop"] == [{"signal": "SIGTERM", "exit": "0", "text": ""}]
    (job,) = rtot.json(f"/jobs/{waits}?fields=out,reason,code")["jobs"]
    assert (job["reason"], job["code"], job.get("out")) == ("killed", 1, None)
    assert [line.split()[1] for line in slurm.queue()] == ["RUNNING"] * 2
    for job_id in range(2):
        rtot.json(f"/jobs/{job_id}/kill?signal=KILL", "-X", "POST")


@pytest.mark.parametrize("how", ["timeout", "lease", "DELETE", "SIGTERM"])
def test_every_end_of_a_job_gets_there(slurm: Slurm, rtot: Front, how: str) -> None:
    ended = slurm.directory / "ended"
    script = f"trap 'touch {ended}; exit' TERM; echo ready; sleep 1000 & wait".encode()
    if how == "lease":
        with rtot.ask("POST", "/jobs?wait=60&lease", script) as sock:
            ready(rtot)
            sock.shutdown(socket.SHUT_RDWR)
    else:
        rtot.submit(script, "timeout=1" if how == "timeout" else "")
        ready(rtot)
    if how == "DELETE":
        rtot.curl("-X", "DELETE", "/jobs/0")
    elif how == "SIGTERM":
        assert rtot.end() == 0
    until(lambda: nothing_is_left(slurm))
    assert ended.exists()
    assert "stop command failed" not in rtot.log


def test_a_node_that_fails_is_no_success(slurm: Slurm, rtot: Front) -> None:
    for _ in range(2):
        rtot.submit(b"echo ready; sleep 6", "launcher=large")
    for job_id in range(2):
        ready(rtot, job_id)
    slurm.kill("n2")
    jobs = rtot.json("/jobs?wait=55&fields=err,code")["jobs"]
    (lost,) = (job for job in jobs if job["code"])
    assert lost["code"] == 125
    assert "Node failure on n2" in lost["err"]
    until(lambda: not slurm.queue())


def test_a_controller_that_is_down(slurm: Slurm, rtot: Front) -> None:
    rtot.submit(b"echo ready; sleep 1; echo done")
    ready(rtot)
    slurm.kill("slurmctld")
    begin = time.monotonic()
    job = rtot.run(b"echo never", "&fields=out,err,code")
    assert time.monotonic() - begin < 30
    assert (job.get("out"), job["code"]) == (None, 1)
    assert "Unable to contact slurm controller" in job["err"]
    # What ran goes on.
    (job,) = rtot.json("/jobs/0?wait=50&fields=out,code")["jobs"]
    assert (job["out"], job["code"]) == ("ready\ndone\n", 0)


def test_a_kill_that_gets_nowhere_is_told(slurm: Slurm, rtot: Front) -> None:
    rtot.submit(DEAF)
    ready(rtot)
    slurm.kill("slurmctld")
    receipt = rtot.json("/jobs/0/kill?grace=0.1", "-X", "POST")
    assert len(receipt["stop"]) == 2
    assert all(each["exit"] != "0" for each in receipt["stop"])
    assert rtot.log.count("stop command failed") == 2
    # What rtot has here is ended all the same, and the step runs on.
    assert receipt["surviving"] == []
    assert "job-0" in slurm.steps()


def test_the_next_server_ends_what_a_killed_one_has_left(slurm: Slurm, start: Start) -> None:
    first = start()
    for _ in range(3):
        first.submit(DEAF)
    for job_id in range(3):
        ready(first, job_id)
    first.end(signal.SIGKILL)
    assert slurm.steps().count("job-0") == 1
    second = start(TMPDIR=str(first.spool))
    until(lambda: second.log.count("job of a killed server stopped") == 3)
    until(lambda: nothing_is_left(slurm))
    assert len(list(first.spool.iterdir())) == 1


def test_a_server_that_runs_in_a_job_of_slurm_itself(start: Start) -> None:
    """What it has inherited of that job is not for those that it starts."""
    rtot = start(SLURM_JOB_ID="999", SLURM_JOBID="999")
    assert rtot.run(b"echo hi", "&fields=out,err,code")["code"] == 0


def test_a_script_that_is_not_shared(slurm: Slurm, start: Start) -> None:
    there = slurm.directory / "there"
    there.mkdir(mode=0o777)
    run = f"{slurm.directory}/lib/slurm-run rtot-{{server}}-{{id}} --bcast={there}/"
    rtot = start("--launcher", f"copied={run}")
    job = rtot.run(b"echo $0 $1", "&launcher=copied&arg=a&fields=out")
    assert job["out"].startswith(f"{there}/slurm_bcast_")
    assert job["out"].endswith(" a\n")
