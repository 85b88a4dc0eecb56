"""What is alive of a job, as JSON."""

from rtot.api.processes import ExaminationWait
from rtot.http.messages import Response
from rtot.jobs.commands import Examine
from rtot.jobs.examination import ProcessStatus
from tests.api.face import Face, text, value


def test_what_is_alive_of_a_job(face: Face) -> None:
    face.run()
    wait = face.answer("GET", "/jobs/0/processes")
    assert isinstance(wait, ExaminationWait)
    assert (wait.topics, wait.lease) == ((0,), None)
    face.jobs.take_changes()
    assert not wait.changed(0)
    face.world.obey(face.now)
    assert face.jobs.take_changes() == {0}
    assert wait.changed(0)
    assert value(wait.answer()) == {
        "count": 1,
        "processes": [
            {
                "pid": 1000,
                "parent": 1,
                "state": "S",
                "command": "job-0",
                "argv": ["job-0", "a"],
                "seconds": 2.5,
                "cpu": 0.25,
                "memory": 8192,
            }
        ],
    }
    # If nobody has looked in time.
    wait = face.answer("GET", "/jobs/0/processes")
    assert isinstance(wait, ExaminationWait)
    assert wait.answer().status == 503


def test_a_job_that_has_not_started_has_none(face: Face) -> None:
    face.submit()
    answer = face.ask("GET", "/jobs/0/processes")
    assert value(answer) == {"count": 0, "processes": []}
    assert face.jobs.take_commands() == []
    assert face.ask("GET", "/jobs/7/processes").status == 404


def test_only_so_much_is_told(face: Face) -> None:
    face.run()
    wait = face.answer("GET", "/jobs/0/processes")
    assert isinstance(wait, ExaminationWait)
    (command,) = face.jobs.take_commands()
    assert isinstance(command, Examine)
    row = ProcessStatus(1, 1, "R", "\u00e9\udcff", ("x" * 4000,), 1, 1, 1)
    command.examination.found = [row] * 100
    command.examination.count = 100
    answer = wait.answer()
    assert isinstance(answer, Response)
    assert 60_000 < len(text(answer)) < 66_000
    assert value(answer)["count"] == 100
    assert value(answer)["processes"][0]["command"] == "\u00e9\ufffd"
