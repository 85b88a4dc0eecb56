"""The client as users have it: a process, its streams, its exit status, a terminal."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pytest

from rtot.client.submission import command_script
from tests.cutter import cutting
from tests.e2e.test_tls import Certificates, certificates, serve
from tests.harness import COMMAND, SECRET, Rtot, until

__all__ = ["certificates"]
Start = Callable[..., Rtot]


class Client:
    """`rtot WORD …` for one server."""

    def __init__(self, url: str, **environ: str) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("RTOT_")}
        self.environ = {**kept, "RTOT_URL": url, "RTOT_SECRET": SECRET, **environ}

    def begin(self, *words: str, **options: object) -> "subprocess.Popen[bytes]":
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        return subprocess.Popen([*COMMAND, *words], env=self.environ, **streams)  # type: ignore[call-overload, no-any-return]

    def __call__(
        self, *words: str, stdin: bytes = b"", status: int = 0
    ) -> "subprocess.CompletedProcess[bytes]":
        done = subprocess.run(
            [*COMMAND, *words],
            env=self.environ,
            input=stdin,
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == status, (done.returncode, done.stdout[-300:], done.stderr)
        assert b"Traceback" not in done.stderr, done.stderr
        return done


@pytest.fixture
def client(rtot: Rtot) -> Client:
    return Client(rtot.url)


def test_streams_go_where_they_belong(client: Client, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text('echo "out $1 $X $PWD"\necho err >&2\nprintf "\\377\\000"\nexit 3\n')
    words = ["--env", "X=1 2", "-w", "/tmp", str(script), "a b", "-d"]
    done = client("run", *words, status=3)
    assert (done.stdout, done.stderr) == (b"out a b 1 2 /tmp\n\xff\0", b"err\n")
    done = client("run", "--stderr-to-stdout", "-c", "echo a >&2; echo b")
    assert (done.stdout, done.stderr) == (b"a\nb\n", b"")


@pytest.mark.parametrize(
    ("words", "status", "line"),
    [
        (["-c", "kill -SEGV $$"], 139, r"rtot: job 0 signaled: SIGSEGV"),
        (["--timeout", "200ms", "-c", "exec sleep 99"], 124, r"rtot: job 0 timed out \("),
        (["-w", "/no/such", "-c", "true"], 127, r"rtot: job 0 not started: chdir /no/such: "),
        (["--launcher", "none", "-c", "true"], 255, r"rtot: .*no launcher has that name"),
        (["--after", "99", "-c", "true"], 255, r"rtot: .*there is no job 99"),
        (["--", "/no/such/command"], 127, r"/no/such/command"),
    ],
)
def test_every_failure_has_its_status(
    client: Client, words: list[str], status: int, line: str
) -> None:
    done = client("run", *words, status=status)
    assert done.stdout == b""
    assert re.search(line, done.stderr.decode())


def test_who_is_not_let_in_is_told_why(rtot: Rtot) -> None:
    done = Client(rtot.url, RTOT_SECRET="wrong")("run", "-c", "true", status=255)
    assert done.stderr == b"rtot: Not Authorized (status 401)\n"
    done = Client("http://127.0.0.1:1")("ls", status=255)
    assert done.stderr.startswith(b"rtot: cannot connect to http://127.0.0.1:1: connection refused")
    done = Client("http://no.such.host.invalid")("run", "-c", "true", status=255)
    assert b"cannot connect to http://no.such.host.invalid: " in done.stderr


def test_a_command_reaches_its_server_word_by_word(client: Client) -> None:
    words = [sys.executable, "-c", "import sys; print(sys.argv[1:])", "", "a'b\n", "$HOME", "*"]
    assert client("run", "--", *words).stdout.decode() == f"{words[3:]}\n"
    done = subprocess.run(
        ["sh"],
        input=command_script(word.encode() for word in words),
        stdout=subprocess.PIPE,
        check=True,
    )
    assert done.stdout.decode() == f"{words[3:]}\n"


def test_stdin_is_untouched_unless_it_is_asked_for(client: Client) -> None:
    loop = f'while read -r x; do {sys.executable} -m rtot run -c "echo $x"; done'
    done = subprocess.run(
        ["bash", "-c", loop],
        env=client.environ,
        input=b"a\nb\nc\n",
        capture_output=True,
        check=True,
    )
    assert done.stdout == b"a\nb\nc\n"
    text = os.urandom(3_000_000)
    assert client("run", "-i", "-c", "cat; echo >&2", stdin=text).stdout == text
    assert client("run", "-i", "-c", "head -n 1", stdin=b"one\n" + text).stdout == b"one\n"
    assert client("run", "-", stdin=b"echo from stdin").stdout == b"from stdin\n"


def test_stdin_of_a_job_that_is_there(rtot: Rtot, client: Client) -> None:
    job_id = rtot.submit(b"cat", "stdin=open")
    client("in", str(job_id), stdin=b"hello")
    assert client("logs", "-f", str(job_id)).stdout == b"hello"
    assert b"reads no more" in client("in", str(job_id), stdin=b"x", status=255).stderr


def test_what_a_job_leaves(rtot: Rtot, client: Client) -> None:
    job_id = client("run", "-d", "-l", "nightly", "-c", "seq 1 9; echo bad >&2; exit 4").stdout
    job = job_id.decode().strip()
    assert client("wait", job, status=4).stderr == f"rtot: job {job} exit status 4\n".encode()
    assert client("logs", "-n", "2", "--out", job).stdout == b"8\n9\n"
    assert client("logs", "--err", job).stderr == b"bad\n"
    stamped = client("logs", "-t", job).stdout.splitlines()
    assert re.fullmatch(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z 1", stamped[0])
    assert client("logs", "--since", "2000-01-01T00:00:00Z", "--out", job).stdout.count(b"\n") == 9
    listed = client("ls", "--failed", "-l", "nightly").stdout.decode().splitlines()
    assert [line.split()[:2] for line in listed] == [["ID", "STATE"], [job, "complete"]]
    (line,) = client("ls", "--json", "--last", "1").stdout.splitlines()
    assert json.loads(line)["code"] == 4
    assert b"exit status 4" in client("show", job).stdout
    assert client("rm", job).stdout == job_id
    assert b"there is no job" in client("show", job, status=255).stderr


def test_waiting_for_a_label(rtot: Rtot, client: Client) -> None:
    for script in (b"exit 0", b"sleep 0.5; exit 6", b"sleep 0.1; exit 5"):
        rtot.submit(script, "label=x")
    done = client("wait", "--label", "x", status=5)
    assert done.stderr.decode().splitlines() == [
        "rtot: job 2 exit status 5",
        "rtot: job 1 exit status 6",
    ]
    sleeper = rtot.submit(b"exec sleep 99", "label=y")
    done = client("wait", "--label", "y", "--timeout", "0.2", status=124)
    assert b"timed out" in done.stderr
    quick = rtot.submit(b"exit 7")
    done = client("wait", "--any", str(sleeper), str(quick), status=7)
    assert done.stdout == f"{quick} 7\n".encode()


def test_processes_and_a_kill_with_a_receipt(rtot: Rtot, client: Client) -> None:
    job = str(rtot.submit(b"#!/bin/sh\ntrap '' TERM\nsleep 98 & sleep 99"))
    until(lambda: b"sleep 99" in client("ps", job).stdout)
    done = client("kill", "--grace", "0.2", job)
    assert re.fullmatch(
        rf"{job}: TERM to .*sleep \(\d+\).*; KILL to .*\(\d+\).* \(in 0\.\d+s\)\n",
        done.stdout.decode(),
    )
    assert b"job is complete" in client("kill", job, status=255).stderr


def test_a_reader_that_has_had_enough(rtot: Rtot, client: Client) -> None:
    command = f"{sys.executable} -m rtot run -c 'yes' | head -n 1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command], env=client.environ, capture_output=True, check=True, timeout=30
    )
    assert (done.stdout, done.stderr) == (b"y\n141\n", b"")
    until(lambda: rtot.json("/jobs/0")["jobs"][0]["state"] == "complete")
    command = f"{sys.executable} -m rtot ls --json | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command], env=client.environ, capture_output=True, check=True
    )
    assert done.stdout in (b"141\n", b"0\n")
    assert done.stderr == b""


def test_what_is_closed(client: Client) -> None:
    for redirected, code in ((">&-", 255), ("2>&- >&-", 255), ("> /dev/full", 255), ("<&-", 0)):
        for more in ("", f"--on {client.environ['RTOT_URL']} --group-output"):
            words = f"{sys.executable} -m rtot run {more} -c 'echo hi' {redirected}"
            done = subprocess.run(["bash", "-c", words], env=client.environ, capture_output=True)
            assert done.returncode == code, (words, done)
            assert done.stdout == (b"" if code else done.stdout)
            assert b"Traceback" not in done.stderr
    words = f"{sys.executable} -m rtot run -i -c 'cat; echo end' <&-"
    done = subprocess.run(["bash", "-c", words], env=client.environ, capture_output=True)
    assert (done.returncode, done.stdout) == (0, b"end\n")


def test_an_interrupted_loop_ends(client: Client, tmp_path: Path) -> None:
    loop = f"for i in 1 2 3; do {sys.executable} -m rtot run -c 'echo {'$'}i; exec sleep 99'; done"
    with subprocess.Popen(
        ["bash", "-c", loop.replace("{'$'}", "$")],
        env=client.environ,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"\n"
        os.killpg(process.pid, signal.SIGINT)
        assert process.stdout.read() == b""
    assert process.returncode == -signal.SIGINT


NUMBERS = 20_000


@pytest.mark.parametrize("longest", [0.05, 0.4])
def test_a_connection_that_is_cut_all_the_time(rtot: Rtot, longest: float) -> None:
    """Not a byte is lost, or comes twice, in any direction."""
    script = f"for i in $(seq {NUMBERS}); do echo $i; [ $((i % 500)) != 0 ] || sleep 0.05; done"
    expected = "".join(f"{i}\n" for i in range(1, NUMBERS + 1)).encode()
    with cutting(rtot.address, longest, seed=1) as cutter:
        done = Client(cutter.url)("run", "-c", f"{script}; exit 9", status=9)
        assert done.stdout == expected
        text = os.urandom(2_000_000)
        feeds = Client(cutter.url)("run", "-i", "-c", "cat; sleep 0.3", stdin=text)
        assert feeds.stdout == text
        assert cutter.cuts > 3
    assert len(rtot.json("/jobs?fields=")["jobs"]) == 2


def test_a_server_that_was_started_anew_has_other_jobs(tmp_path: Path) -> None:
    rtot = Rtot(tmp_path)
    process = Client(rtot.url).begin("run", "-c", "echo begun; exec sleep 99")
    assert process.stdout is not None
    assert process.stdout.readline() == b"begun\n"
    rtot.process.send_signal(signal.SIGKILL)
    rtot.process.wait()
    again = Rtot(tmp_path, f"-a={rtot.url.partition('//')[2]}")
    try:
        again.submit(b"echo something else")
        out, err = process.communicate(timeout=60)
        assert process.returncode == 255
        assert out == b""
        assert b"job 0: the server was started anew, and has other jobs" in err
    finally:
        again.close()


def test_giving_up(tmp_path: Path) -> None:
    rtot = Rtot(tmp_path)
    process = Client(rtot.url).begin(
        "run", "--keep-running", "--retry", "4", "-c", "echo; sleep 99"
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"\n"
    rtot.process.send_signal(signal.SIGKILL)
    rtot.process.wait()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 255
    first, last = err.decode().splitlines()
    assert first.endswith("; trying again for up to 4 s")
    assert last.endswith(": job 0 runs on; to go on: rtot logs -f 0")
    Rtot(tmp_path).close()


def test_a_job_has_a_lease_unless_it_is_to_go_on(rtot: Rtot, client: Client) -> None:
    leases: list[bool] = []
    for more in ([], ["--keep-running"]):
        process = client.begin("run", *more, "-c", "echo; exec sleep 99")
        assert process.stdout is not None
        process.stdout.readline()
        process.kill()
        process.communicate()
        # The server logs the request when it has noticed.
        until(lambda: len(re.findall(r'method="POST" target="(.*?)"', rtot.log)) > len(leases))
        leases.append("lease=60" in re.findall(r'method="POST" target="(.*?)"', rtot.log)[-1])
    assert leases == [True, False]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signals_are_passed_on(client: Client, number: signal.Signals) -> None:
    name = number.name.removeprefix("SIG")
    script = f"trap 'echo got {name}; exit 5' {name}; echo ready; while :; do sleep 0.05; done"
    process = client.begin("run", "-c", script)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (5, f"got {name}\n".encode())
    assert b"Traceback" not in err
    assert b"KILL" not in err


@pytest.fixture
def terminal(client: Client) -> Iterator[Callable[..., "pexpect.spawn[str]"]]:
    """The client at a terminal."""
    begun: list[pexpect.spawn[str]] = []

    def spawn(*words: str, command: str | None = None) -> "pexpect.spawn[str]":
        environ = {**client.environ, "TERM": "xterm"}
        program, *rest = (
            [*COMMAND, *words] if command is None else ["bash", "--norc", "-c", command]
        )
        child: pexpect.spawn[str] = pexpect.spawn(
            program,
            rest,
            env=environ,
            encoding="utf-8",
            timeout=20,
            dimensions=(10, 100),
        )
        begun.append(child)
        return child

    yield spawn
    for child in begun:
        child.close(force=True)


Terminal = Callable[..., "pexpect.spawn[str]"]


def test_ctrl_c_is_for_the_job_then_kills_it(terminal: Terminal) -> None:
    child = terminal(
        "run", "-c", "trap 'echo trapped' INT; echo ready; while :; do sleep 0.05; done"
    )
    child.expect("ready")
    child.sendintr()
    # In any order.
    for _ in range(2):
        child.expect([r"INT sent to job 0 \(again: KILL\)", "trapped"])
    child.sendintr()
    child.expect(r"rtot: job 0: KILL to job-0 \(\d+\)")
    child.expect("rtot: job 0 killed: SIGKILL")
    child.expect(pexpect.EOF)
    child.wait()
    assert child.exitstatus == 137


def test_ctrl_c_in_logs_only_leaves(rtot: Rtot, terminal: Terminal) -> None:
    job = str(rtot.submit(b"echo ready; exec sleep 99"))
    for words in (["logs", "-f", job], ["wait", job], ["ls", "--watch"]):
        child = terminal(*words)
        child.expect({"logs": "ready", "wait": "0 of 1 complete", "ls": "running"}[words[0]])
        child.sendintr()
        child.expect(pexpect.EOF)
        child.wait()
        assert child.signalstatus == signal.SIGINT
    assert rtot.json(f"/jobs/{job}")["jobs"][0]["state"] == "running"


def test_ctrl_z_and_fg(terminal: Terminal) -> None:
    line = f"{sys.executable} -m rtot run -c 'for i in 1 2 3 4; do echo line $i; sleep 0.3; done'"
    child = terminal(command=f"set -m; {line}; echo stopped $?; fg; echo done $?")
    child.expect("line 1")
    child.send("\x1a")
    child.expect("stopped 148")
    for i in (2, 3, 4):
        child.expect(f"line {i}")
    child.expect("done 0")


def test_a_terminal_is_not_commanded_by_what_a_job_is_called(
    rtot: Rtot, terminal: Terminal
) -> None:
    rtot.run(b"true # \x1b[2J\xe2\x80\xae", "&label=a%1b%5d0;x%07")
    child = terminal("ls")
    text = child.read()
    assert "true # " in text
    assert "\x1b" not in text
    assert "a\\x1b]0" in text
    child = terminal("run", "-c", "printf '\\033[31mred'")
    assert "\x1b[31mred" in child.read()


def test_watching_at_a_terminal(rtot: Rtot, terminal: Terminal) -> None:
    child = terminal("ls", "--watch")
    child.expect("TITLE")
    job = rtot.submit(b"exec sleep 99", "label=watched")
    child.expect(f"{job} +running")
    rtot.curl("-X", "POST", f"/jobs/{job}/kill")
    child.expect(f"{job} +complete.*killed")


def test_twenty_servers(tmp_path: Path) -> None:
    servers = []
    try:
        for i in range(20):
            directory = tmp_path / str(i)
            directory.mkdir()
            servers.append(Rtot(directory))
        urls = [server.url for server in servers]
        (tmp_path / "hosts").write_text("# lab\n" + "\n".join(urls) + "\n")
        client = Client("http://127.0.0.1:1")
        done = client("run", "--on", f"@{tmp_path}/hosts", "-P", "7", "-c", "echo a; echo b")
        names = [url.partition("//")[2] for url in urls]
        lines = done.stdout.decode().splitlines()
        assert sorted(lines) == sorted(f"{name}: {x}" for name in names for x in "ab")
        assert done.stderr == b""
        done = client("run", "--on", ",".join(urls[:3]), "-", stdin=b"echo from stdin")
        assert sorted(done.stdout.decode().splitlines()) == sorted(
            f"{name}: from stdin" for name in names[:3]
        )
        script = f"echo $RTOT_SERVER_ID; [ $PPID != {servers[3].pid} ] || exit 7"
        done = client("run", "--group-output", "--on", ",".join(urls), "-c", script, status=7)
        assert done.stderr.decode() == f"rtot: 1 of 20 failed: --on {urls[3]}\n"
        titles = [line for line in done.stdout.decode().splitlines() if line.startswith("==")]
        assert sorted(titles) == sorted(f"== {name} ==" for name in names)
        process = client.begin("run", "--on", ",".join(urls), "-c", "echo on; exec sleep 99")
        assert process.stdout is not None
        for _ in servers:
            assert process.stdout.readline().endswith(b": on\n")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
        assert process.returncode == -signal.SIGINT
    finally:
        for server in servers:
            server.process.send_signal(signal.SIGTERM)
        for server in servers:
            server.close()


def test_a_unix_socket(start: Start, tmp_path: Path) -> None:
    start(f"-a=unix:{tmp_path}/sock")
    assert Client(f"unix:{tmp_path}/sock")("run", "-c", "echo hi").stdout == b"hi\n"
    assert b"no such file" in Client("unix:/no/such")("ls", status=255).stderr


def test_tls(start: Start, certificates: Certificates) -> None:
    rtot = serve(start, certificates, f"--tls-client-ca={certificates.ca}")
    mine = certificates.issue("mine.pem", "me")
    files = ["--ca", str(certificates.ca), "--cert", str(mine)]
    assert Client(rtot.url)("run", *files, "-c", "echo hi").stdout == b"hi\n"
    done = Client(rtot.url)("ls", status=255)
    assert b"certificate" in done.stderr.lower()
    done = Client(rtot.url)("ls", "--ca", "/no/such", status=255)
    assert b"cannot use --ca or --cert" in done.stderr


def test_the_secret_in_a_file(rtot: Rtot, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(f"# mine\n{SECRET} admin me\n")
    client = Client(rtot.url, RTOT_SECRET="", RTOT_SECRET_FILE=str(tmp_path / "secret"))
    assert client("run", "-c", "echo hi").stdout == b"hi\n"
    client = Client(rtot.url, RTOT_SECRET="wrong")
    assert client("ls", "--secret-file", str(tmp_path / "secret")).stdout.startswith(b"ID")


def test_the_client_does_not_import_the_server() -> None:
    program = "import sys, rtot.cli.client; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    loaded = set(done.stdout.decode().split())
    assert "rtot.client.run" in loaded
    rooms = {name.split(".")[1] for name in loaded if name.startswith("rtot.")}
    assert rooms & {"http", "jobs", "api", "system", "loop"} == set()
    assert loaded & {"ssl", "asyncio", "http.client", "argparse", "unicodedata"} == set()
