"""A world for the cores: a clock that is set by hand, disks in memory, processes on paper."""

from signal import Signals

from rtot.api.answers import Answer, NeedBody
from rtot.api.auth import Authenticator
from rtot.api.exchange import Exchange, next_exchange
from rtot.api.exchange import State as Phase
from rtot.api.handler import Handled, Handler
from rtot.api.record import Record
from rtot.clock import Now
from rtot.config import Settings
from rtot.credentials import Credentials, collect, parse_credential
from rtot.http.connection import HttpConnection
from rtot.http.connection_state import State
from rtot.http.messages import Request
from rtot.jobs.archive import MemoryArchive, Recovered, Turn
from rtot.jobs.commands import (
    CloseOutputs,
    CloseStdin,
    Command,
    Examine,
    FindHolders,
    Report,
    ReportBug,
    WriteStdin,
)
from rtot.jobs.examination import ProcessStatus
from rtot.jobs.job import Job, Usage
from rtot.jobs.output import Stream
from rtot.jobs.stop import Cause, RunStopCommand, Signal, Survey, Why
from rtot.jobs.table import JobTable
from rtot.storage import FileSpan, StorageError


def secrets(*lines: str) -> Credentials:
    """What a file of these lines stands for."""
    return collect(map(parse_credential, lines))


EPOCH = 1_700_000_000_000_000_000
SECRET = b"sup"
SERVER = "0123456789abcdef"
CREDENTIALS = secrets("sup")
# Of a kill that nobody in particular wants.
WHY = Why(Cause.KILL)
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
        self.marks: dict[int, str] = {}

    def store_script(self, job_id: int, script: bytes) -> None:
        if self.broken:
            raise StorageError("no space left on device")
        assert job_id not in self.scripts
        self.scripts[job_id] = script

    def script_path(self, job_id: int) -> str:
        return f"/spool/job-{job_id}"

    def read_script(self, job_id: int, limit: int) -> bytes:
        return self.scripts.get(job_id, b"")[:limit]

    def remove_script(self, job_id: int) -> None:
        del self.scripts[job_id]

    def mark(self, job_id: int, launcher: str) -> None:
        if self.broken:
            raise StorageError("no space left on device")
        self.marks[job_id] = launcher

    def unmark(self, job_id: int) -> None:
        self.marks.pop(job_id, None)

    def open(self, name: str) -> tuple[MemoryFile, int] | None:
        file = self.files.get(name)
        return None if file is None else (file, len(file.data))

    def names(self) -> list[str]:
        return list(self.files)

    def remove(self, name: str) -> None:
        if name in self.files:
            self.files[name].remove()

    def create(self, name: str) -> MemoryFile:
        if self.broken:
            raise StorageError("no space left on device")
        assert name not in self.files
        self.files[name] = MemoryFile(self, name)
        return self.files[name]


class PaperStore(MemoryArchive):
    """A Store on paper: it remembers what it was to keep, if it is not full."""

    __slots__ = ("full", "scripts", "turns")

    def __init__(self) -> None:
        super().__init__()
        self.full = False
        self.turns: list[Turn] = []
        self.scripts: dict[int, bytes] = {}

    def recover(self, now: Now) -> Recovered:
        return Recovered([], [], 0, 0, [], 0, False, False, True)

    def keep(self, turn: Turn) -> None:
        if self.full:
            raise StorageError("no space left on device")
        self.turns.append(turn._replace(new=dict(turn.new)))
        self.scripts |= turn.new

    @property
    def has_work(self) -> bool:
        return False

    def script(self, job_id: int) -> bytes | None:
        return self.scripts.get(job_id)


