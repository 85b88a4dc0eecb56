import errno
import json
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rtot.text import (
    ascii_string,
    decode,
    format_duration,
    format_time,
    original_bytes,
    reason,
    string,
    strings,
)


@pytest.mark.parametrize(
    ("wall", "text"),
    [
        (0, "0001-01-01 00:00:00 +0000 UTC"),
        (1389497552314152969, "2014-01-12 03:32:32.314152969 +0000 UTC"),
        (1389497552314152000, "2014-01-12 03:32:32.314152 +0000 UTC"),
        (1389497552000000000, "2014-01-12 03:32:32 +0000 UTC"),
        (1389497552000000001, "2014-01-12 03:32:32.000000001 +0000 UTC"),
    ],
)
def test_times(wall: int, text: str) -> None:
    assert format_time(wall) == text


def test_times_are_utc_wherever_we_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert format_time(1) == "1970-01-01 00:00:00.000000001 +0000 UTC"
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0s"),
        (1, "1ns"),
        (1_100, "1.1µs"),
        (2_200_000, "2.2ms"),
        (999_999_999, "999.999999ms"),
        (1_000_000_000, "1s"),
        (2_019_438_118, "2.019438118s"),
        (60_000_000_000, "1m0s"),
        (3_600_000_000_000, "1h0m0s"),
        (90_061_500_000_000, "25h1m1.5s"),
    ],
)
def test_durations(nanoseconds: int, text: str) -> None:
    assert format_duration(nanoseconds) == text


@given(st.binary(max_size=50))
@example(b"\xe2\x82")
@example(b"\xed\xa0\x80")
@example(b"\xf0\x9f\x98\x80\xf0\x9f")
@example(b'\x00\x1f\x7f"\\')
def test_bad_bytes_are_replaced_one_by_one(data: bytes) -> None:
    text = decode(data)
    bad = len(data) - len(text.replace("\ufffd", "").encode())
    good_replacements = data.count("\ufffd".encode())
    assert text.count("\ufffd") == bad - 2 * good_replacements
    assert json.loads(string(text)) == text


@given(st.text(max_size=20))
def test_strings_are_json(text: str) -> None:
    assert json.loads(string(text)) == json.loads(ascii_string(text)) == text
    assert ascii_string(text).isascii()
    assert json.loads(strings((text, "x"))) == [text, "x"]


def test_the_reason_of_a_failure() -> None:
    assert reason(OSError(errno.ENOSPC, "No space left on device")) == "no space left on device"
    assert reason(OSError("timed out")) == "timed out"


@given(st.binary())
@example(b'\xff\xc3\xa9\xed\xa0\x80\0"')
def test_bytes_that_are_no_text_are_shown_and_passed_on(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    assert json.loads(string(text).encode()) == decode(data)
    assert json.loads(ascii_string(text)) == decode(data)
    assert original_bytes(text) == data
