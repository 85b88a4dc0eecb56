"""Lists of jobs: selections, pages, waits for a set."""

import json

import pytest

from rtot.api import job_json
from rtot.api.answers import Reply
from rtot.api.listing import Judgement
from rtot.api.waits import JobsWait
from rtot.http.messages import End, Response
from rtot.jobs.commands import ReportBug
from rtot.jobs.job import Job
from tests.api.face import TIME, Face, answered, header, pull, value


def test_no_jobs(face: Face) -> None:
    answer = face.ask("GET", "/jobs")
    assert (answer.status, value(answer)) == (200, {"jobs": []})


@pytest.mark.parametrize(("until", "wakes"), [("all", 2), ("any", 1)])
def test_wait_for_a_set(face: Face, until: str, wakes: int) -> None:
    for _ in range(2):
        face.run("/jobs?label=x")
    face.run("/jobs?label=y")
    wait = face.answer("GET", f"/jobs?label=x&wait=5&until={until}&fields=")
    assert isinstance(wait, JobsWait)
    assert sorted(wait.topics) == [0, 1]
    face.world.end(0, 0, face.now)
    assert wait.changed(0) == (wakes == 1)
    face.world.end(1, 0, face.now)
    assert wait.changed(1)
    answer = answered(wait.answer())
    assert [j["id"] for j in value(answer)["jobs"]] == [0, 1]
    assert face.ask("GET", f"/jobs?label=x&wait=5&until={until}").status == 200


def test_any_means_from_now_on(face: Face) -> None:
    face.complete("/jobs?label=x")
    assert face.ask("GET", "/jobs?label=x&wait=5&until=any").status == 200
    face.run("/jobs?label=x")
    for until in ("any", "all"):
        wait = face.answer("GET", f"/jobs?label=x&wait=5&until={until}")
        assert isinstance(wait, JobsWait)
        assert wait.topics == (1,)


@pytest.mark.parametrize("query", ["until=any", "wait=1&until=some", "limit=0", "from=x"])
def test_bad_lists(face: Face, query: str) -> None:
    assert face.ask("GET", f"/jobs?{query}").status == 400


def test_pages(face: Face) -> None:
    for _ in range(5):
        face.complete()
    seen: list[object] = []
    target: str | None = "/jobs?limit=2&fields="
    while target:
        answer = face.ask("GET", target)
        seen += [j["id"] for j in value(answer)["jobs"]]
        link = header(answer, "Link")
        target = link.partition(">")[0][1:] if link else None
        assert link is None or link.endswith('; rel="next"')
    assert seen == [0, 1, 2, 3, 4]
    assert header(face.ask("GET", "/jobs?limit=5"), "Link") is None
    assert [j["id"] for j in value(face.ask("GET", "/jobs?from=3"))["jobs"]] == [3, 4]


def test_a_page_looks_at_a_bounded_number(face: Face) -> None:
    for _ in range(4100):
        face.complete("/jobs?label=a")
    answer = face.ask("GET", "/jobs?limit=1&label=b&x=1".replace("&x=1", ""))
    assert value(answer) == {"jobs": []}
    assert header(answer, "Link") == '</jobs?limit=1&label=b&from=4096>; rel="next"'


def test_a_list_that_changes_while_it_is_told(face: Face) -> None:
    for _ in range(600):
        face.complete()
    answer = face.ask("GET", "/jobs?fields=")
    assert not isinstance(answer.body, bytes)
    first = answer.body.pull(1)
    assert isinstance(first, bytes)
    for job_id in (1, 300):
        face.ask("DELETE", f"/jobs/{job_id}")
    face.complete()
    told = [j["id"] for j in json.loads(first + pull(answer.body)[0])["jobs"]]
    assert told == [i for i in range(600) if i not in (1, 300)]


def test_the_unfinished_are_found_among_many(face: Face) -> None:
    face.complete()
    face.run()
    face.run()
    face.submit()
    ids = [j["id"] for j in value(face.ask("GET", "/jobs?state=running&from=2"))["jobs"]]
    assert ids == [2]
    assert [j["id"] for j in value(face.ask("GET", "/jobs?state=new"))["jobs"]] == [3]


