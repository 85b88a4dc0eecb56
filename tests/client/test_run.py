"""One job, from its submission to its end, and signals in between."""

import signal
from collections.abc import Callable

import pytest

from rtot.client.failures import FailedError, LostError, ReaderGoneError
from rtot.client.lease import LeaseKeeper
from rtot.client.phases import Reaction
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


class Keeper(LeaseKeeper):
    """One that notes what it is told, and has no thread."""

    def __init__(self) -> None:
        super().__init__(lambda: Stage().session())
        self.noted: list[str] = []

    def begin(self, path: str) -> None:
        self.noted.append(path)

    def end(self) -> None:
        self.noted.append("end")


def run(stage: Stage, *, owned: bool = True, reads: bool = False) -> Run:
    def at_once(action: Callable[[], None]) -> None:
        action()

    keeper = Keeper() if owned else None
    order = Order(b"script")
    return Run(stage.session, order, stage.paper, keeper=keeper, reads=reads, begin=at_once)


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


@pytest.mark.parametrize(("owned", "fate"), [(True, "ends without its client"), (False, "runs on")])
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

    def play(self, numbers: list[int]) -> tuple[int, list[Reaction]]:
        self.running = run(self)
        answers: list[Reaction] = []
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
    assert (status, answers) == (137, [Reaction.DELIVER, Reaction.KILL, Reaction.LEAVE])
    assert stage.paper.told == [
        "INT sent to job 7 (again: KILL)",
        "job 7: KILL to sh (5)",
        "job 7 killed: SIGKILL",
    ]


def test_a_hangup_and_a_term_are_passed_on_however_many() -> None:
    stage = Interrupting(
        PING,
        job(event("out", 1, text="x"), DONE),
        said("POST /jobs/7/kill?signal=HUP&grace=never", {}),
        said("POST /jobs/7/kill?signal=TERM&grace=never", {}),
        said("POST /jobs/7/kill?signal=TERM&grace=never", {}),
    )
    numbers = [signal.SIGHUP, signal.SIGTERM, signal.SIGTERM]
    assert stage.play([*numbers]) == (0, [Reaction.DELIVER] * 3)
    assert stage.paper.told == [f"{name} sent to job 7" for name in ("HUP", "TERM", "TERM")]


def test_what_may_have_been_delivered_is_not_delivered_again() -> None:
    stage = Interrupting(
        PING,
        job(event("out", 1, text="x"), DONE),
        Said(INT.asked, LostError("cut", sent=True)),
    )
    assert stage.play([signal.SIGINT]) == (0, [Reaction.DELIVER])
    assert stage.paper.told == ["job 7: cut; whether it was done is not known"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_job_that_waits_is_ended(number: signal.Signals) -> None:
    name = number.name.removeprefix("SIG")
    stage = Interrupting(
        PING,
        job(event("out", 1, text="x"), {**DONE, "reason": "killed"}),
        said(f"POST /jobs/7/kill?signal={name}&grace=never", {"error": "has not started"}, 409),
        said("GET /jobs/7?fields=", {"jobs": [{"state": "new"}]}),
        said("POST /jobs/7/kill?signal=TERM", {**RECEIPT, "signalled": []}),
    )
    assert stage.play([number]) == (255, [Reaction.DELIVER])
    assert stage.paper.told[0] == "job 7: it had no process"


def test_one_that_has_ended_meanwhile() -> None:
    stage = Interrupting(
        PING,
        job(event("out", 1, text="x"), DONE),
        said("POST /jobs/7/kill?signal=INT&grace=never", {}, 409),
        said("GET /jobs/7?fields=", {"jobs": [{"state": "complete"}]}),
    )
    assert stage.play([signal.SIGINT]) == (0, [Reaction.DELIVER])
    assert stage.paper.told == []


def test_nothing_is_submitted_after_an_interrupt() -> None:
    stage = Stage()
    runner = run(stage)
    assert runner.signalled(signal.SIGINT) is Reaction.LEAVE
    assert runner.work() == 130
    stage = Stage(PING)
    runner = run(stage)

    def interrupt() -> None:
        assert runner.signalled(signal.SIGINT) is Reaction.LEAVE

    stage.script.before = interrupt
    assert runner.work() == 130
    assert runner.signalled(signal.SIGINT) is Reaction.NOTHING


def test_a_signal_while_it_is_submitted_is_delivered_when_the_job_is_known() -> None:
    stage = Stage(PING, job(DONE), INT)
    runner = run(stage)

    def interrupt() -> None:
        if len(stage.script.requests) == 1:
            assert runner.signalled(signal.SIGINT) is Reaction.HOLD
            assert runner.signalled(signal.SIGINT) is Reaction.LEAVE

    stage.script.before = interrupt
    assert runner.work() == 0
    assert stage.done()
    assert stage.paper.told[0].startswith("the job may be submitted already")


def test_whoever_has_had_enough_does_not_wait_for_a_server() -> None:
    stage = Stage(PING, said("POST /jobs", {"error": "queue full"}, 503), retry=1000)
    runner = run(stage)

    def term() -> None:
        if len(stage.script.requests) == 1:
            assert runner.signalled(signal.SIGTERM) is Reaction.HOLD

    stage.script.before = term
    assert runner.work() == 143
    assert stage.paper.told[-1] == "left without an answer (see rtot ls): queue full"
    stage = Stage(lost("GET /ping"), retry=1000)
    runner = run(stage)
    stage.script.before = lambda: assert_leaves(runner)
    assert runner.work() == 130
    assert stage.paper.told == []


def assert_leaves(runner: Run) -> None:
    assert runner.signalled(signal.SIGINT) is Reaction.LEAVE


def test_the_lease_is_kept_from_the_jobs_beginning_to_its_end() -> None:
    stage = Stage(PING, job(event("out", 1, text="x"), DONE))
    runner = run(stage)
    runner.work()
    assert isinstance(runner._keeper, Keeper)
    assert runner._keeper.noted == ["/jobs/7", "end"]


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


def test_what_was_kept_cannot_be_written() -> None:
    stage = Stage(PING, job(DONE))

    def fail() -> None:
        raise FailedError("no space left on device")

    stage.paper.close = fail  # type: ignore[method-assign]
    assert run(stage).work() == 255
    assert stage.paper.told == ["job 7: no space left on device"]
