"""The lease of a job whose output nobody takes."""

import pytest

from rtot.client import lease
from rtot.client.lease import LeaseKeeper
from tests.client.script import Said, Stage, lost, said

HELD = said("GET /jobs/7?fields=&wait=20&lease=60", {"jobs": []})


def kept(monkeypatch: pytest.MonkeyPatch, *steps: Said, writing: bool = True) -> Stage:
    """What a keeper asks for until the script is over, or with nothing to ask for a moment."""
    monkeypatch.setattr(lease, "_BLOCKED", 0.01)
    stage = Stage(*steps, retry=0)
    keeper = LeaseKeeper(stage.session)

    def end_with_the_script() -> None:
        if len(stage.script.steps) == 1:
            keeper.end()

    stage.script.before = end_with_the_script
    if writing:
        keeper.write_begun()
    else:
        keeper.write_begun()
        keeper.write_ended()
        monkeypatch.setattr(keeper._over, "wait", _waits(False, False, True))
    keeper.keep("/jobs/7")
    return stage


def _waits(*answers: bool) -> object:
    found = iter(answers)
    return lambda _: next(found)


def test_it_is_held_while_a_write_is_blocked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert kept(monkeypatch, HELD, HELD).done()


def test_nothing_is_asked_while_writes_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    assert kept(monkeypatch, writing=False).script.requests == []


def test_a_job_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = kept(monkeypatch, HELD, lost("GET /jobs/7"), said("never"))
    assert len(stage.script.steps) == 1
