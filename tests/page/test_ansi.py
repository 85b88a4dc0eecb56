"""Colors, links and what else a terminal would obey."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.harness import needs
from tests.page.conftest import Ask

pytestmark = needs("node")


@pytest.mark.parametrize(
    ("text", "style"),
    [
        ("\x1b[1;3m", {"fontWeight": "bold", "fontStyle": "italic"}),
        ("\x1b[1m\x1b[22m", {}),
        ("\x1b[1m\x1b[m", {}),
        ("\x1b[38;2;1;2;3m", {"color": "rgb(1,2,3)"}),
        ("\x1b[38:2::1:2:3m", {"color": "rgb(1,2,3)"}),
        ("\x1b[48:2:1:2:3m", {"backgroundColor": "rgb(1,2,3)"}),
        ("\x1b[38;5;200m", {"color": "rgb(255,0,215)"}),
        ("\x1b[38:5:232m", {"color": "rgb(8,8,8)"}),
        ("\x1b[38;5;232;1m", {"color": "rgb(8,8,8)", "fontWeight": "bold"}),
        ("\x1b[58;5;9m", {}),
        ("\x1b[58:2::1:2:3;1m", {"fontWeight": "bold"}),
        ("\x1b[4:3m", {"textDecoration": "underline"}),
        ("\x1b[4:3m\x1b[4:0m", {}),
        ("\x1b[31;39m", {}),
        ("\x1b[7m", {"inverse": True}),
        ("\x1b[38m", {"color": "rgb()"}),
    ],
)
def test_styles(core: Ask, text: str, style: dict[str, object]) -> None:
    assert core("style", text) == style


@pytest.mark.parametrize("n", range(30, 38))
def test_the_16_colors_are_made_for_both_schemes(core: Ask, n: int) -> None:
    for code, name in ((n, "color"), (n + 10, "backgroundColor"), (n + 60, "color")):
        assert core("style", f"\x1b[{code}m")[name].startswith("light-dark(oklch(")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (
            "see https://a.b/c, ok",
            [("see ", None), ("https://a.b/c", "https://a.b/c"), (", ok", None)],
        ),
        ("\x1b]8;;http://x\x07here\x1b]8;;\x07.", [("here", "http://x"), (".", None)]),
        ("\x1b]8;;javascript:alert(1)\x07here\x1b]8;;\x07", [("here", None)]),
        ("\x1b[2J\x1b]0;title\x07\x1b(Bx", [("x", None)]),
        ("\x1b[31mold\r\x1b[mnew", [("new", None)]),
        ("10%\r20%\r", [("20%", None)]),
        ("\u202eevil", [("\\u202eevil", None)]),
    ],
)
def test_pieces(core: Ask, text: str, wanted: list[tuple[str, str | None]]) -> None:
    found = [(piece["text"], piece.get("target") or None) for piece in core("pieces", text)]
    assert found == wanted


def test_a_color_before_a_carriage_return_stays_on(core: Ask) -> None:
    (piece,) = core("pieces", "\x1b[1m50%\r100%")
    assert (piece["text"], piece["style"]) == ("100%", {"fontWeight": "bold"})


@given(st.text(st.sampled_from("a \x1b[]8;:m0138/\\\x07\r\u202ehtp:/é"), max_size=40))
def test_nothing_that_a_terminal_obeys_is_left(core: Ask, text: str) -> None:
    shown = "".join(piece["text"] for piece in core("pieces", text))
    assert shown == core("visible", core("plain", text))
    assert "\x1b" not in shown
    assert "\u202e" not in shown


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""),
        (0.001, "0 s"),
        (1.239, "1.24 s"),
        (59.9, "59 s"),
        (65, "1m 5 s"),
        (90061, "1d 1h 1m 1 s"),
    ],
)
def test_spans(core: Ask, seconds: float | None, text: str) -> None:
    assert core("span", seconds) == text
