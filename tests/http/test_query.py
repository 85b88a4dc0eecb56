from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtot.http.query import BadParameterError, Query

KNOWN = frozenset({"a", "b"})


def test_values() -> None:
    query = Query("a=1&a=2&b=x%20y+z", KNOWN)
    assert query.all("a") == ("1", "2")
    assert query.one("b") == "x y z"
    assert query.all("c") == ()
    assert query.one("c") is None
    assert "a" in query
    assert "c" not in query


@pytest.mark.parametrize(
    ("text", "value"), [("", False), ("a", True), ("a=1", True), ("a=true", True), ("a=0", False)]
)
def test_flags(text: str, value: bool) -> None:
    assert Query(text, KNOWN).flag("a") is value


def test_numbers() -> None:
    query = Query("a=12&b=1m", KNOWN)
    assert query.integer("a") == 12
    assert query.integer("c") is None
    assert query.duration("b") == 60
    assert query.duration("c") is None


@pytest.mark.parametrize(
    ("text", "ask", "message"),
    [
        ("c=1", str, "c: no such parameter here"),
        ("a=1&a=2", lambda q: q.one("a"), "a: given more than once"),
        ("a=maybe", lambda q: q.flag("a"), "a: want 1 or 0"),
        ("a=-1", lambda q: q.integer("a"), "a: want a number"),
        ("a=" + "9" * 19, lambda q: q.integer("a"), "a: want a number"),
        ("a=soon", lambda q: q.duration("a"), "a: 'soon' is not a duration"),
        ("&".join(["a=1"] * 1001), str, "query: more than 1000 parameters"),
    ],
)
def test_errors_name_the_parameter(text: str, ask: Callable[[Query], object], message: str) -> None:
    with pytest.raises(BadParameterError) as caught:
        ask(Query(text, KNOWN))
    assert str(caught.value).startswith(message)


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=40))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        Query(text, KNOWN).all("a")
    except BadParameterError as error:
        message = str(error)
    else:
        message = ""
    assert not message or message.isprintable()


def test_nothing_between_two_ampersands_is_nothing() -> None:
    query = Query("&a=1&&b=%20+x&", frozenset({"a", "b"}))
    assert (query.one("a"), query.one("b"), list(query)) == ("1", "  x", ["a", "b"])
