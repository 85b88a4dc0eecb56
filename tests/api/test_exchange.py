"""Exchanges, one event after the other: a connection, a handler and a job table, no loop."""

import math

import pytest

from rtot.api.auth import Authenticator
from rtot.api.exchange import TRANSITIONS, Event, Exchange, State, next_exchange
from rtot.api.handler import Handler
from rtot.api.record import Record
from rtot.config import Settings
from rtot.http import connection_state
from rtot.http.connection import HttpConnection
from rtot.http.errors import error
from rtot.http.messages import Response
from rtot.jobs.archive import MemoryArchive
from rtot.jobs.job import Job, Reason
from rtot.jobs.output import Output, Stream
from rtot.jobs.stdin import BUFFER
from rtot.jobs.table import JobTable
from rtot.jobs.unkept import Refused
from rtot.metrics import render
from tests.tables import drawn
from tests.world import CREDENTIALS, PEER, SERVER, MemoryDisk, PaperProcesses, at, request

ID = f"{at(0).wall // 1000:x}"
TABLE = drawn(
    """
              BODY_NEEDED   WAIT_BEGUN UPLOAD_BEGUN ANSWERED      BEGUN      SENT LOST
ASKED         AWAITING_BODY WAITING    FEEDING      AWAITING_KEEP -          -    OVER
AWAITING_BODY -             WAITING    -            AWAITING_KEEP -          -    OVER
WAITING       -             WAITING    -            AWAITING_KEEP -          -    OVER
FEEDING       -             -          -            AWAITING_KEEP -          -    OVER
AWAITING_KEEP -             WAITING    -            AWAITING_KEEP RESPONDING -    OVER
RESPONDING    -             -          -            -             -          OVER OVER
OVER          -             -          -            -             -          -    -
""",
    State,
    Event,
)


def test_the_table_is_the_one_that_was_drawn() -> None:
    assert TRANSITIONS == TABLE


class Line:
    """One client's connection, and the exchange under way on it."""

    def __init__(self, **settings: float) -> None:
        self.settings = Settings(**settings)  # type: ignore[arg-type]
        self.jobs = JobTable(self.settings, MemoryDisk(), MemoryArchive())
        self.processes = PaperProcesses(self.jobs)
        self.handler = Handler(self.settings, Authenticator(CREDENTIALS), self.jobs, at(0), SERVER)
        self.http = HttpConnection(self.settings, at(1))

    def ask(self, data: bytes) -> Exchange:
        """What comes of these bytes."""
        self.http.receive_data(data, at(1))
        exchange = next_exchange(self.handler, self.http, PEER, at(1))
        assert exchange is not None
        exchange.advance(at(1))
        return exchange

    def send(self, exchange: Exchange) -> bytes:
        """Begin the answer, and send what there is of it."""
        exchange.begin(at(2))
        output = b""
        while pieces := self.http.data_to_send(at(2)):
            assert all(isinstance(piece, bytes) for piece in pieces)
            sent = b"".join(piece for piece in pieces if isinstance(piece, bytes))
            exchange.sent += len(sent)
            self.http.sent(len(sent), at(2))
            output += sent
        return output

    def run(self, target: str = "/jobs") -> Job:
        """A job that runs, submitted by somebody else."""
        other = Line()
        other.handler, other.jobs = self.handler, self.jobs
        exchange = other.ask(request("POST", target, b"echo"))
        assert other.send(exchange).startswith(b"HTTP/1.1 201 ")
        self.processes.obey(at(1))
        job = self.jobs.get(self.jobs.last_id)
        assert job is not None
        return job


def test_an_answer_is_decided_first_and_begun_later() -> None:
    line = Line()
    exchange = line.ask(request("GET", "/jobs?bogus"))
    assert exchange.state is State.AWAITING_KEEP
    assert line.http.state is connection_state.State.HANDED
    assert line.http.data_to_send(at(1)) == []
    output = line.send(exchange)
    assert output.startswith(b"HTTP/1.1 400 ")
    assert exchange.state is State.RESPONDING
    record = Record("GET", "/jobs?...", 400, len(output), 1.0, "-", None, f"{ID}-1", False)
    assert exchange.complete(at(2)) == record
    assert exchange.state is State.OVER


