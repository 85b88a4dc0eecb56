"""Kill, stdin, timeout, DELETE, leases."""

from signal import Signals

import pytest

from rtot.api.answers import Upload
from rtot.api.collection import DELETED, Deletion
from rtot.api.control import end_lease, uploaded
from rtot.api.waits import StopWait
from rtot.http.messages import Response
from rtot.jobs.job import SHOWN, State
from rtot.jobs.output import Stream
from rtot.jobs.selection import Selection
from rtot.jobs.stop import Scope, Signal
from tests.api.face import Face, answered, header, value
from tests.world import USAGE, at


def test_delete_one(face: Face) -> None:
    face.run()
    answer = face.ask("DELETE", "/jobs/0")
    assert (answer.status, answer.body) == (204, b"")
    face.world.obey(face.now)
    assert face.world.alive == {}
    assert face.ask("GET", "/jobs/0").status == 404


def test_delete_by_state_and_label(face: Face) -> None:
    face.complete("/jobs?label=a")
    face.complete("/jobs?label=a&label=b")
    face.run("/jobs?label=a")
    assert face.ask("DELETE", "/jobs?state=complete&label=b").status == 204
    assert [j.id for j in face.jobs.roster.page(Selection(), 0, 9, 9).jobs] == [0, 2]
    assert face.ask("DELETE", "/jobs?stat=complete").status == 400
    assert len(face.jobs) == 2
    assert face.ask("DELETE", "/jobs").status == 204
    assert len(face.jobs) == 0


def test_pause_and_resume(face: Face) -> None:
    for _ in range(2):
        answer = face.ask("POST", "/queue/pause")
        assert (answer.status, answer.body) == (200, b'{"paused":true}\n')
        assert value(face.ask("GET", "/"))["paused"] is True
    job = face.run()
    assert SHOWN[job.state] == "new"
    for _ in range(2):
        answer = face.ask("POST", "/queue/resume")
        assert (answer.status, answer.body) == (200, b'{"paused":false}\n')
        assert "paused" not in value(face.ask("GET", "/"))
    face.world.obey(face.now)
    assert SHOWN[job.state] == "running"


def test_the_jobs_of_a_group(face: Face) -> None:
    for group in ("a", "b", "a"):
        face.submit(f"/jobs?group={group}")
    assert [j["id"] for j in value(face.ask("GET", "/jobs?group=a"))["jobs"]] == [0, 2]
    assert value(face.ask("GET", "/jobs?group=A"))["jobs"] == []
    assert face.ask("DELETE", "/jobs?group=a").status == 204
    assert [j["id"] for j in value(face.ask("GET", "/jobs"))["jobs"]] == [1]


def test_delete_everything(face: Face) -> None:
    face.run()
    assert face.ask("DELETE", "/").status == 204
    assert face.jobs.closing
    assert face.ask("POST", "/jobs", b"echo").status == 503


def test_lease(face: Face) -> None:
    face.run()
    end_lease(0, face.jobs, face.settings, face.now)
    face.world.obey(face.now)
    assert face.world.alive == {}
    end_lease(0, face.jobs, face.settings, face.now)
    end_lease(99, face.jobs, face.settings, face.now)


def test_upload(face: Face) -> None:
    face.run("/jobs?stdin=open")
    answer = face.answer("POST", "/jobs/0/in?close", None)
    assert isinstance(answer, Upload)
    assert (answer.job_id, answer.close) == (0, True)
    assert value(uploaded(0, 5, face.jobs)) == {"written": 5}
    assert uploaded(9, 5, face.jobs).status == 409
    face.world.end(0, 0, face.now)
    assert face.ask("POST", "/jobs/0/in").status == 409
    face.run()
    assert face.ask("POST", "/jobs/1/in").status == 409


def test_kill(face: Face) -> None:
    face.run()
    wait = face.answer("POST", "/jobs/0/kill")
    assert isinstance(wait, StopWait)
    face.world.obey(face.now)
    assert not wait.changed(0)
    face.jobs.expire(at(1.02))
    face.world.obey(at(1.02))
    assert wait.changed(0)
    answer = wait.answer()
    assert isinstance(answer, Response)
    assert value(answer) == {
        "signal": "SIGTERM",
        "signalled": [{"pid": 1000, "command": "job-0"}],
        "escalated": [],
        "surviving": [],
    }
    assert face.ask("POST", "/jobs/0/kill").status == 409