@pytest.mark.parametrize(("count", "more"), [(4096, False), (4097, True)])
def test_how_many_jobs_a_page_looks_at(face: Face, count: int, more: bool) -> None:
    for _ in range(count):
        face.jobs.submit(b"", face.now)
    answer = face.ask("GET", "/jobs?limit=1&label=x&fields=")
    assert value(answer) == {"jobs": []}
    link = '</jobs?limit=1&label=x&fields=&from=4096>; rel="next"'
    assert header(answer, "Link") == (link if more else None)


def test_a_list_pauses_now_and_then(face: Face) -> None:
    for _ in range(600):
        face.jobs.submit(b"", face.now)
    answer = face.ask("GET", "/jobs?label=x")
    assert not isinstance(answer.body, bytes)
    # It looks at 256 jobs at a time, and then lets others have their turn.
    assert [answer.body.pull(1 << 20) for _ in range(2)] == [b""] * 2
    assert answer.body.pull(1 << 20) == b'{"jobs":[]}\n'


def test_a_list_of_more_than_one_look_tells_each_job_once(face: Face) -> None:
    for _ in range(600):
        face.jobs.submit(b"", face.now)
    told = value(face.ask("GET", "/jobs?fields="))["jobs"]
    assert [job["id"] for job in told] == list(range(600))


def test_a_list_is_told_in_portions_of_what_is_asked_for(face: Face) -> None:
    for _ in range(200):
        face.jobs.submit(b"", face.now)
    answer = face.ask("GET", "/jobs?fields=")
    assert not isinstance(answer.body, bytes)
    whole = len(json.dumps(value(face.ask("GET", "/jobs?fields=")), separators=(",", ":"))) + 1
    sizes = []
    while not isinstance(piece := answer.body.pull(1000), End):
        assert isinstance(piece, bytes)
        sizes.append(len(piece))
    assert sum(sizes) == whole
    # As much as was asked for, and at most one more job.
    assert all(1000 <= size < 1100 for size in sizes[:5])