def test_what_cannot_be_kept_is_answered_otherwise() -> None:
    line = Line()
    exchange = line.ask(request("POST", "/jobs", b"echo"))
    assert exchange.state is State.AWAITING_KEEP
    exchange.answer(error(507, "insufficient storage", "the disk is full"), at(1))
    assert line.send(exchange).startswith(b"HTTP/1.1 507 ")
    assert exchange.complete(at(3)).status == 507


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("POST", "/jobs", 507),
        ("POST", "/jobs?wait=9", 507),
        ("DELETE", "/jobs/0", 507),
        ("DELETE", "/jobs/7", 404),
        ("DELETE", "/jobs?state=new", 507),
        ("DELETE", "/", 204),
        ("GET", "/jobs/0", 202),
        ("GET", "/jobs/7", 404),
        ("POST", "/jobs/0/timeout?after=9", 200),
        ("POST", "/queue/pause", 200),
        ("GET", "/ping", 200),
    ],
)
def test_a_turn_that_could_not_be_kept(method: str, target: str, status: int) -> None:
    line = Line()
    job = line.run()
    exchange = line.ask(request(method, target, b"echo" if target.startswith("/jobs") else b""))
    new = [each for each in line.jobs.roster.alive() if each is not job]
    exchange.not_kept(Refused("no space left on device", new), at(1))
    assert line.send(exchange).startswith(b"HTTP/1.1 %d " % status)


def test_an_answer_is_decided_anew_if_what_it_tells_was_dropped() -> None:
    line = Line()
    job = line.run()
    line.jobs.output_received(job.id, Stream.OUT, b"too much", at(1))
    exchange = line.ask(request("GET", "/jobs/0"))
    job.output = Output(MemoryDisk(), "0", limit=0, memory=0)
    exchange.not_kept(Refused("no space left on device", []), at(1))
    assert b"too much" not in line.send(exchange)


def test_who_waits_for_another_job_goes_on_waiting() -> None:
    line = Line()
    line.run()
    exchange = line.ask(request("GET", "/jobs/0?wait=9"))
    exchange.not_kept(Refused("no space left on device", []), at(1))
    assert exchange.state is State.WAITING


def test_nothing_has_come_yet() -> None:
    line = Line()
    line.http.receive_data(request("GET", "/")[:20], at(1))
    assert next_exchange(line.handler, line.http, PEER, at(1)) is None


def test_what_is_no_request_has_an_exchange_for_its_answer() -> None:
    line = Line()
    exchange = line.ask(b"\0\r\n")
    assert exchange.state is State.AWAITING_KEEP
    exchange.advance(at(1))
    output = line.send(exchange)
    assert exchange.complete(at(2)) == Record(
        "-", "-", 400, len(output), 1.0, "-", None, f"{ID}-1", True
    )


def test_a_body_is_read_before_it_is_answered() -> None:
    line = Line()
    whole = request("POST", "/jobs?label=a", b"echo hi")
    exchange = line.ask(whole[:-3])
    assert exchange.state is State.AWAITING_BODY
    assert (exchange.topics, exchange.deadline, exchange.waits) == ((), None, False)
    exchange.advance(at(1))
    exchange.changed(0, at(1))
    exchange.expire(at(99))
    exchange.begin(at(1))
    assert exchange.state is State.AWAITING_BODY
    line.http.receive_data(whole[-3:], at(1))
    exchange.advance(at(1))
    assert exchange.state is State.AWAITING_KEEP
    assert line.send(exchange).startswith(b"HTTP/1.1 201 ")


def test_a_body_that_nobody_wants_is_read_too() -> None:
    line = Line()
    whole = request("POST", "/jobs/0/kill", b"ignored")
    exchange = line.ask(whole[:-3])
    assert exchange.state is State.AWAITING_BODY
    line.run()
    line.http.receive_data(whole[-3:], at(1))
    exchange.advance(at(1))
    assert exchange.state is State.WAITING


