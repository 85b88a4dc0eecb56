"""The same on many servers: whole lines, one after another, what failed, signals."""

import signal
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from rtot.client.many import Grouped, Many, Member, Prefixed
from rtot.client.run import Run
from rtot.client.submission import Order
from tests.client.script import Said, Sheet, Stage
from tests.client.test_run import DONE, PING, job


def test_whole_lines_behind_a_name() -> None:
    sheet = Sheet()
    sink = Prefixed(sheet, "a:1")
    sink.write("out", b"one\ntw")
    sink.write("err", b"warn")
    assert sheet.paper.out == b"a:1: one\n"
    sink.write("out", b"o\n")
    sink.tell("job 7 killed")
    sink.close()
    assert sheet.paper.out == b"a:1: one\na:1: two\n"
    assert sheet.paper.err == b"a:1: warn\n"
    assert sheet.told == ["a:1: job 7 killed"]


def test_a_line_without_an_end_is_not_held_forever() -> None:
    sheet = Sheet()
    Prefixed(sheet, "a").write("out", b"x" * 70_000)
    assert sheet.paper.out == b"a: " + b"x" * 70_000 + b"\n"


@given(st.lists(st.tuples(st.sampled_from(["out", "err"]), st.binary(max_size=5)), max_size=20))
def test_one_after_another(pieces: list[tuple[str, bytes]]) -> None:
    sheet = Sheet()
    sink = Grouped(sheet, "a:1")
    for stream, data in pieces:
        sink.write(stream, data)
    assert (sheet.paper.out, sheet.paper.err) == (b"", b"")
    sink.close()
    out = b"".join(data for stream, data in pieces if stream == "out")
    assert sheet.paper.out == (b"== a:1 ==\n" + out if pieces else b"")
    assert sheet.paper.err == b"".join(data for stream, data in pieces if stream == "err")


def test_what_is_told_is_in_its_place() -> None:
    sheet = Sheet()
    sink = Grouped(sheet, "a:1")
    sink.tell("killed \x1b")
    sink.close()
    assert sheet.paper.err == b"rtot: killed \\x1b\n"


def member(url: str, *steps: Said) -> Member:
    stage = Stage(*steps, retry=0)

    def at_once(action: Callable[[], None]) -> None:
        action()

    return Member(url, Run(stage.session, Order(b"x"), stage.paper, begin=at_once))


def test_the_worst_is_told_and_those_that_failed() -> None:
    sheet = Sheet()
    members = [
        member("http://a:1", PING, job(DONE)),
        member("http://b:1", PING, job({**DONE, "code": 3})),
        member("http://c:1", PING, job({**DONE, "code": 2})),
    ]
    assert Many(members, 2, sheet).work() == 3
    assert sheet.told == ["2 of 3 failed: --on http://b:1,http://c:1"]


def test_nothing_failed() -> None:
    sheet = Sheet()
    assert Many([member("http://a:1", PING, job(DONE))], 9, sheet).work() == 0
    assert sheet.told == []


def test_signals_go_to_all() -> None:
    members = [member("http://a:1"), member("http://b:1")]
    many = Many(members, 1, Sheet())
    assert many.signalled(signal.SIGINT) == 130
    assert many.work() == 130
