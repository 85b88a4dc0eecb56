import json
from signal import Signals

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtot.api import job_json
from rtot.jobs.job import Job, Options, Prerequisite, Reason, State, Usage
from rtot.jobs.output import Output, Stream, UnreadableError
from rtot.jobs.stop import Scope, Stop
from rtot.text import NEVER, format_status
from tests.world import MemoryDisk


def make_job(out: bytes = b"", err: bytes = b"", **options: object) -> Job:
    output = Output(MemoryDisk(), "7", limit=1 << 30, memory=1 << 16)
    if out:
        output.append(Stream.OUT, out, 1)
    if err:
        output.append(Stream.ERR, err, 2)
    return Job(7, Options(**options), output, 1389497552314152969)  # type: ignore[arg-type]


def completed(job: Job, status: int = 0, failure: str = "") -> Job:
    job.state = State.COMPLETE
    job.start = job.complete = job.create
    job.status = status
    job.failure = failure
    job.reason = Reason.EXITED
    return job


def rendered(job: Job, *fields: str) -> dict[str, object]:
    pieces = list(
        job_json.render(
            job,
            job_json.View(fields or job_json.DEFAULT_FIELDS),
            "/spool/job-7",
            job.create + 2_500_000_000,
        )
    )
    value = json.loads(b"".join(pieces))
    assert isinstance(value, dict)
    return value


@pytest.mark.parametrize(
    ("status", "failure", "text"),
    [
        (0, "", ""),
        (3 << 8, "", "exit status 3"),
        (255 << 8, "", "exit status 255"),
        (9, "", "signal: killed"),
        (15, "", "signal: terminated"),
        (11 | 0x80, "", "signal: segmentation fault (core dumped)"),
        (40, "", "signal: signal 40"),
        (0, "fork/exec x: permission denied", "fork/exec x: permission denied"),
    ],
)
def test_exits(status: int, failure: str, text: str) -> None:
    assert job_json.exit_text(completed(make_job(), status, failure)) == text


def test_a_running_job_has_no_exit() -> None:
    job = make_job()
    job.state = State.RUNNING
    assert job_json.exit_text(job) == ""


def test_a_new_job() -> None:
    assert rendered(make_job()) == {
        "id": 7,
        "state": "new",
        "start": NEVER,
        "complete": NEVER,
        "create": "2014-01-12 03:32:32.314152969 +0000 UTC",
        "href": "/jobs/7",
    }


def test_out_and_err_only_when_not_empty() -> None:
    assert rendered(make_job(out=b"x"), "out", "err").keys() == {"id", "out", "state", "href"}
    assert rendered(make_job(err=b"x"), "out", "err").keys() == {"id", "err", "state", "href"}


def test_no_fields_leave_four() -> None:
    job = completed(make_job(out=b"x"), 256)
    assert rendered(job, "", "bogus") == {
        "id": 7,
        "state": "complete",
        "exit": "exit status 1",
        "href": "/jobs/7",
    }


def test_all_fields() -> None:
    job = completed(
        make_job(
            out=b"x",
            labels=("a", "b"),
            args=('"',),
            env=(("A", "secret"), ("B", "")),
            cwd="/srv",
            timeout=1.5,
            launcher="low",
            group="deploy",
            after=(Prerequisite(3), Prerequisite(4, anyhow=True)),
            delay=0.5,
        ),
        9,
    )
    job.title = "make all"
    job.by = "alice"
    job.pid = 42
    job.usage = Usage(1_500_000, 250, 4096)
    job.holders = {99: "sl\neep"}
    job.stop = Stop(7, 42, Signals.SIGINT, 1.0, Scope.TREE, 0.0)
    job.stop.signalled = {42: "sh"}
    job.stop.escalated = {43: "sleep"}
    value = rendered(job, *job_json.ALL_FIELDS)
    assert value == {
        "id": 7,
        "out": "x",
        "state": "complete",
        "exit": "signal: killed",
        "start": "2014-01-12 03:32:32.314152969 +0000 UTC",
        "complete": "2014-01-12 03:32:32.314152969 +0000 UTC",
        "create": "2014-01-12 03:32:32.314152969 +0000 UTC",
        "code": None,
        "signal": "SIGKILL",
        "reason": "exited",
        "pid": 42,
        "by": "alice",
        "label": ["a", "b"],
        "arg": ['"'],
        "cwd": "/srv",
        "env": ["A", "B"],
        "title": "make all",
        "group": "deploy",
        "after": ["3", "4:any"],
        "delay": 0.5,
        "waits_for": [],
        "timeout": 1.5,
        "launcher": "low",
        "out_bytes": 1,
        "err_bytes": 0,
        "out_dropped": 0,
        "err_dropped": 0,
        "holders": [{"pid": 99, "command": "sl\neep"}],
        "receipt": {
            "signal": "SIGINT",
            "signalled": [{"pid": 42, "command": "sh"}],
            "escalated": [{"pid": 43, "command": "sleep"}],
            "surviving": [],
        },
        "seconds": 0,
        "usage": {"user": 1.5, "system": 0.00025, "peak": 4096},
        "filename": "/spool/job-7",
        "href": "/jobs/7",
    }


