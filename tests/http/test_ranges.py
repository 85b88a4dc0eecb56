import pytest

from rtot.http.ranges import UnsatisfiableError, parse_range


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=0-", (0, 10)),
        ("bytes=3-5", (3, 6)),
        ("bytes=9-", (9, 10)),
        ("bytes=5-99", (5, 10)),
        ("bytes=0-99999999999999999999999", (0, 10)),
        ("bytes=-3", (7, 10)),
        ("bytes=-99", (0, 10)),
        ("bytes= 1-2 ", (1, 3)),
        ("bytes=0-1,3-4", None),
        ("bytes=5-3", None),
        ("bytes=-", None),
        ("bytes=a-b", None),
        ("lines=0-1", None),
        ("", None),
    ],
)
def test_of_ten_bytes(text: str, wanted: tuple[int, int] | None) -> None:
    assert parse_range(text, 10) == wanted


@pytest.mark.parametrize(
    ("text", "size"), [("bytes=10-", 10), ("bytes=10-12", 10), ("bytes=-0", 10), ("bytes=0-", 0)]
)
def test_of_no_byte(text: str, size: int) -> None:
    with pytest.raises(UnsatisfiableError):
        parse_range(text, size)
