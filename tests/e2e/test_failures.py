"""Nothing that failed, was cut or was never run looks like success."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.harness import AUTHORIZATION, COMMAND, Rtot, needs, until

Start = Callable[..., Rtot]


def test_bytes_that_are_not_utf_8_reach_the_job_and_spoil_no_answer(tmp_path: Path) -> None:
    strange = os.fsencode(tmp_path / "s") + b"\xff"
    os.mkdir(strange)
    rtot = Rtot(tmp_path, f"--spool-dir={os.fsdecode(strange)}")
    try:
        script = b'printf "%s|%s|%s" "$1" "$A" "$PWD"'
        query = f"&arg=%FE&env=A=%FD&label=%FC&cwd={tmp_path}/s%FF"
        job = rtot.run(script, f"&fields=*{query}")
        assert rtot.curl(f"/jobs/{job['id']}/out") == b"\xfe|\xfd|" + strange
        assert (job["arg"], job["label"]) == (["\ufffd"], ["\ufffd"])
        assert "/s\ufffd/rtot-" in job["filename"]
        bad = rtot.run(b"#!/nonexistent/\xff\n", "&fields=*")
        assert bad["exit"] == f"fork/exec {bad['filename']}: no such file or directory"
        gone = rtot.run(b"true", "&cwd=/nonexistent/%FF")
        assert gone["exit"] == "chdir /nonexistent/\ufffd: no such file or directory"
        assert len(rtot.json("/jobs?fields=*")["jobs"]) == 3
    finally:
        rtot.close()


def test_a_launcher_that_is_not_utf_8(start: Start) -> None:
    rtot = start("--launcher", os.fsdecode(b"default=/nonexistent/\xff"))
    assert rtot.run(b"true")["exit"] == "fork/exec /nonexistent/\ufffd: no such file or directory"
    assert rtot.json("/jobs?fields=*")["jobs"]


def follow(rtot: Rtot, job_id: int, query: str) -> tuple[int, bytes]:
    """curl's exit status, and the headers and trailers that it saw."""
    url = f"{rtot.url}/jobs/{job_id}/{query}"
    command = ["curl", "-sSN", "-o", "/dev/null", "-D", "-", "-H", AUTHORIZATION, url]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    return done.returncode, done.stdout


def check_that_cut_output_shows(rtot: Rtot) -> None:
    job = rtot.run(b"head -c 3000000 /dev/zero | tr '\\0' x")
    lost = job["out_dropped"]
    assert len(job["out"]) + lost == 3_000_000
    status, head = follow(rtot, job["id"], "out?follow")
    assert (status, head.count(b"Rtot-Dropped: %d\r\n" % lost)) == (0, 2)
    assert b"Rtot-Exit: 0\r\n" in head
    status, head = follow(rtot, job["id"], "out")
    assert (status, head.count(b"Rtot-Dropped: %d\r\n" % lost)) == (0, 1)
    assert follow(rtot, job["id"], "out?follow&fail")[0] == 18
    told = rtot.curl(f"/jobs/{job['id']}/events", "-H", "Accept: application/x-ndjson")
    assert b'"event":"dropped"' in told
    assert b'"out_dropped":%d}\n' % lost in told.splitlines(keepends=True)[-1]


def test_output_over_the_limit_does_not_look_whole(start: Start) -> None:
    check_that_cut_output_shows(start("--max-output=100K"))


@needs("prlimit")
def test_output_on_a_full_disk_does_not_look_whole(rtot: Rtot) -> None:
    limit = ["prlimit", f"--pid={rtot.pid}", "--fsize=1000000:1000000"]
    subprocess.run(limit, check=True)
    check_that_cut_output_shows(rtot)


