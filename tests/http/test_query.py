from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtot.http.query import (
    BadParameterError,
    Parameter,
    Query,
    choice,
    duration,
    flag,
    number,
    time,
)

TEXT = Parameter("t", "", "a text", str, {})
TEXTS = Parameter("ts", "", "texts", str, {}, repeatable=True)
FLAG = flag("f", "")
NUMBER = number("n", "")
COUNT = number("c", "", 1)
DURATION = duration("d", "")
CHOICE = choice("ch", "", "this", "that")
KNOWN = (TEXT, TEXTS, FLAG, NUMBER, COUNT, DURATION, CHOICE)


def test_values() -> None:
    query = Query("ts=1&ts=2&t=x%20y+z&n=012&c=1&d=1m&ch=that", KNOWN)
    assert query.all(TEXTS) == ("1", "2")
    assert query.get(TEXT) == "x y z"
    assert (query.get(NUMBER), query.get(COUNT), query.get(DURATION)) == (12, 1, 60.0)
    assert query.get(CHOICE) == "that"
    assert TEXT in query
    assert query.isdisjoint(frozenset({"f"}))
    assert not query.isdisjoint(frozenset({"f", "n"}))


def test_what_is_not_given() -> None:
    query = Query("", KNOWN)
    assert query.all(TEXTS) == ()
    assert query.get(TEXT) is None
    assert query.get(NUMBER, 7) == 7
    assert TEXT not in query
    assert query.isdisjoint(frozenset({"t"}))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        *((f"f{value}", True) for value in ("", "=", "=1", "=true", "=yes")),
        *((f"f={value}", False) for value in ("0", "false", "no")),
    ],
)
def test_flags(text: str, value: bool | None) -> None:
    assert Query(text, KNOWN).get(FLAG) is value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x=1", "x: no such parameter here"),
        ("T=1", "T: no such parameter here"),
        ("t=1&t=2", "t: given more than once"),
        ("t=&t=", "t: given more than once"),
        ("f=maybe", "f: want 1 or 0"),
        ("n=-1", "n: want a number"),
        ("n=\u0661", "n: want a number"),
        ("n=", "n: want a number"),
        ("n=" + "9" * 19, "n: want a number"),
        ("c=0", "c: want at least 1"),
        ("d=soon", "d: 'soon' is not a duration"),
        ("ch=those", "ch: want this or that"),
        ("%0a=1", "\ufffd: no such parameter here"),
        ("y" * 300, "y" * 200 + ": no such parameter here"),
        ("&".join(["ts=1"] * 1001), "query: more than 1000 parameters"),
    ],
)
def test_errors_name_the_parameter(text: str, message: str) -> None:
    with pytest.raises(BadParameterError) as caught:
        Query(text, KNOWN)
    assert str(caught.value).startswith(message)


def test_a_thousand_values() -> None:
    assert Query("&".join(["ts=1"] * 1000), KNOWN).all(TEXTS) == ("1",) * 1000
    assert Query("n=" + "9" * 18, KNOWN).get(NUMBER) == 10**18 - 1


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=40))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        Query(text, KNOWN).all(TEXTS)
    except BadParameterError as error:
        message = str(error)
    else:
        message = ""
    assert not message or message.isprintable()


def test_nothing_between_two_ampersands_is_nothing() -> None:
    a: tuple[Parameter[Any], ...] = (TEXT, TEXTS)
    query = Query("&t=1&&ts=%20+x&", a)
    assert (query.get(TEXT), query.all(TEXTS)) == ("1", ("  x",))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("1700000000", 1_700_000_000 * 10**9),
        ("1700000000.5", 1_700_000_000 * 10**9 + 500_000_000),
        ("0.000000001", 1),
        ("2023-11-14T22:13:20Z", 1_700_000_000 * 10**9),
        ("2023-11-14T22:13:20.25Z", 1_700_000_000 * 10**9 + 250_000_000),
        ("2023-11-14T23:13:20+01:00", 1_700_000_000 * 10**9),
        ("2023-11-14T22:13:20", 1_700_000_000 * 10**9),
        ("2023-11-14", 1_699_920_000 * 10**9),
    ],
)
def test_times(text: str, expected: int) -> None:
    assert time("t", "").parse(text) == expected


@pytest.mark.parametrize("text", ["", "yesterday", "-1", "1e9", "12345678901", "2023-13-01", "1."])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match=r"^$"):
        time("t", "").parse(text)
