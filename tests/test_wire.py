import json
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rtot import wire
from rtot.job import Job, Options, Reason, State, Usage
from rtot.output import OutputLog, Stream, UnreadableError
from tests.world import MemoryDisk


def make_job(out: bytes = b"", err: bytes = b"", **options: object) -> Job:
    log = OutputLog(MemoryDisk(), "7", limit=1 << 30, memory=1 << 16)
    if out:
        log.append(Stream.OUT, out, 1)
    if err:
        log.append(Stream.ERR, err, 2)
    return Job(7, Options(**options), log, 1389497552314152969)  # type: ignore[arg-type]


def completed(job: Job, status: int = 0, failure: str = "") -> Job:
    job.state = State.COMPLETE
    job.start = job.complete = job.create
    job.status = status
    job.failure = failure
    job.reason = Reason.EXITED
    return job


def rendered(job: Job, *fields: str) -> dict[str, object]:
    pieces = list(wire.render(job, fields or wire.DEFAULT_FIELDS, "/spool/job-7"))
    value = json.loads(b"".join(pieces))
    assert isinstance(value, dict)
    return value


@pytest.mark.parametrize(
    ("wall", "text"),
    [
        (0, "0001-01-01 00:00:00 +0000 UTC"),
        (1389497552314152969, "2014-01-12 03:32:32.314152969 +0000 UTC"),
        (1389497552314152000, "2014-01-12 03:32:32.314152 +0000 UTC"),
        (1389497552000000000, "2014-01-12 03:32:32 +0000 UTC"),
        (1389497552000000001, "2014-01-12 03:32:32.000000001 +0000 UTC"),
    ],
)
def test_times(wall: int, text: str) -> None:
    assert wire.format_time(wall) == text


def test_times_are_utc_wherever_we_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert wire.format_time(1) == "1970-01-01 00:00:00.000000001 +0000 UTC"
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0s"),
        (1, "1ns"),
        (1_100, "1.1µs"),
        (2_200_000, "2.2ms"),
        (999_999_999, "999.999999ms"),
        (1_000_000_000, "1s"),
        (2_019_438_118, "2.019438118s"),
        (60_000_000_000, "1m0s"),
        (3_600_000_000_000, "1h0m0s"),
        (90_061_500_000_000, "25h1m1.5s"),
    ],
)
def test_durations(nanoseconds: int, text: str) -> None:
    assert wire.format_duration(nanoseconds) == text


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
    assert wire.exit_text(completed(make_job(), status, failure)) == text


def test_a_running_job_has_no_exit() -> None:
    job = make_job()
    job.state = State.RUNNING
    assert wire.exit_text(job) == ""


def test_a_new_job() -> None:
    assert rendered(make_job()) == {
        "id": 7,
        "state": "new",
        "start": wire.NEVER,
        "complete": wire.NEVER,
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
        make_job(out=b"x", labels=("a", "b"), args=('"',), timeout=1.5, launcher="low"), 9
    )
    job.pid = 42
    job.usage = Usage(1_500_000, 250, 4096)
    job.holders = {99: "sl\neep"}
    value = rendered(job, *wire.ALL_FIELDS)
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
        "label": ["a", "b"],
        "arg": ['"'],
        "timeout": 1.5,
        "launcher": "low",
        "out_bytes": 1,
        "err_bytes": 0,
        "out_dropped": 0,
        "err_dropped": 0,
        "holders": [{"pid": 99, "command": "sl\neep"}],
        "usage": {"user": 1.5, "system": 0.00025, "peak": 4096},
        "filename": "/spool/job-7",
        "href": "/jobs/7",
    }


def test_fields_of_other_ends() -> None:
    new = rendered(make_job(), *wire.ALL_FIELDS)
    absent = ("code", "signal", "reason", "pid", "timeout", "launcher", "usage")
    assert [new[name] for name in absent] == [None] * 7
    assert rendered(completed(make_job(), 3 << 8), "code", "signal")["code"] == 3
    assert rendered(completed(make_job(), 60), "signal")["signal"] == "SIG60"
    failed = rendered(completed(make_job(), 0, "fork/exec"), "code", "signal")
    assert (failed["code"], failed["signal"]) == (None, None)


@given(st.binary(max_size=50))
@example(b"\xe2\x82")
@example(b"\xed\xa0\x80")
@example(b"\xf0\x9f\x98\x80\xf0\x9f")
@example(b'\x00\x1f\x7f"\\')
def test_bad_bytes_are_replaced_one_by_one(data: bytes) -> None:
    text = wire.decode(data)
    bad = len(data) - len(text.replace("\ufffd", "").encode())
    good_replacements = data.count("\ufffd".encode())
    assert text.count("\ufffd") == bad - 2 * good_replacements
    assert json.loads(wire.string(text)) == text


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
        patch.setattr(wire, "_PIECE", size)
        assert rendered(make_job(out, err)) == whole


def test_pieces_are_bounded() -> None:
    job = make_job(out=b"\0" * 1_000_000)
    pieces = list(wire.render(job, ("out",), ""))
    assert max(map(len, pieces)) <= 6 * wire._PIECE
    assert json.loads(b"".join(pieces))["out"] == "\0" * 1_000_000


def test_output_that_cannot_be_had_any_more_is_not_told_as_less() -> None:
    job = make_job(out=b"x" * 1_000_000)
    pieces = wire.render(job, ("out",), "")
    next(pieces)
    job.log.remove()
    with pytest.raises(UnreadableError):
        list(pieces)
    log = OutputLog(MemoryDisk(), "7", limit=1 << 30, memory=10)
    log.append(Stream.OUT, b"x" * 100, 1)
    small = Job(7, Options(), log, 1)
    assert wire.whole(small, ("out",), "") is not None
    log.remove()
    with pytest.raises(UnreadableError):
        wire.whole(small, ("out",), "")


def test_output_that_is_partly_in_memory() -> None:
    log = OutputLog(MemoryDisk(), "7", limit=1 << 30, memory=10)
    log.append(Stream.OUT, b"x" * 20, 1)
    log.append(Stream.OUT, b"tail", 2)
    assert rendered(Job(7, Options(), log, 1))["out"] == "x" * 20 + "tail"