def test_a_body_that_is_refused() -> None:
    line = Line(max_body=5)
    head = request("POST", "/jobs", b"", ("Transfer-Encoding", "chunked"))
    head = head.replace(b"Content-Length: 0\r\n", b"")
    exchange = line.ask(head)
    assert exchange.state is State.AWAITING_BODY
    line.http.receive_data(b"6\r\n", at(1))
    exchange.advance(at(1))
    assert exchange.state is State.AWAITING_KEEP
    assert line.send(exchange).startswith(b"HTTP/1.1 413 ")
    assert not exchange.complete(at(2)).anonymous
    assert len(line.jobs) == 0


def test_a_wait_ends_with_its_job() -> None:
    line = Line()
    line.run()
    exchange = line.ask(request("GET", "/jobs/0?wait=5"))
    assert (exchange.state, exchange.topics, exchange.deadline) == (State.WAITING, (0,), 6.0)
    assert exchange.waits
    exchange.changed(0, at(2))
    exchange.advance(at(2))
    exchange.expire(at(5.9))
    assert exchange.state is State.WAITING
    line.processes.end(0, 0, at(2))
    exchange.changed(0, at(2))
    assert exchange.state is State.AWAITING_KEEP
    assert (exchange.topics, exchange.deadline, exchange.waits) == ((), None, False)
    assert line.send(exchange).startswith(b"HTTP/1.1 200 ")


def test_a_wait_ends_with_its_time() -> None:
    line = Line()
    line.run()
    exchange = line.ask(request("GET", "/jobs/0?wait=5"))
    exchange.expire(at(6))
    assert line.send(exchange).startswith(b"HTTP/1.1 202 ")


def test_a_follower_waits_for_its_job_until_the_end_and_no_longer() -> None:
    line = Line()
    line.run()
    exchange = line.ask(request("GET", "/jobs/0/out?follow"))
    assert (exchange.topics, exchange.waits) == ((0,), False)
    line.send(exchange)
    assert (exchange.topics, exchange.waits) == ((0,), True)
    line.jobs.output_received(0, Stream.OUT, b"hello", at(2))
    exchange.changed(0, at(2))
    assert b"hello" in line.send(exchange)
    line.processes.end(0, 0, at(2))
    assert b"Rtot-Exit: 0" in line.send(exchange)
    # Its output is to be kept until the client has all of it.
    assert (exchange.topics, exchange.waits) == ((0,), False)
    exchange.complete(at(3))
    assert exchange.topics == ()
    assert line.http.state is connection_state.State.IDLE


@pytest.mark.parametrize("target", ["/jobs/0/out?follow&lease", "/jobs?wait=5&lease"])
def test_a_lease_ends_with_its_client(target: str) -> None:
    line = Line()
    if target.startswith("/jobs/0"):
        line.run()
        exchange = line.ask(request("GET", target))
        line.send(exchange)
    else:
        exchange = line.ask(request("POST", target, b"echo"))
        line.processes.obey(at(1))
    job = line.jobs.get(0)
    assert job is not None
    record = exchange.lost(at(2))
    assert record is not None
    # Whoever had no answer yet, or only part of it, is told of too.
    expected = (499, 0) if target.startswith("/jobs?") else (200, 0)
    assert (record.status, record.job) == expected
    line.processes.obey(at(2))
    assert line.processes.alive == {}
    assert exchange.state is State.OVER


def test_who_has_no_lease_leaves_the_job_alone() -> None:
    line = Line()
    job = line.run()
    for target in ("/jobs/0?wait=9", "/jobs/0/kill?signal=CONT"):
        exchange = Line.ask(line, request("POST" if "kill" in target else "GET", target))
        record = exchange.lost(at(2))
        assert record is not None
        assert (record.status, record.sent, record.job) == (499, 0, 0)
        line.http = HttpConnection(line.settings, at(1))
    line.processes.obey(at(2))
    assert job.reason is not Reason.KILLED


