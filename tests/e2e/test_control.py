"""Jobs under control: options, queue, timeouts, kills, stdin, launchers."""

import contextlib
import json
import os
import signal
import socket
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.harness import COMMAND, SECRET, Rtot, is_alive, needs, until

Start = Callable[..., Rtot]


def test_options(rtot: Rtot) -> None:
    query = "&arg=a&arg=b%20c&env=X=1=2&cwd=/usr&label=l&fields=out,arg,label"
    job = rtot.run(b'echo "$1,$2,$X,$PWD,$#"', query)
    assert job["out"] == "a,b c,1=2,/usr,2\n"
    assert (job["arg"], job["label"]) == (["a", "b c"], ["l"])


def test_a_directory_that_is_missing(rtot: Rtot) -> None:
    job = rtot.run(b"echo", "&cwd=/does/not/exist&fields=reason")
    assert job["exit"] == "chdir /does/not/exist: no such file or directory"
    assert job["reason"] == "not started"
    assert os.readlink(f"/proc/{rtot.pid}/cwd") == os.getcwd()


def test_a_thousand_jobs_in_order_four_at_a_time(start: Start, tmp_path: Path) -> None:
    rtot = start("--max-running=4")
    order = tmp_path / "order"
    script = f"echo $RTOT_JOB_ID >> {order}; ls /proc/{rtot.pid}/task/{rtot.pid} > /dev/null"
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: rtot.submit(script.encode(), "fields="), range(250)))
    for _ in range(750):
        rtot.submit(script.encode(), "fields=")
    jobs = rtot.json("/jobs?wait=60&fields=code,start")["jobs"]
    assert [job["code"] for job in jobs] == [0] * 1000
    starts = [job["start"] for job in jobs]
    assert starts == sorted(starts)
    ran = [int(line) for line in order.read_text().split()]
    assert sorted(ran) == list(range(1000))
    # Four at a time may overtake each other by no more than three.
    assert all(abs(place - job_id) <= 8 for place, job_id in enumerate(ran))


def test_a_timeout_keeps_the_output(rtot: Rtot) -> None:
    job = rtot.run(b"echo before; sleep 1000", "&timeout=0.3&fields=out,reason,signal,timeout")
    assert (job["out"], job["reason"], job["signal"]) == ("before\n", "timeout", "SIGTERM")
    assert job["timeout"] == 0.3


def test_a_timeout_of_a_job_whose_child_holds_the_pipe(rtot: Rtot) -> None:
    job = rtot.run(b"setsid sleep 1000 & echo $!; wait", "&timeout=0.3&fields=out,reason,holders")
    assert (job["reason"], job["holders"]) == ("timeout", [])
    assert not is_alive(int(job["out"]))


def test_a_timeout_of_years_does_not_overflow_the_selector(rtot: Rtot) -> None:
    rtot.submit(b"sleep 0.2", "timeout=100000h")
    assert rtot.json("/jobs/0?wait=99999h")["jobs"][0]["state"] == "complete"
    rtot.submit(b"sleep 1000", "timeout=100000h")
    until(lambda: len(rtot.json("/jobs?state=running")["jobs"]) == 1)
    assert b"still here" in rtot.curl("/ping")


def test_an_upload_is_not_blamed_for_a_job_that_does_not_read(start: Start) -> None:
    rtot = start("--body-timeout=0.5")
    rtot.submit(b"sleep 2; wc -c", "stdin=open")
    answer = rtot.json("/jobs/0/in?close", "--data-binary", "@-", text=b"x" * 1_000_000)
    assert answer == {"written": 1_000_000}
    assert rtot.json("/jobs/0?wait=20")["jobs"][0]["out"] == "1000000\n"


def test_a_timeout_that_is_changed(rtot: Rtot) -> None:
    rtot.submit(b"sleep 1000", "timeout=1h")
    until(lambda: rtot.json("/jobs/0")["jobs"][0]["state"] == "running")
    rtot.curl("/jobs/0/timeout?after=0.01", "-X", "POST")
    assert rtot.json("/jobs/0?wait=20&fields=reason")["jobs"][0]["reason"] == "timeout"


def test_an_exact_receipt_of_fifty_grandchildren(rtot: Rtot) -> None:
    script = b"for i in $(seq 50); do setsid sleep 1000 & echo $!; done > /dev/null; jobs -p; wait"
    rtot.submit(script)
    until(lambda: rtot.json("/jobs/0?fields=out")["jobs"][0].get("out", "").count("\n") == 50)
    pids = {int(p) for p in rtot.json("/jobs/0?fields=out")["jobs"][0]["out"].split()}
    until(
        lambda: all(Path(f"/proc/{pid}/comm").read_text() == "sleep\n" for pid in pids),
        "every exec",
    )
    leader = rtot.json("/jobs/0?fields=pid")["jobs"][0]["pid"]
    receipt = rtot.json("/jobs/0/kill", "-X", "POST")
    assert {p["pid"] for p in receipt["signalled"]} == pids | {leader}
    assert (receipt["escalated"], receipt["surviving"]) == ([], [])
    assert not any(map(is_alive, pids))
    assert rtot.json("/jobs/0?fields=reason")["jobs"][0]["reason"] == "killed"


