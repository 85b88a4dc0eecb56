"""Requests to one server: with the secret, to the same life of it, and tried again.

What is tried again must do no harm if it is done twice: whoever asks sees to that.
"""

import json
import os
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from rtot.client.connection import SILENCE, Request, Response
from rtot.client.failures import LostError, RefusedError, RestartedError
from rtot.client.retries import Retries
from rtot.text import decode, is_number

# A proxy that does not reach the server, or a server that has no room now.
_LATER = {429, 502, 503, 504}
_LONGEST_FLOOR = 60.0


class Exchanges(Protocol):
    """A Connection, or what stands for one."""

    def exchange(self, request: Request, silence: float | None = SILENCE) -> Response: ...
    def close(self) -> None: ...


class Server:
    """One server, as all who speak to it know it."""

    def __init__(self, name: str, secret: str, connect: Callable[[], Exchanges]) -> None:
        self.name = name
        self.connect = connect
        self._secret = secret
        self.life = ""
        """The id of the server's life that was met first (Rtot-Server), when one was met."""

    def signed(self, request: Request) -> Request:
        """The request as it is sent."""
        fields = request.headers
        if self._secret:
            fields = (("Authorization", f"rtot {self._secret}"), *fields)
        if self.life:
            fields = (*fields, ("Rtot-Server", self.life))
        return request._replace(headers=fields)


class Reply(NamedTuple):
    """A whole answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        """What the server says about a job, or jobs."""
        value = json.loads(self.body)
        assert isinstance(value, dict)
        return value


class SystemClock:
    """CLOCK_MONOTONIC."""

    def now(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class Session:
    """One thread's way to a server."""

    def __init__(self, server: Server, retries: Retries) -> None:
        self.server = server
        self.retries = retries
        self._exchanges = server.connect()

    def read(self, request: Request, silence: float | None = SILENCE) -> Reply:
        """All of the answer. Raises RefusedError, RestartedError, GaveUpError, FailedError."""
        while True:
            response = self.open(request, silence)
            try:
                body = response.read()
            except LostError as error:
                self.retries.lost(str(error))
            else:
                self.retries.back()
                return Reply(response.status, response.headers, body)

    def open(self, request: Request, silence: float | None = SILENCE) -> Response:
        """The head of the answer; say `retries.back` when something has come of it. Raises so."""
        while True:
            try:
                response = self._exchanges.exchange(self.server.signed(request), silence)
                if response.status < 400:
                    self.server.life = self.server.life or response.headers.get("rtot-server", "")
                    return response
                body = response.read()
            except LostError as error:
                self.retries.lost(str(error))
                continue
            why = _message(response.status, body)
            if response.status == 412:
                raise RestartedError("the server was started anew, and has other jobs")
            if response.status not in _LATER:
                raise RefusedError(response.status, why)
            floor = response.headers.get("retry-after", "")
            seconds = min(_LONGEST_FLOOR, float(floor)) if is_number(floor) else 0.0
            self.retries.lost(why, seconds)

    def close(self) -> None:
        """Hang up."""
        self._exchanges.close()


class Client(NamedTuple):
    """What a command has: a server, how long to try, and whom to tell of it."""

    server: Server
    retry: float
    tell: Callable[[str], None]

    def session(self) -> Session:
        """A way to the server, for one thread."""
        retries = Retries(self.retry, SystemClock(), self.tell, lambda: os.urandom(1)[0] / 255)
        return Session(self.server, retries)


def _message(status: int, body: bytes) -> str:
    """What the server, or a proxy before it, says of a refusal."""
    try:
        value = json.loads(body)
    except ValueError:
        line = decode(body).strip().partition("\n")[0].strip()
        return (
            f"{line[:200]} (status {status})" if line.isprintable() and line else f"status {status}"
        )
    fields = value if isinstance(value, dict) else {}
    words = [str(fields[name]) for name in ("error", "message") if fields.get(name)]
    return ": ".join(words) or f"status {status}"