@pytest.mark.parametrize(("lost", "timed"), [(False, 1), (True, 0)])
def test_a_request_without_an_answer_is_counted_and_not_timed(lost: bool, timed: int) -> None:
    line = Line()
    exchange = line.ask(request("GET", "/jobs/7"))
    if not lost:
        line.send(exchange)
    exchange.lost(at(2))
    text = b"".join(render((line.handler.traffic,))).decode()
    labels = 'method="GET",route="/jobs/{id}"'
    status = 499 if lost else 404
    assert f'rtot_http_requests_total{{{labels},code="{status}"}} 1\n' in text
    assert f"rtot_http_request_seconds_count{{{labels}}} {timed}\n" in text


def upload(line: Line, target: str, body: bytes, size: int | None = None) -> Exchange:
    head = request("POST", target, b"").replace(
        b"Content-Length: 0", b"Content-Length: %d" % (len(body) if size is None else size)
    )
    return line.ask(head + body)


def test_an_upload_goes_to_the_job_as_it_comes() -> None:
    line = Line()
    line.run("/jobs?stdin=open")
    exchange = upload(line, "/jobs/0/in?close", b"hel", 5)
    assert (exchange.state, exchange.topics, exchange.waits) == (State.FEEDING, (0,), False)
    assert exchange.deadline is None
    assert line.jobs.inputs.pending(0) == b"hel"
    line.http.receive_data(b"lo", at(1))
    exchange.advance(at(1))
    exchange.advance(at(1))
    assert line.jobs.inputs.pending(0) == b"hello"
    assert b'{"written":5}' in line.send(exchange)


def test_an_upload_waits_for_room_and_for_its_job() -> None:
    line = Line()
    exchange = line.ask(request("POST", "/jobs?stdin=open", b"cat"))
    line.send(exchange)
    exchange.complete(at(1))
    line.http = HttpConnection(line.settings, at(1))
    body = b"x" * (BUFFER + 5)
    exchange = upload(line, "/jobs/0/in", body)
    # The job has not started.
    assert line.http.deadline is None
    line.processes.obey(at(1))
    exchange.changed(0, at(1))
    assert len(line.jobs.inputs.pending(0)) == BUFFER
    exchange.changed(0, at(1))
    assert line.http.deadline is None
    line.jobs.inputs.written(0, BUFFER)
    for _ in range(2):
        exchange.changed(0, at(1))
    assert b'{"written":%d}' % len(body) in line.send(exchange)


def test_an_upload_that_is_sent_again_is_written_once() -> None:
    line = Line()
    line.run("/jobs?stdin=open")
    taken: list[bytes] = []

    def send(target: str, body: bytes, size: int | None = None) -> bytes:
        line.http = HttpConnection(line.settings, at(1))
        exchange = upload(line, target, body, size)
        while line.jobs.inputs.pending(0) and exchange.state is State.FEEDING:
            # What was written makes room for more.
            taken.append(bytes(line.jobs.inputs.pending(0)))
            line.jobs.inputs.written(0, len(taken[-1]))
            exchange.changed(0, at(1))
        return b"" if exchange.waits or exchange.state is State.FEEDING else line.send(exchange)

    assert send("/jobs/0/in?offset=0", b"hello", 9) == b""
    assert b'{"written":9}' in send("/jobs/0/in?offset=0", b"hello you")
    assert b'{"written":6}' in send("/jobs/0/in?offset=3", b"lo you")
    assert b"".join(taken) == b"hello you"
    output = send("/jobs/0/in?offset=10", b"!")
    assert output.startswith(b"HTTP/1.1 416 ")
    assert b"has 9 bytes, and these begin at 10" in output
    assert b'{"written":1}' in send("/jobs/0/in?offset=9&close", b"!")
    assert b"".join(taken) == b"hello you!"


