"""What the operator reads: one bounded line for each request, and for what else happens.

Lines go to stderr, and never hold the server up: a reader that is too slow loses lines, and
is told how many. No line has a script, a secret or a control character in it.
"""

import os
import select
from collections import deque
from collections.abc import Mapping

from rtot.clock import Now
from rtot.text import ascii_string, format_time
from rtot.throttle import Bucket

# A pipe that is writable takes this much without blocking (pipe(7), PIPE_BUF).
_ATOMIC = 4096
_MOST_TEXT = 500
_MOST_TRACEBACK = 3000
_MOST_PENDING = 1000
# Lines that anybody can cause without a secret: so many at once, then one a second.
_COMPLAINTS = 10
_FAILED = frozenset({401, 429})


def escape(text: str, most: int) -> str:
    """At most `most` characters, with everything that a terminal could obey made visible."""
    cut = text if len(text) <= most else text[: most - 3] + "..."
    if cut.isprintable() and '"' not in cut and "\\" not in cut:
        return cut
    return "".join(map(_escape_character, cut))


def _escape_character(c: str) -> str:
    if c in '"\\':
        return "\\" + c
    return c if c.isprintable() else c.encode("unicode_escape").decode()


Value = str | int | float | tuple[str, ...]
Pairs = Mapping[str, Value]
# Of a value that is several texts, at most so many.
_MOST_TEXTS = 20


def text_line(now: Now, level: str, message: str, pairs: Pairs, most: int = _MOST_TEXT) -> bytes:
    """logfmt, like the original's text format; of each text at most so many characters."""
    line = f'time="{format_time(now.wall)}" level={level} msg="{escape(message, most)}"'
    for name, value in pairs.items():
        if isinstance(value, tuple):
            value = ",".join(value[:_MOST_TEXTS])
        text = f'"{escape(value, most)}"' if isinstance(value, str) else value
        line += f" {name}={text}"
    data = f"{line}\n".encode(errors="replace")
    return data if len(data) <= _ATOMIC else text_line(now, level, message, pairs, most // 2)


def json_line(now: Now, level: str, message: str, pairs: Pairs, most: int = _MOST_TEXT) -> bytes:
    """One JSON object; of each text at most so many characters."""
    more = "".join(f',"{name}":{_json_value(value, most)}' for name, value in pairs.items())
    text = ascii_string(escape(message, most))
    line = f'{{"time":"{format_time(now.wall)}","level":"{level}","msg":{text}{more}}}\n'
    # It is ASCII. A line that had to be cut would be no JSON.
    if len(line) > _ATOMIC:
        return json_line(now, level, message, pairs, most // 2)
    return line.encode()


def _json_value(value: Value, most: int) -> str | int | float:
    if isinstance(value, str):
        return ascii_string(value[:most])
    if isinstance(value, tuple):
        each = most // max(1, min(len(value), _MOST_TEXTS))
        return f"[{','.join(ascii_string(text[:each]) for text in value[:_MOST_TEXTS])}]"
    return value


def traceback_lines(failure: BaseException, now: Now, *, as_json: bool) -> bytes:
    """The traceback of a bug of ours, cut at its beginning if it is long."""
    import traceback

    text = "".join(traceback.format_exception(failure))
    if as_json:
        cut = {"traceback": text[-_MOST_TRACEBACK:]}
        return json_line(now, "error", "internal server error", cut, _MOST_TRACEBACK)
    return text.encode(errors="replace")[-_ATOMIC:]


class Log:
    """Lines on their way to a descriptor."""

    __slots__ = ("_as_json", "_buckets", "_dropped", "_fd", "_lines", "_poll", "_withheld")

    def __init__(self, fd: int, *, as_json: bool) -> None:
        self._fd = fd
        self._as_json = as_json
        self._lines: deque[bytes] = deque()
        self._dropped = 0
        # Apart, so that none can hide failed guesses behind requests for `/ping`.
        self._buckets = {level: Bucket(_COMPLAINTS, 1.0) for level in ("info", "warning")}
        self._withheld = 0
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)

    def info(self, now: Now, message: str, **pairs: Value) -> None:
        self._add(now, "info", message, **pairs)

    def warning(self, now: Now, message: str, **pairs: Value) -> None:
        self._add(now, "warning", message, **pairs)

    def warn_rarely(self, now: Now, message: str, **pairs: Value) -> None:
        """A warning that anybody can cause without a secret: a few, then one a second.

        The next one tells how many were withheld.
        """
        self._rarely(now, "warning", message, pairs)

    def _rarely(self, now: Now, level: str, message: str, pairs: dict[str, Value]) -> None:
        if not self._buckets[level].take(now.monotonic):
            self._withheld += 1
            return
        if self._withheld:
            pairs["withheld"] = self._withheld
            self._withheld = 0
        self._add(now, level, message, **pairs)

    def request(
        self,
        now: Now,
        peer: str,
        method: str,
        target: str,
        status: int,
        sent: int,
        seconds: float,
        by: str,
        job: int | None,
        id: str,
        anonymous: bool,
    ) -> None:
        """A request was answered with `sent` bytes after `seconds`. `target` may be shown.

        `by`: who asked. `job`: the one that it was about. `id`: of the request. `anonymous`:
        nobody has come with a secret.
        """
        pairs: dict[str, Value] = {
            "by": by,
            "peer": peer,
            "method": method,
            "target": target,
            "status": status,
            "bytes": sent,
            "seconds": round(seconds, 6),
            "id": id,
        }
        if job is not None:
            pairs["job"] = job
        message = "authentication failed" if status in _FAILED else "request"
        if anonymous:
            self._rarely(now, "warning" if status in _FAILED else "info", message, pairs)
        else:
            self._add(now, "info", message, **pairs)

    def _add(self, now: Now, level: str, message: str, **pairs: Value) -> None:
        if len(self._lines) >= _MOST_PENDING:
            self._dropped += 1
            return
        line = json_line if self._as_json else text_line
        self._lines.append(line(now, level, message, pairs))

    def bug(self, failure: Exception, now: Now) -> None:
        """Log the traceback of an exception that should never have been raised.

        A lack of memory is no bug, and no time to format a traceback.
        """
        if isinstance(failure, MemoryError):
            self.warn_rarely(now, "out of memory")
        elif len(self._lines) >= _MOST_PENDING:
            self._dropped += 1
        else:
            self._lines.append(traceback_lines(failure, now, as_json=self._as_json))

    def flush(self, now: Now) -> None:
        """Write what can be written without waiting."""
        while self._lines and self._poll.poll(0):
            portion = self._lines.popleft()
            size = len(portion)
            while self._lines and size + len(self._lines[0]) <= _ATOMIC // 2:
                line = self._lines.popleft()
                size += len(line)
                portion += line
            try:
                os.write(self._fd, portion)
            except OSError:
                return
            if self._dropped and not self._lines:
                dropped, self._dropped = self._dropped, 0
                self._add(now, "warning", "log lines were dropped", count=dropped)
