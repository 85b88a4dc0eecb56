"""A world for the cores: a clock that is set by hand, disks in memory, processes on paper."""

from signal import Signals

from rtot.api.answers import NeedBody, Reply, Upload
from rtot.api.auth import Authenticator
from rtot.api.control import uploaded
from rtot.api.handler import Handler
from rtot.api.waits import JobsWait, StopWait
from rtot.clock import Now
from rtot.config import Settings
from rtot.http.connection import HttpConnection, State
from rtot.http.messages import Request, Response
from rtot.jobs.commands import CloseOutputs, CloseStdin, Command, FindHolders, Report, WriteStdin
from rtot.jobs.job import Job, Usage
from rtot.jobs.output import Stream
from rtot.jobs.stop import Signal, Survey
from rtot.jobs.table import JobTable
from rtot.storage import FileSpan, StorageError

EPOCH = 1_700_000_000_000_000_000
SECRET = b"sup"
PEER = "192.0.2.1:1234"
USAGE = Usage(1000, 2000, 4096)


def at(seconds: float) -> Now:
    """Both clocks, so many seconds after the start of the test."""
    return Now(seconds, EPOCH + int(seconds * 1_000_000_000))


class MemoryFile:
    """A file on a disk that may be full."""

    def __init__(self, disk: "MemoryDisk", name: str) -> None:
        self.disk = disk
        self.name = name
        self.data = b""
        self.sealed = False

    def append(self, data: bytes) -> int:
        assert not self.sealed
        stored = data[: self.disk.room]
        self.disk.room -= len(stored)
        self.data += stored
        return len(stored)

    def read(self, offset: int, limit: int) -> bytes:
        assert limit >= 0
        return self.data[offset : offset + limit]

    def fileno(self) -> int:
        raise AssertionError("the cores never ask for a descriptor")

    def seal(self) -> None:
        self.sealed = True

    def remove(self) -> None:
        del self.disk.files[self.name]
        self.disk.room += len(self.data)


class MemoryDisk:
    """Storage for a job table: so many bytes of room, and a switch for total failure."""

    def __init__(self, room: int = 1 << 40) -> None:
        self.room = room
        self.broken = False
        self.files: dict[str, MemoryFile] = {}
        self.scripts: dict[int, bytes] = {}

    def store_script(self, job_id: int, script: bytes) -> None:
        if self.broken:
            raise StorageError("no space left on device")
        assert job_id not in self.scripts
        self.scripts[job_id] = script

    def script_path(self, job_id: int) -> str:
        return f"/spool/job-{job_id}"

    def remove_script(self, job_id: int) -> None:
        del self.scripts[job_id]

    def create(self, name: str) -> MemoryFile:
        if self.broken:
            raise StorageError("no space left on device")
        assert name not in self.files
        self.files[name] = MemoryFile(self, name)
        return self.files[name]


class PaperProcesses:
    """Answers a job table's commands as a kernel would; nothing runs."""

    def __init__(self, jobs: JobTable) -> None:
        self.jobs = jobs
        self.alive: dict[int, Job] = {}
        self.commands: list[Command] = []
        self.obstinate = False
        """Whether processes ignore everything but KILL."""

    def obey(self, now: Now) -> None:
        """Carry out all commands and start all jobs, until there are no more."""
        while True:
            commands = self.jobs.take_commands()
            for command in commands:
                self.commands.append(command)
                self._obey(command, now)
            job = self.jobs.take_job(now)
            if job is not None:
                self.start(job, now)
            elif not commands:
                return

    def start(self, job: Job, now: Now) -> None:
        self.jobs.started(job, 1000 + job.id, now)
        self.alive[job.id] = job

    def _obey(self, command: Command, now: Now) -> None:
        match command:
            case Signal(stop, number, _):
                found = self._found(stop.job_id)
                self.jobs.signalled(stop, found, number)
                if found and (number is Signals.SIGKILL or not self.obstinate):
                    self.end(stop.job_id, int(number), now)
            case Survey(stop, _):
                self.jobs.surveyed(stop, self._found(stop.job_id), now)
            case FindHolders(job_id):
                self.jobs.holders_found(job_id, {77: "holder"})
            case CloseOutputs(job_id):
                for stream in Stream:
                    self.jobs.output_closed(job_id, stream, now)
            case WriteStdin(job_id):
                self.jobs.stdin_written(job_id, len(self.jobs.stdin_pending(job_id)))
            case CloseStdin() | Report():
                pass

    def _found(self, job_id: int) -> dict[int, str]:
        return {1000 + job_id: f"job-{job_id}"} if job_id in self.alive else {}

    def end(self, job_id: int, status: int, now: Now) -> None:
        """The leader exits and nobody else holds its pipes."""
        del self.alive[job_id]
        self.jobs.exited(job_id, status, USAGE, now)
        for stream in Stream:
            self.jobs.output_closed(job_id, stream, now)