@pytest.mark.parametrize("how", ["closed", "deleted"])
def test_an_upload_whose_job_takes_no_more(how: str) -> None:
    line = Line()
    job = line.run("/jobs?stdin=open")
    exchange = upload(line, "/jobs/0/in", b"hel", 9)
    if how == "closed":
        line.jobs.inputs.broken(0)
    else:
        line.jobs.forget(job, at(1))
    exchange.changed(0, at(1))
    output = line.send(exchange)
    assert output.startswith(b"HTTP/1.1 409 ")
    assert b"(3 bytes sent)" in output


@pytest.mark.parametrize("rest", [b"x\r\n", b"3\r\nabcd"])
def test_an_upload_that_is_no_body(rest: bytes) -> None:
    line = Line()
    line.run("/jobs?stdin=open")
    head = request("POST", "/jobs/0/in", b"", ("Transfer-Encoding", "chunked"))
    exchange = line.ask(head.replace(b"Content-Length: 0\r\n", b""))
    line.http.receive_data(rest, at(1))
    for _ in range(2):
        exchange.advance(at(1))
    assert exchange.state is State.AWAITING_KEEP
    assert line.send(exchange).startswith(b"HTTP/1.1 400 ")


def test_an_upload_that_stalls() -> None:
    line = Line()
    line.run("/jobs?stdin=open")
    exchange = upload(line, "/jobs/0/in", b"hel", 9)
    assert line.http.deadline is not None
    line.http.expire(at(line.http.deadline))
    exchange.advance(at(99))
    assert exchange.state is State.AWAITING_KEEP
    assert line.send(exchange).startswith(b"HTTP/1.1 408 ")


def test_what_cannot_be_is_a_bug() -> None:
    exchange = Line().ask(request("GET", "/jobs/0/events"))
    exchange.lost(at(1))
    with pytest.raises(AssertionError, match="ANSWERED of an exchange that is OVER"):
        exchange.answer(Response(200), at(1))


@pytest.mark.parametrize(
    ("target", "topics"),
    [
        ("/jobs/0?fields=out", (0,)),
        ("/jobs/0?fields=", ()),
        ("/jobs/0/out", (0,)),
        ("/jobs/0/out?offset=5", (0,)),
        ("/jobs/0/events", (0,)),
        ("/jobs", ()),
    ],
)
def test_a_job_that_is_read_is_depended_on(target: str, topics: tuple[int, ...]) -> None:
    line = Line()
    line.run()
    line.jobs.output_received(0, Stream.OUT, b"x" * 100_000, at(2))
    exchange = line.ask(request("GET", target, b"", ("Range", "bytes=7-")))
    assert (exchange.topics, exchange.waits) == (topics, False)


def test_a_lease_with_time_ends_the_job_later_unless_somebody_comes() -> None:
    line = Line()
    line.run()
    first = line.ask(request("GET", "/jobs/0/out?follow&lease=60"))
    line.send(first)
    first.lost(at(10))
    job = line.jobs.get(0)
    assert job is not None
    line.jobs.expire(at(69))
    assert job.reason is None
    other = Line()
    other.jobs = other.handler.jobs = line.jobs
    second = other.ask(request("GET", "/jobs/0?wait=5&lease=60"))
    line.jobs.expire(at(71))
    assert job.reason is None
    # Its answer comes before the job is complete: the time begins again.
    second.expire(at(100))
    other.send(second)
    second.complete(at(100))
    line.jobs.expire(at(159))
    assert job.reason is None
    assert line.jobs.next_deadline() is not None
    line.jobs.expire(at(160))
    assert job.reason is Reason.KILLED


def test_a_lease_ends_with_an_answer_that_is_a_bug_s() -> None:
    line = Line()
    line.run()
    exchange = line.ask(request("GET", "/jobs/0?wait=5&lease"))
    exchange.answer(error(500, "internal server error", "a bug"), at(2))
    line.send(exchange)
    exchange.complete(at(3))
    assert line.jobs.leases._held == {0: 0}


