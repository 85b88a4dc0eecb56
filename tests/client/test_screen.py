"""When there are colors."""

import pytest

from rtot.client.screen import Screen


@pytest.mark.parametrize(
    ("environ", "color", "colored"),
    [
        ({"TERM": "xterm"}, "auto", True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, "auto", False),
        ({"TERM": "xterm", "NO_COLOR": ""}, "auto", True),
        ({"TERM": "dumb"}, "auto", False),
        ({}, "auto", False),
        ({"TERM": "xterm"}, "never", False),
        ({"TERM": "dumb", "NO_COLOR": "1"}, "always", True),
    ],
)
def test_colors_on_a_terminal(
    environ: dict[str, str], color: str, colored: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.isatty", lambda _: True)
    painted = Screen(environ, color).painted("x", "red")
    assert painted == ("\033[31mx\033[m" if colored else "x")


def test_none_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.isatty", lambda _: False)
    screen = Screen({"TERM": "xterm"})
    assert screen.painted("x", "red") == "x"
    assert (screen.width, screen.height, screen.shows_progress) == (None, None, False)