def test_an_error_stands_in_place_of_a_job_that_cannot_be_shown(
    face: Face, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        face.complete()
    shown = job_json.SMALL_FIELDS["start"]
    bug = ZeroDivisionError()

    def break_the_second(job: Job) -> str:
        if job.id == 1:
            raise bug
        return shown(job)

    monkeypatch.setitem(job_json.SMALL_FIELDS, "start", break_the_second)
    jobs = value(face.ask("GET", "/jobs"))["jobs"]
    assert jobs[1] == {
        "id": 1,
        "state": "complete",
        "error": "internal server error",
        "href": "/jobs/1",
    }
    assert [j["id"] for j in jobs] == [0, 1, 2]
    assert [j["start"] for j in (jobs[0], jobs[2])] == [TIME] * 2
    assert face.jobs.take_commands() == [ReportBug(bug)]


def test_a_bug_in_the_midst_of_a_job_breaks_the_list_off(
    face: Face, monkeypatch: pytest.MonkeyPatch
) -> None:
    face.complete(out=b"x" * 200_000)

    def fail(text: str) -> str:
        if "x" in text:
            raise ZeroDivisionError
        return f'"{text}"'

    monkeypatch.setattr(job_json, "string", fail)
    with pytest.raises(ZeroDivisionError):
        pull(face.ask("GET", "/jobs").body)  # type: ignore[arg-type]


@pytest.mark.parametrize(("pulled", "size"), [(0, 200_000), (1, 200_000), (0, 20_000)])
def test_a_list_with_a_job_whose_output_is_gone(pulled: int, size: int) -> None:
    face = Face(max_memory=10_000)
    face.complete(out=b"first")
    face.complete(out=b"x" * size)
    face.complete(out=b"last")
    body = face.ask("GET", "/jobs").body
    assert not isinstance(body, bytes)
    data = b""
    for _ in range(pulled):
        piece = body.pull(100_000)
        assert isinstance(piece, bytes)
        data += piece
    face.disk.files["1.out"].data = b""
    rest, end = pull(body)
    assert end == End()
    jobs = json.loads(data + rest)["jobs"]
    assert [j.get("error") for j in jobs] == [None, job_json.UNREADABLE, None]
    assert [j.get("out", "")[:5] for j in jobs] == ["first", "x" * 5 * pulled, "last"]
    assert {j["href"] for j in jobs} == {"/jobs/0", "/jobs/1", "/jobs/2"}


@pytest.mark.parametrize(
    ("method", "target", "message"),
    [
        ("GET", "/jobs?state=failed", "state: want new, running or complete"),
        ("GET", "/jobs?state=Complete", "state: want new, running or complete"),
        ("DELETE", "/jobs?state=bogus", "state: want new, running or complete"),
        ("DELETE", "/jobs?failed=maybe", "failed: want 1 or 0"),
        ("GET", "/jobs?fields=OUT", "fields: there is no field OUT"),
        ("GET", "/jobs/0?fields=out,code,nope", "fields: there is no field nope"),
        ("POST", "/jobs?fields=Out", "fields: there is no field Out"),
        ("GET", "/ping?deep", "deep: no such parameter here"),
        ("GET", "/?x=1", "x: no such parameter here"),
        ("DELETE", "/?force", "force: no such parameter here"),
    ],
)
def test_what_does_not_exist_is_an_error(
    face: Face, method: str, target: str, message: str
) -> None:
    face.complete()
    answer = face.ask(method, target, b"echo" if method == "POST" else b"")
    assert answer.status == 400
    assert value(answer) == {"error": "invalid parameter", "message": message}
    assert len(face.jobs) == 1
    assert not face.jobs.closing


def test_fields_that_are_always_there_may_be_named(face: Face) -> None:
    face.complete(status=256)
    (job,) = value(face.ask("GET", "/jobs?fields=id,state,exit,href,code"))["jobs"]
    assert job == {
        "id": 0,
        "state": "complete",
        "exit": "exit status 1",
        "code": 1,
        "href": "/jobs/0",
    }


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ("failed", [1, 2]),
        ("failed=1&label=x", [2]),
        ("failed=0", [0]),
        ("failed=0&state=running", []),
        ("failed&state=complete", [1, 2]),
        ("failed&state=new", []),
        ("state=", [0, 1, 2, 3, 4]),
    ],
)
def test_jobs_that_failed(face: Face, query: str, numbers: list[int]) -> None:
    face.complete()
    face.complete(status=256)
    face.complete("/jobs?label=x", status=9)
    face.run()
    face.submit()
    assert [j["id"] for j in value(face.ask("GET", f"/jobs?fields=&{query}"))["jobs"]] == numbers
    face.ask("DELETE", f"/jobs?{query}")
    assert len(face.jobs) == 5 - len(numbers)


def test_fail_on_a_set(face: Face) -> None:
    for label in ("good", "good", "bad"):
        face.run(f"/jobs?label={label}")
    wait = face.answer("GET", "/jobs?label=good&wait=5&fail&fields=")
    assert isinstance(wait, JobsWait)
    face.world.end(0, 0, face.now)
    for last, status in ((False, 424), (True, 200)):
        if last:
            face.world.end(1, 0, face.now)
        answer = answered(wait.answer())
        assert answer.status == status
        assert [j["id"] for j in value(answer)["jobs"]] == [0, 1]
    face.world.end(2, 256, face.now)
    assert face.ask("GET", "/jobs?fail&label=good").status == 200
    # One that failed counts even if it is on another page, and not before `from`.
    assert face.ask("GET", "/jobs?fail&limit=1").status == 424
    face.complete()
    assert face.ask("GET", "/jobs?fail&from=3").status == 200


@pytest.mark.parametrize("query", ["label=typo", "from=7", "state=running", "label=typo&wait=5"])
def test_fail_on_nothing(face: Face, query: str) -> None:
    """What was never run has not succeeded."""
    face.complete()
    assert face.ask("GET", f"/jobs?fail&{query}").status == 424


def test_fail_on_a_job_that_was_deleted_while_it_was_waited_for(face: Face) -> None:
    face.run()
    face.run()
    wait = face.answer("GET", "/jobs?wait=5&fail")
    assert isinstance(wait, JobsWait)
    face.world.end(0, 0, face.now)
    face.ask("DELETE", "/jobs/1")
    assert not wait.changed(0)
    assert wait.changed(1)
    answer = answered(wait.answer())
    assert [j["id"] for j in value(answer)["jobs"]] == [0]
    assert answer.status == 424