def test_fields_of_other_ends() -> None:
    new = rendered(make_job(), *job_json.ALL_FIELDS)
    absent = ("code", "signal", "reason", "pid", "timeout", "launcher", "usage")
    assert [new[name] for name in absent] == [None] * 7
    assert rendered(completed(make_job(), 3 << 8), "code", "signal")["code"] == 3
    assert rendered(completed(make_job(), 60), "signal")["signal"] == "SIG60"
    failed = rendered(completed(make_job(), 0, "fork/exec"), "code", "signal")
    assert (failed["code"], failed["signal"]) == (None, None)


@given(
    st.lists(st.one_of(st.binary(max_size=9), st.text(max_size=5).map(str.encode)), max_size=9).map(
        b"".join
    ),
    st.binary(max_size=20),
    st.integers(1, 9),
)
def test_large_output_in_pieces_is_the_same(out: bytes, err: bytes, size: int) -> None:
    whole = rendered(make_job(out, err))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job_json, "_PIECE", size)
        assert rendered(make_job(out, err)) == whole


def test_pieces_are_bounded() -> None:
    job = make_job(out=b"\0" * 1_000_000)
    pieces = list(job_json.render(job, job_json.View(("out",)), "", 1))
    assert max(map(len, pieces)) <= 6 * job_json._PIECE
    assert json.loads(b"".join(pieces))["out"] == "\0" * 1_000_000


def test_output_that_cannot_be_had_any_more_is_not_told_as_less() -> None:
    job = make_job(out=b"x" * 1_000_000)
    pieces = job_json.render(job, job_json.View(("out",)), "", 1)
    next(pieces)
    job.output.remove()
    with pytest.raises(UnreadableError):
        list(pieces)
    output = Output(MemoryDisk(), "7", limit=1 << 30, memory=10)
    output.append(Stream.OUT, b"x" * 100, 1)
    small = Job(7, Options(), output, 1)
    assert job_json.whole(small, job_json.View(("out",)), "", 1) is not None
    output.remove()
    with pytest.raises(UnreadableError):
        job_json.whole(small, job_json.View(("out",)), "", 1)


def test_output_that_is_partly_in_memory() -> None:
    output = Output(MemoryDisk(), "7", limit=1 << 30, memory=10)
    output.append(Stream.OUT, b"x" * 20, 1)
    output.append(Stream.OUT, b"tail", 2)
    assert rendered(Job(7, Options(), output, 1))["out"] == "x" * 20 + "tail"


def test_signals_have_the_names_that_go_gave_them() -> None:
    names = (
        "hangup|interrupt|quit|illegal instruction|trace/breakpoint trap|aborted|bus error"
        "|floating point exception|killed|user defined signal 1|segmentation fault"
        "|user defined signal 2|broken pipe|alarm clock|terminated|stack fault|child exited"
        "|continued|stopped (signal)|stopped|stopped (tty input)|stopped (tty output)"
        "|urgent I/O condition|CPU time limit exceeded|file size limit exceeded"
        "|virtual timer expired|profiling timer expired|window changed|I/O possible"
        "|power failure|bad system call|signal 32"
    )
    assert [format_status(n) for n in range(1, 33)] == [
        f"signal: {name}" for name in names.split("|")
    ]


def test_what_is_told_at_once_and_what_in_pieces() -> None:
    for out, err, at_once in ((1 << 16, 0, True), (1 << 15, 1 << 15, True), (1 << 16, 1, False)):
        job = make_job(b"o" * out, b"e" * err)
        whole = job_json.whole(job, job_json.DEFAULT_VIEW, "/x", 1)
        assert (whole is not None) == at_once
        assert rendered(job)["out"] == "o" * out


def test_output_that_lies_in_memory_and_in_a_file_is_told_whole() -> None:
    output = Output(MemoryDisk(), "7", limit=1 << 30, memory=10)
    for piece in (b"0123456", b"789abc", b"def"):
        output.append(Stream.ERR, piece, 1)
    assert rendered(Job(7, Options(), output, 1))["err"] == "0123456789abcdef"


def test_usage_and_seconds() -> None:
    job = completed(make_job())
    job.usage = Usage(1_500_000, 20, 4096)
    job.timeout = 0.25
    fields = rendered(job, "usage", "timeout")
    assert fields["usage"] == {"user": 1.5, "system": 0.00002, "peak": 4096}
    assert fields["timeout"] == 0.25


def test_times_as_numbers() -> None:
    job = completed(make_job())
    job.start += 1_500_000_001
    job.complete = job.start + 250_000_000
    fields = ("create", "start", "complete", "seconds")
    view = job_json.View(fields, unix=True)
    text = b"".join(job_json.render(job, view, "", 0)).decode()
    assert '"create":1389497552.314152969,"start":1389497553.814152970' in text
    assert json.loads(text)["seconds"] == 0.25
    new = json.loads(b"".join(job_json.render(make_job(), view, "", 0)))
    assert [new[name] for name in ("start", "complete", "seconds")] == [None] * 3


def test_the_running_time_of_a_job_that_runs() -> None:
    job = make_job()
    job.state = State.RUNNING
    job.start = job.create
    assert rendered(job, "seconds")["seconds"] == 2.5
    # The clock was set back.
    job.start = job.create + 9_000_000_000
    assert rendered(job, "seconds")["seconds"] == 0
