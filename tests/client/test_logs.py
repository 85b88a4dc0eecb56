"""What a job has written: all, the end, one stream, with times."""

import pytest

from rtot.client.failures import FailedError
from rtot.client.logs import LogOptions, logs, rfc3339
from tests.client.script import Sheet, Stage, said
from tests.client.test_events import event

DONE = event("complete", 9, code=3, signal=None, reason="exited", exit="exit status 3")


def show(*events: object, sheet: Sheet | None = None, **options: object) -> tuple[int, Sheet]:
    sheet = sheet or Sheet()
    stage = Stage(said("GET /jobs/7/events?times=unix", list(events)))
    chosen = LogOptions(**options)  # type: ignore[arg-type]
    return logs(stage.session(), "/jobs/7", chosen, sheet), sheet


def test_both_streams() -> None:
    status, sheet = show(event("out", 1, text="a\n"), event("err", 2, text="b\n"), DONE)
    assert (status, sheet.paper.out, sheet.paper.err) == (0, b"a\n", b"b\n")
    assert show(event("out", 1, text="a\n"))[0] == 0


def test_one_stream() -> None:
    _, sheet = show(
        event("out", 1, text="a"), event("err", 2, text="b"), streams=frozenset(("err",))
    )
    assert (sheet.paper.out, sheet.paper.err) == (b"", b"b")


def test_following_ends_as_the_job_does() -> None:
    killed = {**DONE, "reason": "killed", "signal": "SIGTERM"}
    status, sheet = show(event("hint", 1, text="mind"), killed, follow=True)
    assert (status, sheet.told) == (143, ["hint: mind", "job 7 killed: SIGTERM"])
    stage = Stage(said("GET /jobs/7/events", [], 204))
    with pytest.raises(FailedError):
        logs(stage.session(), "/jobs/7", LogOptions(follow=True), Sheet())


def test_since() -> None:
    early = {**event("out", 1, text="a"), "time": 5.0}
    _, sheet = show(early, event("out", 2, text="b"), since=6.0)
    assert sheet.paper.out == b"b"


def test_times_stand_in_front_of_lines() -> None:
    _, sheet = show(
        event("out", 1, text="a\nb"),
        event("out", 2, text="c\n"),
        event("out", 3, text="\n\nd"),
        event("err", 4, text="e"),
        times=True,
    )
    stamp = b"1970-01-01T00:00:07.500000Z "
    assert sheet.paper.out == b"".join(
        stamp + line for line in (b"a\n", b"bc\n", b"\n", b"\n", b"d")
    )
    assert sheet.paper.err == stamp + b"e"


def test_a_time() -> None:
    assert rfc3339(1764063000.9999999) == "2025-11-25T09:30:01.000000Z"
