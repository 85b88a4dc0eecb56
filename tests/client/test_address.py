"""URLs of servers."""

import pytest

from rtot.client.address import Address, parse_url


@pytest.mark.parametrize(
    ("text", "address", "authority"),
    [
        ("http://localhost:8457", ("http", "localhost", 8457, "", ""), "localhost:8457"),
        ("http://build.example/", ("http", "build.example", 80, "", ""), "build.example"),
        ("https://B.example/ci/", ("https", "b.example", 443, "", "/ci"), "b.example"),
        ("https://b.example:8443", ("https", "b.example", 8443, "", ""), "b.example:8443"),
        ("http://[::1]:8457", ("http", "::1", 8457, "", ""), "[::1]:8457"),
        ("unix:/run/rtot.sock", ("unix", "localhost", 80, "/run/rtot.sock", ""), "localhost"),
    ],
)
def test_what_a_url_says(text: str, address: tuple[object, ...], authority: str) -> None:
    found = parse_url(text)
    assert found == Address(text, *address)  # type: ignore[arg-type]
    assert found.authority == authority


def test_names() -> None:
    assert parse_url("unix:/run/rtot.sock").name == "/run/rtot.sock"
    assert parse_url("http://a:1/x").name == "a:1"


@pytest.mark.parametrize(
    "text",
    [
        *("", "localhost", "localhost:8457", "ftp://a", "http:a", "http://", "unix:rtot.sock"),
        *("http://a:x", "http://a:70000", "http://a?x", "http://a#x", "http://a b", "http://a\n"),
    ],
)
def test_what_is_no_url(text: str) -> None:
    with pytest.raises(ValueError):
        parse_url(text)


def test_a_secret_in_a_url_is_not_repeated() -> None:
    with pytest.raises(ValueError, match="RTOT_SECRET") as caught:
        parse_url("http://me:hush@a:1")
    assert "hush" not in str(caught.value)
