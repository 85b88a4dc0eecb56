"""The client's connection, to servers that do what real ones do at their worst."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from rtot.client.address import parse_url
from rtot.client.connection import Connection, Request, TlsFiles
from rtot.client.failures import FailedError, LostError

GET = Request("GET", "/ping")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@contextmanager
def server(*lives: Callable[[socket.socket], object]) -> Iterator[Connection]:
    """A connection to one that treats each client as the next of its lives says."""

    def serve() -> None:
        for live in lives:
            sock, _ = listener.accept()
            with sock:
                live(sock)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        connection = Connection(
            parse_url(f"http://127.0.0.1:{listener.getsockname()[1]}/p"), TlsFiles()
        )
        try:
            yield connection
        finally:
            connection.close()
            thread.join()


def head(sock: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = sock.recv(65536)
        if not piece:
            break
        data += piece
    return data


def test_a_connection_is_used_again() -> None:
    heads = []

    def live(sock: socket.socket) -> None:
        for _ in range(2):
            heads.append(head(sock))
            sock.sendall(b"HTTP/1.1 102 Processing\r\n\r\n" + OK)

    with server(live) as connection:
        for _ in range(2):
            response = connection.exchange(GET)
            assert (response.status, response.read()) == (200, b"ok")
    assert heads[0].startswith(b"GET /p/ping HTTP/1.1\r\nHost: 127.0.0.1:")


def test_after_an_answer_that_ends_with_it_the_next_is_a_new_one() -> None:
    def live(sock: socket.socket) -> None:
        head(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nto the end")

    with server(live, live) as connection:
        for _ in range(2):
            assert connection.exchange(GET).read() == b"to the end"


@pytest.mark.parametrize(
    "answer",
    [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok"],
)
def test_what_breaks_off_is_lost_and_made_anew(answer: bytes) -> None:
    def break_off(sock: socket.socket) -> None:
        head(sock)
        sock.sendall(answer)

    def live(sock: socket.socket) -> None:
        head(sock)
        sock.sendall(OK)

    with server(break_off, live) as connection:
        with pytest.raises(LostError, match="the connection was closed"):
            connection.exchange(GET).read()
        assert connection.exchange(GET).read() == b"ok"


def test_silence() -> None:
    end = threading.Event()

    def live(sock: socket.socket) -> None:
        head(sock)
        end.wait(30)

    with server(live) as connection:
        with pytest.raises(LostError, match="the server says nothing"):
            connection.exchange(GET, silence=0.1)
        end.set()


def test_what_speaks_no_http() -> None:
    def live(sock: socket.socket) -> None:
        sock.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
        while sock.recv(65536):
            pass

    with server(live) as connection, pytest.raises(FailedError, match="speaks no HTTP"):
        connection.exchange(GET)


def test_a_refusal_that_comes_before_all_was_sent() -> None:
    body = bytes(20_000_000)

    def live(sock: socket.socket) -> None:
        head(sock)
        sock.sendall(
            b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nno\n"
        )
        # As rtot does, so that no reset takes the answer away.
        sock.shutdown(socket.SHUT_WR)
        for _ in range(64):
            sock.recv(65536)

    with server(live) as connection:
        response = connection.exchange(Request("POST", "/jobs", body=body))
        assert (response.status, response.read()) == (413, b"no\n")


def test_nobody_is_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    connection = Connection(parse_url(f"http://127.0.0.1:{port}"), TlsFiles())
    with pytest.raises(LostError, match="connection refused"):
        connection.exchange(GET)
