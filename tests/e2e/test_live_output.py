"""Output of any size, live, for any number of slow readers."""

import json
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tests.harness import SECRET, Rtot, needs, until

Start = Callable[..., Rtot]


def connect(rtot: Rtot, target: str, buffer: int | None = None) -> socket.socket:
    """Ask for something and leave the answer to be read."""
    host, port = rtot.url.removeprefix("http://").split(":")
    sock = socket.socket()
    if buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    sock.connect((host, int(port)))
    head = f"GET {target} HTTP/1.1\r\nHost: a\r\nAuthorization: rtot {SECRET}\r\n"
    sock.sendall(f"{head}Connection: close\r\n\r\n".encode())
    return sock


def read_all(sock: socket.socket) -> bytes:
    return b"".join(iter(lambda: sock.recv(1 << 20), b""))


def gate(tmp_path: Path) -> tuple[Path, str]:
    """A file, and shell that waits until it is there."""
    path = tmp_path / "gate"
    return path, f"until [ -e {path} ]; do sleep 0.02; done"


def test_output_is_live(rtot: Rtot, tmp_path: Path) -> None:
    path, wait = gate(tmp_path)
    rtot.submit(f"echo first; {wait}; echo last; exit 3".encode())
    with connect(rtot, "/jobs/0/out?follow") as sock:
        received = b""
        while b"first" not in received:
            received += sock.recv(65536)
        path.touch()
        received += read_all(sock)
    assert received.endswith(b"5\r\nlast\n\r\n0\r\nRtot-Exit: exit status 3\r\n\r\n")


def test_following_a_job_that_waits_in_the_queue(start: Start, tmp_path: Path) -> None:
    rtot = start("--max-running=1")
    path, wait = gate(tmp_path)
    rtot.submit(wait.encode())
    rtot.submit(b"echo second")
    with connect(rtot, "/jobs/1/out?follow") as sock:
        path.touch()
        assert b"second\n" in read_all(sock)


def test_fail_makes_curl_fail(rtot: Rtot) -> None:
    rtot.run(b"echo good")
    rtot.run(b"echo bad; exit 1")
    for job_id, status in ((0, 0), (1, 18)):
        command = ["curl", "-sSN", "-H", f"Authorization: rtot {SECRET}"]
        done = subprocess.run(
            [*command, f"{rtot.url}/jobs/{job_id}/out?follow&fail"],
            capture_output=True,
            check=False,
        )
        assert (done.returncode, done.stdout) == (status, [b"good\n", b"bad\n"][job_id])


def test_a_download_is_resumed(rtot: Rtot, tmp_path: Path) -> None:
    rtot.run(b"seq 100000")
    whole = "".join(f"{i}\n" for i in range(1, 100_001)).encode()
    path = tmp_path / "out"
    path.write_bytes(whole[:1234])
    rtot.curl("/jobs/0/out", "-C", "-", "-o", str(path))
    assert path.read_bytes() == whole
    head = rtot.curl("-I", "/jobs/0/out").decode().lower()
    assert f"content-length: {len(whole)}\r\n" in head
    assert "x-content-type-options: nosniff\r\n" in head
    assert rtot.curl("-w", "%header{rtot-exit}", "-o", "/dev/null", "/jobs/0") in (b"0", b"")
    assert "\r\nrtot-exit: 0\r\n" in head


def test_events_are_resumed_without_loss_or_repetition(rtot: Rtot) -> None:
    rtot.run(b"for i in 1 2 3; do echo o$i; echo e$i >&2; sleep 0.01; done")
    accept = ("-H", "Accept: application/x-ndjson")
    told = [json.loads(s) for s in rtot.curl("/jobs/0/events", *accept).splitlines()]
    for stream in ("out", "err"):
        text = "".join(e["text"] for e in told if e["event"] == stream)
        assert text == "".join(f"{stream[0]}{i}\n" for i in (1, 2, 3))
    for index, event in enumerate(told[:-1]):
        rest = rtot.curl("/jobs/0/events", *accept, "-H", f"Last-Event-ID: {event['id']}")
        assert [json.loads(s) for s in rest.splitlines()] == told[index + 1 :]


