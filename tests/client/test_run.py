"""One job, from its submission to its end, and signals in between."""

import signal
from collections.abc import Callable

import pytest

from rtot.client.failures import LostError, ReaderGoneError
from rtot.client.run import Run
from rtot.client.submission import Order
from tests.client.script import Said, Stage, lost, said
from tests.client.test_events import event

PING = said("GET /ping", {})
DONE = event("complete", 9, code=0, signal=None, reason="exited", exit="0")
INT = said("POST /jobs/7/kill?signal=INT&grace=never", {"signal": "SIGINT"})
RECEIPT = {
    "signal": "SIGKILL",
    "signalled": [{"pid": 5, "command": "sh"}],
    "escalated": [],
    "surviving": [],
}


def job(*events: object) -> Said:
    return said("POST /jobs?", list(events), 201, location="/jobs/7")


def run(stage: Stage, **options: bool) -> Run:
    def at_once(action: Callable[[], None]) -> None:
        action()

    order = Order(b"script")
    return Run(stage.session, order, stage.paper, begin=at_once, **options)


def test_a_job() -> None:
    stage = Stage(PING, job(event("out", 1, text="a"), event("err", 2, text="b"), DONE))
    assert run(stage).work() == 0
    paper = stage.paper
    assert (paper.out, paper.err, paper.told, paper.closed) == (b"a", b"b", [], True)
    target = stage.script.requests[1].target
    assert target == "/jobs?follow=events&times=unix&lease=60"
    assert stage.script.header(1, "Rtot-Server") == "life"


def test_a_failure_is_explained() -> None:
    ended = {**DONE, "code": None, "signal": "SIGSEGV", "reason": "signaled"}
    stage = Stage(PING, job(event("hint", 1, text="a carriage return"), ended))
    assert run(stage, owned=False).work() == 139
    assert stage.paper.told == ["hint: a carriage return", "job 7 signaled: SIGSEGV"]
    assert "lease" not in stage.script.requests[1].target


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        ([lost("GET /ping")] * 2 + [lost("GET /ping", "refused")], "refused"),
        (
            [PING, said("POST /jobs", {"error": "no such launcher"}, 400)],
            "no such launcher",
        ),
        (
            [PING, job(event("out", 1, text=""), LostError("cut")), said("GET /j", {}, 404)],
            "job 7 is gone: it was deleted",
        ),
        (
            [PING, job(event("out", 1, text=""), LostError("cut")), said("GET /j", {}, 412)],
            "job 7: the server was started anew, and has other jobs",
        ),
    ],
)
def test_what_fails_is_255(steps: list[Said], told: str) -> None:
    stage = Stage(*steps, retry=0.3)
    assert run(stage).work() == 255
    assert stage.paper.told == [told]
    assert stage.done()


@pytest.mark.parametrize(
    ("owned", "fate"), [(True, "ends in 60 s without a client"), (False, "runs on")]
)
def test_giving_up_tells_how_to_go_on(owned: bool, fate: str) -> None:
    stage = Stage(PING, job(event("out", 1, text=""), LostError("cut")), retry=0.0)
    assert run(stage, owned=owned).work() == 255
    assert stage.paper.told == [f"cut: job 7 {fate}; to go on: rtot logs -f 7"]


def test_submitting_and_leaving() -> None:
    stage = Stage(PING, said("POST /jobs?fields=", {}, 201, location="/jobs/12"))
    assert run(stage).submit() == "12"
    stage = Stage(PING, said("POST /jobs?fields=", {"error": "queue full"}, 400))
    assert run(stage).submit() is None
    assert stage.paper.told == ["queue full"]


class Interrupting(Stage):
    """The user sends signals when the job writes."""

    running: Run

    def play(self, numbers: list[int]) -> tuple[int, list[int | None]]:
        self.running = run(self)
        answers: list[int | None] = []
        write = self.paper.write

        def note(stream: str, data: bytes) -> None:
            write(stream, data)
            answers.extend(self.running.signalled(number) for number in numbers)

        self.paper.write = note  # type: ignore[method-assign]
        return self.running.work(), answers


def test_an_interrupt_is_delivered_then_it_kills_then_it_leaves() -> None:
    ended = {**DONE, "code": None, "signal": "SIGKILL", "reason": "killed"}
    kill = said("POST /jobs/7/kill?signal=KILL", RECEIPT)
    stage = Interrupting(PING, job(event("out", 1, text="x"), ended), INT, kill)
    status, answers = stage.play([signal.SIGINT, signal.SIGINT, signal.SIGINT])
    assert (status, answers) == (137, [None, None, 130])
    assert stage.paper.told == [
        "INT for job 7 (again: KILL)",
        "job 7: KILL to sh (5)",
        "job 7 killed: SIGKILL",
    ]


def test_a_hangup_is_passed_on() -> None:
    deliver = said("POST /jobs/7/kill?signal=HUP&grace=never", {})
    stage = Interrupting(PING, job(event("out", 1, text="x"), DONE), deliver)
    assert stage.play([signal.SIGHUP]) == (0, [None])


def test_a_job_that_waits_is_ended() -> None:
    stage = Interrupting(
        PING,
        job(event("out", 1, text="x"), {**DONE, "reason": "killed"}),
        said("POST /jobs/7/kill?signal=INT&grace=never", {"error": "has not started"}, 409),
        said("POST /jobs/7/kill?signal=INT", {**RECEIPT, "signal": "SIGINT", "signalled": []}),
    )
    assert stage.play([signal.SIGINT]) == (255, [None])
    assert stage.paper.told[1] == "job 7: it had no process"


def test_one_that_has_ended_meanwhile() -> None:
    stage = Interrupting(
        PING,
        job(event("out", 1, text="x"), DONE),
        said("POST /jobs/7/kill?signal=INT&grace=never", {}, 409),
        said("POST /jobs/7/kill?signal=INT", {}, 409),
    )
    assert stage.play([signal.SIGINT]) == (0, [None])
    assert stage.paper.told == ["INT for job 7 (again: KILL)"]


def test_nothing_is_submitted_after_a_signal() -> None:
    stage = Stage()
    runner = run(stage)
    assert runner.signalled(signal.SIGTERM) == 143
    assert runner.work() == 143
    stage = Stage(PING)
    runner = run(stage)
    exchange = stage.script.exchange

    def interrupted(*args: object) -> object:
        assert runner.signalled(signal.SIGINT) == 130
        return exchange(*args)  # type: ignore[arg-type]

    stage.script.exchange = interrupted  # type: ignore[assignment, method-assign]
    assert runner.work() == 130


def test_a_signal_while_it_is_submitted_is_delivered_when_the_job_is_known() -> None:
    stage = Stage(PING, job(DONE), INT)
    runner = run(stage)
    exchange = stage.script.exchange

    def interrupted(*args: object) -> object:
        if len(stage.script.requests) == 1:
            assert runner.signalled(signal.SIGINT) is None
        return exchange(*args)  # type: ignore[arg-type]

    stage.script.exchange = interrupted  # type: ignore[assignment, method-assign]
    assert runner.work() == 0
    assert stage.done()


def test_without_a_reader_the_job_hears_of_it() -> None:
    stage = Stage(
        PING,
        job(event("out", 1, text="x"), DONE),
        said("POST /jobs/7/kill?signal=HUP&grace=never", {}),
    )

    def gone(stream: str, data: bytes) -> None:
        raise ReaderGoneError

    stage.paper.write = gone  # type: ignore[method-assign]
    with pytest.raises(ReaderGoneError):
        run(stage).work()
    assert stage.done()
    assert stage.paper.closed
