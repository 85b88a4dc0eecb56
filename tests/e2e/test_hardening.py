"""Slow, greedy, rude and many clients; what jobs see; browsers; what the dead leave behind."""

import contextlib
import os
import re
import signal
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import SECRET, Rtot, is_alive, needs, until

Start = Callable[..., Rtot]
AUTHORIZATION = f"Authorization: rtot {SECRET}\r\n"


def connect(rtot: Rtot, data: bytes = b"") -> socket.socket:
    host, port = rtot.url.removeprefix("http://").split(":")
    sock = socket.create_connection((host, int(port)), timeout=30)
    if data:
        sock.sendall(data)
    return sock


def read_all(sock: socket.socket) -> bytes:
    data = b""
    with contextlib.suppress(ConnectionError):
        while piece := sock.recv(1 << 16):
            data += piece
    return data


def head(target: str, *fields: str, method: str = "POST") -> bytes:
    lines = "".join(f"{field}\r\n" for field in fields)
    return f"{method} {target} HTTP/1.1\r\nHost: a\r\n{AUTHORIZATION}{lines}\r\n".encode()


def cpu_seconds(rtot: Rtot) -> float:
    fields = Path(f"/proc/{rtot.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def pings(rtot: Rtot, count: int) -> list[float]:
    """How long each of so many pings took, in seconds, the quickest first."""
    times = []
    with connect(rtot) as sock:
        for _ in range(count):
            begin = time.perf_counter()
            sock.sendall(b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n")
            assert b"still here" in sock.recv(4096)
            times.append(time.perf_counter() - begin)
    return sorted(times)


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (b"POST /jobs HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n", 401),
        (head("/jobs", "Content-Length: 10000000"), 413),
        (head("/jobs", "Transfer-Encoding: chunked"), 413),
        (head("/jobs?bogus", "Content-Length: 10000000"), 413),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 20_000, 431),
        (b"GET /" + b"x" * 20_000, 414),
    ],
)
def test_an_early_answer_reaches_a_client_that_is_still_uploading(
    start: Start, request_head: bytes, status: int
) -> None:
    rtot = start("--max-body=100000")
    chunked = b"chunked" in request_head
    piece = b"186a0\r\n" + b"x" * 100_000 + b"\r\n" if chunked else b"x" * 100_000
    with connect(rtot, request_head) as sock:
        # What the client has not read when it is reset is lost: so it must not be reset.
        for _ in range(100):
            sock.sendall(piece)
        answer = read_all(sock)
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer[:100]
    assert b"\r\nConnection: close\r\n" in answer
    assert rtot.json("/jobs") == {"jobs": []}


def test_an_upload_without_end_is_cut_off(rtot: Rtot) -> None:
    with connect(
        rtot, b"POST /jobs HTTP/1.1\r\nHost: a\r\nContent-Length: 999999999999\r\n\r\n"
    ) as s:
        sent = 0
        with contextlib.suppress(ConnectionError):
            while sent < 1 << 36:
                sent += s.send(b"x" * 100_000)
    assert sent < 1 << 36
    assert rtot.rss() < 40_960_000


def slow_head(rtot: Rtot) -> socket.socket:
    return connect(rtot, b"GET / HTTP/1.1\r\nHost: a\r\n")


def slow_body(rtot: Rtot) -> socket.socket:
    return connect(rtot, head("/jobs", "Content-Length: 1000000") + b"x" * 1000)


def slow_read(rtot: Rtot) -> socket.socket:
    return connect(rtot, head("/jobs/0/out", method="GET"))