def test_a_job_that_ignores_term(rtot: Rtot) -> None:
    rtot.submit(b"trap '' TERM; echo on; while :; do sleep 1000; done")
    until(lambda: "out" in rtot.json("/jobs/0")["jobs"][0])
    receipt = rtot.json("/jobs/0/kill?grace=0.2", "-X", "POST")
    leader = rtot.json("/jobs/0?fields=pid")["jobs"][0]["pid"]
    assert leader in {p["pid"] for p in receipt["escalated"]}
    assert receipt["surviving"] == []
    assert rtot.json("/jobs/0")["jobs"][0]["exit"] == "signal: killed"


def test_tree_0_spares_who_left(rtot: Rtot) -> None:
    rtot.submit(b"setsid sleep 1000 > /dev/null 2>&1 & echo $!; wait")
    until(lambda: "out" in rtot.json("/jobs/0")["jobs"][0])
    pid = int(rtot.json("/jobs/0")["jobs"][0]["out"])
    until(lambda: Path(f"/proc/{pid}/comm").read_text() == "sleep\n")
    receipt = rtot.json("/jobs/0/kill?tree=0", "-X", "POST")
    assert pid not in {p["pid"] for p in receipt["signalled"]}
    assert is_alive(pid)
    os.kill(pid, signal.SIGKILL)


def test_a_double_fork_with_another_session_is_found(rtot: Rtot) -> None:
    script = b"(setsid sh -c 'sleep 1000 & echo $!') ; sleep 1000"
    rtot.submit(script)
    until(lambda: "out" in rtot.json("/jobs/0")["jobs"][0])
    pid = int(rtot.json("/jobs/0")["jobs"][0]["out"])
    rtot.curl("/jobs/0", "-X", "DELETE")
    until(lambda: not is_alive(pid))


def test_stdin(rtot: Rtot) -> None:
    job_id = rtot.submit(b"tr a-z A-Z", "stdin=open")
    target = f"/jobs/{job_id}/in"
    assert rtot.json(target, "--data-binary", "one ") == {"written": 4}
    assert rtot.json(f"{target}?close", "-X", "POST", "-T", "-", text=b"two") == {"written": 3}
    job = rtot.json(f"/jobs/{job_id}?wait=20")["jobs"][0]
    assert job["out"] == "ONE TWO"
    assert rtot.json(target, "-d", "x")["error"] == "stdin is closed"


def test_stdin_that_nobody_reads_stalls_only_its_upload(rtot: Rtot, tmp_path: Path) -> None:
    rtot.submit(b"sleep 1000", "stdin=open")
    big = tmp_path / "big"
    big.write_bytes(b"x" * 5_000_000)
    command = ["curl", "-sS", "-X", "POST", "-T", str(big), f"{rtot.url}/jobs/0/in"]
    with subprocess.Popen(
        [*command, "-H", f"Authorization: rtot {SECRET}"], stdout=subprocess.PIPE
    ) as upload:
        until(lambda: rtot.json("/jobs/0")["jobs"][0]["state"] == "running")
        fine = rtot.run(b"echo fine")["out"]
        size = rtot.rss()
        rtot.curl("/jobs/0/kill", "-X", "POST")
        assert fine == "fine\n"
        assert size < 25_600_000
        assert upload.stdout is not None
        assert json.loads(upload.stdout.read())["error"] == "stdin is closed"


def test_a_hundred_retries_run_once(rtot: Rtot, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    script = f"echo x >> {ran}".encode()
    args = ("/jobs?fields=&wait=20", "-H", "Idempotency-Key: k", "--data-binary", "@-")
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: rtot.json(*args, text=script), range(100)))
    assert {answer["jobs"][0]["id"] for answer in answers} == {0}
    assert ran.read_text() == "x\n"


def test_the_lease_of_a_client_that_hangs_up(rtot: Rtot) -> None:
    command = ["curl", "-sS", "-H", f"Authorization: rtot {SECRET}", "-d", "sleep 1000"]
    with subprocess.Popen([*command, f"{rtot.url}/jobs?wait=1000&lease"]) as client:
        until(lambda: len(rtot.json("/jobs?state=running")["jobs"]) == 1)
        client.send_signal(signal.SIGINT)
    job = rtot.json("/jobs/0?wait=20&fields=reason")["jobs"][0]
    assert job["reason"] == "killed"


