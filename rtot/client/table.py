"""Columns of text for people."""

from collections.abc import Iterable, Sequence

from rtot.client.screen import visible

_GAP = "  "
_UNITS = ((86400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s"))


def lay_out(rows: Iterable[Sequence[str]], width: int | None = None) -> list[str]:
    """Lines in which each column is as wide as its widest cell; the last one takes what is left.

    With a `width` a line is cut there.
    """
    shown = [[visible(cell) for cell in row] for row in rows]
    widths = [max(map(_width, column)) for column in zip(*shown, strict=True)]
    lines = []
    for row in shown:
        cells = [cell + " " * (wide - _width(cell)) for cell, wide in zip(row, widths, strict=True)]
        line = _GAP.join(cells).rstrip()
        lines.append(line if width is None else _cut(line, width))
    return lines


def _width(text: str) -> int:
    """Columns of a terminal (UAX 11)."""
    if text.isascii():
        return len(text)
    import unicodedata

    return sum(
        0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF")
        for c in text
    )


def _cut(line: str, width: int) -> str:
    if _width(line) <= width:
        return line
    while _width(line) >= width:
        line = line[: min(len(line) - 1, width)]
    return f"{line}…"


def duration(seconds: float) -> str:
    """A time span in one or two units: `0.42s`, `17s`, `3m12s`, `2h05m`, `9d04h`."""
    if seconds < 10:
        return f"{max(0.0, seconds):.2g}s" if seconds >= 0.005 else "0s"
    for length, unit, smaller, small in _UNITS:
        if seconds >= length:
            whole, rest = divmod(int(seconds), length)
            return f"{whole}{unit}{rest // smaller:02}{small}"
    return f"{int(seconds)}s"


def size(count: int) -> str:
    """Bytes in a unit of 1024."""
    value = float(count)
    for unit in ("B", "K", "M", "G"):
        if value < 1024:
            return f"{int(value)}{unit}" if value >= 10 or unit == "B" else f"{value:.1f}{unit}"
        value /= 1024
    return f"{value:.1f}T"