@pytest.mark.parametrize("query", ["fail&since=0", "fail&wait=1&until=any"])
def test_fail_needs_all_jobs_of_a_list(face: Face, query: str) -> None:
    assert face.ask("GET", f"/jobs?{query}").status == 400


@pytest.mark.parametrize(("last", "status"), [(0, 200), (256, 424)])
def test_a_long_list_is_judged_step_by_step(face: Face, last: int, status: int) -> None:
    for _ in range(9000):
        face.complete()
    face.complete(status=last)
    answer = face.answer("GET", "/jobs?fail&fields=")
    steps = 0
    while isinstance(answer, Judgement):
        assert (answer.deadline, answer.topics, answer.changed(0)) == (0.0, (), False)
        answer = answer.answer()
        steps += 1
    # 256 of them at a time.
    assert steps == 35
    assert answered(answer).status == status


@pytest.mark.parametrize("status", [0, 256])
def test_jobs_that_left_the_selection_while_they_were_waited_for_count(
    face: Face, status: int
) -> None:
    face.run()
    wait = face.answer("GET", "/jobs?state=running&wait=9&fail")
    assert isinstance(wait, JobsWait)
    face.world.end(0, status, face.now)
    assert wait.changed(0)
    assert answered(wait.answer()).status == (424 if status else 200)


def test_what_was_waited_for_is_kept_until_it_is_told(face: Face) -> None:
    face.run()
    face.run()
    wait = face.answer("GET", "/jobs?wait=9")
    assert isinstance(wait, JobsWait)
    reply = wait.answer()
    assert isinstance(reply, Reply)
    assert sorted(reply.sources) == [0, 1]


def numbers(answer: Response) -> list[int]:
    return [job["id"] for job in value(answer)["jobs"]]


def test_the_newest_first(face: Face) -> None:
    for index in range(7):
        face.submit(f"/jobs?label={'ab'[index % 2]}")
        if index % 2:
            # Complete, and in the archive.
            face.ask("POST", f"/jobs/{index}/kill")
    assert numbers(face.ask("GET", "/jobs?order=desc")) == [6, 5, 4, 3, 2, 1, 0]
    assert numbers(face.ask("GET", "/jobs?order=asc&from=4")) == [4, 5, 6]
    assert numbers(face.ask("GET", "/jobs?order=desc&from=4&label=a")) == [4, 2, 0]
    assert numbers(face.ask("GET", "/jobs?last=3")) == [6, 5, 4]
    assert numbers(face.ask("GET", "/jobs?last=2&state=complete")) == [5, 3]
    assert numbers(face.ask("GET", "/jobs?last=99")) == [6, 5, 4, 3, 2, 1, 0]
    seen: list[int] = []
    target: str | None = "/jobs?last=2&label=a&fields="
    while target:
        answer = face.ask("GET", target)
        seen += numbers(answer)
        link = header(answer, "Link")
        target = link.partition(">")[0][1:] if link else None
        assert target is None or "order=desc&limit=2&from=" in target
    assert seen == [6, 4, 2, 0]


def test_the_newest_first_of_many(face: Face) -> None:
    for index in range(600):
        face.submit()
        if index % 3:
            face.ask("POST", f"/jobs/{index}/kill")
    assert numbers(face.ask("GET", "/jobs?order=desc&fields=")) == list(range(599, -1, -1))


def test_what_is_judged_and_waited_for_from_above(face: Face) -> None:
    for status in (0, 256, 0):
        face.complete(status=status)
    assert face.ask("GET", "/jobs?order=desc&from=0&fail").status == 200
    assert face.ask("GET", "/jobs?order=desc&from=1&fail").status == 424
    for _ in range(3):
        face.run()
    wait = face.answer("GET", "/jobs?order=desc&from=4&wait=5")
    assert isinstance(wait, JobsWait)
    assert sorted(wait.topics) == [3, 4]


@pytest.mark.parametrize(
    "query",
    [
        *("last=0", "last=2&limit=1", "last=2&from=1", "last=1&order=asc", "order=up"),
        *("last=1&wait=1", "last=1&fail"),
        *("since=0&order=desc", "since=0&last=2"),
    ],
)
def test_bad_orders(face: Face, query: str) -> None:
    assert face.ask("GET", f"/jobs?{query}").status == 400
