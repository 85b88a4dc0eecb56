"""A server that follows a script, a clock that nobody waits for, and a screen to look at."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from rtot.client.connection import SILENCE, Request, Response
from rtot.client.failures import LostError
from rtot.client.retries import Retries
from rtot.client.screen import Screen
from rtot.client.session import Server, Session


class Answer(NamedTuple):
    """`pieces` of a body; a LostError among them is raised in its place."""

    pieces: Sequence[bytes | LostError] = ()
    status: int = 200
    headers: dict[str, str] = {"rtot-server": "life"}  # noqa: RUF012


class Said(NamedTuple):
    """What is asked, and what comes of it."""

    asked: str
    answer: Answer | LostError


def said(asked: str, value: object = None, status: int = 200, **headers: str) -> Said:
    """An answer in JSON, or of events, one a line."""
    lines = value if isinstance(value, list) else [value]
    pieces = [x if isinstance(x, LostError) else json.dumps(x).encode() + b"\n" for x in lines]
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Said(asked, Answer(pieces, status, {"rtot-server": "life", **named}))


def lost(asked: str, why: str = "gone") -> Said:
    return Said(asked, LostError(why))


class Script:
    """Answers what it was told to expect, in that order, whatever connection it comes on."""

    def __init__(self, *steps: Said) -> None:
        self.steps = list(steps)
        self.requests: list[Request] = []
        self.silences: list[float | None] = []
        self.before: Callable[[], None] = lambda: None
        """What happens while a request is under way."""

    def exchange(self, request: Request, silence: float | None = SILENCE) -> Response:
        self.before()
        self.requests.append(request)
        self.silences.append(silence)
        assert self.steps, f"nobody expects {request.method} {request.target}"
        step = self.steps.pop(0)
        assert f"{request.method} {request.target}".startswith(step.asked)
        if isinstance(step.answer, LostError):
            raise step.answer
        return Response(step.answer.status, step.answer.headers, self._body(step.answer))

    def _body(self, answer: Answer) -> Iterator[bytes]:
        for piece in answer.pieces:
            if isinstance(piece, LostError):
                raise piece
            yield piece

    def close(self) -> None:
        """Another connection follows the same script."""

    def header(self, index: int, name: str) -> str | None:
        """What the request of that number said."""
        return dict(self.requests[index].headers).get(name)


class Clock:
    """Time passes when somebody sleeps."""

    def __init__(self) -> None:
        self.time = 100.0
        self.slept: list[float] = []

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.slept.append(round(seconds, 3))
        self.time += seconds

    def wake(self) -> None:
        """Nobody waits."""


class Paper:
    """Where a job's output is written, and what is said of it."""

    def __init__(self) -> None:
        self.out = b""
        self.err = b""
        self.told: list[str] = []
        self.closed = False

    def write(self, stream: str, data: bytes) -> None:
        if stream == "out":
            self.out += data
        else:
            self.err += data

    def tell(self, text: str) -> None:
        self.told.append(text)

    def close(self) -> None:
        self.closed = True


class Sheet(Screen):
    """A screen, or a terminal of that size."""

    def __init__(self, size: tuple[int, int] | None = None, *, color: bool = False) -> None:
        super().__init__({"TERM": "xterm"}, "always" if color else "never")
        self.paper = Paper()
        self.cleared = 0
        self.progressed: list[str] = []
        self.is_terminal = size is not None
        self._fixed = size or (80, 24)

    @property
    def _size(self) -> tuple[int, int]:
        return self._fixed

    @property
    def lines(self) -> list[str]:
        return self.paper.out.decode().splitlines()

    @property
    def told(self) -> list[str]:
        return self.paper.told

    def write(self, stream: str, data: bytes) -> None:
        self.paper.write(stream, data)

    def write_together(self, pieces: Iterable[tuple[str, bytes]]) -> None:
        for stream, data in pieces:
            self.paper.write(stream, data)

    def tell(self, text: str) -> None:
        self.paper.tell(text)

    def progress(self, text: str) -> None:
        self.progressed.append(text)

    def clear(self) -> None:
        self.cleared += 1
        self.paper.out = b""


class Stage:
    """A client of a server that follows a script."""

    def __init__(self, *steps: Said, retry: float = 60.0) -> None:
        self.script = Script(*steps)
        self.clock = Clock()
        self.paper = Paper()
        self.retry = retry
        self.server = Server("there", "secret", lambda: self.script)

    def session(self) -> Session:
        return Session(self.server, Retries(self.retry, self.clock, self.paper.tell, lambda: 1.0))

    def done(self) -> bool:
        """Whether all of the script was played."""
        return not self.script.steps