def test_slow_clients_are_not_felt(start: Start) -> None:
    # Time enough for 600 connections on a busy machine, and a server beside it that is idle.
    rtot = start("--head-timeout=20", "--body-timeout=20", "--send-timeout=20")
    idle = start()
    # The file of a job's output stays open for the next reader.
    descriptors = rtot.descriptors() + 1
    rtot.run(b"head -c 20000000 /dev/zero", "&fields=")
    rtot.curl("/jobs/0/out", "-o", "/dev/null")
    until(lambda: rtot.descriptors() == descriptors, "the end of curl's connection")
    before = rtot.rss()
    socks = [kind(rtot) for kind in (slow_head, slow_body, slow_read) for _ in range(200)]
    until(lambda: rtot.descriptors() >= descriptors + 600)
    for _ in range(10):
        for sock in socks[:400]:
            with contextlib.suppress(OSError):
                sock.send(b"x" if sock in socks[200:400] else b"X: y\r\n")
        assert pings(rtot, 20)[-2] < pings(idle, 20)[-2] + 0.05
    # Buffers of a head, a piece of a body and a pull of output, for each.
    assert rtot.rss() - before < 600 * 32 * 1024
    until(lambda: rtot.descriptors() <= descriptors, "the end of all of them")
    answers = [read_all(sock) for sock in socks[:400]]
    assert {answer[:13] for answer in answers} == {b"HTTP/1.1 408 "}
    for sock in socks:
        sock.close()