@pytest.mark.parametrize(
    ("query", "signal", "grace"),
    [
        ("", Signals.SIGTERM, 5.0),
        ("?signal=int", Signals.SIGINT, 5.0),
        ("?signal=SIGUSR1", Signals.SIGUSR1, None),
        ("?signal=1", Signals.SIGHUP, None),
        ("?signal=HUP&grace=2", Signals.SIGHUP, 2.0),
    ],
)
def test_signals(face: Face, query: str, signal: Signals, grace: float | None) -> None:
    job = face.run()
    answer = face.answer("POST", f"/jobs/0/kill{query}")
    assert isinstance(answer, StopWait)
    assert answer.deadline == 1.0 + (grace or 0.0) + 60.0
    face.world.obey(face.now)
    assert job.status == int(signal)


@pytest.mark.parametrize("query", ["signal=NO", "signal=99", "grace=x", "tree=x", "bogus"])
def test_bad_kills(face: Face, query: str) -> None:
    job = face.run()
    assert face.ask("POST", f"/jobs/0/kill?{query}").status == 400
    face.world.obey(face.now)
    assert job.state is State.RUNNING


def test_kill_what_has_not_started(face: Face) -> None:
    job = face.submit()
    assert face.ask("POST", "/jobs/0/kill?signal=USR1").status == 409
    answer = face.ask("POST", "/jobs/0/kill")
    assert value(answer)["signalled"] == []
    assert job.state is State.COMPLETE


def test_timeouts(face: Face) -> None:
    face.run()
    answer = face.ask("POST", "/jobs/0/timeout?after=1m")
    assert value(answer)["jobs"][0]["timeout"] == 60
    assert face.ask("POST", "/jobs/0/timeout").status == 400
    face.world.end(0, 0, face.now)
    assert face.ask("POST", "/jobs/0/timeout?after=1m").status == 409


@pytest.mark.parametrize(
    ("query", "deadline"), [("", 66.0), ("?grace=2", 63.0), ("?signal=HUP", 61.0)]
)
def test_a_receipt_is_waited_for_beyond_the_grace(face: Face, query: str, deadline: float) -> None:
    face.run()
    wait = face.answer("POST", f"/jobs/0/kill{query}")
    assert isinstance(wait, StopWait)
    assert wait.deadline == deadline


@pytest.mark.parametrize(
    ("request_line", "scope"),
    [
        ("POST /jobs/0/kill", Scope.TREE),
        ("POST /jobs/0/kill?tree=0", Scope.GROUP),
        ("DELETE /jobs/0", Scope.TREE),
        ("DELETE /jobs/0?tree=0", Scope.GROUP),
        ("DELETE /jobs", Scope.TREE),
    ],
)
def test_to_whom_a_signal_goes(face: Face, request_line: str, scope: Scope) -> None:
    face.run()
    method, target = request_line.split()
    face.answer(method, target)
    (command,) = face.jobs.take_commands()
    assert isinstance(command, Signal)
    assert (command.signal, command.scope) == (Signals.SIGTERM, scope)


def test_a_server_that_is_not_to_be_ended_by_a_request() -> None:
    face = Face(shutdown=False)
    answer = face.ask("DELETE", "/")
    assert (answer.status, header(answer, "Allow")) == (405, "GET, HEAD")
    assert value(answer)["message"] == "this server was started with --no-shutdown"
    assert not face.jobs.closing


def hold(face: Face) -> None:
    """A job that is complete, while a child of it holds its outputs."""
    face.run()
    del face.world.alive[0]
    face.jobs.exited(0, 0, USAGE, face.now)
    face.now = at(3)
    face.jobs.expire(face.now)
    job = face.jobs.get(0)
    assert job is not None
    assert job.state is State.HELD
    face.world.obey(face.now)


