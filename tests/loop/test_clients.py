"""Clients on a real socket, turn by turn, with a clock that is set by hand."""

import os
import selectors
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from rtot.api.handler import Handled
from rtot.clock import Now
from rtot.config import Settings
from rtot.http.connection_state import State
from rtot.http.messages import Request, Response
from rtot.jobs.archive import MemoryArchive
from rtot.jobs.job import Job, Reason
from rtot.jobs.output import Stream
from rtot.jobs.table import JobTable
from rtot.loop.client import Client
from rtot.loop.clients import Clients
from rtot.loop.vitals import Vitals
from rtot.system.listeners import Address, Listener, listen
from rtot.system.log import Log
from tests.world import MemoryDisk, PaperHandler, PaperProcesses, at, request


class Loop:
    """The clients' half of a server: no process is started, and time passes when told."""

    def __init__(self, directory: Path, **settings: object) -> None:
        self.settings = Settings(**settings)  # type: ignore[arg-type]
        self.jobs = JobTable(self.settings, MemoryDisk(), MemoryArchive())
        self.processes = PaperProcesses(self.jobs)
        self.handler = PaperHandler(self.settings, self.jobs)
        self.selector = selectors.DefaultSelector()
        self.log_path = directory / "log"
        self.log_fd = os.open(self.log_path, os.O_WRONLY | os.O_CREAT, 0o600)
        self.log = Log(self.log_fd, as_json=False)
        self.vitals = Vitals()
        self.clients = Clients(
            *(self.settings, self.handler, self.jobs, self.selector, self.log, self.vitals)
        )
        (self.listener,) = listen(Address(path=str(directory / "socket")), 0o600)
        self.selector.register(self.listener.sock, selectors.EVENT_READ, self.listener)
        self.now = at(1)
        self.sockets: list[socket.socket] = []

    def connect(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(0)
        sock.connect(self.listener.path)
        self.sockets.append(sock)
        return sock

    def turn(self, seconds: float | None = None) -> None:
        """Turns until there is nothing left to do, at this time."""
        if seconds is not None:
            self.now = at(seconds)
        for _ in range(100):
            ready = self.selector.select(0)
            times = (self.clients.next_deadline(), self.jobs.next_deadline())
            due = min((time for time in times if time is not None), default=1e9)
            if not ready and due > self.now.monotonic and not self.clients.has_work:
                return
            self._turn(ready)
        raise AssertionError("there is always something left to do")

    def _turn(self, ready: list[tuple[selectors.SelectorKey, int]]) -> None:
        for key, mask in ready:
            match key.data:
                case Listener() as listener:
                    self.clients.accept(listener, self.now)
                case Client() as client:
                    if mask & selectors.EVENT_READ:
                        self.clients.receive(client, self.now)
                    if mask & selectors.EVENT_WRITE:
                        self.clients.writable(client, self.now)
        self.jobs.expire(self.now)
        self.clients.expire(self.now)
        self.clients.decide(self.now)
        self.processes.obey(self.now)
        self.clients.wake(self.jobs.take_changes(), self.now)
        self.clients.flush(self.now)
        self.log.flush(self.now)

    def ask(self, sock: socket.socket, *sent: bytes) -> bytes:
        """Send, take turns, and read what has come."""
        for data in sent:
            sock.sendall(data)
        self.turn()
        return read(sock)

    def close(self) -> None:
        self.clients.close(self.now)
        self.selector.close()
        self.listener.close()
        os.close(self.log_fd)
        for sock in self.sockets:
            sock.close()


def read(sock: socket.socket) -> bytes:
    data = b""
    while True:
        try:
            piece = sock.recv(1 << 20)
        except BlockingIOError:
            return data
        if not piece:
            return data + b"<end>"
        data += piece


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[Loop]:
    made = Loop(tmp_path)
    yield made
    made.close()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Loop]:
    """Room for two clients, and for the refusal of one more."""
    made = Loop(tmp_path, max_connections=2, max_refused=1)
    yield made
    made.close()


