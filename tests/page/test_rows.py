"""Which lines are shown, and where."""

from hypothesis import given
from hypothesis import strategies as st

from tests.harness import needs
from tests.page.conftest import Ask
from tests.page.test_lines import told

pytestmark = needs("node")
_LINES = st.lists(
    st.tuples(
        st.sampled_from(["out", "err"]),
        st.sampled_from([b"x\n", b"::group::g\n", b"::endgroup::\n", b"::error::e\n"]),
    ),
    max_size=30,
)
_STEPS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=6)


@given(
    _LINES,
    _STEPS,
    st.sampled_from(["", "out", "err"]),
    st.sets(st.integers(0, 29)),
    st.lists(st.integers(1, 4), min_size=1, max_size=5),
)
def test_rows(
    core: Ask,
    lines: list[tuple[str, bytes]],
    steps: list[tuple[int, int]],
    stream: str,
    folded: set[int],
    heights: list[int],
) -> None:
    # Only what begins a group can be folded.
    folded = {i for i in folded if i < len(lines) and lines[i][1].startswith(b"::group")}
    options = {"stream": stream, "folded": sorted(folded), "among": None, "heights": heights}
    whole, grown, spots = core("rows", [told(lines), steps, options])
    wanted = []
    skipped = False
    for i, (name, text) in enumerate(lines):
        if text.startswith(b"::group"):
            skipped = i in folded
        elif text.startswith(b"::end"):
            skipped = False
            continue
        elif skipped:
            continue
        if stream in ("", name):
            wanted.append(i)
    assert whole["shown"] == wanted
    assert whole["ends"] == [
        sum(heights[j % len(heights)] for j in wanted[: k + 1]) for k in range(len(wanted))
    ]
    assert grown == whole
    # A spot is where it was said to be.
    assert spots == [row + 0.5 for row in range(len(spots))]


def test_only_some(core: Ask) -> None:
    lines = [("out", b"a\n"), ("err", b"b\n"), ("out", b"c\n"), ("out", b"d\n")]
    options = {"stream": "out", "folded": [], "among": [0, 1, 3], "heights": [1]}
    whole, _, _ = core("rows", [told(lines), [], options])
    assert whole["shown"] == [0, 3]