class PaperProcesses:
    """Answers a job table's commands as a kernel would; nothing runs."""

    def __init__(self, jobs: JobTable) -> None:
        self.jobs = jobs
        self.alive: dict[int, Job] = {}
        self.commands: list[Command] = []
        self.obstinate = False
        """Whether processes ignore everything but KILL."""
        self.unreachable = False
        """Whether stop commands fail."""

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
                stop.delivered(found, number)
                if found and (number is Signals.SIGKILL or not self.obstinate):
                    self.end(stop.job_id, int(number), now)
            case RunStopCommand(stop, number):
                if self.unreachable:
                    self.jobs.stop_command_ended(command, "exit status 1", "no route", now)
                    return
                if stop.job_id in self.alive and (number is Signals.SIGKILL or not self.obstinate):
                    # What stands for it here ends with it.
                    self.end(stop.job_id, int(number), now)
                self.jobs.stop_command_ended(command, "", "", now)
            case Survey(stop, _):
                self.jobs.surveyed(stop, self._found(stop.job_id), now)
            case FindHolders(job_id):
                self.jobs.holders_found(job_id, {77: "holder"})
            case CloseOutputs(job_id):
                for stream in Stream:
                    self.jobs.output_closed(job_id, stream, now)
            case WriteStdin(job_id):
                self.jobs.inputs.written(job_id, len(self.jobs.inputs.pending(job_id)))
            case Examine(examination):
                found = self._found(examination.job_id)
                rows = [
                    ProcessStatus(p, 1, "S", c, (c, "a"), 2.5, 0.25, 8192) for p, c in found.items()
                ]
                examination.count, examination.found = len(rows), rows
                self.jobs.examinations.done(examination)
            case CloseStdin() | Report() | ReportBug():
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


class PaperHandler(Handler):
    """It remembers what it was asked."""

    def __init__(self, settings: Settings, jobs: JobTable) -> None:
        super().__init__(settings, Authenticator(CREDENTIALS), jobs, at(0), SERVER)
        self.asked: list[Request] = []
        """Each request as it was seen last: with its body, if that was wanted."""

    def handle(self, request: Request, peer: str, now: Now) -> Handled:
        self.asked.append(request)
        return super().handle(request, peer, now)

    def go_on(self, needed: NeedBody, body: bytes, now: Now) -> Answer:
        self.asked[-1] = self.asked[-1]._replace(body=body)
        return super().go_on(needed, body, now)


class PaperServer:
    """Connection, handler and job table together, bytes in and bytes out.

    It does what the loop does, without a socket: waits are over at once, as if their time
    had come.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self.disk = MemoryDisk()
        self.jobs = JobTable(self.settings, self.disk, MemoryArchive())
        self.processes = PaperProcesses(self.jobs)
        self.handler = PaperHandler(self.settings, self.jobs)
        self.now = at(1)
        self.connection = PaperConnection(self.settings, self.now)
        self.output = b""
        self.answered: list[str] = []
        """The method of each request that was answered; GET for what was no request."""
        self.records: list[Record] = []
        self.exchange: Exchange | None = None

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
            for job_id in self.jobs.take_changes():
                if self.exchange is not None and job_id in self.exchange.topics:
                    self.exchange.changed(job_id, self.now)
            exchange = self.exchange
            if exchange is not None and exchange.state is Phase.WAITING:
                assert exchange.deadline is not None
                exchange.expire(at(exchange.deadline))
            if not self._flush() and not self.connection.has_work:
                return

    def _advance(self) -> None:
        if self.exchange is not None and self.exchange.state is Phase.RESPONDING:
            return
        if self.exchange is None:
            self.exchange = next_exchange(self.handler, self.connection, PEER, self.now)
        if self.exchange is not None:
            self.exchange.advance(self.now)
            if self.exchange.state is Phase.RESPONDING:
                self.answered.append("GET" if (r := self.connection.request) is None else r.method)

    def _flush(self) -> bool:
        """Whether there was anything to do."""
        exchange = self.exchange
        if exchange is not None and exchange.state is not Phase.RESPONDING:
            exchange.begin(self.now)
            if exchange.state is Phase.RESPONDING:
                request = self.connection.request
                self.answered.append(request.method if request is not None else "GET")
        progress = False
        while pieces := self.connection.data_to_send(self.now):
            progress = True
            for piece in pieces:
                if isinstance(piece, FileSpan):
                    self.output += piece.file.read(piece.offset, piece.length)
                else:
                    self.output += piece
            self.connection.sent(sum(map(len, pieces)), self.now)
        responding = exchange is not None and exchange.state is Phase.RESPONDING
        if exchange is not None and responding and self.connection.state is not State.RESPONDING:
            self.records.append(exchange.complete(self.now))
            self.exchange = None
            return True
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