class PaperConnection(HttpConnection):
    """It remembers why it refused the peer's bytes."""

    __slots__ = ("refused",)

    def __init__(self, settings: Settings, now: Now) -> None:
        super().__init__(settings, now)
        self.refused = ""

    def refuse(self, status: int, why: str, now: Now) -> None:
        self.refused = why
        super().refuse(status, why, now)


class PaperServer:
    """Connection, handler and job table together, bytes in and bytes out.

    It does what the loop does, without a socket: waits are over at once, as if their time
    had come.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self.disk = MemoryDisk()
        self.jobs = JobTable(self.settings, self.disk)
        self.processes = PaperProcesses(self.jobs)
        self.handler = Handler(self.settings, Authenticator((SECRET,)), self.jobs, at(0))
        self.now = at(1)
        self.connection = PaperConnection(self.settings, self.now)
        self.output = b""
        self.answered: list[str] = []
        """The method of each request that was answered; GET for what was no request."""
        self.asked: list[Request] = []
        """Each request as the handler saw it last: with its body, if that was wanted."""
        self._responding = False
        self._needed: NeedBody | None = None
        self.upload: Upload | None = None

    def receive(self, data: bytes) -> None:
        """The client sends; empty: it has nothing more to say."""
        if self.connection.state is State.CLOSED:
            return
        self.connection.receive_data(data, self.now)
        self.turn()

    def turn(self) -> None:
        """Work until there is nothing left to do."""
        while True:
            self._advance()
            self.processes.obey(self.now)
            self.jobs.take_changes()
            progress = self._flush()
            if not progress and not self.connection.has_work and self.upload is None:
                return
            if self.upload is not None and not self._pump(self.upload):
                return

    def _advance(self) -> None:
        while (request := self.connection.next_request(self.now)) is not None:
            needed, self._needed = self._needed, None
            if needed is not None:
                self.asked.pop()
            self.asked.append(request)
            if needed is None:
                answer = self.handler.handle(request, PEER, self.now)
            else:
                assert request.body is not None
                answer = self.handler.go_on(needed, request.body, self.now)
            if isinstance(answer, JobsWait | StopWait):
                answer = answer.answer()
            match answer:
                case Reply():
                    self.connection.respond(answer.response, self.now)
                case Response():
                    self.connection.respond(answer, self.now)
                case NeedBody():
                    self._needed = answer
                    self.connection.read_body(answer.limit, self.now)
                case Upload():
                    self.connection.stream_body(self.now)
                    self.upload = answer

    def _pump(self, upload: Upload) -> bool:
        """Throw away what arrives of an upload; whether there was any."""
        piece = self.connection.next_piece(1 << 16, self.now)
        if self.connection.state is not State.STREAMING:
            self.upload = None
        elif piece is None:
            self.upload = None
            self.connection.respond(uploaded(upload.job_id, 0, self.jobs), self.now)
        return self.upload is None or bool(piece) or self.connection.has_work

    def _flush(self) -> bool:
        progress = False
        if self.connection.state is State.RESPONDING and not self._responding:
            self._responding = True
            request = self.connection.request
            self.answered.append(request.method if request is not None else "GET")
        while pieces := self.connection.data_to_send(self.now):
            progress = True
            for piece in pieces:
                if isinstance(piece, FileSpan):
                    self.output += piece.file.read(piece.offset, piece.length)
                else:
                    self.output += piece
            self.connection.sent(sum(map(len, pieces)), self.now)
        self._responding = self.connection.state is State.RESPONDING
        return progress or self.connection.has_more_to_send


def request(
    method: str,
    target: str,
    body: bytes = b"",
    *headers: tuple[str, str],
    secret: bytes | None = SECRET,
) -> bytes:
    """A well formed request as a client would send it."""
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost"]
    if secret is not None:
        lines.append(f"Authorization: rtot {secret.decode()}")
    if body or method == "POST":
        lines.append(f"Content-Length: {len(body)}")
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join([*lines, "", ""]).encode() + body
