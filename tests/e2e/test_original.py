"""What the original server did, over a real socket with curl and real scripts."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import SECRET, Rtot, is_alive, until

Start = Callable[..., Rtot]


def test_the_tour(rtot: Rtot) -> None:
    assert rtot.json("/ping")["ping"][0]["message"] == "still here"
    head = rtot.curl("-i", "/jobs", "-d", "echo wat is happening").decode()
    assert head.startswith("HTTP/1.1 201 Created\r\n")
    assert "\r\nLocation: /jobs/0\r\n" in head
    job = rtot.json("/jobs/0?wait=20")["jobs"][0]
    assert (job["out"], job["state"]) == ("wat is happening\n", "complete")
    assert rtot.curl("-X", "DELETE", "-w", "%{http_code}", "/jobs/0") == b"204"
    assert rtot.json("/jobs") == {"jobs": []}


@pytest.mark.parametrize(
    ("script", "out", "end"),
    [
        (b"echo from $0 | sed s,/.*/,,", "from job-0\n", ""),
        (b"#!/bin/sh\necho from sh", "from sh\n", ""),
        (b"#!/usr/bin/env python3\nprint('from python')", "from python\n", ""),
        (b"#!/bin/cat\nhello", "#!/bin/cat\nhello", ""),
        (b"exit 3", "", "exit status 3"),
        (b"kill -9 $$", "", "signal: killed"),
        (b"kill -TERM $$", "", "signal: terminated"),
        (b"#!/does/not/exist\n", "", "fork/exec FILE: no such file or directory"),
        (b"#!/tmp\n", "", "fork/exec FILE: permission denied"),
        (b"#!/bin/sh\r\necho\r\n", "", "fork/exec FILE: no such file or directory"),
        (b"echo one\r\n", "one\r\n", ""),
        (b"printf 'a\\000b\\377c'", "a\0b\ufffdc", ""),
        (b"#!/bin/sh\n# \0\xff\necho ok", "ok\n", ""),
        (b"readlink /proc/self/fd/0", "/dev/null\n", ""),
        (b"dirname $0 | xargs test -d && echo yes", "yes\n", ""),
        (b"cat", "", ""),
    ],
)
def test_scripts(rtot: Rtot, script: bytes, out: str, end: str) -> None:
    job = rtot.run(script, "&fields=out,err,filename")
    found = job.get("exit", "").replace(job["filename"], "FILE")
    assert (job.get("out", ""), found) == (out, end), job


def test_a_script_that_names_no_interpreter(rtot: Rtot) -> None:
    """Kernels differ in what they call it."""
    for script in (b"#!", b"#!\n", b"#! \n"):
        job = rtot.run(script, "&fields=filename")
        prefix = f"fork/exec {job['filename']}: "
        assert job["exit"].removeprefix(prefix) in ("exec format error", "permission denied")


def test_a_script_knows_its_own_path(rtot: Rtot) -> None:
    script = b"#!/usr/bin/env python3\nimport sys, os\nprint(os.path.exists(sys.path[0]), __file__)"
    job = rtot.run(script, "&fields=out,filename")
    assert job["out"] == f"True {job['filename']}\n"


def test_a_large_script(rtot: Rtot) -> None:
    script = b"#!/bin/sh\nwc -c < $0; exit\n" + b"#" * 10_000_000
    assert rtot.run(script)["out"] == f"{len(script)}\n"


def test_output_so_far_is_in_the_answer(rtot: Rtot) -> None:
    rtot.submit(b"echo out; echo err >&2; exec sleep 1000")
    until(lambda: {"out", "err"} <= rtot.json("/jobs/0")["jobs"][0].keys())
    job = rtot.json("/jobs/0")["jobs"][0]
    assert (job["out"], job["err"], job["state"]) == ("out\n", "err\n", "running")


def test_much_stderr_before_any_stdout(rtot: Rtot) -> None:
    rtot.submit(b"head -c 300000000 /dev/zero >&2; echo done")
    assert rtot.run(b"echo quick")["out"] == "quick\n"
    job = rtot.json("/jobs/0?wait=50&fields=out,err_bytes")["jobs"][0]
    assert (job["out"], job["err_bytes"]) == ("done\n", 300_000_000)
    assert rtot.rss() < 40_960_000


def test_delete_kills_the_whole_group(rtot: Rtot) -> None:
    rtot.submit(b"sleep 1000 & sleep 1001 & echo $$ $!; wait")
    until(lambda: "out" in rtot.json("/jobs/0")["jobs"][0])
    pids = [int(p) for p in rtot.json("/jobs/0")["jobs"][0]["out"].split()]
    rtot.curl("-X", "DELETE", "/jobs/0")
    until(lambda: not any(map(is_alive, pids)), "the end of the group")
    assert rtot.curl("-o", "/dev/null", "-w", "%{http_code}", "/jobs/0") == b"404"
    until(lambda: rtot.children() == [])


def test_delete_by_state(rtot: Rtot) -> None:
    rtot.run(b"echo")
    rtot.submit(b"sleep 1000")
    until(lambda: len(rtot.json("/jobs?state=running")["jobs"]) == 1)
    rtot.curl("-X", "DELETE", "/jobs?state=running")
    assert [j["id"] for j in rtot.json("/jobs")["jobs"]] == [0]


def test_delete_everything(rtot: Rtot) -> None:
    rtot.submit(b"echo $$; sleep 1000")
    until(lambda: "out" in rtot.json("/jobs/0")["jobs"][0])
    pid = int(rtot.json("/jobs/0")["jobs"][0]["out"])
    assert rtot.curl("-X", "DELETE", "-w", "%{http_code}", rtot.url + "/") == b"204"
    assert rtot.process.wait(30) == 1
    assert not is_alive(pid)
    assert list(rtot.spool.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_the_server(rtot: Rtot, number: int) -> None:
    rtot.submit(b"echo $$; sleep 1000")
    until(lambda: "out" in rtot.json("/jobs/0")["jobs"][0])
    pid = int(rtot.json("/jobs/0")["jobs"][0]["out"])
    assert rtot.end(number) == 0
    assert not is_alive(pid)
    assert list(rtot.spool.iterdir()) == []


def test_answers_under_way_are_finished(rtot: Rtot) -> None:
    command = ["curl", "-sS", "-H", f"Authorization: rtot {SECRET}", f"{rtot.url}/jobs?wait=50"]
    script = "trap 'echo bye; exit 4' TERM; echo ready; while :; do read -t 1 < <(sleep 9); done"
    with subprocess.Popen([*command, "-d", script], stdout=subprocess.PIPE) as waiting:
        until(lambda: '"out"' in rtot.curl("/jobs").decode())
        assert rtot.end() == 0
        assert waiting.stdout is not None
        job = json.loads(waiting.stdout.read())["jobs"][0]
    assert job["out"] == "ready\nbye\n"
    assert job["exit"] == "exit status 4"


def test_a_second_signal_kills_at_once(start: Start) -> None:
    rtot = start("--grace=1h")
    rtot.submit(b"trap '' TERM; echo $$; while :; do sleep 1000; done")
    until(lambda: "out" in rtot.json("/jobs/0")["jobs"][0])
    pid = int(rtot.json("/jobs/0")["jobs"][0]["out"])
    rtot.process.terminate()
    until(lambda: "ending" in rtot.log)
    assert rtot.process.poll() is None
    assert rtot.end() == 0
    assert not is_alive(pid)
    assert list(rtot.spool.iterdir()) == []


def test_a_background_child_that_holds_the_pipe(rtot: Rtot) -> None:
    job = rtot.run(b"sleep 1000 & echo $!", "&fields=out,holders")
    assert [h["command"] for h in job["holders"]] == ["sleep"]
    assert job["holders"][0]["pid"] == int(job["out"])
    rtot.curl("-X", "DELETE", "/jobs/0")
    until(lambda: not is_alive(int(job["out"])))


def test_a_daemon_is_left_alone(rtot: Rtot) -> None:
    script = b"setsid sleep 1000 < /dev/null > /dev/null 2>&1 & echo $!"
    job = rtot.run(script)
    pid = int(job["out"])
    until(lambda: Path(f"/proc/{pid}/comm").read_text() == "sleep\n")
    rtot.curl("-X", "DELETE", "/jobs/0")
    assert rtot.end() == 0
    assert is_alive(pid)
    os.kill(pid, signal.SIGKILL)


def test_ways_to_upload(rtot: Rtot, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_bytes(b"echo\nprintf 'a\\nb\\n'\n")
    headers = tmp_path / "headers"
    headers.write_text(f"Authorization: rtot {SECRET}\n")
    url = f"{rtot.url}/jobs?wait=20&fields=out"
    for args in (
        ["--data-binary", f"@{script}"],
        ["-X", "POST", "-T", str(script)],
        ["-X", "POST", "-T", str(script), "-H", "Transfer-Encoding: chunked"],
        ["-X", "POST", "-T", str(script), "-H", "Expect: 100-continue"],
        ["-X", "POST", "-T", str(script), "-0"],
    ):
        done = subprocess.run(
            ["curl", "-sS", "-H", f"@{headers}", *args, url], capture_output=True, check=True
        )
        assert json.loads(done.stdout)["jobs"][0]["out"] == "\na\nb\n", args


def test_keep_alive_and_pipelining(rtot: Rtot) -> None:
    urls = [f"{rtot.url}/ping"] * 3
    out = subprocess.run(
        ["curl", "-sS", "-w", " %{num_connects}\n", *urls], capture_output=True, check=True
    ).stdout
    assert [line.split()[-1] for line in out.splitlines() if line.startswith(b" ")] == [
        b"1",
        b"0",
        b"0",
    ]
    host, port = rtot.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as sock:
        sock.sendall(b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n" * 50)
        sock.shutdown(socket.SHUT_WR)
        received = b""
        while data := sock.recv(65536):
            received += data
    assert received.count(b"HTTP/1.1 200 OK\r\n") == 50


def test_unix_sockets(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "s"
    rtot = start(f"-a=unix:{path}", "-a", "127.0.0.1:0")
    args = ("--unix-socket", str(path), "http://rtot/ping")
    assert b"still here" in rtot.curl(*args)
    assert b"still here" in rtot.curl("/ping")
    rtot.process.kill()
    rtot.process.wait()
    again = start(f"-a=unix:{path}")
    assert b"still here" in again.curl(*args)
    assert again.end() == 0
    assert not path.exists()


def test_ipv6_and_environment(start: Start) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    rtot = start("-a", f":{port}", RTOT_SECRET="other", RTOT_LOG_FORMAT="json")
    rtot.url = f"http://127.0.0.1:{port}"
    assert rtot.curl("-o", "/dev/null", "-w", "%{http_code}", f"{rtot.url}/") == b"401"
    done = rtot.curl("-H", "Authorization: Bearer other", f"{rtot.url}/jobs", check=False)
    assert b"Authorization more than once" in done
    # The last answer is there before its line is.
    until(lambda: rtot.log.count("\n") == 3, "three lines")
    lines = [json.loads(line) for line in rtot.log.splitlines()]
    assert [line["msg"] for line in lines] == ["listening", "authentication failed", "request"]


def test_a_secret_is_made_up_and_shown_once(start: Start) -> None:
    rtot = start(RTOT_SECRET="")
    words = rtot.log.split()
    secret = words[words.index("up:") + 1]
    done = subprocess.run(
        ["curl", "-sS", "-H", f"Authorization: rtot {secret}", f"{rtot.url}/jobs"],
        capture_output=True,
        check=True,
    )
    assert json.loads(done.stdout) == {"jobs": []}
    assert rtot.log.count(secret) == 1


def fail(*flags: str, **environ: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "rtot", *flags],
        capture_output=True,
        env={**os.environ, **environ},
        timeout=30,
        check=False,
    )
    return done.returncode, done.stderr.decode()


@pytest.mark.parametrize(
    ("flags", "environ", "status"),
    [
        (["--bogus"], {}, 2),
        (["-a=nonsense"], {}, 2),
        (["-a=:99999"], {}, 2),
        (["-f=xml"], {}, 2),
        (["--grace=1", "extra"], {}, 2),
        # A word makes it a client.
        (["extra"], {}, 255),
        (["-s="], {"RTOT_SECRET": "not ascii \xe9"}, 2),
        ([], {"RTOT_ADDR": "nonsense"}, 2),
        ([], {"RTOT_LOG_FORMAT": "xml"}, 2),
        (["--grace=soon"], {}, 2),
        (["--launcher=x"], {}, 2),
        (["--max-running=0"], {}, 2),
        (["--spool-dir=/does/not/exist"], {}, 1),
        (["-a=192.0.2.1:8457"], {}, 1),
    ],
)
def test_bad_starts(flags: list[str], environ: dict[str, str], status: int) -> None:
    found, stderr = fail(*flags, **environ)
    assert (found, stderr.count("\n")) == (status, 1), stderr
    assert stderr.startswith("rtot: ")


def test_a_port_in_use(rtot: Rtot) -> None:
    status, stderr = fail("-a", rtot.url.removeprefix("http://"))
    assert (status, stderr.count("\n")) == (1, 1)
    assert "address already in use" in stderr


def test_the_console_script_is_the_module() -> None:
    script = Path(sys.executable).parent / "rtot"
    for command in ([str(script)], [sys.executable, "-m", "rtot"]):
        done = subprocess.run([*command, "-v"], capture_output=True, check=True)
        assert done.stdout.startswith(b"rtot ")


def test_the_log_has_one_line_for_each_request_and_no_secret(rtot: Rtot) -> None:
    script = "echo hi\necho precious"
    rtot.curl("/jobs?label=%0Ax&env=A=precious&arg=precious", "--data-binary", script)
    rtot.curl("/nope", "-H", "X-A: precious")
    until(lambda: rtot.log.count('msg="request"') == 2)
    lines = [line for line in rtot.log.splitlines() if 'msg="job ' not in line]
    assert len(lines) == 3
    assert 'target="/jobs?label=%0Ax&env=...&arg=..." status=201' in lines[1]
    # Of the script there is its title.
    assert 'title="echo hi"' in rtot.log
    assert SECRET not in rtot.log
    assert "precious" not in rtot.log


def test_jobs_see_nothing_of_the_server(rtot: Rtot) -> None:
    script = b"ls /proc/self/fd | wc -l; env | grep ^RTOT_ | sort | sed s/=.*//; ps -o sid= $$"
    job = rtot.run(script)
    fds, *names, session = job["out"].split()
    # ls has a fourth for the directory itself.
    assert fds == "4"
    assert names == ["RTOT_JOB_ID", "RTOT_SERVER_ID"]
    assert session == str(rtot.json("/jobs/0?fields=pid")["jobs"][0]["pid"])


def test_node_finds_itself(rtot: Rtot) -> None:
    node = shutil.which("node")
    if node is None:
        # Not part of a fresh machine; python and bash stand for it there.
        node = sys.executable
        script = f"#!{node}\nprint(__file__)".encode()
    else:
        script = f"#!{node}\nconsole.log(__filename)".encode()
    job = rtot.run(script, "&fields=out,filename")
    assert job["out"] == f"{job['filename']}\n"


def test_ten_thousand_jobs(rtot: Rtot, tmp_path: Path) -> None:
    """All complete with the right output, and nothing is left behind."""
    descriptors = rtot.descriptors()
    config = tmp_path / "config"
    config.write_text(
        "next\n".join(
            f'url = "{rtot.url}/jobs?fields="\ndata = "echo hi"\noutput = "/dev/null"\n'
            f'header = "Authorization: rtot {SECRET}"\nfail\nsilent\nshow-error\n'
            for _ in range(1250)
        )
    )
    command = ["curl", "-K", str(config)]
    clients = [subprocess.Popen(command) for _ in range(8)]
    assert [client.wait(300) for client in clients] == [0] * 8
    done = rtot.json("/jobs?wait=100&fields=out,exit,code", "-m", "120")["jobs"]
    assert [job["id"] for job in done] == list(range(10_000))
    assert {(job["state"], job["out"], job["code"]) for job in done} == {("complete", "hi\n", 0)}
    until(lambda: rtot.children() == [])
    until(lambda: rtot.descriptors() == descriptors)
    assert [p.name for d in rtot.spool.iterdir() for p in d.iterdir()] == []
