"""Tables of jobs, and all about one."""

import json

import pytest

from rtot.client.failures import GaveUpError
from rtot.client.lists import ListOptions, list_jobs, show_job
from tests.client.script import Said, Sheet, Stage, lost, said


def job(job_id: int, state: str = "complete", **fields: object) -> dict[str, object]:
    basis = {
        "id": job_id,
        "state": state,
        "create": 40.0,
        "seconds": 2.0,
        "code": 0,
        "signal": None,
        "reason": "exited",
        "by": None,
        "label": [],
        "title": "make",
    }
    return {**basis, **fields}


def page(*jobs: object, link: str = "") -> Said:
    return said("GET /jobs?", {"jobs": list(jobs)}, rtot_seq="5", link=link)


def listed(stage: Stage, sheet: Sheet, **options: object) -> None:
    chosen = ListOptions(**options)  # type: ignore[arg-type]
    assert list_jobs(stage.session(), chosen, sheet, lambda: 100.0) == 0


def test_a_table() -> None:
    jobs = [
        job(7, by="alice", label=["a", "b"], title="\x1b[31mred"),
        job(8, code=None, signal="SIGKILL", reason="signaled"),
        job(9, code=None, signal="SIGTERM", reason="timeout"),
        job(10, "running", seconds=0.5, code=None, reason=None),
        job(11, "new", seconds=None, code=None, reason=None),
    ]
    sheet = Sheet()
    listed(Stage(page(*jobs)), sheet)
    assert sheet.lines == [
        "ID  STATE     AGE    DURATION  EXIT     BY     LABELS  TITLE",
        "7   complete  1m00s  2s        0        alice  a,b     \\x1b[31mred",
        "8   complete  1m00s  2s        KILL                    make",
        "9   complete  1m00s  2s        timeout                 make",
        "10  running   1m00s  0.5s                              make",
        "11  new       1m00s                                    make",
    ]


def test_colors() -> None:
    sheet = Sheet((40, 24), color=True)
    listed(Stage(page(job(7, code=1), job(8, "running"), job(9))), sheet)
    assert [line[:5] for line in sheet.lines[1:]] == ["\033[31m", "\033[32m", "9   c"]
    assert all(len(line) <= 48 for line in sheet.lines)


def test_pages_and_selections() -> None:
    sheet = Sheet()
    stage = Stage(page(job(1), link='</jobs?from=2>; rel="next"'), page(job(2)))
    stage.script.steps[1] = Said("GET /jobs?from=2", stage.script.steps[1].answer)
    listed(stage, sheet, labels=("x&y\udcff",), failed=True)
    assert len(sheet.lines) == 3
    asked = stage.script.requests[0].target
    assert asked.endswith("&label=x%26y%FF&failed=1&limit=500")


def test_json() -> None:
    sheet = Sheet()
    stage = Stage(page(job(1), job(2, title="\u202e")))
    listed(stage, sheet, json=True, last=2)
    assert [json.loads(line)["id"] for line in sheet.lines] == [1, 2]
    assert all(line.isascii() for line in sheet.lines)
    assert stage.script.requests[0].target.endswith("&last=2")


def watched(sheet: Sheet, *steps: Said, **options: object) -> None:
    with pytest.raises(GaveUpError):
        listed(Stage(*steps, lost("GET /jobs"), retry=0), sheet, watch=True, **options)


def changed(*jobs: object, deleted: tuple[int, ...] = (), whole: bool = False) -> Said:
    value = {"jobs": list(jobs), "deleted": list(deleted), "whole": whole}
    return said("GET /jobs?times=unix", value, rtot_seq="6")


def test_watching_adds_what_changes() -> None:
    sheet = Sheet()
    running = job(1, "running")
    watched(sheet, page(running), changed(running, job(2)), changed(job(1)), changed(deleted=(1,)))
    assert [line.split()[:2] for line in sheet.lines[1:]] == [
        ["1", "running"],
        ["2", "complete"],
        ["1", "complete"],
    ]


def test_watching_on_a_terminal_shows_what_has_room() -> None:
    sheet = Sheet((80, 5))
    watched(
        sheet,
        page(*(job(i) for i in range(9))),
        changed(job(9), deleted=(8,)),
        changed(job(4), job(5), whole=True),
    )
    assert sheet.cleared == 3
    assert [line.split()[0] for line in sheet.lines] == ["ID", "4", "5"]


def test_watching_the_last() -> None:
    sheet = Sheet((80, 24))
    watched(sheet, page(job(1), job(2)), changed(job(3)), last=2)
    assert [line.split()[0] for line in sheet.lines] == ["ID", "2", "3"]


def test_watching_the_last_without_a_terminal() -> None:
    sheet = Sheet()
    watched(sheet, page(job(5)), changed(job(4)), changed(job(6)), last=1)
    assert [line.split()[0] for line in sheet.lines] == ["ID", "5", "6"]


def test_all_about_a_job() -> None:
    found = job(7, out="a\x07\nb\n", err="", exit="exit status 3", receipt=None, usage={"user": 1})
    sheet = Sheet()
    stage = Stage(said("GET /jobs/7?fields=*&tail=10", {"jobs": [found]}))
    assert show_job(stage.session(), "/jobs/7", sheet, as_json=False) == 0
    assert "exit     exit status 3" in sheet.lines
    assert 'usage    {"user": 1}' in sheet.lines
    assert sheet.lines[-2:] == ["out: a\\x07", "out: b"]
    assert not any(line.startswith(("receipt", "label")) for line in sheet.lines)
    stage = Stage(said("GET /jobs/7", {"jobs": [found]}))
    sheet = Sheet()
    show_job(stage.session(), "/jobs/7", sheet, as_json=True)
    assert json.loads(sheet.lines[0]) == found