def test_memory_stays_flat(rtot: Rtot) -> None:
    """A job with much output, told as bytes and as JSON, grows nothing."""
    rtot.run(b"head -c 200000000 /dev/zero | tr '\\0' x", "&fields=")
    before = rtot.rss()
    for target in ("/jobs/0/out", "/jobs/0"):
        assert int(rtot.curl(target, "-o", "/dev/null", "-w", "%{size_download}")) >= 200_000_000
    assert rtot.rss() - before < 8_192_000
    assert before < 30_000_000


def test_more_than_max_output_is_dropped_and_counted(start: Start) -> None:
    rtot = start("--max-output=100000")
    script = b"head -c 300000 /dev/zero; echo end >&2; exit 5"
    job = rtot.run(script, "&fields=out_bytes,out_dropped,err_bytes,err_dropped,code")
    assert job["code"] == 5
    assert job["out_bytes"] + job["err_bytes"] == 100_000
    assert job["out_dropped"] + job["err_dropped"] == 200_004


@needs("prlimit")
def test_a_full_disk_neither_blocks_nor_breaks(start: Start) -> None:
    rtot = start()
    # To the writer of a file the limit of file size is a disk with no more room.
    limit = ["prlimit", f"--pid={rtot.pid}", "--fsize=1000000:1000000"]
    subprocess.run(limit, check=True)
    job = rtot.run(b"head -c 3000000 /dev/zero; exit 4", "&fields=out_bytes,out_dropped,code")
    assert job["code"] == 4
    assert 1_000_000 <= job["out_bytes"] <= 1_100_000
    assert job["out_bytes"] + job["out_dropped"] == 3_000_000
    until(lambda: "cannot store output" in rtot.log)
    assert rtot.log.count("cannot store output") == 1
    assert rtot.run(b"echo fine")["out"] == "fine\n"


def test_many_followers_of_which_one_hardly_reads(start: Start) -> None:
    rtot = start("--send-timeout=4")
    rtot.submit(b"head -c 20000000 /dev/zero; sleep 9")
    slow = connect(rtot, "/jobs/0/out?follow", 4096)
    followers = [connect(rtot, "/jobs/0/out?follow") for _ in range(50)]
    received = [0] * len(followers)

    def read(index: int) -> None:
        while data := followers[index].recv(1 << 16):
            received[index] += data.count(b"\0")

    threads = [threading.Thread(target=read, args=(i,)) for i in range(len(followers))]
    for thread in threads:
        thread.start()
    begin = time.monotonic()
    assert b"still here" in rtot.curl("/ping")
    assert time.monotonic() - begin < 5
    for thread in threads:
        thread.join()
    assert received == [20_000_000] * 50
    # Cut off: what was in flight comes, and then an end that is none.
    assert not read_to_the_break(slow).endswith(b"0\r\nRtot-Exit: 0\r\n\r\n")
    assert rtot.rss() < 40_960_000
    for sock in (slow, *followers):
        sock.close()


def read_to_the_break(sock: socket.socket) -> bytes:
    data = b""
    try:
        while piece := sock.recv(1 << 20):
            data = (data + piece)[-1000:]
    except ConnectionResetError:
        pass
    return data


def test_a_client_that_goes_away_costs_nothing(rtot: Rtot) -> None:
    descriptors = rtot.descriptors()
    rtot.submit(b"sleep 1000")
    until(lambda: rtot.descriptors() == descriptors + 2)
    socks = [
        connect(rtot, target)
        for target in ("/jobs/0?wait=1000", "/jobs/0/out?follow", "/jobs?wait=1000")
    ]
    until(lambda: rtot.descriptors() == descriptors + 5)
    for sock in socks:
        sock.close()
    until(lambda: rtot.descriptors() == descriptors + 2)


def test_waiting_for_a_set(rtot: Rtot, tmp_path: Path) -> None:
    path, wait = gate(tmp_path)
    rtot.submit(b"echo quick", "label=x")
    rtot.submit(wait.encode(), "label=x")
    some = rtot.json("/jobs?label=x&wait=20&until=any&fields=")["jobs"]
    assert "complete" in [job["state"] for job in some]
    path.touch()
    both = rtot.json("/jobs?label=x&wait=20&until=all&fields=")["jobs"]
    assert [job["state"] for job in both] == ["complete"] * 2


