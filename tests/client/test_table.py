"""Columns, spans of time, sizes; and what is shown of strange text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtot.client.screen import visible
from rtot.client.table import duration, lay_out, size


def test_columns() -> None:
    rows = [("ID", "NAME", "X"), ("1", "a", "long text"), ("10", "bcd", "")]
    assert lay_out(rows) == ["ID  NAME  X", "1   a     long text", "10  bcd"]
    assert lay_out(rows, 12) == ["ID  NAME  X", "1   a     l…", "10  bcd"]


def test_wide_characters() -> None:
    assert lay_out([("日本", "x"), ("abcd", "y")]) == ["日本  x", "abcd  y"]
    assert lay_out([("日本語",)], 5) == ["日本…"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *((-1, "0s"), (0, "0s"), (0.0049, "0s"), (0.0065, "0.0065s"), (0.42, "0.42s")),
        *((9.94, "9.9s"), (17.9, "17s"), (60, "1m00s"), (192, "3m12s"), (7500, "2h05m")),
        *((3 * 86400 + 4 * 3600, "3d04h"),),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0B"),
        (1023, "1023B"),
        (1024, "1.0K"),
        (20480, "20K"),
        (3 << 30, "3.0G"),
        (1 << 40, "1.0T"),
    ],
)
def test_sizes(count: int, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("gr\u00fc\u00df dich \u2713", "gr\u00fc\u00df dich \u2713"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\nb\tc\r", "a\\nb\\tc\\r"),
        ("\u202eevil\u2066", "\\u202eevil\\u2066"),
        ("\x9b31m", "\\x9b31m"),
        ("\ufffd", "\ufffd"),
        ("\udcff", "\\udcff"),
    ],
)
def test_what_commands_a_terminal_is_written_out(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(st.text())
def test_all_that_is_shown_can_be_seen(text: str) -> None:
    assert visible(text).replace("\ufffd", "").isprintable()
