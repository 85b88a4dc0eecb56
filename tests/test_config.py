import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtot.config import Settings, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("90", 90),
        ("1.5", 1.5),
        (".5", 0.5),
        ("90s", 90),
        ("5m", 300),
        ("1h30m", 5400),
        ("1h0.5s", 3600.5),
        ("250ms", 0.25),
        ("1m250ms", 60.25),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "s", "m5", "-1", "+1", "1 h", "1h 3m", "3m1h", "1e3", "inf", "nan", "5x", "٣"]
)
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)


def test_a_duration_over_a_century() -> None:
    with pytest.raises(ValueError, match="century"):
        parse_duration("9" * 20)


@given(st.text(max_size=12))
def test_a_duration_is_a_number_or_an_error(text: str) -> None:
    try:
        seconds = parse_duration(text)
    except ValueError:
        return
    assert 0 <= seconds < 4e9


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("65536", 65536), ("64K", 65536), ("16m", 16 << 20), ("1GiB", 1 << 30)],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "-1", "1T", "K", "1.5M"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        parse_size(text)


def test_launchers_by_name() -> None:
    settings = Settings(launchers=(("low", ("nice", "-n", "19")),))
    assert settings.launcher("low") == ("nice", "-n", "19")
    assert settings.launcher("high") is None
