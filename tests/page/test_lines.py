"""Output into lines, whatever pieces it comes in."""

import base64

from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness import needs
from tests.page.conftest import Ask

pytestmark = needs("node")
Chunk = tuple[str, bytes]
_BYTES = st.lists(
    st.sampled_from(
        [b"a", b"\n", b"\r", b"\xc3", b"\xa9", b"\xf0\x9f", b"\x98\x80", b"\x00", b"::"]
    )
).map(b"".join)
_CHUNKS = st.lists(st.tuples(st.sampled_from(["out", "err"]), _BYTES), max_size=12)


def told(chunks: list[Chunk], again: int = 0) -> list[tuple[str, str, int]]:
    """As events; each has the last bytes of what came before once more."""
    sizes = {"out": b"", "err": b""}
    events = []
    for name, data in chunks:
        offset = max(0, len(sizes[name]) - again)
        sizes[name] += data
        events.append((name, base64.b64encode(sizes[name][offset:]).decode(), offset))
    return events


def lines_of(chunks: list[Chunk], name: str) -> list[str]:
    data = b"".join(data for stream, data in chunks if stream == name)
    lines = data.split(b"\n")
    return [line.decode(errors="replace") for line in (lines if lines[-1] else lines[:-1])]


@given(_CHUNKS, st.integers(0, 5))
@example([("out", b"a"), ("err", b"b\n"), ("out", b"c\n")], 0)
@example([("out", b"\xf0\x9f"), ("err", b"x"), ("out", b"\x98\x80\n")], 2)
def test_lines_are_put_together_a_stream_at_a_time(
    core: Ask, chunks: list[Chunk], again: int
) -> None:
    found = core("lines", told(chunks, again))
    for name in ("out", "err"):
        assert [text for stream, text in found if stream == name] == lines_of(chunks, name)


def test_the_order_is_that_of_beginnings(core: Ask) -> None:
    chunks = [("out", b"first, "), ("err", b"second\n"), ("out", b"still first\nthird\n")]
    found = core("lines", told(chunks))
    assert found == [["out", "first, still first"], ["err", "second"], ["out", "third"]]


def test_a_line_over_many_blocks(core: Ask) -> None:
    # Blocks end within a character.
    line = "x" + "é" * 520_000
    data = line.encode()
    pieces = [("out", data[i : i + 50_000]) for i in range(0, len(data), 50_000)]
    assert core("lines", told(pieces)) == [["out", line]]
    assert core("part", [told(pieces), 0, 262_143, 5]) == "éé\ufffd"


def test_of_a_long_line_only_so_much_is_looked_at_at_a_time(core: Ask) -> None:
    ((_, text),) = core("lines", told([("out", b"x" * 1_200_000)]))
    assert text == "x" * (1 << 20)


def test_the_style_of_a_line_is_what_was_on_in_its_stream(core: Ask) -> None:
    chunks = [("out", b"\x1b[1mbold\n"), ("err", b"plain\n"), ("out", b"bold\n\x1b[0mplain\nx\n")]
    assert core("styles", told(chunks)) == [
        {},
        {},
        {"fontWeight": "bold"},
        {"fontWeight": "bold"},
        {},
    ]


def test_64_mb_are_held_and_the_rest_is_fetched_again(core: Ask) -> None:
    before, gone, missing, first, last, after = core("held", [66 << 20, 100])
    assert (before, gone, missing, after) == (256, None, 1, 256)
    assert (first, last[:9]) == ("x" * 99, "x" * 9)