def run(loop: Loop, target: str = "/jobs") -> Job:
    """A job that runs, submitted by a client that is gone again."""
    sock = loop.connect()
    assert loop.ask(sock, request("POST", target, b"echo")).startswith(b"HTTP/1.1 201 ")
    sock.close()
    loop.turn()
    job = loop.jobs.get(loop.jobs.last_id)
    assert job is not None
    return job


def test_requests_on_one_connection(loop: Loop) -> None:
    sock = loop.connect()
    answer = loop.ask(sock, request("GET", "/jobs?fields="))
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert loop.ask(sock, request("GET", "/nope"), request("GET", "/ping")).count(b"HTTP/1.1") == 2
    assert len(loop.clients) == 1
    log = loop.log_path.read_text()
    assert f'target="/jobs?fields=" status=200 bytes={len(answer)} ' in log
    assert log.count("request") == 3


def test_after_an_answer_nothing_is_left_of_it(loop: Loop) -> None:
    run(loop)
    sock = loop.connect()
    answer = loop.ask(sock, request("GET", "/jobs/0/out?follow"))
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert set(loop.clients.watchers._clients) == {0}
    loop.jobs.output_received(0, Stream.OUT, b"hello", loop.now)
    loop.turn()
    assert b"hello" in read(sock)
    loop.processes.end(0, 0, loop.now)
    loop.turn()
    assert read(sock).endswith(b"Rtot-Exit: 0\r\n\r\n")
    (client,) = loop.clients._clients
    assert (client.topics, client.exchange, loop.clients.watchers._clients) == ((), None, {})
    assert client.http.state is State.IDLE
    # And it goes on.
    assert loop.ask(sock, request("GET", "/ping")).startswith(b"HTTP/1.1 200 ")


def test_a_wait_ends_with_the_job_or_with_its_time(loop: Loop) -> None:
    run(loop)
    one, other = loop.connect(), loop.connect()
    assert loop.ask(one, request("GET", "/jobs/0?wait=5")) == b""
    assert loop.ask(other, request("GET", "/jobs/0?wait=9")) == b""
    loop.turn(6)
    assert read(one).startswith(b"HTTP/1.1 202 ")
    assert read(other) == b""
    loop.processes.end(0, 0, loop.now)
    loop.turn()
    assert read(other).startswith(b"HTTP/1.1 200 ")


def test_a_stop_that_is_over_in_the_turn_that_asked_for_it(loop: Loop) -> None:
    run(loop)
    sock = loop.connect()
    assert loop.ask(sock, request("POST", "/jobs/0/kill")) == b""
    # The job table looks after its processes at this time.
    loop.turn(loop.jobs.next_deadline())
    assert b'"signalled":[{"pid":1000' in read(sock)


def test_who_hangs_up_while_it_waits_ends_its_lease(loop: Loop) -> None:
    sock = loop.connect()
    loop.ask(sock, request("POST", "/jobs?wait=60&lease", b"echo"))
    job = loop.jobs.get(0)
    assert job is not None
    assert not job.over
    sock.close()
    loop.turn()
    assert (job.over, job.reason, len(loop.clients)) == (True, Reason.KILLED, 0)


def test_whose_secret_is_good_no_more_is_closed_on(loop: Loop) -> None:
    run(loop)
    before = loop.vitals.accepted, loop.vitals.connected
    waiting, idle, open_to_all = loop.connect(), loop.connect(), loop.connect()
    waiting.sendall(request("GET", "/jobs/0?wait=50"))
    assert loop.ask(idle, request("GET", "/jobs")).startswith(b"HTTP/1.1 200 ")
    loop.clients.revoke(loop.now)
    assert (loop.vitals.accepted, loop.vitals.connected) == (before[0] + 3, before[1] + 3)
    loop.handler._authenticator.credentials = {}
    loop.clients.revoke(loop.now)
    # Whoever asks nothing is judged at the next request.
    assert loop.vitals.connected == len(loop.clients) == before[1] + 2
    assert read(waiting) == b"<end>"
    assert loop.ask(idle, request("GET", "/jobs")).startswith(b"HTTP/1.1 401 ")
    assert loop.ask(open_to_all, request("GET", "/ping")).startswith(b"HTTP/1.1 200 ")


