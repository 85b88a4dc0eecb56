"""Where a text is in a log, and how often."""

from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness import needs
from tests.page.conftest import Ask
from tests.page.test_lines import told

pytestmark = needs("node")


@given(st.lists(st.text("abA ", max_size=12), max_size=20), st.text("abA", min_size=1, max_size=3))
@example(["aaaa", "aAa"], "aa")
def test_hits_are_counted(core: Ask, lines: list[str], query: str) -> None:
    text = "".join(f"{line}\n" for line in lines)
    found = core("search", [told([("out", text.encode())]), query])
    counts = [line.lower().count(query.lower()) for line in lines]
    assert found == [[i for i, count in enumerate(counts) if count], sum(counts)]


def test_what_is_seen_is_searched(core: Ask) -> None:
    text = b"co\x1b[31mlor\x1b[0m\nnot this\rbut that\n"
    assert core("search", [told([("out", text)]), "color"]) == [[0], 1]
    assert core("search", [told([("out", text)]), "not"]) == [[], 0]
    assert core("search", [told([("out", text)]), "THAT"]) == [[1], 1]


def test_a_line_of_megabytes(core: Ask) -> None:
    piece = 1 << 20
    line = b"x" * (piece - 3) + b"needle" + b"x" * piece + b"needle"
    assert core("search", [told([("out", line)]), "needle"]) == [[0], 2]
    assert core("search", [told([("out", b"x" * 3 * piece)]), "xx"]) == [[0], 3 * piece // 2]
