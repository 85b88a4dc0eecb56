"""A handler with all that it talks to, and what there is to see in an answer."""

import json
from typing import Any

from rtot.api.answers import Answer, Reply
from rtot.api.auth import Authenticator
from rtot.api.handler import Handler
from rtot.config import Settings
from rtot.http.messages import Body, End, Request, Response
from rtot.jobs.archive import MemoryArchive
from rtot.jobs.job import Job
from rtot.jobs.output import Stream
from rtot.jobs.table import JobTable
from rtot.storage import FileSpan
from tests.world import CREDENTIALS, PEER, SERVER, MemoryDisk, PaperProcesses, PaperStore, at

# The files of the web page.
PAGE = {"index.html": b"<!doctype html>", "app.js": b"go()"}
TIME = "2023-11-14 22:13:21 +0000 UTC"
NEVER = "0001-01-01 00:00:00 +0000 UTC"


class Face:
    """A handler with all that it talks to."""

    def __init__(self, **settings: object) -> None:
        self.settings = Settings(**settings)  # type: ignore[arg-type]
        self.disk = MemoryDisk()
        self.store = PaperStore() if self.settings.state else None
        archive = self.store or MemoryArchive()
        self.jobs = JobTable(self.settings, self.disk, archive, 0, self.store)
        self.world = PaperProcesses(self.jobs)
        authenticator = Authenticator(CREDENTIALS)
        self.handler = Handler(
            self.settings, authenticator, self.jobs, at(0), SERVER, page=PAGE.get
        )
        self.now = at(1)

    def reply(self, method: str, target: str, body: bytes | None = b"", **headers: str) -> Answer:
        """What the handler says."""
        fields = {"host": "localhost", "authorization": "rtot sup", **headers}
        fields = {name.replace("_", "-"): value for name, value in fields.items()}
        length = len(body) if body else None
        asked = Request(method, target, fields, length, body)
        return self.handler.handle(asked, PEER, self.now).answer

    def answer(self, method: str, target: str, body: bytes | None = b"", **headers: str) -> Answer:
        """What the client is to get."""
        answer = self.reply(method, target, body, **headers)
        return answer.response if isinstance(answer, Reply) else answer

    def ask(self, method: str, target: str, body: bytes = b"", **headers: str) -> Response:
        answer = self.answer(method, target, body, **headers)
        assert isinstance(answer, Response)
        return answer

    def submit(self, target: str = "/jobs", body: bytes = b"echo hi", **headers: str) -> Job:
        answer = self.ask("POST", target, body, **headers)
        assert answer.status == 201, text(answer)
        job = self.jobs.get(value(answer)["jobs"][0]["id"])
        assert job is not None
        return job

    def run(self, target: str = "/jobs", out: bytes = b"", err: bytes = b"") -> Job:
        job = self.submit(target)
        self.world.obey(self.now)
        for stream, data in ((Stream.OUT, out), (Stream.ERR, err)):
            if data:
                self.jobs.output_received(job.id, stream, data, self.now)
        return job

    def complete(self, target: str = "/jobs", out: bytes = b"", status: int = 0) -> Job:
        job = self.run(target, out)
        self.world.end(job.id, status, self.now)
        return job


def answered(answer: object) -> Response:
    """The response of a wait that is over."""
    response = answer.response if isinstance(answer, Reply) else answer
    assert isinstance(response, Response)
    return response


def pull(body: Body) -> tuple[bytes, End | None]:
    """All that there is of a body, and its end if it has come."""
    data = b""
    pauses = 0
    while pauses < 50:
        pulled = body.pull(1 << 16)
        if isinstance(pulled, End):
            return data, pulled
        if pulled is None:
            return data, None
        if isinstance(pulled, FileSpan):
            data += pulled.file.read(pulled.offset, pulled.length)
        else:
            pauses = 0 if pulled else pauses + 1
            data += pulled
    return data, None


def text(answer: Response) -> str:
    data = answer.body if isinstance(answer.body, bytes) else pull(answer.body)[0]
    return data.decode()


def value(answer: Response) -> dict[str, Any]:
    found = json.loads(text(answer))
    assert isinstance(found, dict)
    return found


def header(answer: Response, name: str) -> str | None:
    found = [v for n, v in answer.headers if n == name]
    assert len(found) <= 1
    return found[0] if found else None
