"""Bytes of jobs and lines of ours, onto stdout and stderr.

A job's bytes are written as they are by `Screen.write`, which `run` and `logs` alone use. All else
that a server says goes through `visible`: it may hold what commands a terminal (ECMA-48) or turns
the order of characters around (UAX 9).
"""

import os
import select
import threading
from collections.abc import Iterable, Mapping
from typing import Protocol

from rtot.client.failures import FailedError, ReaderGoneError
from rtot.text import reason

_RED, _GREEN, _DIM, _PLAIN = "\033[31m", "\033[32m", "\033[2m", "\033[m"
_OUT, _ERR = 1, 2


def visible(text: str) -> str:
    """The text with each character that cannot be seen written as an escape."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


def _escaped(char: str) -> str:
    return char.encode("unicode_escape", "surrogatepass").decode()


class Sink(Protocol):
    """Where a job's output goes, and what is said about it. Threads may share it."""

    def write(self, stream: str, data: bytes) -> None:
        """`stream` is out or err. Raises ReaderGoneError and FailedError."""

    def tell(self, text: str) -> None:
        """A line of ours."""

    def close(self) -> None:
        """There is nothing more."""


class Screen:
    """stdout and stderr. What is written at once stays together."""

    def __init__(self, environ: Mapping[str, str], color: str = "auto") -> None:
        """`color` is always, never, or auto: on a terminal, unless NO_COLOR or TERM=dumb."""
        # One each: a pager that takes no more of stdout must not silence us.
        self._locks = {_OUT: threading.Lock(), _ERR: threading.Lock()}
        self.is_terminal = os.isatty(_OUT)
        self._progress = ""
        self._dumb = environ.get("TERM", "dumb") == "dumb"
        self.shows_progress = os.isatty(_ERR) and not self._dumb
        plain = environ.get("NO_COLOR") or self._dumb
        self._colors = color == "always" or (color == "auto" and self.is_terminal and not plain)

    @property
    def width(self) -> int | None:
        """Columns of the terminal, None if there is none."""
        return self._size[0] if self.is_terminal else None

    @property
    def height(self) -> int | None:
        """Lines of the terminal, None if there is none or if it cannot be cleared."""
        return self._size[1] if self.is_terminal and not self._dumb else None

    @property
    def _size(self) -> tuple[int, int]:
        try:
            found = os.get_terminal_size(_OUT)
        except OSError:
            return 80, 24
        # A terminal that nobody has told its size has none.
        return found.columns or 80, max(found.lines or 24, 4)

    def write(self, stream: str, data: bytes) -> None:
        fd = _OUT if stream == "out" else _ERR
        with self._locks[fd]:
            _write_all(fd, data)

    def write_together(self, pieces: Iterable[tuple[str, bytes]]) -> None:
        """Pieces of streams, with nothing of others between them."""
        with self._locks[_OUT], self._locks[_ERR]:
            for stream, data in pieces:
                _write_all(_OUT if stream == "out" else _ERR, data)

    def print(self, line: str) -> None:
        """A line on stdout."""
        self.write("out", f"{line}\n".encode(errors="surrogateescape"))

    def print_visible(self, line: str) -> None:
        """A line on stdout, of which parts come from the server."""
        self.print(visible(line))

    def clear(self) -> None:
        """Begin at the top, on nothing."""
        self.write("out", b"\033[H\033[2J")

    def tell(self, text: str) -> None:
        with self._locks[_ERR]:
            clear = "\r\033[K" if self._progress else ""
            self._say(f"{clear}rtot: {visible(text)}\n{self._progress}".encode())

    def progress(self, text: str) -> None:
        """What is going on, if stderr is a terminal; in place of what was said so before."""
        if not self.shows_progress or text == self._progress:
            return
        with self._locks[_ERR]:
            self._say(f"\r\033[K{visible(text)}".encode())
            self._progress = text

    def _say(self, data: bytes) -> None:
        try:
            _write_all(_ERR, data)
        except (ReaderGoneError, FailedError):
            # Nobody hears what we say: the exit status says it too.
            return

    def close(self) -> None:
        """It stays open."""

    def painted(self, text: str, color: str) -> str:
        """The text in red, green or dim, if there are to be colors."""
        if not self._colors:
            return text
        return {"red": _RED, "green": _GREEN, "dim": _DIM}[color] + text + _PLAIN


def _write_all(fd: int, data: bytes) -> None:
    """Raises ReaderGoneError and FailedError."""
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(fd, rest) :]
        except BlockingIOError:
            # Another process that has this terminal or pipe has set O_NONBLOCK.
            select.select([], [fd], [])
        except BrokenPipeError as error:
            raise ReaderGoneError from error
        except OSError as error:
            # A full disk, a terminal that has gone, a descriptor that was never there.
            name = "stdout" if fd == _OUT else "stderr"
            raise FailedError(f"cannot write to {name}: {reason(error)}") from error
