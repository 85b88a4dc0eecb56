import json
import os
import select

from hypothesis import example, given
from hypothesis import strategies as st

from rtot.system.log import Log, escape, json_line, text_line
from tests.world import at


def test_text() -> None:
    line = text_line(at(0), "info", "request", {"target": '/a"b\n', "status": 200}).decode()
    assert line == (
        'time="2023-11-14 22:13:20 +0000 UTC" level=info msg="request"'
        ' target="/a\\"b\\n" status=200\n'
    )


def test_json() -> None:
    line = json_line(at(0), "info", "request", {"target": '/a"b\n', "status": 200})
    assert json.loads(line) == {
        "time": "2023-11-14 22:13:20 +0000 UTC",
        "level": "info",
        "msg": "request",
        "target": '/a"b\n',
        "status": 200,
    }


def test_several_texts_in_one() -> None:
    pairs = {"labels": ("a", 'b"', "c\nd"), "none": ()}
    line = text_line(at(0), "info", "x", pairs).decode()
    assert line.endswith(' labels="a,b\\",c\\nd" none=""\n')
    told = json.loads(json_line(at(0), "info", "x", pairs))
    assert (told["labels"], told["none"]) == (["a", 'b"', "c\nd"], [])


@given(st.lists(st.text(max_size=300), max_size=40))
def test_many_texts_are_cut_too(texts: list[str]) -> None:
    pairs = {"a": tuple(texts), "b": tuple(texts)}
    for data in (text_line(at(0), "info", "x", pairs), json_line(at(0), "info", "x", pairs)):
        assert len(data) <= 4096
        assert data.count(b"\n") == 1
    assert len(json.loads(json_line(at(0), "info", "x", pairs))["a"]) == min(20, len(texts))


@given(st.text(max_size=2000))
@example("\u00e9" * 900)
@example("\U0001f600" * 600)
@example("\udcff" * 600)
def test_every_line_is_one_bounded_line(text: str) -> None:
    pairs = dict.fromkeys("abcde", text)
    for data in (text_line(at(0), "info", text, pairs), json_line(at(0), "info", text, pairs)):
        assert len(data) <= 4096
        line = data.decode()
        assert line.count("\n") == 1
        assert line[:-1].isprintable()
    told = json.loads(json_line(at(0), "info", "x", {"a": text}))["a"]
    assert "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in text).startswith(told)
    assert len(told) == min(len(text), 500) or len(told) >= 250


def test_long_texts_are_cut() -> None:
    assert escape("x" * 11, 10) == "xxxxxxx..."


def read_all(fd: int) -> str:
    data = b""
    while select.select([fd], [], [], 0)[0]:
        data += os.read(fd, 1 << 20)
    return data.decode()


def test_a_reader_that_is_too_slow_loses_lines_and_is_told() -> None:
    reader, writer = os.pipe()
    log = Log(writer, as_json=False)
    text = "x" * 100
    for _ in range(3000):
        log.info(at(0), text)
        log.flush(at(0))
    first = read_all(reader)
    log.flush(at(0))
    log.flush(at(0))
    rest = read_all(reader)
    for _ in range(100):
        log.flush(at(0))
        rest += read_all(reader)
    lines = (first + rest).splitlines()
    counted = [line for line in lines if "log lines were dropped" in line]
    assert len(counted) == 1
    dropped = int(counted[0].rpartition("=")[2])
    assert dropped > 0
    assert len(lines) - 1 + dropped == 3000
    os.close(reader)
    os.close(writer)


def test_a_reader_that_is_gone_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    log = Log(writer, as_json=True)
    log.warning(at(0), "x")
    log.bug(ValueError("ours"), at(0))
    log.flush(at(0))
    os.close(writer)


def tell(log: Log, seconds: float, target: str, status: int, *, anonymous: bool) -> None:
    by = "-" if anonymous else "alice"
    peer = "192.0.2.1:5"
    log.request(
        *(at(seconds), peer, "GET", target, status, 10, 0.1234567891, by, None, "x-1", anonymous)
    )


def test_what_strangers_cause_is_told_now_and_then() -> None:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    log = Log(writer, as_json=True)
    for seconds in (0, 0.5, 10):
        for _ in range(100):
            tell(log, seconds, "/jobs?arg=...", 401, anonymous=True)
        tell(log, seconds, "/jobs", 200, anonymous=False)
    log.warn_rarely(at(11), "no TLS", peer="192.0.2.1:5")
    log.flush(at(11))
    lines = [json.loads(line) for line in read_all(reader).splitlines()]
    failed = [line for line in lines if line["msg"] == "authentication failed"]
    assert len(failed) == 10 + 10
    assert {(line["peer"], line["target"]) for line in failed} == {("192.0.2.1:5", "/jobs?arg=...")}
    assert [line["withheld"] for line in lines if "withheld" in line] == [190, 90]
    assert len([line for line in lines if line["msg"] == "request"]) == 3
    os.close(reader)
    os.close(writer)


