"""Positions in a job's story, and characters that are cut off."""

import pytest

from rtot.api.streams import Position, _whole_characters


@pytest.mark.parametrize("text", ["0.0.0", "3.1.2", f"1.{'9' * 18}.{'1' * 18}"])
def test_ids_of_events(text: str) -> None:
    assert str(Position.parse(text)) == text


@pytest.mark.parametrize(
    "text", ["", "1", "1.2", "1.2.3.4", "4.0.0", "-1.0.0", "a.0.0", f"1.{'9' * 19}.0", "\u0661.0.0"]
)
def test_what_is_no_id(text: str) -> None:
    with pytest.raises(ValueError, match="is not the id of an event"):
        Position.parse(text)


@pytest.mark.parametrize(
    ("data", "whole"),
    [
        (b"", 0),
        (b"ab", 2),
        ("é".encode(), 2),
        ("é".encode()[:1], 0),
        (b"a\xe2\x82", 1),
        (b"a\xe2\x82\xac", 4),
        (b"\xf0\x9f\x98", 0),
        # Never a character, so nothing is waited for.
        (b"\xe2a", 2),
        (b"\xe2\x82\xaca", 4),
        (b"\x80\x80\x80\x80", 4),
        (b"\xff", 1),
        (b"\xf5\x80", 2),
    ],
)
def test_how_much_of_it_is_whole_characters(data: bytes, whole: int) -> None:
    assert _whole_characters(data) == whole
