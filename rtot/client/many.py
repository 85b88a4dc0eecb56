"""The same script on many servers, some at a time.

The output of each is told from that of the others by its name: line by line as it comes, or all of
one when it is there.
"""

import threading
from collections.abc import Iterator, Sequence
from itertools import chain
from queue import Empty, SimpleQueue
from typing import NamedTuple

from rtot.client.attend import outcome
from rtot.client.failures import FailedError
from rtot.client.phases import Reaction
from rtot.client.run import Run
from rtot.client.screen import Screen, visible
from rtot.text import reason

_MOST_OF_LINE = 64 * 1024
_IN_MEMORY = 64 * 1024


class Member(NamedTuple):
    """One of the servers, by its URL, and the run there."""

    url: str
    run: Run


class Many:
    """All of the runs, so many at a time."""

    def __init__(self, members: Sequence[Member], at_once: int, screen: Screen) -> None:
        self._members = members
        self._at_once = at_once
        self._screen = screen

    def work(self) -> int:
        """Run them all; the worst exit status. Those that failed are named last."""
        waiting: SimpleQueue[Member] = SimpleQueue()
        ended: SimpleQueue[tuple[str, int]] = SimpleQueue()
        for member in self._members:
            waiting.put(member)

        def take() -> None:
            while True:
                try:
                    member = waiting.get_nowait()
                except Empty:
                    return
                ended.put((member.url, outcome(member.run.work)))

        for _ in range(min(self._at_once, len(self._members))):
            threading.Thread(target=take, daemon=True).start()
        statuses = dict(ended.get() for _ in self._members)
        failed = [url for url in (member.url for member in self._members) if statuses[url]]
        if failed:
            self._screen.tell(f"{len(failed)} of {len(statuses)} failed: --on {','.join(failed)}")
        return max(statuses.values())

    def signalled(self, number: int) -> int | None:
        """All are told. An exit status if there is nothing left to stay for."""
        found = {member.run.signalled(number) for member in self._members}
        return 128 + number if found <= {Reaction.LEAVE, Reaction.NOTHING} else None


class Prefixed:
    """Whole lines, each behind a name."""

    def __init__(self, screen: Screen, name: str) -> None:
        self._screen = screen
        self._name = name
        self._prefix = f"{name}: ".encode()
        self._rest = {"out": b"", "err": b""}

    def write(self, stream: str, data: bytes) -> None:
        *lines, rest = (self._rest[stream] + data).split(b"\n")
        if len(rest) > _MOST_OF_LINE:
            lines, rest = [*lines, rest], b""
        self._rest[stream] = rest
        if lines:
            self._screen.write(stream, b"".join(self._prefix + line + b"\n" for line in lines))

    def tell(self, text: str) -> None:
        self._screen.tell(f"{self._name}: {text}")

    def close(self) -> None:
        for stream, rest in self._rest.items():
            if rest:
                self.write(stream, b"\n")


class Grouped:
    """All of one server together, under its name, when it is over."""

    def __init__(self, screen: Screen, name: str) -> None:
        import tempfile

        self._screen = screen
        self._name = name
        self._lock = threading.Lock()

        self._held = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115
        self._lengths: list[tuple[str, int]] = []

    def write(self, stream: str, data: bytes) -> None:
        with self._lock:
            if self._held.closed:
                # What an action beside the run still has to say.
                self._screen.write(stream, data)
                return
            try:
                self._held.write(data)
            except OSError as error:
                raise FailedError(f"cannot keep the output: {reason(error)}") from error
            if self._lengths and self._lengths[-1][0] == stream:
                self._lengths[-1] = (stream, self._lengths[-1][1] + len(data))
            else:
                self._lengths.append((stream, len(data)))

    def tell(self, text: str) -> None:
        self.write("err", f"rtot: {visible(text)}\n".encode())

    def close(self) -> None:
        title = ("out", f"== {self._name} ==\n".encode())
        with self._lock, self._held:
            self._held.seek(0)
            self._screen.write_together(chain([title], self._pieces()) if self._lengths else ())

    def _pieces(self) -> Iterator[tuple[str, bytes]]:
        for stream, length in self._lengths:
            while length:
                data = self._held.read(min(length, _IN_MEMORY))
                length -= len(data)
                yield stream, data
