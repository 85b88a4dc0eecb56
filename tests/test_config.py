import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtot.config import Settings, parse_duration, parse_size, share_descriptors


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
        ("2d", 172_800),
        ("1.5d", 129_600),
        ("1d12h1s", 129_601),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "s", "m5", "1h1d", "-1", "+1", "1 h", "1h 3m", "3m1h", "1e3", "inf", "nan", "5x", "٣"],
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
    [
        *(("0", 0), ("65536", 65536), ("64K", 65536), ("16m", 16 << 20), ("1GiB", 1 << 30)),
        *(("1Ki", 1024), ("1.5M", 3 << 19), ("1T", 1 << 40), ("0.5Kb", 512), ("10B", 10)),
        *(("0.001K", 1), ("2TiB", 2 << 40)),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "-1", "1P", "K", "1.5", ".5M", "1.M", "1 K", "1e3"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        parse_size(text)


def test_launchers_by_name() -> None:
    settings = Settings(launchers=(("low", ("nice", "-n", "19")),))
    assert settings.launcher("low") == ("nice", "-n", "19")
    assert settings.launcher("high") is None
    settings = Settings(stop_commands=(("low", ("scancel", "x")),))
    found = [settings.stop_command(name) for name in ("low", "high", None)]
    assert found == [("scancel", "x"), (), ()]


@pytest.mark.parametrize(
    ("limit", "running", "connections", "first_reserved"),
    [
        (16, 1, 4, 12),
        (64, 1, 8, 48),
        (256, 16, 96, 224),
        (1024, 80, 480, 992),
        (65_536, 5456, 20_000, 65_504),
        (1_048_576, 10_000, 20_000, 1_048_544),
    ],
)
def test_descriptors_are_shared_out(
    limit: int, running: int, connections: int, first_reserved: int
) -> None:
    shares = share_descriptors(limit)
    assert shares == (running, connections, 16, first_reserved)
    assert all(isinstance(share, int) for share in shares)
    if limit >= 256:
        # Everybody can have theirs at once.
        assert 6 * running + connections + 16 + 16 <= first_reserved


def test_the_defaults_are_those_that_readme_tells() -> None:
    assert Settings() == (
        *(8 << 10, 16 << 10, 100, 16 << 20),
        *(10.0, 20.0, 75.0, 30.0, 2.0, 256 << 10),
        *(480, 16, 992),
        *(
            80,
            4,
            100_000,
            1 << 30,
            64 << 10,
            64 << 10,
            1.0,
            5.0,
            15.0,
            math.inf,
            None,
            None,
            True,
            False,
            (),
            (),
            (),
            (),
        ),
    )


def test_the_longest_times_and_sizes() -> None:
    assert parse_duration("876000h") == 100 * 365 * 86400
    with pytest.raises(ValueError, match="century"):
        parse_duration("876000h1s")
    assert parse_size("9" * 15) == 10**15 - 1
    with pytest.raises(ValueError, match="is not a size"):
        parse_size("1" + "0" * 15)
