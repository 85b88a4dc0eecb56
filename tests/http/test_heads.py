"""What a head means, and which of them are remembered."""

import h11
import pytest

from rtot.http.framing import RefusedError
from rtot.http.heads import Heads


def head(target: str, *fields: str) -> bytes:
    return "\r\n".join([f"GET {target} HTTP/1.1", "Host: a", *fields, "", ""]).encode()


@pytest.mark.parametrize(
    ("fields", "chunked", "last", "waiting"),
    [
        ((), False, False, False),
        (("Connection: keep-alive",), False, False, False),
        (("Connection: foo,\tClose ",), False, True, False),
        (("Connection: a", "Connection: close"), False, True, False),
        (("Transfer-Encoding: Chunked", "Expect: 100-continue"), True, False, True),
        (("Content-Length: 0", "Expect: 100-continue"), False, False, False),
    ],
)
def test_meanings(fields: tuple[str, ...], chunked: bool, last: bool, waiting: bool) -> None:
    found = Heads().read(head("/", *fields))
    assert (found.chunked, found.last, found.waiting) == (chunked, last, waiting)


def test_fields_are_joined_and_trimmed() -> None:
    request = Heads().read(head("/a?b", "X-A: 1 ", "x-a:\t2")).request
    assert request.headers == {"host": "a", "x-a": "1, 2"}
    assert (request.method, request.path, request.query, request.body) == ("GET", "/a", "b", b"")


def test_a_head_that_was_read_is_recalled() -> None:
    heads = Heads()
    data = head("/")
    assert heads.recall(bytearray(data)) is None
    meaning = heads.read(data)
    assert heads.recall(bytearray(data + b"GET /next")) == (len(data), meaning)
    assert heads.recall(bytearray(data[:-1])) is None
    assert heads.recall(bytearray()) is None


def test_the_last_few_are_remembered_and_no_large_one() -> None:
    heads = Heads()
    for number in range(200):
        heads.read(head(f"/{number}"))
    assert heads.recall(bytearray(head("/199"))) is not None
    assert heads.recall(bytearray(head("/100"))) is not None
    assert heads.recall(bytearray(head("/50"))) is None
    large = head("/", f"X: {'x' * 2000}")
    heads.read(large)
    assert heads.recall(bytearray(large)) is None


def test_what_h11_does_not_take() -> None:
    with pytest.raises(RefusedError) as refused:
        Heads().read(b"GET / HTTP/1.1\r\n\r\n")
    assert refused.value.status == 400
    assert isinstance(refused.value.__cause__, h11.RemoteProtocolError)