def test_what_holds_a_complete_job_can_be_killed(face: Face) -> None:
    hold(face)
    wait = face.answer("POST", "/jobs/0/kill")
    assert isinstance(wait, StopWait)
    assert not wait.changed(0)
    face.world.obey(face.now)
    face.now = at(4)
    face.jobs.expire(face.now)
    face.world.obey(face.now)
    assert wait.changed(0)
    answer = wait.answer()
    assert isinstance(answer, Response)
    assert value(answer)["surviving"] == []
    for stream in Stream:
        face.jobs.output_closed(0, stream, face.now)
    (job,) = value(face.ask("GET", "/jobs/0?fields=reason,receipt"))["jobs"]
    # It had exited by itself, and was killed later.
    assert (job["reason"], job["receipt"]["signal"]) == ("exited", "SIGTERM")
    assert face.ask("POST", "/jobs/0/kill").status == 409


@pytest.mark.parametrize(
    ("grace", "signal"), [("never", "TERM"), ("never", "QUIT"), ("never", "HUP")]
)
def test_a_signal_that_is_only_delivered(face: Face, grace: str, signal: str) -> None:
    face.world.obstinate = True
    job = face.run()
    wait = face.answer("POST", f"/jobs/0/kill?signal={signal}&grace={grace}")
    assert isinstance(wait, StopWait)
    face.world.obey(face.now)
    face.now = at(100)
    face.jobs.expire(face.now)
    face.world.obey(face.now)
    assert wait.changed(0)
    answer = wait.answer()
    assert isinstance(answer, Response)
    process = [{"pid": 1000, "command": "job-0"}]
    assert value(answer)["signalled"] == process
    assert (job.over, job.reason, job.stop) == (False, None, None)


def test_a_receipt_of_a_stop_command() -> None:
    there = (("there", ("srun",)),)
    face = Face(launchers=there, stop_commands=(("there", ("scancel",)),))
    face.world.unreachable = True
    face.run("/jobs?launcher=there")
    wait = face.answer("POST", "/jobs/0/kill?grace=1")
    assert isinstance(wait, StopWait)
    for second in range(6):
        face.now = at(1 + second)
        face.jobs.expire(face.now)
        face.world.obey(face.now)
    assert wait.changed(0)
    answer = wait.answer()
    assert isinstance(answer, Response)
    assert value(answer) == {
        "signal": "SIGTERM",
        "signalled": [],
        "escalated": [{"pid": 1000, "command": "job-0"}],
        "surviving": [],
        "stop": [
            {"signal": "SIGTERM", "exit": "exit status 1", "text": "no route"},
            {"signal": "SIGKILL", "exit": "exit status 1", "text": "no route"},
        ],
    }
    (job,) = value(face.ask("GET", "/jobs/0?fields=receipt"))["jobs"]
    assert job["receipt"] == value(answer)


def test_a_timeout_keeps_a_receipt_like_a_kill(face: Face) -> None:
    face.run("/jobs?timeout=5")
    assert value(face.ask("GET", "/jobs/0?fields=receipt"))["jobs"][0]["receipt"] is None
    face.now = at(6)
    face.jobs.expire(face.now)
    face.world.obey(face.now)
    (job,) = value(face.ask("GET", "/jobs/0?fields=reason,receipt"))["jobs"]
    assert job["reason"] == "timeout"
    assert job["receipt"] == {
        "signal": "SIGTERM",
        "signalled": [{"pid": 1000, "command": "job-0"}],
        "escalated": [],
        "surviving": [],
    }


def test_thousands_are_deleted_some_in_each_turn(face: Face) -> None:
    for _ in range(2 * DELETED + 1):
        face.complete("/jobs?label=l")
    face.complete()
    face.submit("/jobs?label=l")
    wait = face.answer("DELETE", "/jobs?label=l")
    turns = 1
    while isinstance(wait, Deletion):
        assert not wait.changed(0)
        face.submit("/jobs?label=l")
        assert (wait.topics, wait.lease, wait.deadline) == ((), None, 0.0)
        answer = wait.answer()
        if not isinstance(answer, Deletion):
            assert answered(answer).status == 204
            break
        turns += 1
    assert turns == 2
    # One without the label, and those that came later.
    assert len(face.jobs) == 3
    assert face.ask("DELETE", "/jobs?created-from=1&created-to=2023-11-14T22:13:20Z").status == 204
    assert len(face.jobs) == 3
    assert face.ask("DELETE", "/jobs?created-to=2023-11-14T22:13:21Z").status == 204
    assert len(face.jobs) == 0