def test_one_request_runs_a_script_and_shows_it_live(rtot: Rtot, tmp_path: Path) -> None:
    script = b"echo one; until [ -e go ]; do sleep 0.01; done; echo two; exit 3"
    with rtot.ask("POST", f"/jobs?follow&cwd={tmp_path}", script) as sock:
        data = b""
        while b"one\n" not in data:
            data += sock.recv(65536)
        assert data.startswith(b"HTTP/1.1 201 Created\r\nContent-Type: text/plain")
        assert b"\r\nLocation: /jobs/0\r\n" in data
        (tmp_path / "go").touch()
        data += sock.makefile("rb").read()
    assert data.endswith(b"4\r\ntwo\n\r\n0\r\nRtot-Exit: exit status 3\r\n\r\n")


def test_one_request_is_accepted_while_the_job_waits(start: Start, tmp_path: Path) -> None:
    rtot = start("--max-running=1")
    first = rtot.submit(b"until [ -e go ]; do sleep 0.01; done", f"cwd={tmp_path}")
    with rtot.ask("POST", "/jobs?follow", b"echo later") as sock:
        head = sock.recv(65536)
        assert b"201 Created" in head
        assert rtot.json(f"/jobs/{first + 1}")["jobs"][0]["state"] == "new"
        (tmp_path / "go").touch()
        assert b"later\n" in sock.makefile("rb").read()


def test_one_request_fails_as_the_job_does(rtot: Rtot) -> None:
    url = f"{rtot.url}/jobs?follow&fail&lease"
    command = ["curl", "-sSN", "--fail-with-body", "-H", f"Authorization: rtot {SECRET}", url]
    for script, status in (("echo some", 0), ("echo some; exit 3", 18)):
        done = subprocess.run([*command, "-d", script], capture_output=True, check=False)
        assert (done.returncode, done.stdout) == (status, b"some\n")


def test_both_streams_in_their_true_order(rtot: Rtot) -> None:
    script = b"for i in 1 2 3 4 5; do echo o$i; echo e$i >&2; done; head -c1 /dev/stdin"
    job_id = rtot.submit(script, "stderr=out&stdin=open")
    rtot.curl(f"/jobs/{job_id}/in?close", "-X", "POST", "-d", "x")
    job = rtot.json(f"/jobs/{job_id}?wait=20")["jobs"][0]
    assert job["out"] == "".join(f"o{i}\ne{i}\n" for i in range(1, 6)) + "x"
    assert "err" not in job
    told = rtot.curl(f"/jobs/{job_id}/events", "-H", "Accept: application/x-ndjson")
    assert b'"event":"err"' not in told


def test_the_end_of_a_log_and_what_follows(rtot: Rtot, tmp_path: Path) -> None:
    script = b"seq 1 500; until [ -e go ]; do sleep 0.01; done; echo more"
    job_id = rtot.submit(script, f"cwd={tmp_path}")
    until(lambda: "500" in rtot.json(f"/jobs/{job_id}?tail=1")["jobs"][0].get("out", ""))
    assert rtot.curl(f"/jobs/{job_id}/out?tail=3") == b"498\n499\n500\n"
    with rtot.ask("GET", f"/jobs/{job_id}/out?tail=1&follow") as sock:
        stream = sock.makefile("rb")
        # What is there comes first. Only then there is to be more.
        assert b"4\r\n" in iter(stream.readline, b"")
        assert stream.readline() == b"500\n"
        (tmp_path / "go").touch()
        assert stream.read().startswith(b"\r\n5\r\nmore\n\r\n0\r\n")


def test_the_end_of_more_than_is_kept(start: Start) -> None:
    rtot = start("--max-output=4K", "--keep-end=1K")
    rtot.run(b"seq 1 5000; echo THE ERROR", "&fields=")
    assert rtot.curl("/jobs/0/out?tail=2") == b"5000\nTHE ERROR\n"
    whole = rtot.curl("/jobs/0/out?tail=1M")
    assert whole.startswith(b"rtot: 18")
    assert whole.endswith(b"5000\nTHE ERROR\n")