def send_and_leave_open(rtot: Rtot, data: bytes) -> socket.socket:
    host, port = rtot.url.removeprefix("http://").split(":")
    sock = socket.create_connection((host, int(port)))
    sock.sendall(data)
    return sock


@pytest.mark.parametrize("target", ["/jobs/0/out?follow&lease", "/jobs/1/out?follow&lease"])
def test_a_lease_ends_however_much_the_client_sends(rtot: Rtot, target: str) -> None:
    """What is sent behind a request that waits is kept only so far, and then it is over."""
    for _ in range(2):
        rtot.submit(b"sleep 1000")
    until(lambda: len(rtot.json("/jobs?state=running")["jobs"]) == 2)
    head = f"GET {target} HTTP/1.1\r\nHost: a\r\nAuthorization: rtot {SECRET}\r\n\r\n"
    with send_and_leave_open(rtot, head.encode()) as sock:
        with contextlib.suppress(ConnectionError):
            sock.sendall(b"x" * 1_000_000)
        job_id = int(target.split("/")[2])
        job = rtot.json(f"/jobs/{job_id}?wait=20&fields=reason")["jobs"][0]
        assert job.get("reason") == "killed"


def test_an_upload_that_was_answered_is_over(start: Start) -> None:
    rtot = start("--body-timeout=0.3")
    rtot.submit(b"cat > /dev/null", "stdin=open")
    until(lambda: len(rtot.json("/jobs?state=running")["jobs"]) == 1)
    head = f"POST /jobs/0/in HTTP/1.1\r\nHost: a\r\nAuthorization: rtot {SECRET}\r\n"
    with send_and_leave_open(rtot, f"{head}Content-Length: 100\r\n\r\nabc".encode()) as sock:
        assert sock.recv(4096).startswith(b"HTTP/1.1 408 ")
        rtot.curl("/jobs/0", "-X", "DELETE")
        sock.sendall(b"more")
        assert b"still here" in rtot.curl("/ping")
    assert "Traceback" not in rtot.log


def test_retention(start: Start) -> None:
    rtot = start("--keep=2")
    for _ in range(4):
        rtot.run(b"echo")
    assert [job["id"] for job in rtot.json("/jobs")["jobs"]] == [2, 3]


@needs("prlimit")
def test_few_descriptors_lose_nothing(tmp_path: Path) -> None:
    rtot = Rtot(tmp_path, command=("prlimit", "--nofile=64", *COMMAND))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: rtot.submit(b"echo hi; sleep 0.05", "fields="), range(500)))
    jobs = rtot.json("/jobs?wait=60&fields=out,code")["jobs"]
    assert [(job["out"], job["code"]) for job in jobs] == [("hi\n", 0)] * 500
    rtot.close()


@pytest.mark.parametrize(
    ("prefix", "script", "out"),
    [
        ("nice -n 7", "nice", "7\n"),
        pytest.param("prlimit --nproc=1234", "ulimit -u", "1234\n", marks=needs("prlimit")),
        pytest.param(
            "setpriv --no-new-privs",
            "grep NoNewPrivs /proc/self/status",
            "NoNewPrivs:\t1\n",
            marks=needs("setpriv"),
        ),
        ("timeout 60", "echo $1", "arg\n"),
        ("env -C /usr", "pwd", "/usr\n"),
        pytest.param(
            "bwrap --ro-bind / / --dev /dev --proc /proc --unshare-pid --die-with-parent",
            "touch /usr/x 2> /dev/null || echo read-only",
            "read-only\n",
            marks=needs("bwrap"),
        ),
    ],
)
def test_launchers(start: Start, prefix: str, script: str, out: str) -> None:
    rtot = start("--launcher", f"a={prefix}", "--launcher", "missing=does-not-exist")
    job = rtot.run(script.encode(), "&launcher=a&arg=arg&fields=out,err,launcher")
    assert (job.get("out"), job["launcher"]) == (out, "a"), job
    failed = rtot.run(b"echo", "&launcher=missing")
    assert failed["exit"] == "fork/exec does-not-exist: no such file or directory"
    assert json.loads(rtot.curl(f"{rtot.url}/"))["launchers"] == ["a", "missing"]


def test_a_holder_of_a_complete_job_is_killed_and_its_entry_kept(start: Start) -> None:
    rtot = start("--drain=0.1")
    job = rtot.run(b"echo out; setsid sleep 1000 & exit 3", "&fields=out,holders,reason")
    (holder,) = job["holders"]
    receipt = rtot.json(f"/jobs/{job['id']}/kill", "-X", "POST")
    assert receipt["signalled"] == [holder]
    assert not is_alive(holder["pid"])
    kept = rtot.json(f"/jobs/{job['id']}?fields=out,reason,code,receipt")["jobs"][0]
    assert (kept["out"], kept["reason"], kept["code"]) == ("out\n", "exited", 3)
    assert kept["receipt"] == receipt
    refused = rtot.curl(f"/jobs/{job['id']}/kill", "-X", "POST", "-w", "%{http_code}")
    assert refused.endswith(b"409")


