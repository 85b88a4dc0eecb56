"""Requests that run a script."""

from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtot.client.failures import FailedError
from rtot.client.submission import Order, command_script


def test_a_request() -> None:
    order = Order(b"echo", (b"a b", b"\xff&"), (("label", "n\u00e4"), ("cwd", "/x y")), ("K=v w",))
    request = order.request(("follow", "events"))
    assert request.method == "POST"
    assert request.target == "/jobs?label=n%C3%A4&cwd=/x%20y&follow=events&arg=a%20b&arg=%FF%26"
    assert dict(request.headers)["Rtot-Env"] == "K=v%20w"
    assert request.body == b"echo"


def test_each_request_has_its_key() -> None:
    keys = {dict(Order(b"x").request().headers)["Idempotency-Key"] for _ in range(9)}
    assert len(keys) == 9


def test_many_arguments_are_headers() -> None:
    words = (b"", *(b"%d," % i * 300 for i in range(9)), b"")
    request = Order(b"x", words).request()
    assert request.target == "/jobs?"
    found = dict(request.headers)["Rtot-Arg"].split(",")
    assert tuple(map(unquote_to_bytes, found)) == words
    assert len(Order(b"x", (b"a",) * 3000).request().headers) == 2


def test_too_many_are_told_of() -> None:
    with pytest.raises(FailedError, match="put them into the script"):
        Order(b"x", (b"1234",) * 3000).request()


@given(st.lists(st.binary().map(lambda word: word.replace(b"\0", b"")), min_size=1))
def test_a_command_is_quoted(words: list[bytes]) -> None:
    script = command_script(words)
    assert script.startswith(b"#!/bin/sh\nexec ")
    assert _words(script[len(b"#!/bin/sh\nexec ") :]) == words


def _words(line: bytes) -> list[bytes]:
    """As a POSIX shell splits it, if all that is not plain is in single quotes."""
    import shlex

    return [word.encode("latin-1") for word in shlex.split(line.decode("latin-1"))]
