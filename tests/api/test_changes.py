"""GET /jobs?since=N: what has changed, what was deleted, and from where to ask next."""

import json

import pytest

from rtot.api.answers import Reply
from rtot.api.changes import ChangesWait
from rtot.api.waits import JobsWait
from rtot.http.messages import End, Response
from rtot.jobs import changes
from rtot.jobs.archive import MemoryArchive
from rtot.jobs.changes import ANY_JOB
from rtot.jobs.table import JobTable
from tests.api.face import Face, header, pull, value
from tests.world import at


def asked(face: Face, query: str) -> tuple[list[int], list[int], int]:
    """Ids of the jobs and of the deleted ones, and Rtot-Seq."""
    return told(face.ask("GET", f"/jobs?fields=&{query}"))


def told(answer: Response | Reply) -> tuple[list[int], list[int], int]:
    answer = answer.response if isinstance(answer, Reply) else answer
    assert answer.status == 200
    found = value(answer)
    assert found.keys() == {"jobs", "deleted"}
    number = header(answer, "Rtot-Seq")
    assert number is not None
    return [job["id"] for job in found["jobs"]], found["deleted"], int(number)


@pytest.mark.parametrize("query", ["", "&limit=1", "&state=new", "&label=nobody", "&from=7"])
def test_every_list_says_where_to_go_on(face: Face, query: str) -> None:
    assert header(face.ask("GET", "/jobs?fields=" + query), "Rtot-Seq") == "0"
    face.complete()
    assert header(face.ask("GET", "/jobs?fields=" + query), "Rtot-Seq") == "3"
    assert header(face.ask("HEAD", "/jobs?fields=" + query), "Rtot-Seq") == "3"


def test_jobs_in_order_of_their_last_change(face: Face) -> None:
    first, second = face.run(), face.run()
    assert asked(face, "since=0") == ([0, 1], [], 4)
    assert asked(face, "since=4") == ([], [], 4)
    face.world.end(second.id, 0, face.now)
    face.world.end(first.id, 256, face.now)
    face.submit("/jobs?label=x")
    assert asked(face, "since=4") == ([1, 0, 2], [], 7)
    assert asked(face, "since=4&state=complete") == ([1, 0], [], 7)
    assert asked(face, "since=5&state=complete&failed") == ([0], [], 7)
    assert asked(face, "since=4&label=x") == ([2], [], 7)
    face.ask("DELETE", "/jobs?state=complete")
    assert asked(face, "since=4") == ([2], [0, 1], 9)
    assert asked(face, "since=8&label=x") == ([], [1], 9)


def test_changes_page_by_page(face: Face) -> None:
    for index in range(6):
        face.complete(f"/jobs?label={'ab'[index % 2]}")
    face.ask("DELETE", "/jobs/5")
    assert asked(face, "since=0&limit=2&label=a") == ([0, 2], [], 9)
    assert asked(face, "since=9&limit=2&label=a") == ([4], [5], 19)
    assert asked(face, "since=19&limit=2") == ([], [], 19)


def test_a_page_of_changes_looks_at_a_bounded_number(face: Face) -> None:
    for _ in range(260):
        face.submit()
    face.submit("/jobs?label=x")
    assert asked(face, "since=0&limit=1&label=x") == ([], [], 256)
    assert asked(face, "since=256&limit=1&label=x") == ([260], [], 261)
    # A wait does not look further either: it says how far it is.
    assert asked(face, "since=0&wait=5&label=y") == ([], [], 261)


def test_many_changes_are_told_in_turns(face: Face) -> None:
    for _ in range(600):
        face.complete()
    body = face.ask("GET", "/jobs?since=5&fields=").body
    assert not isinstance(body, bytes)
    piece = body.pull(1 << 20)
    assert isinstance(piece, bytes)
    assert piece.count(b"href") == 256
    ids, _, number = asked(face, "since=5")
    assert (ids, number) == (list(range(1, 600)), 1800)


def test_what_changes_while_it_is_told_is_told_next_time(face: Face) -> None:
    for _ in range(300):
        face.submit()
    answer = face.ask("GET", "/jobs?since=0&fields=")
    assert not isinstance(answer.body, bytes)
    first = answer.body.pull(1)
    assert isinstance(first, bytes)
    face.ask("POST", "/jobs/280/kill")
    face.submit()
    rest, end = pull(answer.body)
    assert end == End()
    assert (first + rest).count(b"href") == 299
    assert b"/jobs/280" not in first + rest
    assert b"/jobs/300" not in first + rest
    assert asked(face, f"since={header(answer, 'Rtot-Seq')}") == ([280, 300], [], 302)