def test_who_says_nothing_is_closed(start: Start) -> None:
    rtot = start("--head-timeout=0.2", "--idle-timeout=0.2")
    with connect(rtot) as sock:
        assert sock.recv(100) == b""
    with connect(rtot, b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n") as sock:
        assert read_all(sock).count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("load", ["chunks", "pipeline", "heads"])
def test_a_greedy_client_leaves_others_their_turn(start: Start, load: str) -> None:
    """How little a turn does for one client is counted without sockets; this is the whole.

    The machine is shared: what its other users cost shows at a server that is idle.
    """
    rtot, beside = start(), start()
    data = {
        "chunks": head("/jobs", "Transfer-Encoding: chunked") + b"1\r\n#\r\n" * 170_000,
        "pipeline": head("/jobs", method="GET") * 2400,
        "heads": b"".join(
            head("/ping", *(f"X{i}-{n}: {'y' * 140}" for i in range(90)), method="GET")
            for n in range(150)
        ),
    }[load]
    busy, idle = [], []
    with connect(rtot) as sock:
        reader = threading.Thread(target=read_all, args=(sock,))
        reader.start()
        sender = threading.Thread(target=sock.sendall, args=(data,))
        sender.start()
        for _ in range(10):
            busy += pings(rtot, 30)
            idle += pings(beside, 30)
        sender.join()
        sock.shutdown(socket.SHUT_WR)
        reader.join()
    assert sorted(busy)[-10] < sorted(idle)[-10] + 0.02


def test_at_the_cap_the_oldest_idle_connection_goes(start: Start) -> None:
    rtot = start("--max-connections=3")
    ping = b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n"
    socks = []
    for _ in range(3):
        socks.append(connect(rtot, ping))
        assert b"still here" in socks[-1].recv(4096)
    socks[0].sendall(ping)
    assert b"still here" in socks[0].recv(4096)
    assert b"still here" in rtot.curl("/ping")
    assert socks[1].recv(100) == b""
    socks[0].sendall(ping)
    assert b"still here" in socks[0].recv(4096)
    for sock in socks:
        sock.close()


def test_at_the_cap_without_an_idle_one_it_is_503(start: Start) -> None:
    rtot = start("--max-connections=2")
    rtot.submit(b"sleep 1000")
    waiting = [connect(rtot, head("/jobs/0?wait=100", method="GET")) for _ in range(2)]
    until(lambda: rtot.descriptors() > 0 and b"still here" not in rtot.curl("/ping"))
    answer = rtot.curl("-i", "/ping").decode()
    assert answer.startswith("HTTP/1.1 503 ")
    assert "\r\nRetry-After: 1\r\n" in answer
    waiting[0].close()
    until(lambda: b"still here" in rtot.curl("/ping"))
    waiting[1].close()


def test_a_request_in_the_kernel_is_not_lost_to_the_cap(start: Start) -> None:
    """Who is to be closed for another is first asked whether it is idle."""
    rtot = start("--max-connections=1")
    ping = b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n"
    descriptors = rtot.descriptors()
    for _ in range(50):
        until(lambda: rtot.descriptors() == descriptors)
        with connect(rtot, ping) as first:
            assert b"still here" in first.recv(4096)
            rtot.process.send_signal(signal.SIGSTOP)
            first.sendall(ping)
            with connect(rtot, ping) as second:
                rtot.process.send_signal(signal.SIGCONT)
                assert first.recv(4096).startswith(b"HTTP/1.1 200 ")
                assert second.recv(4096).startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 503 "))


@needs("prlimit")
def test_no_descriptor_to_accept_with_is_no_busy_loop(start: Start) -> None:
    rtot = start()
    free = rtot.descriptors()
    limit = ["prlimit", f"--pid={rtot.pid}", f"--nofile={free + 2}:20000"]
    subprocess.run(limit, check=True)
    socks = [connect(rtot) for _ in range(10)]
    until(lambda: "cannot accept connections for now" in rtot.log)
    before = cpu_seconds(rtot)
    time.sleep(2)
    assert cpu_seconds(rtot) - before < 0.2
    for sock in socks:
        sock.close()
    until(lambda: b"still here" in rtot.curl("/ping"))


def test_idle_connections_cost_little_and_nothing_to_keep(start: Start) -> None:
    rtot = start("--max-connections=3000")
    pings(rtot, 100)
    before = rtot.rss()
    ping = b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n"
    socks = [connect(rtot, ping) for _ in range(2000)]
    for sock in socks:
        assert b"still here" in sock.recv(4096)
    assert rtot.rss() - before < 2000 * 5000
    spent = cpu_seconds(rtot)
    time.sleep(1)
    assert cpu_seconds(rtot) - spent <= 0.02
    for sock in socks:
        sock.close()


def test_a_thousand_resets(rtot: Rtot) -> None:
    descriptors = rtot.descriptors()
    for index in range(1000):
        sock = connect(rtot, b"GET / HTTP/1.1\r\n" if index % 2 else b"")
        # Closed with what it has not sent, which is a reset (socket(7), SO_LINGER).
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
    assert b"still here" in rtot.curl("/ping")
    until(lambda: rtot.descriptors() == descriptors)


def test_a_server_that_was_stopped_goes_on(rtot: Rtot) -> None:
    rtot.submit(b"sleep 0.3; echo done")
    rtot.process.send_signal(signal.SIGSTOP)
    with connect(rtot, head("/jobs/0?wait=20&fields=out", method="GET")) as sock:
        time.sleep(0.5)
        rtot.process.send_signal(signal.SIGCONT)
        assert b'"out":"done\\n"' in sock.recv(4096)


@pytest.mark.parametrize("victim", ["leader", "child", "group"])
def test_jobs_that_others_kill(rtot: Rtot, victim: str) -> None:
    for _ in range(20):
        job_id = rtot.submit(b"sleep 1000 & echo $$ $!; wait; echo woken; exit 7")
        until(lambda i=job_id: "out" in rtot.json(f"/jobs/{i}")["jobs"][0])  # type: ignore[misc]
        leader, child = map(int, rtot.json(f"/jobs/{job_id}")["jobs"][0]["out"].split())
        if victim == "leader":
            os.kill(leader, signal.SIGKILL)
            os.kill(child, signal.SIGKILL)
        elif victim == "child":
            os.kill(child, signal.SIGKILL)
        else:
            os.killpg(leader, signal.SIGKILL)
        job = rtot.json(f"/jobs/{job_id}?wait=20&fields=code,signal")["jobs"][0]
        expected = (7, None) if victim == "child" else (None, "SIGKILL")
        assert (job["code"], job["signal"]) == expected
    until(lambda: rtot.children() == [])


def test_a_job_has_default_signals_and_no_mask(rtot: Rtot) -> None:
    job = rtot.run(b"#!/bin/cat /proc/self/status\n")
    for field in ("SigBlk", "SigIgn"):
        found = re.search(rf"^{field}:\s*([0-9a-f]+)$", job["out"], re.MULTILINE)
        assert found is not None
        # Two that are the C library's own, which it ignores in what it spawns (signal(7)).
        assert int(found[1], 16) & ~(0b11 << 31) == 0, field


def test_an_orphan_does_not_hold_the_port(start: Start) -> None:
    rtot = start()
    address = rtot.url.removeprefix("http://")
    pid = int(rtot.run(b"setsid sleep 1000 < /dev/null > /dev/null 2>&1 & echo $!")["out"])
    rtot.process.kill()
    rtot.process.wait()
    again = start(f"-a={address}")
    assert is_alive(pid)
    assert b"still here" in again.curl(f"http://{address}/ping")
    os.kill(pid, signal.SIGKILL)


def test_what_a_killed_server_left_is_removed_and_no_more(start: Start) -> None:
    dead, alive = start(), start()
    dead.run(b"head -c 1000000 /dev/zero", "&fields=")
    alive.run(b"head -c 1000000 /dev/zero", "&fields=")
    dead.process.kill()
    dead.process.wait()
    (left,) = dead.spool.iterdir()
    kept = dead.directory / "kept"
    kept.mkdir()
    (kept / "precious").touch()
    planted = dead.spool / f"rtot-{os.geteuid()}-planted"
    planted.symlink_to(kept)
    (living,) = alive.spool.iterdir()
    foreign = alive.spool / "rtot-something-else"
    foreign.mkdir()
    start(f"--spool-dir={dead.spool}")
    again = start(f"--spool-dir={alive.spool}")
    assert not left.exists()
    assert planted.is_symlink()
    assert (kept / "precious").exists()
    assert living.exists()
    assert foreign.exists()
    assert int(alive.curl("/jobs/0/out", "-o", "/dev/null", "-w", "%{size_download}")) == 1_000_000
    assert again.end() == 0


@pytest.fixture
def spare(tmp_path: Path) -> Path:
    """A directory for a file that some tests keep beside the server."""
    path = tmp_path / "spare"
    path.mkdir()
    return path


def test_secrets_are_rotated_without_an_interruption(start: Start, spare: Path) -> None:
    path = spare / "secrets"
    path.write_text(f"{SECRET}\nold-secret\n")
    path.chmod(0o600)
    rtot = start(f"--secret-file={path}", RTOT_SECRET="")
    url = f"{rtot.url}/jobs"

    def status(secret: str) -> bytes:
        words = ["-H", f"Authorization: Bearer {secret}", "-o", "/dev/null", "-w", "%{http_code}"]
        return subprocess.run(["curl", "-sS", *words, url], capture_output=True, check=True).stdout

    assert [status(s) for s in (SECRET, "old-secret", "new-secret")] == [b"200", b"200", b"401"]
    path.write_text(f"new-secret\n{SECRET}\n")
    rtot.process.send_signal(signal.SIGHUP)
    until(lambda: "reloaded secrets" in rtot.log)
    assert [status(s) for s in (SECRET, "old-secret", "new-secret")] == [b"200", b"401", b"200"]
    path.chmod(0o644)
    rtot.process.send_signal(signal.SIGHUP)
    until(lambda: "kept the old secrets" in rtot.log)
    assert status("new-secret") == b"200"
    environ = rtot.run(b"env; tr '\\0' ' ' < /proc/$PPID/cmdline")["out"]
    for text in (rtot.log, environ):
        assert not any(s in text for s in ("old-secret", "new-secret"))


def test_failed_authentications_are_logged_with_the_address(rtot: Rtot) -> None:
    for _ in range(30):
        with connect(rtot, b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: rtot guess\r\n\r\n") as s:
            assert s.recv(4096).startswith(b"HTTP/1.1 401 ")
    until(lambda: rtot.log.count("authentication failed") >= 10)
    assert rtot.log.count("authentication failed") < 20
    assert re.search(
        r'"authentication failed" by="-" peer="127\.0\.0\.1:\d+" method="GET"', rtot.log
    )
    assert "guess" not in rtot.log


def test_what_needs_no_secret_is_not_kept(start: Start) -> None:
    rtot = start("--max-connections=100")
    pings(rtot, 10)
    before = rtot.rss()
    head = b"GET /ping HTTP/1.1\r\nHost: a\r\nContent-Length: 16777216\r\n\r\n"
    socks = [connect(rtot, head + b"x" * 100_000) for _ in range(20)]
    # Pipelined without a secret and without reading what is answered.
    socks += [connect(rtot, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n") for _ in range(20)]
    for sock in socks[20:]:
        sock.setblocking(False)
        with contextlib.suppress(OSError):
            for _ in range(100):
                sock.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 1000)
    assert b"still here" in rtot.curl("/ping")
    assert rtot.rss() - before < 40 * 64 * 1024
    for sock in socks:
        sock.close()


def test_clients_stay_in_their_share_of_the_descriptors(start: Start) -> None:
    rtot = start("--max-connections=4")
    free = rtot.descriptors()
    busy = [connect(rtot, b"G") for _ in range(4)]
    until(lambda: rtot.descriptors() == free + 4)
    refused = [connect(rtot) for _ in range(100)]
    until(lambda: rtot.descriptors() <= free + 4 + 16)
    until(lambda: rtot.descriptors() == free + 4, "the end of those who were refused")
    for sock in (*busy, *refused):
        sock.close()


def test_a_slot_is_free_as_soon_as_its_client_has_gone(start: Start) -> None:
    rtot = start("--max-connections=2")
    rtot.submit(b"sleep 1000")
    with connect(rtot, head("/jobs/0?wait=100", method="GET")):
        for _ in range(300):
            with connect(rtot, b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n") as sock:
                assert b"still here" in sock.recv(4096)


@pytest.mark.parametrize("how", ["send timeout", "half-closed before it waits"])
def test_a_lease_ends_however_the_end_is_noticed(start: Start, how: str) -> None:
    rtot = start("--send-timeout=0.5")
    rtot.submit(b"while :; do head -c 100000 /dev/zero; sleep 0.01; done")
    until(lambda: len(rtot.json("/jobs?state=running")["jobs"]) == 1)
    follow = head("/jobs/0/out?follow&lease", method="GET")
    ping = b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n"
    with connect(rtot, follow if how == "send timeout" else ping * 20 + follow) as sock:
        if how != "send timeout":
            sock.shutdown(socket.SHUT_WR)
        job = rtot.json("/jobs/0?wait=20&fields=reason")["jobs"][0]
    assert job.get("reason") == "killed"


def test_an_abandoned_upload_to_a_job_that_does_not_read_is_noticed(start: Start) -> None:
    rtot = start()
    free = rtot.descriptors() + 3
    rtot.submit(b"sleep 1000", "stdin=open")
    until(lambda: len(rtot.json("/jobs?state=running")["jobs"]) == 1)
    until(lambda: rtot.descriptors() == free, "quiet")
    sock = connect(rtot, head("/jobs/0/in", "Content-Length: 100000000"))
    sock.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            sock.send(b"x" * 100_000)
    until(lambda: rtot.descriptors() == free + 1, "its acceptance")
    # A mere close would wait behind what was sent, until the keep-alive of TCP finds out.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
    until(lambda: rtot.descriptors() == free, "its end")


def test_a_pooled_connection_does_not_delay_the_end(start: Start) -> None:
    rtot = start()
    rtot.run(b"head -c 30000000 /dev/zero", "&fields=")
    with connect(rtot, head("/jobs/0/out", method="GET")) as sock:
        received = len(sock.recv(1000))
        rtot.process.terminate()
        until(lambda: "ending" in rtot.log)
        while received < 30_000_000:
            received += len(sock.recv(1 << 20))
        begin = time.monotonic()
        assert rtot.process.wait(30) == 0
        assert time.monotonic() - begin < 5
    assert "could not be ended" not in rtot.log


def test_a_page_of_an_allowed_origin(start: Start) -> None:
    rtot = start("--allow-origin=https://ci.example")
    origin = ("-H", "Origin: https://ci.example", "-H", "Sec-Fetch-Site: cross-site")
    asked = ("-H", "Access-Control-Request-Method: POST", "-X", "OPTIONS")
    url = f"{rtot.url}/jobs"
    command = ["curl", "-sS", "-D", "-", *origin, *asked, url]
    head = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    assert head.startswith(b"HTTP/1.1 204 ")
    head = rtot.curl("/jobs?wait=9&fields=", *origin, "-D", "-", "-d", "exit 3")
    assert b"\r\nAccess-Control-Allow-Origin: https://ci.example\r\n" in head
    assert b"\r\nVary: Origin\r\n" in head
    assert rtot.curl("/jobs", "-H", "Origin: https://evil.example").startswith(b'{"error"')
    assert b"Vary: Origin" in rtot.curl("/ping", "-i")