def test_an_interrupt_that_is_only_delivered(rtot: Rtot) -> None:
    job_id = rtot.submit(b"trap 'echo caught' INT; echo ready; read < <(sleep 1000)")
    until(lambda: "ready" in rtot.json(f"/jobs/{job_id}")["jobs"][0].get("out", ""))
    receipt = rtot.json(f"/jobs/{job_id}/kill?signal=INT&grace=never&tree=0", "-X", "POST")
    assert receipt["signalled"]
    until(lambda: "caught" in rtot.json(f"/jobs/{job_id}")["jobs"][0]["out"])
    assert rtot.json(f"/jobs/{job_id}?fields=receipt")["jobs"][0]["receipt"] is None


def test_a_timeout_keeps_a_receipt(start: Start) -> None:
    rtot = start("--grace=0.2")
    job = rtot.run(b"trap '' TERM; while :; do sleep 0.1; done", "&timeout=0.3&fields=reason")
    assert job["reason"] == "timeout"
    until(lambda: rtot.json("/jobs/0?fields=receipt")["jobs"][0]["receipt"]["surviving"] == [])
    receipt = rtot.json("/jobs/0?fields=receipt")["jobs"][0]["receipt"]
    assert receipt["signal"] == "SIGTERM"
    assert receipt["escalated"][0]["command"] == "job-0"


def test_why_a_job_is_stuck(rtot: Rtot) -> None:
    job_id = rtot.submit(b"sleep 1000 & setsid sleep 2000 & wait", "arg=a%20b")
    until(lambda: rtot.json(f"/jobs/{job_id}/processes")["count"] == 3)
    found = {p["argv"][-1]: p for p in rtot.json(f"/jobs/{job_id}/processes")["processes"]}
    assert found.keys() == {"a b", "1000", "2000"}
    assert found["1000"]["parent"] == found["a b"]["pid"]
    assert found["2000"]["command"] == "sleep"
    rtot.json(f"/jobs/{job_id}/kill", "-X", "POST")
    until(lambda: rtot.json(f"/jobs/{job_id}/processes") == {"count": 0, "processes": []})


def test_what_a_complete_job_has_left_behind(rtot: Rtot) -> None:
    job = rtot.run(b"setsid sleep 1000 > /dev/null 2>&1 &")
    (left,) = rtot.json(f"/jobs/{job['id']}/processes")["processes"]
    assert left["argv"] == ["sleep", "1000"]
    os.kill(left["pid"], signal.SIGKILL)


def test_a_lease_survives_a_hiccup_and_no_more(rtot: Rtot) -> None:
    with rtot.ask("POST", "/jobs?follow&lease=3", b"echo on; sleep 1000") as first:
        assert b"201 Created" in first.recv(65536)
    with rtot.ask("GET", "/jobs/0/events?follow&lease=3") as second:
        assert b"200 OK" in second.recv(65536)
        # Longer than the lease of the one that has gone.
        assert rtot.json("/jobs/0?wait=4&fields=")["jobs"][0]["state"] == "running"
    job = rtot.json("/jobs/0?wait=20&fields=reason")["jobs"][0]
    assert (job["state"], job["reason"]) == ("complete", "killed")


def test_options_that_do_not_stand_in_urls(rtot: Rtot, tmp_path: Path) -> None:
    (tmp_path / "headers").write_text("Rtot-Env: PW=s3cr%2Cet\nRtot-Arg: one\nRtot-Arg: t%20wo\n")
    arguments = ("-H", f"@{tmp_path}/headers", "-d", 'echo "$PW|$1|$2"')
    (job,) = rtot.json("/jobs?wait=20&fields=out,env,title", *arguments)["jobs"]
    assert job["out"] == "s3cr,et|one|t wo\n"
    assert (job["env"], job["title"]) == (["PW"], 'echo "$PW|$1|$2"')
    assert "s3cr" not in rtot.log


@needs("prlimit")
def test_arguments_that_are_too_long_for_exec(start: Start) -> None:
    rtot = start(A="x" * 100_000, B="x" * 100_000)
    assert "exit" not in rtot.run(b"true")
    # With a small stack the kernel takes no more than 128 KB of arguments and environment.
    subprocess.run(["prlimit", f"--pid={rtot.pid}", "--stack=65536:65536"], check=True)
    assert rtot.run(b"true")["exit"].endswith(": argument list too long")
