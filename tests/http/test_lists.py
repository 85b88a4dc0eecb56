import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtot.http.lists import Element, parse_list, quality


@pytest.mark.parametrize(
    ("text", "elements"),
    [
        ("", []),
        (" , ,", []),
        ("wait=10", [("wait", "10", {})]),
        ("Wait = 10 ,respond-async", [("wait", "10", {}), ("respond-async", "", {})]),
        ('a="x, y"; b="\\"q\\\\"; C=d', [("a", "x, y", {"b": '"q\\', "c": "d"})]),
        ("a;b;c=1;;d=", [("a", "", {"b": "", "c": "1", "d": ""})]),
        ('a=", wait=5"', [("a", ", wait=5", {})]),
        ("(bad), good", [("good", "", {})]),
        ("(bad),g", [("g", "", {})]),
        ('bad "x, y" , good', [("good", "", {})]),
        ('a="never ends, b', [("b", "", {})]),
        ("text/*;q=0.5, */*", [("text/*", "", {"q": "0.5"}), ("*/*", "", {})]),
    ],
)
def test_lists(text: str, elements: list[tuple[str, str, dict[str, str]]]) -> None:
    assert parse_list(text) == [Element(*element) for element in elements]


@given(st.text(alphabet='a=", ;\\q0.', max_size=30))
def test_no_list_is_too_strange(text: str) -> None:
    for element in parse_list(text):
        assert element.name
        assert "," not in element.name


@pytest.mark.parametrize("piece", ["; ", ";a= ", "; a = b ", 'a ; b="c" ', "\t ;\t"])
def test_a_list_that_fails_at_its_end_is_not_tried_in_every_way(piece: str) -> None:
    assert [element.name for element in parse_list("a" + piece * 1000 + "(, b")] == ["b"]


@pytest.mark.parametrize(
    ("accept", "weight"),
    [
        (None, (1.0, 0)),
        ("", (1.0, 0)),
        ("a/b", (1.0, 2)),
        ("A/B; q=0.25", (0.25, 2)),
        ("a/b;q=0", (0.0, 2)),
        ("a/*;q=0.5, */*;q=0.1, x/y", (0.5, 1)),
        ("*/*;q=0.1, a/*;q=0.5, a/b;q=0.75", (0.75, 2)),
        ("*/*;q=1.000", (1.0, 0)),
        ("a/b;q=2", (1.0, 2)),
        ("a/b;q=nan", (1.0, 2)),
        ("x/y", (0.0, 0)),
        ('x/y;t="a/b"', (0.0, 0)),
    ],
)
def test_how_much_a_type_is_wanted(accept: str | None, weight: tuple[float, int]) -> None:
    assert quality(accept, "a/b") == weight