@pytest.mark.parametrize("since", ["3", "99999"])
def test_what_is_not_known_any_more_is_the_whole_list(
    face: Face, since: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After too many deletions; or when the number is another server's."""
    monkeypatch.setattr(changes, "MOST_DELETIONS", 2)
    for _ in range(5):
        face.complete()
    for job_id in (0, 1, 2):
        face.ask("DELETE", f"/jobs/{job_id}")
    for query in ("", "&wait=5"):
        answer = face.ask("GET", f"/jobs?fields=&since={since}{query}")
        found = value(answer)
        assert [job["id"] for job in found["jobs"]] == [3, 4]
        assert (found["deleted"], found["whole"]) == ([], True)
        assert header(answer, "Rtot-Seq") == "18"
    assert asked(face, "since=16") == ([], [1, 2], 18)


def test_the_loop_over_jobs_as_they_end(face: Face) -> None:
    face.complete()
    running = face.run()
    seq = header(face.ask("GET", "/jobs"), "Rtot-Seq")
    wait = face.answer("GET", f"/jobs?state=complete&since={seq}&wait=30&fields=")
    assert isinstance(wait, ChangesWait)
    assert (wait.topics, wait.deadline, wait.lease) == ((ANY_JOB,), face.now.monotonic + 30, None)
    face.submit()
    assert not wait.changed(ANY_JOB)
    face.world.end(running.id, 0, face.now)
    assert wait.changed(ANY_JOB)
    assert told(wait.answer()) == ([1], [], 7)


def test_a_wait_ends_at_a_deletion_and_at_its_time(face: Face) -> None:
    face.complete()
    wait = face.answer("GET", "/jobs?state=complete&since=3&wait=30&fields=")
    assert isinstance(wait, ChangesWait)
    assert told(wait.answer()) == ([], [], 3)
    face.ask("DELETE", "/jobs/0")
    assert wait.changed(ANY_JOB)
    assert told(wait.answer()) == ([], [0], 4)


def test_a_change_that_is_there_already_is_not_waited_for(face: Face) -> None:
    face.complete()
    assert asked(face, "state=complete&since=2&wait=30") == ([0], [], 3)


@pytest.mark.parametrize("query", ["since=1&from=2", "since=1&wait=1&until=all", "since=-1"])
def test_bad_questions(face: Face, query: str) -> None:
    assert face.ask("GET", f"/jobs?{query}").status == 400


def test_without_since_it_is_the_list(face: Face) -> None:
    face.now = at(3)
    face.run()
    assert value(face.ask("GET", "/jobs")).keys() == {"jobs"}
    assert isinstance(face.answer("GET", "/jobs?wait=1"), JobsWait)


def test_one_that_changes_while_its_page_is_told_hides_no_other(face: Face) -> None:
    for _ in range(40):
        face.submit()
    answer = face.ask("GET", "/jobs?since=0&fields=")
    assert not isinstance(answer.body, bytes)
    data = answer.body.pull(1)
    assert isinstance(data, bytes)
    face.ask("POST", "/jobs/30/kill")
    rest, _ = pull(answer.body)
    first = [job["id"] for job in json.loads(data + rest)["jobs"]]
    assert first == [i for i in range(40) if i != 30]
    assert asked(face, f"since={header(answer, 'Rtot-Seq')}") == ([30], [], 41)


def test_a_number_of_an_earlier_server_is_seen_to_be_one(face: Face) -> None:
    jobs = JobTable(face.settings, face.disk, MemoryArchive(), 1_000_000)
    face.handler.jobs = jobs
    jobs.submit(b"echo", face.now)
    for since in ("0", "6", "999999"):
        answer = face.ask("GET", f"/jobs?since={since}")
        assert header(answer, "Rtot-Seq") == "1000001"
        assert value(answer)["whole"]
    assert asked(face, "since=1000000") == ([0], [], 1_000_001)


def test_a_page_of_the_whole_list_goes_on_as_a_list(face: Face) -> None:
    face.complete()
    face.complete()
    answer = face.ask("GET", "/jobs?since=99&limit=1")
    assert value(answer)["whole"]
    assert header(answer, "Link") == '</jobs?limit=1&from=1>; rel="next"'


def test_a_wait_ends_with_the_server(face: Face) -> None:
    wait = face.answer("GET", "/jobs?since=0&wait=1h")
    assert isinstance(wait, ChangesWait)
    face.jobs.shut_down(face.now)
    assert face.jobs.take_changes() == {ANY_JOB}
    assert wait.changed(ANY_JOB)
    assert asked(face, "since=0&wait=1h") == ([], [], 0)