@pytest.mark.parametrize(
    ("accept", "beat"),
    [
        ("text/event-stream", b"3\r\n:\n\n\r\n"),
        ("application/x-ndjson", b'{"event":"idle","time":"2023-11-14 22:13:40 +0000 UTC"}\n'),
    ],
)
def test_a_quiet_job_is_told_to_be_one(accept: str, beat: bytes) -> None:
    line = Line()
    line.run()
    exchange = line.ask(request("GET", "/jobs/0/events?follow", b"", ("Accept", accept)))
    line.send(exchange)
    assert (exchange.deadline, line.http.deadline) == (17.0, None)
    exchange.progressed(10, at(5))
    assert exchange.deadline == 20.0
    exchange.expire(at(19))
    assert line.send(exchange) == b""
    exchange.expire(at(20))
    assert beat in line.send(exchange)
    line.jobs.output_received(0, Stream.OUT, b"hello", at(21))
    assert b"hello" in line.send(exchange)
    line.processes.end(0, 0, at(22))
    assert line.send(exchange).endswith(b"0\r\nRtot-Exit: 0\r\n\r\n")
    assert exchange.deadline is None
    exchange.expire(at(99))


@pytest.mark.parametrize("target", ["/jobs/0/out?follow", "/jobs/0/events", "/jobs/0"])
def test_what_has_no_heartbeat(target: str) -> None:
    line = Line()
    line.run()
    exchange = line.ask(request("GET", target))
    line.send(exchange)
    assert exchange.deadline is None


def test_no_heartbeat_at_all() -> None:
    line = Line(heartbeat=math.inf)
    line.run()
    exchange = line.ask(request("GET", "/jobs/0/events?follow"))
    line.send(exchange)
    assert exchange.deadline == math.inf


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        (b"abc-1.2~x", True),
        (b"x" * 64, True),
        (b"x" * 65, False),
        (b"a b", False),
        (b'a"b', False),
        (b"a, b", False),
        (b"\xe9", False),
        (b"", False),
    ],
)
def test_a_request_has_an_id(given: bytes, taken: bool) -> None:
    line = Line()
    whole = request("GET", "/nope").replace(b"\r\n\r\n", b"\r\nX-Request-Id: %b\r\n\r\n" % given)
    exchange = line.ask(whole)
    output = line.send(exchange)
    expected = given.decode() if taken else f"{ID}-1"
    assert f"\r\nX-Request-Id: {expected}\r\n".encode() in output
    assert exchange.complete(at(2)).id == expected


def test_ids_differ() -> None:
    line = Line()
    for number in (b"1", b"2"):
        output = line.send(line.ask(request("GET", "/ping")))
        assert b"\r\nX-Request-Id: %b-%b\r\n" % (ID.encode(), number) in output


@pytest.mark.parametrize(
    ("method", "target", "job"),
    [
        ("POST", "/jobs", 1),
        ("POST", "/jobs?wait=9", 1),
        ("GET", "/jobs/0?fields=", 0),
        ("GET", "/jobs/00/out", 0),
        ("GET", "/jobs/5", 5),
        ("DELETE", "/jobs/0", 0),
        ("GET", "/jobs/x", None),
        ("GET", "/jobs", None),
        ("GET", "/ping", None),
        ("PUT", "/jobs/0", None),
    ],
)
def test_which_job_a_request_was_about(method: str, target: str, job: int | None) -> None:
    line = Line()
    line.run()
    exchange = line.ask(request(method, target, b"echo" if method == "POST" else b""))
    if exchange.deadline is not None:
        exchange.expire(at(exchange.deadline))
    line.send(exchange)
    assert exchange.complete(at(99)).job == job


def test_with_what_the_client_came() -> None:
    line = Line()
    exchange = line.ask(request("GET", "/jobs"))
    (credential,) = CREDENTIALS.values()
    assert exchange.credential == credential
    assert line.handler.is_good(exchange.credential)
    line = Line()
    exchange = line.ask(request("GET", "/ping"))
    assert exchange.credential is None
    assert line.handler.is_good(None)
    line.http.receive_data(request("GET", "/ping"), at(1))
    fresh = Exchange(line.handler, line.http, PEER, None, at(1))
    assert fresh.credential is None
