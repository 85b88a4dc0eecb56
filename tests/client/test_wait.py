"""Until jobs are complete."""

import pytest

from rtot.client.failures import NoJobError
from rtot.client.wait import WaitOptions, wait
from tests.client.script import Said, Sheet, Stage, said

BEGIN = said("GET /jobs?fields=&limit=1", {"jobs": []}, rtot_seq="10")


def job(job_id: int, code: int | None = None) -> dict[str, object]:
    state = "running" if code is None else "complete"
    reason = None if code is None else "exited"
    return {"id": job_id, "state": state, "code": code, "signal": None, "reason": reason}


def one(job_id: int, code: int | None = None) -> Said:
    return said(f"GET /jobs/{job_id}?fields=", {"jobs": [job(job_id, code)]})


def changes(since: int, *jobs: object, deleted: tuple[int, ...] = (), whole: bool = False) -> Said:
    found = {"jobs": list(jobs), "deleted": list(deleted), "whole": whole}
    asked = f"GET /jobs?fields=code,signal,reason,exit&state=complete&since={since}&wait="
    return said(asked, found, rtot_seq=str(since + 1))


def waiting(*steps: Said, **options: object) -> tuple[int, Sheet]:
    sheet, stage = Sheet(), Stage(*steps)
    chosen = WaitOptions(**options)  # type: ignore[arg-type]
    status = wait(stage.session(), chosen, sheet, stage.clock.now)
    assert stage.done()
    return status, sheet


def test_all_of_them() -> None:
    status, sheet = waiting(
        *(
            BEGIN,
            one(1),
            one(2, 0),
            one(3),
            changes(10, job(3, 4), job(9, 1)),
            changes(11, job(1, 5)),
        ),
        paths=["/jobs/1", "/jobs/2", "/jobs/3"],
    )
    assert (status, sheet.told) == (4, ["job 3 exit status 4", "job 1 exit status 5"])
    assert sheet.progressed == ["1 of 3 complete", "2 of 3 complete, 1 failed", ""]


def test_nothing_to_wait_for() -> None:
    assert waiting(BEGIN, one(1, 0), paths=["/jobs/1"])[0] == 0


def test_the_first_of_any() -> None:
    status, sheet = waiting(
        *(BEGIN, one(1), one(2), changes(10, job(2, 7))), paths=["/jobs/1", "/jobs/2"], any=True
    )
    assert (status, sheet.lines) == (7, ["2 7"])


def test_one_that_is_not_there() -> None:
    with pytest.raises(NoJobError, match="there is no job 5"):
        waiting(BEGIN, said("GET /jobs/5", {"jobs": []}, 404), paths=["/jobs/5"])


def test_one_that_is_deleted() -> None:
    status, sheet = waiting(BEGIN, one(1), changes(10, deleted=(4, 1)), paths=["/jobs/1"])
    assert (status, sheet.told) == (255, ["job 1 was deleted"])


def test_a_server_that_does_not_remember_what_has_changed() -> None:
    status, sheet = waiting(
        *(BEGIN, one(1), one(2), one(3), changes(10, whole=True)),
        *(said("GET /jobs/1", {}, 404), one(2, 6), one(3), changes(11, job(3, 0))),
        paths=["/jobs/1", "/jobs/2", "/jobs/3"],
    )
    assert (status, sheet.told) == (6, ["job 2 exit status 6", "job 1 was deleted"])


def test_a_timeout() -> None:
    sheet = Sheet()
    times = iter([0.0, 1.0, 9.0])
    stage = Stage(BEGIN, one(1), changes(10), retry=0)
    options = WaitOptions(["/jobs/1"], timeout=5.0)
    assert wait(stage.session(), options, sheet, lambda: next(times)) == 124
    assert sheet.told == ["timed out: not complete: 1"]
    assert stage.script.requests[-1].target.endswith("&wait=4.000")


def test_a_label() -> None:
    page = "GET /jobs?fields=code,signal,reason,exit&label=n%201&limit=500"
    status, _ = waiting(
        said(page, {"jobs": [job(1, 0)]}, rtot_seq="5", link='</jobs?from=2>; rel="next"'),
        said("GET /jobs?from=2", {"jobs": [job(2)]}, rtot_seq="9"),
        said(
            "GET /jobs?fields=code,signal,reason,exit&label=n%201&since=5",
            {"jobs": [job(2, 0)], "deleted": []},
            rtot_seq="10",
        ),
        label="n 1",
    )
    assert status == 0
    with pytest.raises(NoJobError, match="no job has the label"):
        waiting(said("GET /jobs", {"jobs": []}, rtot_seq="5"), label="x")
