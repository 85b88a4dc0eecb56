import os
import socket
from pathlib import Path

import pytest

from rtot.system.listeners import (
    Address,
    AddressError,
    ListenError,
    close_listeners,
    inherited,
    listen,
    parse_address,
)


@pytest.mark.parametrize(
    ("text", "address", "again"),
    [
        (":80", Address("", 80), ":80"),
        ("localhost:0", Address("localhost", 0), "localhost:0"),
        ("[::1]:65535", Address("::1", 65535), "[::1]:65535"),
        ("unix:/run/a", Address(path="/run/a"), "unix:/run/a"),
    ],
)
def test_addresses(text: str, address: Address, again: str) -> None:
    assert parse_address(text) == address
    assert str(address) == again


@pytest.mark.parametrize(
    "text", ["", "80", "a b:80", ":65536", "::1:80", "[::1]", "unix:", "unix:a\0b", "[a:80"]
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(AddressError):
        parse_address(text)


def test_a_name_that_nobody_knows() -> None:
    for host in ("no such name", "\udcff", "a" * 300):
        with pytest.raises(ListenError, match="cannot resolve"):
            listen(Address(host, 1), 0o600)


def test_an_address_that_is_taken() -> None:
    (one,) = listen(Address("127.0.0.1", 0), 0o600)
    port = one.sock.getsockname()[1]
    assert one.name == f"127.0.0.1:{port}"
    with pytest.raises(ListenError, match=f"cannot listen on 127.0.0.1:{port}"):
        listen(Address("127.0.0.1", port), 0o600)
    close_listeners([one])


def test_a_socket_in_the_file_system(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    (one,) = listen(Address(path=str(path)), 0o660)
    assert path.stat().st_mode & 0o777 == 0o660
    assert one.name == f"unix:{path}"
    assert one.accept() is None
    with pytest.raises(ListenError, match="address already in use"):
        listen(Address(path=str(path)), 0o600)
    # That was seen by connecting to it.
    probe = one.accept()
    assert probe is not None
    probe[0].close()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        accepted = one.accept()
        assert accepted is not None
        accepted[0].close()
    # One that was left behind is taken over, and the new one is not removed by the old owner.
    one.sock.close()
    (two,) = listen(Address(path=str(path)), 0o600)
    one.close()
    assert path.exists()
    two.close()
    assert not path.exists()


def test_what_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"precious")
    with pytest.raises(ListenError, match="address already in use"):
        listen(Address(path=str(path)), 0o600)
    assert path.read_bytes() == b"precious"


def test_without_a_manager_nothing_is_inherited() -> None:
    pid = str(os.getpid())
    for environ in ({}, {"LISTEN_FDS": "1"}, {"LISTEN_FDS": "x", "LISTEN_PID": pid}):
        assert inherited(environ) == []