def test_requests_that_are_answered_withhold_none_that_is_refused() -> None:
    reader, writer = os.pipe()
    log = Log(writer, as_json=True)
    for _ in range(100):
        tell(log, 0, "/page/app.js", 200, anonymous=True)
    tell(log, 0, "/jobs", 401, anonymous=True)
    log.flush(at(0))
    last = json.loads(read_all(reader).splitlines()[-1])
    assert (last["msg"], last["withheld"]) == ("authentication failed", 90)
    os.close(reader)
    os.close(writer)


def test_a_bug_is_confessed_and_want_of_memory_mentioned() -> None:
    reader, writer = os.pipe()
    log = Log(writer, as_json=False)
    log.bug(ValueError("ours"), at(0))
    log.bug(MemoryError(), at(0))
    log.flush(at(0))
    text = read_all(reader)
    assert "ValueError: ours\n" in text
    assert 'msg="out of memory"' in text
    for _ in range(2000):
        log.bug(ValueError("ours"), at(0))
    log.flush(at(0))
    log.flush(at(0))
    assert read_all(reader).count("ours") <= 1001
    os.close(reader)
    os.close(writer)


def test_which_failures_count_as_failed_authentication() -> None:
    reader, writer = os.pipe()
    log = Log(writer, as_json=True)
    for status in (200, 401, 403, 429, 430):
        tell(log, 0, "/", status, anonymous=status != 200)
    log.flush(at(0))
    lines = [json.loads(line) for line in read_all(reader).splitlines()]
    assert [(line["status"], line["msg"], line["level"]) for line in lines] == [
        (200, "request", "info"),
        (401, "authentication failed", "warning"),
        (403, "request", "info"),
        (429, "authentication failed", "warning"),
        (430, "request", "info"),
    ]
    assert lines[0]["seconds"] == 0.123457
    os.close(reader)
    os.close(writer)


def test_texts_of_just_the_length() -> None:
    assert escape("x" * 10, 10) == "x" * 10
    assert escape('a"b\\\x1b', 10) == 'a\\"b\\\\\\x1b'
    line = text_line(at(0), "info", "m" * 500, {"a": "v" * 501}).decode()
    assert f'msg="{"m" * 500}"' in line
    assert f'a="{"v" * 497}..."' in line


def test_lines_are_written_as_many_at_a_time_as_a_pipe_surely_takes() -> None:
    reader, writer = os.pipe()
    log = Log(writer, as_json=False)
    for _ in range(1001):
        log.info(at(0), "x")
    log.flush(at(0))
    lines = read_all(reader).splitlines()
    assert len([line for line in lines if 'msg="x"' in line]) == 1000
    assert lines[-1].endswith('level=warning msg="log lines were dropped" count=1')
    os.close(reader)
    os.close(writer)


def test_how_many_lines_go_into_one_write() -> None:
    # In a pipe of packets every write stays apart (O_DIRECT in pipe(2)).
    reader, writer = os.pipe2(os.O_DIRECT | os.O_NONBLOCK)
    log = Log(writer, as_json=False)
    line = text_line(at(0), "info", "x" * 100, {}).decode()
    for _ in range(50):
        log.info(at(0), "x" * 100)
    # The last one is too long for any write but its own.
    last = text_line(
        at(0), "info", "x" * 500, dict(zip("abc", ("y" * 500, "z" * 500, "z" * 500), strict=True))
    ).decode()
    log.info(at(0), "x" * 500, a="y" * 500, b="z" * 500, c="z" * 500)
    log.flush(at(0))
    writes = []
    while select.select([reader], [], [], 0)[0]:
        writes.append(os.read(reader, 1 << 16).decode())
    assert "".join(writes) == line * 50 + last
    assert writes.pop() == last
    at_a_time = 2048 // len(line)
    assert [write.count("\n") for write in writes] == [at_a_time] * (50 // at_a_time) + [
        50 % at_a_time
    ]
    os.close(reader)
    os.close(writer)


def test_a_traceback_is_one_line_of_json() -> None:
    reader, writer = os.pipe()
    log = Log(writer, as_json=True)

    def dig(depth: int) -> None:
        if not depth:
            raise ValueError("ours \u00e9\U0001f600" * 100)
        dig(depth - 1)

    try:
        dig(50)
    except ValueError as failure:
        log.bug(failure, at(0))
    log.info(at(0), "next")
    log.flush(at(0))
    log.flush(at(0))
    first, second = read_all(reader).splitlines()
    assert len(first) < 4096
    told = json.loads(first)
    assert (told["level"], told["msg"]) == ("error", "internal server error")
    assert "ours" in told["traceback"]
    assert json.loads(second)["msg"] == "next"