def test_who_talks_on_while_it_waits_is_not_heard_for_ever(loop: Loop) -> None:
    run(loop)
    sock = loop.connect()
    loop.ask(sock, request("GET", "/jobs/0?wait=60"))
    for _ in range(20):
        if len(loop.clients):
            sock.sendall(b"x" * 1000)
        loop.turn()
    assert len(loop.clients) == 0


def test_an_upload_is_fed_as_the_job_takes_it(loop: Loop) -> None:
    run(loop, "/jobs?stdin=open")
    sock = loop.connect()
    head = request("POST", "/jobs/0/in?close").replace(b"Length: 0", b"Length: 10")
    assert loop.ask(sock, head, b"hello") == b""
    assert b'{"written":10}' in loop.ask(sock, b"world")
    assert loop.jobs.inputs.pending(0) == b""


def test_an_upload_to_a_job_that_waits_is_dropped_when_its_client_goes(tmp_path: Path) -> None:
    loop = Loop(tmp_path, max_running=1, max_buffer=1000)
    run(loop)
    run(loop, "/jobs?stdin=open")
    sock = loop.connect()
    head = request("POST", "/jobs/1/in").replace(b"Length: 0", b"Length: 5000")
    assert loop.ask(sock, head, b"x" * 5000) == b""
    (client,) = loop.clients._clients
    assert client.interest == 0
    loop.turn(7)
    assert len(loop.clients) == 1
    sock.close()
    # Nothing is read of it: it is asked now and then.
    loop.turn(7.1)
    assert len(loop.clients) == 1
    loop.turn(13)
    assert len(loop.clients) == 0
    loop.close()


def test_at_the_cap_an_idle_client_makes_room(small: Loop) -> None:
    first, second = small.connect(), small.connect()
    small.turn()
    small.ask(first, request("GET", "/ping"))
    third = small.connect()
    assert small.ask(third, request("GET", "/ping")).startswith(b"HTTP/1.1 200 ")
    # It had connected first and said nothing: the other one was idle later.
    assert read(second) == b"<end>"
    assert small.ask(first, request("GET", "/ping")).startswith(b"HTTP/1.1 200 ")
    assert len(small.clients) == 2


def test_at_the_cap_without_an_idle_client(small: Loop) -> None:
    run(small)
    busy = [small.connect() for _ in range(2)]
    for sock in busy:
        small.ask(sock, request("GET", "/jobs/0?wait=60"))
    third, fourth = small.connect(), small.connect()
    small.turn()
    assert read(third).startswith(b"HTTP/1.1 503 ")
    assert read(fourth) == b"<end>"
    small.turn(20)
    assert len(small.clients) == 2


def test_a_client_that_only_seems_idle_is_spared(small: Loop) -> None:
    run(small)
    first, second = small.connect(), small.connect()
    small.turn()
    small.ask(first, request("GET", "/jobs/0?wait=60"))
    small.ask(second, request("GET", "/ping"))
    # Its next request is in the kernel already when the third one connects.
    second.sendall(request("GET", "/ping"))
    third = small.connect()
    small._turn([key for key in small.selector.select(0) if key[0].data is small.listener])
    small.turn()
    assert read(second).startswith(b"HTTP/1.1 200 ")
    assert read(third).startswith(b"HTTP/1.1 503 ")


def test_a_head_that_does_not_come_has_its_time(loop: Loop) -> None:
    sock = loop.connect()
    loop.ask(sock, b"GET / HTT")
    loop.turn(10.9)
    assert read(sock) == b""
    loop.turn(11)
    assert read(sock).startswith(b"HTTP/1.1 408 ")
    loop.turn(99)
    assert len(loop.clients) == 0


