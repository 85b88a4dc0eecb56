"""A client's socket, by a pair of them."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from rtot.storage import FileSpan
from rtot.system.sockets import ClientSocket
from rtot.system.spool import Spool
from tests.harness import until

Pair = tuple[ClientSocket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.settimeout(5)
    yield ClientSocket(ours), theirs
    ours.close()
    theirs.close()


def test_receive(pair: Pair) -> None:
    ours, theirs = pair
    assert ours.receive(10) is None
    theirs.sendall(b"hello")
    assert (ours.receive(2), ours.receive(10)) == (b"he", b"llo")
    theirs.close()
    assert ours.receive(10) == b""


def test_send_one_and_several(pair: Pair) -> None:
    ours, theirs = pair
    assert ours.send([b"one"]) == 3
    assert ours.send([b"two", b"three"]) == 8
    assert theirs.recv(100) == b"onetwothree"


def test_send_a_file(pair: Pair, tmp_path: Path) -> None:
    spool = Spool(str(tmp_path))
    file = spool.create("0.out")
    file.append(b"0123456789")
    ours, theirs = pair
    assert ours.send([FileSpan(file, 2, 5), b"behind"]) == 5
    # What is before a file goes alone.
    assert ours.send([b"a", b"b", FileSpan(file, 0, 10)]) == 2
    assert theirs.recv(100) == b"23456ab"
    # A file that is shorter than was said is gone.
    assert ours.send([FileSpan(file, 10, 5)]) is None
    spool.close()


def test_a_peer_that_does_not_read(pair: Pair) -> None:
    ours, theirs = pair
    sent = 0
    while count := ours.send([b"x" * 100_000]):
        sent += count
    assert count == 0
    received = 0
    while received < sent:
        received += len(theirs.recv(1 << 20))


def test_a_peer_that_is_gone(pair: Pair) -> None:
    ours, theirs = pair
    assert not ours.has_hung_up()
    theirs.sendall(b"unread")
    theirs.close()
    assert ours.has_hung_up()
    assert ours.send([b"x"]) is None
    ours.shut_down()
    assert ours.shut


def test_a_reset_is_an_end() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        accepted, _ = server.accept()
        accepted.setblocking(False)
        ours = ClientSocket(accepted)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        assert ours.receive(10) == b""
        ours.shut_down()
        ours.close()


def test_shut_down(pair: Pair) -> None:
    ours, theirs = pair
    ours.shut_down()
    assert theirs.recv(10) == b""
    theirs.sendall(b"still")
    assert ours.receive(10) == b"still"


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        theirs = socket.create_connection(listener.getsockname())
        ours = listener.accept()[0]
    ours.setblocking(False)
    theirs.settimeout(5)
    return ours, theirs


def test_what_the_peer_has_not_acknowledged() -> None:
    raw, theirs = tcp_pair()
    ours = ClientSocket(raw)
    with theirs:
        sent = 0
        while count := ours.send([b"x" * 100_000]):
            sent += count
        # More than its receive buffer takes.
        assert 0 < ours.unacknowledged() <= sent
        received = 0
        while received < sent:
            received += len(theirs.recv(1 << 20))
        until(lambda: ours.unacknowledged() == 0)
        theirs.close()
        ours.close()


def test_a_reset_is_an_error_after_all_that_was_acknowledged() -> None:
    raw, theirs = tcp_pair()
    ours = ClientSocket(raw)
    with theirs:
        ours.send([b"all of it"])
        until(lambda: ours.unacknowledged() == 0)
        ours.reset()
        assert theirs.recv(100) == b"all of it"
        with pytest.raises(ConnectionResetError):
            theirs.recv(100)
    ours.reset()
