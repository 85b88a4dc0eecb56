"""A job's story as lines of JSON, and how it goes on after a lost connection.

The id of an event says what was told up to and with it. Whoever asks for what comes after it gets
every byte once.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from rtot.client.connection import Request, Response
from rtot.client.failures import FailedError, LostError
from rtot.client.session import Session, header

_LINES = ("Accept", "application/x-ndjson")


class Event(NamedTuple):
    """`name` as in README, *Output and events*; `data` of `out` and `err`, decoded.

    `time` in seconds since 1970, if the server was asked for such times.
    """

    name: str
    id: str
    time: float
    data: bytes
    fields: Mapping[str, Any]


def parse_event(line: bytes) -> Event:
    """The event of one line. Raises FailedError."""
    try:
        fields = json.loads(line)
        data = b""
        if "text" in fields:
            data = fields["text"].encode()
        elif "base64" in fields:
            import binascii

            data = binascii.a2b_base64(fields["base64"], strict_mode=True)
        return Event(fields["event"], fields.get("id", ""), fields["time"], data, fields)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FailedError(f"this is no event of rtot's: {line[:80]!r}") from error


def whole_lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Lines without their ends. The beginning of one that never ended is dropped."""
    rest: list[bytes] = []
    for piece in pieces:
        head, *lines = piece.split(b"\n")
        rest.append(head)
        for line in lines:
            yield b"".join(rest)
            rest = [line]


class Story:
    """What a job tells, whatever becomes of connections meanwhile.

    `lease` in seconds: the job ends if nobody who asks for one is connected for as long.
    """

    def __init__(
        self, session: Session, *, follow: bool, lease: int = 0, tail: int | None = None
    ) -> None:
        self._session = session
        self._follow = follow
        self._lease = lease
        self._tail = tail
        self._last = ""

    def of_new(self, request: Request) -> Iterator[Event]:
        """Of the job that the request makes. Its first event is `location`: `data` is the path.

        The request must have an Idempotency-Key, as it may be sent again.
        """
        response = self._session.open(_with_lines(request))
        path = job_at(header(response.headers, "location"))
        yield Event("location", "", 0.0, path.encode(), {})
        yield from self._tell(path, response)

    def of(self, path: str) -> Iterator[Event]:
        """Of the job with that path."""
        yield from self._tell(path, self._session.open(self._request(path)))

    def _tell(self, path: str, response: Response) -> Iterator[Event]:
        while response.status != 204:
            try:
                for line in whole_lines(response.pieces):
                    self._session.retries.back()
                    event = parse_event(line)
                    if event.id:
                        yield event
                        self._last = event.id
                        if event.name == "complete":
                            return
                if not self._follow:
                    return
                self._session.retries.lost("the stream has ended early")
            except LostError as error:
                self._session.retries.lost(str(error))
            response = self._session.open(self._request(path))

    def _request(self, path: str) -> Request:
        query = "?times=unix"
        if self._follow:
            query += "&follow"
        if self._lease:
            query += f"&lease={self._lease}"
        if self._tail is not None and not self._last:
            query += f"&tail={self._tail}"
        request = _with_lines(Request("GET", f"{path}/events{query}"))
        if self._last:
            request = request._replace(headers=(*request.headers, ("Last-Event-ID", self._last)))
        return request


def job_at(location: str) -> str:
    """The path of a job, whatever a proxy has put before it. Raises FailedError."""
    found = re.search(r"/jobs/[0-9]{1,18}$", location)
    if found is None:
        raise FailedError("this is not rtot: its Location is no job's")
    return found[0]


def _with_lines(request: Request) -> Request:
    return request._replace(headers=(*request.headers, _LINES))
