"""Requests to one server: with the secret, to the same life of it, and tried again.

What is tried again must do no harm if it is done twice: whoever asks sees to that.
"""

import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from rtot.client.connection import SILENCE, Request, Response
from rtot.client.failures import FailedError, LostError, RefusedError, RestartedError
from rtot.client.retries import Retries
from rtot.text import decode, is_number

# A proxy that does not reach the server, or a server that has no room or no patience now.
_LATER = {408, 429, 502, 503, 504}
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
        """What the server says about a job, or jobs. Raises FailedError."""
        try:
            value = json.loads(self.body)
        except ValueError as error:
            raise FailedError("this is not rtot: its answer is no JSON") from error
        return value if isinstance(value, dict) else {}

    def header(self, name: str) -> str:
        """A header that is always there. Raises FailedError."""
        return header(self.headers, name)


def header(headers: Mapping[str, str], name: str) -> str:
    """A header that is always there. Raises FailedError."""
    value = headers.get(name)
    if value is None:
        raise FailedError(f"this is not rtot: its answer has no {name}")
    return value


class SystemClock:
    """CLOCK_MONOTONIC."""

    def __init__(self) -> None:
        self._woken = threading.Event()

    def now(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        self._woken.wait(seconds)

    def wake(self) -> None:
        self._woken.set()


class Session:
    """One thread's way to a server."""

    def __init__(self, server: Server, retries: Retries) -> None:
        self.server = server
        self.retries = retries
        self._exchanges = server.connect()

    def read(
        self, request: Request, silence: float | None = SILENCE, *, once: bool = False
    ) -> Reply:
        """All of the answer. `once`: do not ask again what may have been done.

        Raises RefusedError, RestartedError, GaveUpError, FailedError.
        """
        while True:
            response = self._ask(request, silence, once)
            try:
                body = response.read()
            except LostError as error:
                self._lost(error, once)
            else:
                self.retries.back()
                return Reply(response.status, response.headers, body)

    def open(self, request: Request) -> Response:
        """The head of the answer; say `retries.back` when something has come of it. Raises so."""
        return self._ask(request, SILENCE, once=False)

    def _ask(self, request: Request, silence: float | None, once: bool) -> Response:
        while True:
            try:
                signed = self.server.signed(request)
                response = self._exchanges.exchange(signed, self.retries.at_most(silence))
                if 200 <= response.status < 300:
                    self._check(response)
                    return response
                body = response.read()
            except LostError as error:
                self._lost(error, once)
                continue
            why = _message(response.status, body)
            if response.status == 412:
                raise RestartedError("the server was started anew, and has other jobs")
            if response.status not in _LATER:
                raise RefusedError(response.status, why)
            floor = response.headers.get("retry-after", "")
            seconds = min(_LONGEST_FLOOR, float(floor)) if is_number(floor) else 0.0
            self.retries.lost(why, seconds)

    def _check(self, response: Response) -> None:
        life = response.headers.get("rtot-server")
        if life is None:
            # A page of a proxy's must not look like something that was done.
            self._exchanges.close()
            raise FailedError("this is not rtot: its answer has no Rtot-Server")
        self.server.life = self.server.life or life

    def _lost(self, error: LostError, once: bool) -> None:
        if once and error.sent:
            raise FailedError(f"{error}; whether it was done is not known") from error
        if error.unknown and not self.server.life:
            raise FailedError(str(error)) from error
        self.retries.lost(str(error))

    def close(self) -> None:
        """Hang up."""
        self._exchanges.close()


class Client(NamedTuple):
    """What a command has: a server, how long to try, and whom to tell of it."""

    server: Server
    retry: float
    tell: Callable[[str], None]

    def session(self, within: float | None = None) -> Session:
        """A way to the server, for one thread, and for so many seconds from now."""
        clock = SystemClock()
        end = None if within is None else clock.now() + within
        return Session(self.server, Retries(self.retry, clock, self.tell, _chance, end))


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


def _chance() -> float:
    return os.urandom(1)[0] / 255