def test_who_connects_and_says_nothing_is_closed(loop: Loop) -> None:
    sock = loop.connect()
    loop.turn()
    loop.turn(11)
    assert read(sock) == b"<end>"


def test_a_client_that_does_not_read_holds_nobody_up(loop: Loop) -> None:
    job = run(loop)
    loop.jobs.output_received(0, Stream.OUT, b"x" * 60_000, loop.now)
    job.output._memory = 1 << 24
    loop.jobs.output_received(0, Stream.OUT, b"x" * (4 << 20), loop.now)
    slow, other = loop.connect(), loop.connect()
    slow.sendall(request("GET", "/jobs/0/out"))
    loop.turn()
    (client,) = [c for c in loop.clients._clients if c.exchange is not None]
    assert client.interest & selectors.EVENT_WRITE
    assert loop.ask(other, request("GET", "/ping")).startswith(b"HTTP/1.1 200 ")
    received = b""
    while len(received) < (4 << 20) + 60_000:
        received += read(slow)
        loop.turn()
    loop.turn(99)
    assert len(loop.clients) == 0


def test_who_does_not_read_at_all_is_given_up(loop: Loop) -> None:
    job = run(loop)
    job.output._memory = 1 << 24
    loop.jobs.output_received(0, Stream.OUT, b"x" * (4 << 20), loop.now)
    sock = loop.connect()
    sock.sendall(request("GET", "/jobs/0/out"))
    loop.turn()
    loop.turn(30.9)
    assert len(loop.clients) == 1
    loop.turn(31)
    assert len(loop.clients) == 0
    assert 'target="/jobs/0/out" status=200' in loop.log_path.read_text()


class Broken(PaperHandler):
    """A handler with a bug."""

    failure: Exception = ValueError("ours")

    def handle(self, request: Request, peer: str, now: Now) -> Handled:
        if "broken" in request.target:
            raise self.failure
        if "unsayable" in request.target:
            return Handled(Response(200, (("Bad Name", "x"),)))
        return super().handle(request, peer, now)


@pytest.mark.parametrize(
    ("failure", "target", "status"),
    [
        (ValueError("ours"), "/broken", b"500"),
        (MemoryError(), "/broken", b"503"),
        (ValueError(), "/unsayable", b"500"),
    ],
)
def test_a_bug_of_ours_is_told(loop: Loop, failure: Exception, target: str, status: bytes) -> None:
    handler = Broken(loop.settings, loop.jobs)
    handler.failure = failure
    loop.clients._handler = handler
    sock = loop.connect()
    assert loop.ask(sock, request("GET", target)).startswith(b"HTTP/1.1 " + status)
    assert loop.ask(sock, request("GET", "/ping")).startswith(b"HTTP/1.1 200 ")
    assert ("Traceback" in loop.log_path.read_text()) == (status == b"500")


def test_a_bug_where_nothing_can_be_told_any_more_hangs_up(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("ours")

    sock = loop.connect()
    loop.turn()
    (client,) = loop.clients._clients
    monkeypatch.setattr(type(client.http), "receive_data", fail)
    assert loop.ask(sock, b"GET") == b"<end>"
    assert len(loop.clients) == 0


def test_at_the_end_answers_are_finished_and_idle_clients_closed(loop: Loop) -> None:
    run(loop)
    idle, busy = loop.connect(), loop.connect()
    loop.turn()
    loop.ask(busy, request("GET", "/jobs/0?wait=60"))
    loop.clients.wind_down(loop.now)
    loop.turn()
    assert read(idle) == b"<end>"
    loop.processes.end(0, 0, loop.now)
    loop.turn()
    answer = read(busy)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"Connection: close" in answer


def test_a_selector_without_room_refuses_and_keeps_nothing(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def register(*_: object) -> None:
        raise OSError(28, "No space left on device")

    sock = loop.connect()
    monkeypatch.setattr(loop.selector, "register", register)
    with pytest.raises(OSError, match="No space"):
        loop.clients.accept(loop.listener, loop.now)
    assert len(loop.clients) == 0
    assert read(sock) == b"<end>"
