"""TLS over real sockets, with curl and with the standard library's client."""

import contextlib
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from tests.harness import SECRET, Rtot, until

Start = Callable[..., Rtot]


class Certificates:
    """An authority, and files of what it has signed."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.authority = trustme.CA()
        self.ca = directory / "ca.pem"
        self.authority.cert_pem.write_to_path(str(self.ca))

    def issue(self, name: str, *identities: str) -> Path:
        path = self.directory / name
        found = self.authority.issue_cert(*identities)
        found.private_key_and_cert_chain_pem.write_to_path(str(path))
        return path


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    directory = tmp_path / "certificates"
    directory.mkdir()
    return Certificates(directory)


def serve(start: Start, certificates: Certificates, *flags: str) -> Rtot:
    cert = certificates.issue("server.pem", "127.0.0.1", "localhost")
    rtot = start(f"--tls-cert={cert}", *flags)
    rtot.url = rtot.url.replace("http:", "https:")
    return rtot


def curl(rtot: Rtot, certificates: Certificates, *args: str) -> bytes:
    return rtot.curl("--cacert", str(certificates.ca), *args)


def address(rtot: Rtot) -> tuple[str, int]:
    host, port = rtot.url.partition("://")[2].split(":")
    return host, int(port)


def connect(
    rtot: Rtot, certificates: Certificates, client: Path | None = None, buffer: int = 0
) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=str(certificates.ca))
    if client is not None:
        context.load_cert_chain(client)
    sock = socket.socket()
    if buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    sock.settimeout(30)
    sock.connect(address(rtot))
    return context.wrap_socket(sock, server_hostname="localhost")


def head(method: str, target: str, *fields: str) -> bytes:
    lines = "".join(f"{field}\r\n" for field in fields)
    authorization = f"Authorization: rtot {SECRET}"
    return f"{method} {target} HTTP/1.1\r\nHost: a\r\n{authorization}\r\n{lines}\r\n".encode()


def read_all(sock: socket.socket) -> bytes:
    data = bytearray()
    with contextlib.suppress(ConnectionError):
        while piece := sock.recv(1 << 16):
            data += piece
    return bytes(data)


def test_a_job_from_submission_to_deletion(
    start: Start, certificates: Certificates, tmp_path: Path
) -> None:
    rtot = serve(start, certificates)
    script = tmp_path / "script"
    script.write_bytes(b"#!/bin/sh\nwc -c < $0; head -c 3000000 /dev/zero >&2; exit\n")
    with script.open("ab") as file:
        file.write(b"#" * 3_000_000)
    size = script.stat().st_size
    url = "/jobs?wait=30&fields=out,err_bytes"
    answer = json.loads(curl(rtot, certificates, url, "--data-binary", f"@{script}"))
    assert answer["jobs"][0]["out"] == f"{size}\n"
    assert answer["jobs"][0]["err_bytes"] == 3_000_000
    assert curl(rtot, certificates, "/jobs/0/err") == b"\0" * 3_000_000
    assert curl(rtot, certificates, "/jobs/0", "-X", "DELETE", "-w", "%{http_code}") == b"204"
    urls = [f"{rtot.url}/ping"] * 3
    connects = curl(rtot, certificates, *urls, "-w", "%{num_connects},")
    assert re.findall(rb"(\d),", connects) == [b"1", b"0", b"0"]


def test_output_is_followed(start: Start, certificates: Certificates) -> None:
    rtot = serve(start, certificates)
    curl(rtot, certificates, "/jobs", "-d", "echo first; read -t 0.3 < <(sleep 1); echo last")
    with connect(rtot, certificates) as sock:
        sock.sendall(head("GET", "/jobs/0/out?follow", "Connection: close"))
        received = read_all(sock)
    assert received.endswith(b"5\r\nlast\n\r\n0\r\nRtot-Exit: 0\r\n\r\n")


def test_versions(start: Start, certificates: Certificates) -> None:
    rtot = serve(start, certificates)
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = ssl.create_default_context(cafile=str(certificates.ca))
        context.minimum_version = context.maximum_version = version
        with (
            socket.create_connection(address(rtot)) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as sock,
        ):
            sock.sendall(b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n")
            assert b"still here" in sock.recv(4096)
    done = subprocess.run(
        ["curl", "-sS", "--tls-max", "1.1", "--ciphers", "DEFAULT@SECLEVEL=0", f"{rtot.url}/ping"],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 35
    assert b"still here" in curl(rtot, certificates, "/ping")


def test_plain_http_on_the_port_of_tls(start: Start, certificates: Certificates) -> None:
    rtot = serve(start, certificates)
    with socket.create_connection(address(rtot)) as sock:
        sock.sendall(b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b"HTTP/1.1" not in read_all(sock)
    until(lambda: 'msg="no TLS" peer="127.0.0.1:' in rtot.log)


def test_only_clients_with_a_certificate(start: Start, certificates: Certificates) -> None:
    other = Certificates(certificates.directory / "..")
    rtot = serve(start, certificates, f"--tls-client-ca={certificates.ca}")
    good = certificates.issue("client.pem", "me@example.com")
    bad = other.issue("stranger.pem", "me@example.com")
    assert b"still here" in curl(rtot, certificates, "/ping", "--cert", str(good))
    for args in ([], ["--cert", str(bad)]):
        done = subprocess.run(
            ["curl", "-sS", "--cacert", str(certificates.ca), *args, f"{rtot.url}/ping"],
            capture_output=True,
            check=False,
        )
        assert done.returncode != 0
        assert done.stdout == b""


def test_slow_handshakes_fall_under_the_head_s_deadline(
    start: Start, certificates: Certificates
) -> None:
    rtot = serve(start, certificates, "--head-timeout=0.5")
    descriptors = rtot.descriptors()
    socks = [socket.create_connection(address(rtot)) for _ in range(20)]
    for sock in socks[:10]:
        # A ClientHello's beginning: a record of 512 bytes, of which five come.
        sock.sendall(b"\x16\x03\x01\x02\x00")
    until(lambda: rtot.descriptors() == descriptors + 20)
    assert b"still here" in curl(rtot, certificates, "/ping")
    until(lambda: rtot.descriptors() == descriptors)
    before = Path(f"/proc/{rtot.pid}/stat").read_text().split()[13:15]
    time.sleep(0.5)
    assert Path(f"/proc/{rtot.pid}/stat").read_text().split()[13:15] == before
    for sock in socks:
        sock.close()


def test_many_handshakes_at_once(start: Start, certificates: Certificates) -> None:
    rtot = serve(start, certificates)
    answers = []

    def ask() -> None:
        with connect(rtot, certificates) as sock:
            sock.sendall(b"GET /ping HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            answers.append(read_all(sock))

    threads = [threading.Thread(target=ask) for _ in range(60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [b"still here" in answer for answer in answers] == [True] * 60


def test_an_early_answer_is_read(start: Start, certificates: Certificates) -> None:
    rtot = serve(start, certificates)
    with connect(rtot, certificates) as sock:
        sock.sendall(b"POST /jobs HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n")
        for _ in range(100):
            sock.sendall(b"x" * 100_000)
        assert read_all(sock).startswith(b"HTTP/1.1 401 ")


def test_a_slow_reader_gets_every_byte(start: Start, certificates: Certificates) -> None:
    """What did not fit is offered again, as OpenSSL wants it, while more comes behind it."""
    rtot = serve(start, certificates)
    script = "for i in $(seq 60); do seq $((i * 1000)) $((i * 1000 + 999)); sleep 0.01; done"
    curl(rtot, certificates, "/jobs", "-d", script)
    with connect(rtot, certificates, buffer=4096) as sock:
        sock.sendall(head("GET", "/jobs/0/out?follow", "Connection: close"))
        data = b""
        while piece := sock.recv(3000):
            data += piece
            time.sleep(0.001)
    body = data.partition(b"\r\n\r\n")[2]
    content = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        content += body[: int(size, 16)]
        body = body[int(size, 16) + 2 :] if int(size, 16) else b""
    assert content == b"".join(b"%d\n" % i for i in range(1000, 61_000))


def test_certificates_are_renewed(start: Start, certificates: Certificates) -> None:
    rtot = serve(start, certificates)

    def serial() -> str:
        with connect(rtot, certificates) as sock:
            found = sock.getpeercert()
            assert found is not None
            return str(found["serialNumber"])

    first = serial()
    certificates.issue("server.pem", "127.0.0.1", "localhost")
    with connect(rtot, certificates) as kept:
        rtot.process.send_signal(signal.SIGHUP)
        until(lambda: "reloaded certificates" in rtot.log)
        second = serial()
        assert second != first
        kept.sendall(b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b"still here" in kept.recv(4096)
    (certificates.directory / "server.pem").write_text("nonsense")
    rtot.process.send_signal(signal.SIGHUP)
    until(lambda: "kept the old certificates" in rtot.log)
    assert serial() == second


def test_at_the_cap_it_is_503(start: Start, certificates: Certificates) -> None:
    rtot = serve(start, certificates, "--max-connections=1")
    with connect(rtot, certificates) as first:
        first.sendall(head("POST", "/jobs", "Content-Length: 100"))
        until(lambda: b"503" in curl(rtot, certificates, "/ping", "-w", "%{http_code}"))


def test_rude_ends_leave_nothing(start: Start, certificates: Certificates) -> None:
    rtot = serve(start, certificates)
    descriptors = rtot.descriptors()
    for size in (0, 1, 5, 100, 300):
        for _ in range(20):
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            hello = ssl.create_default_context().wrap_bio(
                incoming, outgoing, server_hostname="localhost"
            )
            with contextlib.suppress(ssl.SSLWantReadError):
                hello.do_handshake()
            with socket.create_connection(address(rtot)) as sock:
                sock.sendall(outgoing.read()[:size])
    assert b"still here" in curl(rtot, certificates, "/ping")
    until(lambda: rtot.descriptors() == descriptors)


def test_a_key_from_a_pipe(start: Start, certificates: Certificates, tmp_path: Path) -> None:
    cert = certificates.issue("server.pem", "127.0.0.1", "localhost")
    fifo = tmp_path / "key"
    os.mkfifo(fifo)
    feed = subprocess.Popen(["cp", str(cert), str(fifo)])
    rtot = start(f"--tls-cert={cert}", f"--tls-key={fifo}")
    assert feed.wait(30) == 0
    assert "listening" in rtot.log


def test_what_cannot_be_served_with(certificates: Certificates) -> None:
    good = certificates.issue("server.pem", "localhost")
    bad = certificates.directory / "bad.pem"
    bad.write_text("nonsense")
    encrypted = certificates.directory / "encrypted.pem"
    encrypted.write_text("-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIE\n")
    other = certificates.issue("other.pem", "localhost")
    for flags, status, why in (
        (["--tls-cert=/does/not/exist"], 1, "/does/not/exist: no such file or directory"),
        ([f"--tls-cert={good}", "--tls-key=/none"], 1, "/none: no such file or directory"),
        ([f"--tls-cert={bad}"], 1, f"{bad}: there is no certificate in it"),
        ([f"--tls-cert={good}", f"--tls-key={bad}"], 1, f"{bad}: there is no private key in it"),
        ([f"--tls-cert={good}", f"--tls-key={encrypted}"], 1, f"{encrypted}: the key is encrypted"),
        ([f"--tls-cert={good}", f"--tls-key={other}"], 1, "key values mismatch"),
        ([f"--tls-cert={good}", f"--tls-client-ca={bad}"], 1, f"{bad}: "),
        ([f"--tls-key={good}"], 2, "--tls-key and --tls-client-ca go with --tls-cert"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "rtot", *flags],
            capture_output=True,
            check=False,
            timeout=30,
        )
        assert (done.returncode, done.stderr.count(b"\n")) == (status, 1), done.stderr
        assert why in done.stderr.decode()