def test_the_loop_over_jobs_as_they_end(rtot: Rtot) -> None:
    """Each job that ends is told once, and the loop rests while there is none."""
    rtot.run(b"true")
    script = """
        seq=$(r -I "$R/jobs" | tr -d '\\r' | sed -n 's/^Rtot-Seq: //p')
        for i in 3 1 2; do r "$R/jobs" -o /dev/null -d "sleep 0.$i"; done
        n=0
        while [ $n -lt 3 ]; do
            asked=$((asked + 1))
            ended="$R/jobs?state=complete&since=${seq:?}&wait=30&fields="
            seq=$(r "$ended" -o ended.json -w '%header{rtot-seq}') || break
            n=$((n + $(grep -o '"href"' ended.json | wc -l)))
            grep -o '/jobs/[0-9]*' ended.json
        done
        echo "asked $asked"
    """
    shell = f'R={rtot.url}; r() {{ curl -sS -f -H "{AUTHORIZATION}" "$@"; }}; {script}'
    done = subprocess.run(
        ["bash", "-euc", "asked=0; " + shell],
        cwd=rtot.directory,
        check=True,
        stdout=subprocess.PIPE,
    )
    *ended, asked = done.stdout.decode().splitlines()
    assert sorted(ended) == ["/jobs/1", "/jobs/2", "/jobs/3"]
    assert int(asked.split()[1]) <= 3


@pytest.mark.parametrize("flag", ["--keep=0", "--ttl=0"])
def test_who_waits_or_reads_has_its_answer_before_a_job_is_forgotten(
    start: Start, flag: str, tmp_path: Path
) -> None:
    rtot = start(flag)
    assert rtot.run(b"echo hi; exit 3")["exit"] == "exit status 3"
    # Much more than fits into the socket, read slowly by who waits, follows and loads down.
    script = (
        b"head -c 9000000 /dev/zero | tr '\\0' x; while [ ! -e go ]; do sleep 0.01; done; exit 4"
    )
    job_id = rtot.submit(script, f"cwd={tmp_path}")
    until(lambda: rtot.json("/jobs?fields=out_bytes")["jobs"][0]["out_bytes"] == 9_000_000)
    with (
        rtot.ask("GET", f"/jobs/{job_id}?wait=30&fields=out") as waiting,
        rtot.ask("GET", f"/jobs/{job_id}/out?follow") as following,
        rtot.ask("GET", f"/jobs/{job_id}/out") as loading,
    ):
        (tmp_path / "go").touch()
        until(
            lambda: rtot.json(f"/jobs/{job_id}?wait=30&fields=")["jobs"][0]["state"] == "complete"
        )
        answers = [sock.makefile("rb").read() for sock in (waiting, following, loading)]
    assert all(answer.count(b"x") >= 9_000_000 for answer in answers)
    assert b'"exit":"exit status 4"' in answers[0]
    assert answers[1].endswith(b"\r\nRtot-Exit: exit status 4\r\n\r\n")
    until(lambda: rtot.json("/jobs") == {"jobs": []})
    assert rtot.curl(f"/jobs/{job_id}", "-w", "%{http_code}").endswith(b"404")


def test_timeouts_of_nothing_are_none(start: Start) -> None:
    names = ("head", "body", "send", "idle")
    rtot = start(*(f"--{name}-timeout=0" for name in names))
    assert rtot.run(b"echo fine")["out"] == "fine\n"


def test_a_directory_planted_for_the_next_script_stops_nobody(rtot: Rtot) -> None:
    job = rtot.run(b'cd "$(dirname "$0")" && mkdir -p job-1/x 1.out/x 2.out && echo planted')
    assert job["out"] == "planted\n"
    for script in (b"echo next", b"head -c 100000 /dev/zero | tr '\\0' x"):
        assert "exit" not in rtot.run(script)


def lines_of(*flags: str, **environ: str) -> tuple[int, list[bytes]]:
    command = [*COMMAND, *flags]
    env = {**os.environ, **environ}
    done = subprocess.run(command, env=env, stderr=subprocess.PIPE, check=False, timeout=30)
    return done.returncode, done.stderr.splitlines()


@pytest.mark.parametrize(
    ("flags", "status"),
    [
        (["--bogus"], 2),
        (["--max-body=0"], 2),
        (["--spool-dir=/does/not/exist/\udcff"], 1),
        (["--secret-file=/does/not/exist"], 1),
        (["-a=unix:/does/not/exist/socket"], 1),
    ],
)
def test_an_error_at_the_start_is_a_line_of_the_format(flags: list[str], status: int) -> None:
    for json_flags, environ in (["-f=json"], {}), ([], {"RTOT_LOG_FORMAT": "json"}):
        found, lines = lines_of(*json_flags, *flags, **environ)
        (line,) = map(json.loads, lines)
        assert (found, line["level"]) == (status, "error")
        assert line["msg"]
    found, (text,) = lines_of(*flags)
    assert found == status
    assert text.startswith(b"rtot: ")


def test_every_line_of_a_json_log_is_json(tmp_path: Path) -> None:
    """A secret that was made up, requests, a bug of ours."""
    program = (
        "import sys\n"
        "from rtot.api import server\n"
        "from rtot.cli.main import main\n"
        "server.format_duration = None\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    command = (sys.executable, "-c", program)
    rtot = Rtot(tmp_path, "-f=json", command=command, environ={"RTOT_SECRET": ""})
    try:
        assert rtot.curl("/ping", "-w", "%{http_code}").endswith(b"500")
        assert rtot.curl("/jobs?label=%22%ff") == b"Not Authorized\n"
        until(lambda: "/jobs?label" in rtot.log)
    finally:
        rtot.process.terminate()
        rtot.process.wait(30)
    told = [json.loads(line) for line in rtot.log.splitlines()]
    assert "TypeError" in next(line["traceback"] for line in told if "traceback" in line)
    assert {line["level"] for line in told} >= {"info", "warning", "error"}


@pytest.mark.parametrize(
    ("script", "flags", "part"),
    [
        (b"# backup\nset -e\nfalse\n", ["-d"], "--data-binary @FILE"),
        (b"#!/bin/bash\r\necho hello\r\n", ["--data-binary"], '"/bin/bash\\r"'),
        (b"#!/opt/nope/python9\nprint(1)\n", ["--data-binary"], '"/opt/nope/python9" does not'),
        (b"#!/tmp\nprint(1)\n", ["--data-binary"], '"/tmp" cannot be run: permission denied'),
        (b"echo a\r\nexit 0\r\n", ["--data-binary"], "CRLF"),
        (b'{"script": "echo hi"}', ["-H", "Content-Type: application/json", "-d"], "JSON"),
        (b"script=echo+hi", ["-d"], "name=value"),
        (b"MZ\0\n", ["--data-binary"], "NUL"),
        (b"\x7fELF nothing else", ["--data-binary"], "cannot run that ELF file"),
    ],
)
def test_a_well_known_mistake_is_named(
    rtot: Rtot, tmp_path: Path, script: bytes, flags: list[str], part: str
) -> None:
    (tmp_path / "script").write_bytes(script)
    (job,) = rtot.json("/jobs?wait=20", *flags, f"@{tmp_path}/script")["jobs"]
    assert part in job["hint"]
    head = rtot.curl("/jobs/0/out", "-D", "-")
    assert b"Rtot-Hint: " in head
    assert b"event: hint" in rtot.curl("/jobs/0/events")


def test_what_is_taken_as_it_was_meant(rtot: Rtot, tmp_path: Path) -> None:
    assert rtot.run(b"\xef\xbb\xbfecho one\necho two\n")["out"] == "one\ntwo\n"
    python = b"\xef\xbb\xbf#!/usr/bin/env python3\nprint('hi')\n"
    assert rtot.run(python)["out"] == "hi\n"
    assert rtot.run(Path("/bin/echo").read_bytes(), "&arg=from%20ELF")["out"] == "from ELF\n"
    refused = rtot.curl("/jobs", "-F", "script=@/etc/hostname", "-w", "%{http_code}")
    assert refused.endswith(b"415")
    assert len(rtot.json("/jobs")["jobs"]) == 3


def test_a_launcher_that_cannot_run_the_interpreter(start: Start) -> None:
    rtot = start("--launcher", "default=nice")
    assert 'cannot run "/opt/nope"' in rtot.run(b"#!/opt/nope\n")["hint"]


@pytest.mark.parametrize(
    ("script", "query", "status"),
    [
        ("exit 3", "wait=20&fail", 22),
        ("true", "wait=20&fail", 0),
        ("sleep 100", "wait=0.2&fail", 22),
        ("exit 3", "wait=20", 0),
        ("head -c 2000000 /dev/zero", "wait=20&fail&fields=", 22),
    ],
)
def test_curl_f_fails_when_the_job_did(start: Start, script: str, query: str, status: int) -> None:
    rtot = start("--max-output=1M")
    command = ["curl", "-sS", "-f", "-H", AUTHORIZATION, f"{rtot.url}/jobs?{query}", "-d", script]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == status
    assert (b"424" in done.stderr) == (status == 22)
    # It runs on, whatever was answered.
    assert "sleep" not in script or rtot.json("/jobs/0")["jobs"][0]["state"] == "running"


def read_slowly(sock: socket.socket, rate: int) -> tuple[bytes, bool]:
    """All that comes at so many bytes a second, and whether the end was a reset."""
    data = b""
    began = time.monotonic()
    while True:
        # No faster than that: this is a link of that bandwidth.
        time.sleep(max(0.0, len(data) / rate - (time.monotonic() - began)))
        try:
            piece = sock.recv(rate // 20)
        except ConnectionResetError:
            return data, True
        if not piece:
            return data, False
        data += piece


@pytest.mark.parametrize(
    ("script", "query", "reset"),
    [("exit 3", "&fail", True), ("exit 3", "", False), ("true", "&fail", False)],
)
def test_under_http_1_0_a_failure_is_a_reset_after_the_last_byte(
    rtot: Rtot, script: str, query: str, reset: bool
) -> None:
    job_id = rtot.submit(f"head -c 2000000 /dev/zero | tr '\\0' x; {script}".encode())
    rtot.curl(f"/jobs/{job_id}?wait=20&fields=")
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        sock.connect(rtot.address)
        head = f"GET /jobs/{job_id}/out?follow{query} HTTP/1.0\r\n{AUTHORIZATION}\r\n\r\n"
        sock.sendall(head.encode())
        data, was_reset = read_slowly(sock, 1_000_000)
    body = data.partition(b"\r\n\r\n")[2]
    assert (body == b"x" * 2_000_000, was_reset) == (True, reset)


def test_a_reset_does_not_wait_for_ever(start: Start) -> None:
    rtot = start("--send-timeout=0.3")
    before = rtot.descriptors()
    rtot.run(b"head -c 60000 /dev/zero; exit 3", "&fields=")
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(rtot.address)
        sock.sendall(
            b"GET /jobs/0/out?follow&fail HTTP/1.0\r\n" + AUTHORIZATION.encode() + b"\r\n\r\n"
        )
        until(lambda: "/jobs/0/out" in rtot.log)
        # The server has sent all of it, and this side takes only what fits into its buffer.
        until(lambda: rtot.descriptors() == before)
        assert read_slowly(sock, 10_000_000)[1]


def test_a_client_that_does_not_read_gets_no_whole_answer(start: Start) -> None:
    """Under HTTP/1.0 the end of a connection that is given up would look like one."""
    rtot = start("--send-timeout=0.3")
    rtot.submit(b"head -c 9000000 /dev/zero; sleep 60", "fields=")
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(rtot.address)
        sock.sendall(f"GET /jobs/0/out?follow HTTP/1.0\r\n{AUTHORIZATION}\r\n\r\n".encode())
        until(lambda: "/jobs/0/out" in rtot.log)
        data, reset = read_slowly(sock, 10_000_000)
    assert (len(data) < 9_000_000, reset) == (True, True)


def test_curl_sees_the_reset(rtot: Rtot) -> None:
    rtot.run(b"echo some; exit 3")
    url = f"{rtot.url}/jobs/0/out?follow&fail"
    command = ["curl", "-0", "-sSN", "-H", AUTHORIZATION, url]
    done = subprocess.run(command, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (56, b"some\n")


NGINX = """
daemon off; pid {directory}/pid; error_log {directory}/errors;
events {{}}
http {{
    access_log off; client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/f; uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;
    server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass {url}; proxy_read_timeout 4s; }} }}
}}
"""


@contextmanager
def nginx_before(rtot: Rtot, tmp_path: Path) -> Iterator[str]:
    """nginx as it comes: it speaks HTTP/1.0 to rtot and buffers; with little patience."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    directory = tmp_path / "nginx"
    directory.mkdir()
    config = directory / "conf"
    config.write_text(NGINX.format(directory=directory, port=port, url=rtot.url))
    url = f"http://127.0.0.1:{port}/jobs"
    ready = ["curl", "-sS", "-f", "-o", "/dev/null", "-H", AUTHORIZATION, url]
    with subprocess.Popen(["nginx", "-c", str(config)], stderr=subprocess.DEVNULL) as nginx:
        try:
            until(lambda: subprocess.run(ready, check=False).returncode == 0)
            yield url
        finally:
            nginx.terminate()


@needs("nginx")
def test_fail_through_nginx_as_it_comes(rtot: Rtot, tmp_path: Path) -> None:
    command = ["curl", "-sS", "--fail-with-body", "-H", AUTHORIZATION]

    def curl(*words: str) -> tuple[int, bytes]:
        done = subprocess.run([*command, *words], capture_output=True, check=False)
        return done.returncode, done.stdout

    with nginx_before(rtot, tmp_path) as url:
        assert curl(f"{url}?wait=9&fail", "-d", "exit 3")[0] == 22
        assert curl(f"{url}?wait=9&fail", "-d", "exit 0")[0] == 0
        # Live, although it buffers.
        follow = [*command, "-N", f"{url}?follow", "-d", "echo one; sleep 1; echo two"]
        with subprocess.Popen(follow, stdout=subprocess.PIPE) as live:
            assert live.stdout is not None
            assert live.stdout.readline() == b"one\n"
            first = time.monotonic()
            assert live.stdout.readline() == b"two\n"
            assert time.monotonic() - first > 0.5
        script = "head -c 2000000 /dev/zero | tr '\\0' x; exit"
        for status in (0, 3):
            job_id = rtot.submit(f"{script} {status}".encode())
            for attempt in ("live", "complete"):
                code, data = curl("-N", f"{url}/{job_id}/out?follow&fail")
                assert (code != 0) == (status == 3), attempt
                # nginx throws away a buffer that is not full when it sees the reset.
                assert len(data) > 2_000_000 - (8192 if status else 1)


def test_who_waits_for_changes_does_not_hold_up_the_end(rtot: Rtot) -> None:
    with rtot.ask("GET", "/jobs?since=99999999999999&wait=1h&fields=") as whole:
        assert b'"whole":true' in whole.makefile("rb").read()
    seq = rtot.curl("/jobs", "-o", "/dev/null", "-w", "%header{rtot-seq}").decode()
    with rtot.ask("GET", f"/jobs?since={seq}&wait=1h") as waiting:
        until(
            lambda: len(os.listdir(f"/proc/{rtot.pid}/fd")) > 0 and rtot.json("/jobs") is not None
        )
        began = time.monotonic()
        assert rtot.end() == 0
        assert time.monotonic() - began < 5
        assert b'"deleted":[]' in waiting.makefile("rb").read()


def test_a_wait_for_many_jobs_is_told_of_all_of_them(start: Start) -> None:
    rtot = start("--keep=2")
    for _ in range(20):
        rtot.submit(b"sleep 0.5; head -c 100000 /dev/zero | tr '\\0' x", "label=many&fields=")
    answer = rtot.curl("/jobs?label=many&wait=30&fail&fields=out", "-w", "%{http_code}")
    assert answer.endswith(b"200")
    assert answer.count(b'"href"') == 20
    assert len(rtot.json("/jobs?fields=")["jobs"]) <= 2


@needs("nginx")
def test_a_quiet_job_outlives_the_patience_of_a_proxy(start: Start, tmp_path: Path) -> None:
    rtot = start("--heartbeat=1", "--max-wait=2")
    with nginx_before(rtot, tmp_path) as url:
        command = ["curl", "-sSN", "--fail-with-body", "-H", AUTHORIZATION]
        script = "sleep 6; echo end"
        for kind in ("text/event-stream", "application/x-ndjson"):
            words = [*command, f"{url}?follow=events&fail", "-H", f"Accept: {kind}", "-d", script]
            done = subprocess.run(words, stdout=subprocess.PIPE, check=True)
            assert (b"event: complete" in done.stdout) or (b'"event":"complete"' in done.stdout)
        # It is answered before the proxy loses its patience, and asked again.
        words = [*command, f"{url}?wait=60&fields=", "-d", script]
        done = subprocess.run(words, stdout=subprocess.PIPE, check=True)
        assert b'"state":"running"' in done.stdout
