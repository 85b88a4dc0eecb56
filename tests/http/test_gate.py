"""What is refused, and that it does not matter how the bytes were split on their way."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rtot.config import Settings
from rtot.http.gate import ChunkGate, HeadGate, RefusedError, blank_lines, origin_form
from rtot.http.incoming import RequestReader

SETTINGS = Settings()
HOST = "Host: localhost\r\n"


def judge(data: bytes, step: int = 1 << 20, settings: Settings = SETTINGS) -> object:
    """The head, or the refusal; None for an incomplete head."""
    gate = HeadGate(settings)
    for end in range(step, len(data) + step, step):
        try:
            length = gate.judge(data[:end])
        except RefusedError as refused:
            return refused.status, refused.why
        if length is not None:
            return data[:length]
    return None


def both_ways(data: bytes, settings: Settings = SETTINGS) -> object:
    whole = judge(data, settings=settings)
    assert judge(data, 1, settings) == whole
    return whole


@pytest.mark.parametrize(
    "head",
    [
        f"GET / HTTP/1.1\r\n{HOST}\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "GET /a?b/c?d HTTP/1.1\r\nhOsT:x\r\n\r\n",
        f"GET /%2F%5c%7C%20%01?%00%0a%0D HTTP/1.1\r\n{HOST}\r\n",
        f"GET http://localhost/a?b HTTP/1.1\r\n{HOST}\r\n",
        f"GET HTTP://LOCALHOST HTTP/1.1\r\n{HOST}\r\n",
        "GET https://[::1]:8457?x HTTP/1.1\r\nHost: [::1]:8457\r\n\r\n",
        "GET http://a/ HTTP/1.0\r\n\r\n",
        f"ACL / HTTP/1.1\r\n{HOST}\r\n",
        f"M-SEARCH /*'!~$&();=:@,+ HTTP/1.1\r\n{HOST}X.Y|z: \t caf\xc3\xa9 \t\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: [::1]:8457\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: 0.0.0.0=5000\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.b-c_d~:\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: %41:00080\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: [::ffff:192.0.2.1]\r\n\r\n",
        f"POST / HTTP/1.1\r\n{HOST}Content-Length: 003\r\n\r\n",
        f"POST / HTTP/1.1\r\n{HOST}Transfer-Encoding:\tChunked \r\n\r\n",
        f"POST / HTTP/1.1\r\n{HOST}Content-Length: {'0' * 18}\r\n\r\n",
        f"POST / HTTP/1.1\r\n{HOST}Expect: 100-Continue\r\n\r\n",
        f"POST / HTTP/1.1\r\n{HOST}Expect: , 100-continue ,,\r\n\r\n",
        f"POST / HTTP/1.1\r\n{HOST}Expect:\r\n\r\n",
    ],
)
def test_good_heads(head: str) -> None:
    data = head.encode("latin-1")
    assert both_ways(data) == data
    assert both_ways(data + b"GET / \n\n\0") == data


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("GET /\r\n\r\n", 400),
        ("GET\r\n\r\n", 400),
        (" GET / HTTP/1.1\r\n\r\n", 400),
        ("GET  / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1 \r\n\r\n", 400),
        ("GET / a HTTP/1.1\r\n\r\n", 400),
        ("GET / FTP/1.1\r\n\r\n", 400),
        ("GET / http/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.11\r\n\r\n", 400),
        ("GET / HTTP/2.0\r\n\r\n", 505),
        ("GET / HTTP/9.9\r\n\r\n", 505),
        ("G@T / HTTP/1.1\r\n\r\n", 400),
        ("GET\0 / HTTP/1.1\r\n\r\n", 400),
        ("GET /\xc3\xa9 HTTP/1.1\r\n\r\n", 400),
        ("GET /\x7f HTTP/1.1\r\n\r\n", 400),
        ("GET * HTTP/1.1\r\n\r\n", 400),
        ("GET jobs HTTP/1.1\r\n\r\n", 400),
        ("GET http://localhost/ HTTP/1.1\r\n\r\n", 400),
        ("GET http://other/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        ("GET http://localhost:80/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        ("GET http:///a HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        ("GET http://a b/ HTTP/1.0\r\n\r\n", 400),
        ("GET http://:80/ HTTP/1.0\r\n\r\n", 400),
        ("GET ftp://localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        ("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET /a?b#c HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET /a\\b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET /a?b|c HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET /a?{b} HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ('GET /"<>^`[] HTTP/1.1\r\nHost: a\r\n\r\n', 400),
        ("GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET /?100% HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET /a%00 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET /a%0A HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET /a%0d?b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("CONNECT localhost:22 HTTP/1.1\r\n\r\n", 405),
        ("CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        ("GET / HTTP/1.1\n\n", 400),
        ("\nGET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: x\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: x\rX: y\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n: x\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nH\xc3: x\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: x\r\nX: a\x7fb\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/1.0\r\nHost: a\r\nhost: b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: user@x\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a,b:x\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n", 400),
        ("GET / HTTP/1.0\r\nHost:\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: :80\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: [....]\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: [:]\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: [1.2.3.4]\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a:123456\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", 400),
        ("\r\nGET / HTTP/1.1\r\n\r\n", 400),
        (f"POST / HTTP/1.1\r\n{HOST}Content-Length: 5, 5\r\n\r\n", 400),
        (f"POST / HTTP/1.1\r\n{HOST}Content-Length: 5\r\nContent-Length: 5\r\n\r\n", 400),
        (f"POST / HTTP/1.1\r\n{HOST}Content-Length: +5\r\n\r\n", 400),
        (f"POST / HTTP/1.1\r\n{HOST}Content-Length: 0x5\r\n\r\n", 400),
        (f"POST / HTTP/1.1\r\n{HOST}Content-Length:\r\n\r\n", 400),
        (f"POST / HTTP/1.1\r\n{HOST}Content-Length: {'9' * 19}\r\n\r\n", 400),
        (
            f"POST / HTTP/1.1\r\n{HOST}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
        ),
        ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (f"POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: gzip\r\n\r\n", 400),
        (f"POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked, gzip\r\n\r\n", 400),
        (f"POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked, chunked\r\n\r\n", 400),
        (f"POST / HTTP/1.1\r\n{HOST}Transfer-Encoding:\r\n\r\n", 400),
        (f"POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: gzip, chunked\r\n\r\n", 501),
        (
            f"POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: a\r\nTransfer-Encoding: chunked\r\n\r\n",
            501,
        ),
        (f"POST / HTTP/1.1\r\n{HOST}Expect: tea\r\n\r\n", 417),
        (f"POST / HTTP/1.1\r\n{HOST}Expect: 100-continue, tea\r\n\r\n", 417),
        (f"GET / HTTP/1.1\r\n{HOST}Authorization: a\r\nAuthorization: b\r\n\r\n", 400),
        (f"GET / HTTP/1.1\r\n{HOST}Content-Type: a\r\ncontent-type: a\r\n\r\n", 400),
    ],
)
def test_bad_heads(head: str, status: int) -> None:
    refused = both_ways(head.encode("latin-1"))
    assert isinstance(refused, tuple)
    assert refused[0] == status


def test_the_limits() -> None:
    line = b"GET /%s HTTP/1.1\r\n"
    fits = line % (b"x" * (8192 - 14)) + b"Host: a\r\n\r\n"
    assert both_ways(fits) == fits
    assert both_ways(fits.replace(b"/x", b"/xx")) == (414, "a request line over 8192 bytes")
    assert both_ways(b"G" * 9000) == (414, "a request line over 8192 bytes")
    head = b"GET / HTTP/1.1\r\nHost: a\r\nX: %s\r\n\r\n"
    room = 16384 - len(head % b"")
    assert both_ways(head % (b"x" * room)) == head % (b"x" * room)
    assert both_ways(head % (b"x" * (room + 1))) == (431, "a head over 16384 bytes")
    fields = b"GET / HTTP/1.1\r\nHost: a\r\n" + b"a:b\r\n" * 99 + b"\r\n"
    assert both_ways(fields) == fields
    assert both_ways(fields.replace(b"\r\n\r\n", b"\r\na:b\r\n\r\n")) == (
        431,
        "more than 100 headers",
    )


@pytest.mark.parametrize(
    "name",
    [
        *("Authorization", "Content-Encoding", "Content-Type", "Expect", "Host"),
        *("Idempotency-Key", "Last-Event-Id", "Origin", "Range", "Sec-Fetch-Site"),
    ],
)
def test_what_decides_something_may_be_said_once(name: str) -> None:
    value = "100-continue" if name == "Expect" else "a"
    line = f"{name}: {value}\r\n"
    head = f"GET / HTTP/1.0\r\n{line}{line.lower()}\r\n".encode()
    assert both_ways(head) == (400, f"{name} more than once")
    once = f"GET / HTTP/1.0\r\n{line}\r\n".encode()
    assert both_ways(once) == once


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("X: y\r\n z", "a folded line"),
        ("X: y\r\n\tz", "a folded line"),
        ("X y", "a malformed header"),
        ("(X): y", "a malformed header"),
    ],
)
def test_what_is_wrong_with_a_header(line: str, why: str) -> None:
    assert both_ways(f"GET / HTTP/1.1\r\n{line}\r\n\r\n".encode()) == (400, why)


@pytest.mark.parametrize("end", ["\n", "x\n", "\t\n", "x\x0c\n", "\n\n"])
def test_a_line_ends_in_cr_lf(end: str) -> None:
    why = (400, "a line that does not end in CR LF")
    assert both_ways(f"GET / HTTP/1.1{end}".encode()) == why
    assert both_ways(f"GET / HTTP/1.1\r\n{HOST}X: ab{end}\r\n".encode()) == why
    assert both_ways(f"GET / HTTP/1.1\r\n{HOST}{end}".encode()) == why


@pytest.mark.parametrize(("target", "host"), [("a", "b"), ("b", "a"), ("a", "a:80")])
def test_a_target_of_another_host(target: str, host: str) -> None:
    head = f"GET http://{target}/ HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    assert both_ways(head) == (400, "a target of another host than Host")


def test_a_few_blank_lines_are_a_mistake_and_more_are_none() -> None:
    assert [blank_lines(b"\r\n" * n + b"\r") for n in range(5)] == [0, 2, 4, 6, 8]
    with pytest.raises(RefusedError, match="blank lines"):
        blank_lines(b"\r\n" * 5)
    assert blank_lines(b"G\r\n") == blank_lines(b"\n") == 0


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/a?b", "/a?b"),
        ("http://h", "/"),
        ("http://h/", "/"),
        ("http://h:1/a?b=/c", "/a?b=/c"),
        ("http://h?b=/c", "/?b=/c"),
        ("https://h/a", "/a"),
        ("https://h", "/"),
    ],
)
def test_the_path_of_a_target(target: str, path: str) -> None:
    assert origin_form(target) == path


HEAD_PIECES = st.sampled_from(
    [
        b"GET / HTTP/1.1\r\n",
        b"POST /jobs HTTP/1.1\r\n",
        b"GET / HTTP/1.0\r\n",
        b"Host: a\r\n",
        b"Content-Length: 5\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"\r\n",
        b"\n",
        b"\r",
        b" ",
        b"X",
        b":",
        b"\0",
        b"x" * 40,
    ]
)


@pytest.mark.parametrize("size", [60, 61, 62, 63])
def test_limits_of_any_size(size: int) -> None:
    settings = Settings(max_request_line=size, max_head=2 * size)
    for length, refused in ((size, None), (size + 1, (414, f"a request line over {size} bytes"))):
        line = b"GET /" + b"x" * (length - 14) + b" HTTP/1.1"
        assert both_ways(line + b"\r\n", settings) == refused
    for length in (2 * size, 2 * size + 1):
        head = b"GET / HTTP/1.0\r\nX: " + b"x" * (length - 23) + b"\r\n\r\n"
        over = (431, f"a head over {2 * size} bytes")
        assert both_ways(head, settings) == (head if length == 2 * size else over)


SMALL = Settings(max_request_line=60, max_head=120, max_headers=3)


@given(st.lists(HEAD_PIECES, max_size=14).map(b"".join))
@example(b"\r\n\n")
@example(b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X" * 94)
def test_any_split_gives_the_same_head(data: bytes) -> None:
    both_ways(data, SMALL)


def walk(data: bytes, step: int, limit: int | None, settings: Settings = SETTINGS) -> object:
    """The length of a chunked body, the refusal, or None for one that has not ended."""
    reader = RequestReader(settings)
    reader.receive(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    request = reader.next_head()
    assert request is not None
    reader.begin_body(limit)
    for start in range(0, len(data), step):
        reader.receive(data[start : start + step])
        try:
            more = True
            while more and not reader.body_ended:
                if limit is None:
                    reader.take_body(1 << 20)
                else:
                    reader.read_body(request)
                more = reader.more
        except RefusedError as refused:
            return refused.status, refused.why
        if reader.body_ended:
            return min(start + step, len(data)) - reader.held
    return None


def walk_every_way(data: bytes, limit: int | None = 100, settings: Settings = SETTINGS) -> object:
    whole = walk(data, 1 << 20, limit, settings)
    assert walk(data, 1, limit, settings) == whole
    # Each of these cuts a chunk's content, its end and its line at another place.
    for step in range(2, min(20, len(data))):
        assert walk(data, step, limit, settings) == whole
    return whole


@pytest.mark.parametrize(
    "body",
    [
        b"0\r\n\r\n",
        b"5\r\nhello\r\n0\r\n\r\n",
        b"0005\r\nhello\r\n000\r\n\r\n",
        b"A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n",
        b'5; a; b=c;d="e \\" f"\r\nhello\r\n0;x\r\n\r\n',
        b"5 \r\nhello\r\n0\t \r\n\r\n",
        b"5; a = b;c \r\nhello\r\n0 \r\n\r\n",
        b"0\r\nVary: *\r\nX: y\r\n\r\n",
        b"1\r\n\n\r\n0\r\n\r\n",
    ],
)
def test_good_bodies(body: bytes) -> None:
    assert walk_every_way(body) == len(body)
    assert walk_every_way(body + b"GET / HTTP/1.1\r\n") == len(body)
    assert walk_every_way(body[:-1]) is None


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"\r\n", 400),
        (b"x\r\n", 400),
        (b"-5\r\nhello\r\n", 400),
        (b"+5\r\nhello\r\n", 400),
        (b"0x5\r\nhello\r\n", 400),
        (b"5_0\r\nhello\r\n", 400),
        (b" 5\r\nhello\r\n", 400),
        (b"5 x\r\nhello\r\n", 400),
        (b"5 ;x\r\nhello\r\n", 400),
        (b"5\nhello\r\n", 400),
        (b"5;\r\nhello\r\n", 400),
        (b"5;a\rb\r\nhello\r\n", 400),
        (b'5;a="b\r\nhello\r\n', 400),
        (b"5\r\nhelloo\r\n", 400),
        (b"5\r\nhello\n0\r\n\r\n", 400),
        (b"5\r\nhell\r\n0\r\n\r\n", 400),
        (b"0" * 17 + b"\r\n", 400),
        (b"5;" + b"a" * 2000, 400),
        (b"65\r\n", 413),
        (b"ffffffffffffffff\r\n", 413),
        (b"0\r\nbad trailer\r\n\r\n", 400),
        (b"0\r\nX: y\n\n", 400),
        (b"0\r\n\n", 400),
        (b"0\r\nX: y\r\n z\r\n\r\n", 400),
        (b"0\r\nX: a\x01b\r\n\r\n", 400),
        (b"5;a=\x01\r\nhello\r\n", 400),
        (b"5;a\nb\r\nhello\r\n", 400),
        (b"0\r\nX: y\r\nHOST: a\r\n\r\n", 400),
        (b"0\r\nHost: a\r\n\r\n", 400),
        (b"0\r\ncontent-length: 5\r\n\r\n", 400),
        (b"0\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"0\r\n" + b"a: b\r\n" * 4000 + b"\r\n", 431),
    ],
)
def test_bad_bodies(body: bytes, status: int) -> None:
    refused = walk_every_way(body)
    assert isinstance(refused, tuple)
    assert refused[0] == status


def test_the_limit_is_of_content() -> None:
    body = b"32\r\n" + b"x" * 50 + b"\r\n"
    assert walk_every_way(body * 2 + b"0\r\n\r\n") == 2 * len(body) + 5
    assert walk_every_way(body * 2 + b"1\r\n") == (413, "a body may have 100 bytes")
    assert walk_every_way(body * 20 + b"0\r\n\r\n", None) == 20 * len(body) + 5


def test_lines_are_limited_too() -> None:
    settings = Settings(max_body=100)
    body = b"1;a=aaaaaaaaaaaaaaaaaa\r\nx\r\n" * 6
    assert walk_every_way(body, 100, settings) == (413, "a body that is mostly chunk lines")


CHUNK_PIECES = st.sampled_from(
    [b"0", b"5", b"a", b";x=y", b'="', b"\r\n", b"\n", b"\r", b"hello", b"X: y", b"Host: a", b" "]
)


@given(st.lists(CHUNK_PIECES, max_size=16).map(b"".join))
@example(b"0\r\n\r\r\n")
def test_any_split_gives_the_same_body(data: bytes) -> None:
    walk_every_way(data, 20, Settings(max_body=40, max_head=70))


def test_a_chunk_line_of_just_the_size() -> None:
    for length, outcome in ((1024, None), (1025, (400, "a chunk's line over 1 KB"))):
        line = b"5;" + b"a" * (length - 2)
        assert walk_every_way(line + b"\r\n") == outcome
        assert walk_every_way(line + b"\r") == outcome


def test_trailers_of_just_the_size() -> None:
    settings = Settings(max_head=100)
    for length, outcome in ((100, 103), (101, (431, "trailers over the size of a head"))):
        trailers = b"X: " + b"y" * (length - 7) + b"\r\n\r\n"
        assert walk_every_way(b"0\r\n" + trailers, 9, settings) == outcome


def test_trailers_that_do_not_end() -> None:
    settings = Settings(max_head=100)
    for length, outcome in ((100, None), (101, (431, "trailers over the size of a head"))):
        trailers = b"X: " + b"y" * (length - 3)
        assert walk_every_way(b"0\r\n" + trailers, 9, settings) == outcome


def test_lines_that_take_all_that_they_may() -> None:
    settings = Settings(max_body=99)
    assert walk_every_way(b"1\r\nx\r\n" * 33, 100, settings) is None
    refusal = (413, "a body that is mostly chunk lines")
    assert walk_every_way(b"1\r\nx\r\n" * 33 + b"1\r\n", 100, settings) == refusal


@pytest.mark.parametrize(("limit", "fits"), [(100, 33), (None, 49)])
def test_lines_of_just_the_limit(limit: int | None, fits: int) -> None:
    """A chunk's line is three bytes; a body that is not kept may have more of them."""
    settings = Settings(max_body=100)
    assert walk_every_way(b"1\r\nx\r\n" * fits, limit, settings) is None
    refusal = (413, "a body that is mostly chunk lines")
    assert walk_every_way(b"1\r\nx\r\n" * (fits + 2), limit, settings) == refusal


def test_a_portion_is_bounded() -> None:
    reader = RequestReader(SETTINGS)
    reader.receive(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    reader.next_head()
    reader.begin_body(None)
    reader.receive(b"1\r\nx\r\n" * 10_000)
    assert len(reader.take_body(1 << 16)) == 16
    assert reader.more


def test_nothing_is_behind_the_end() -> None:
    gate = ChunkGate(SETTINGS, None)
    gate.judge(b"0\r\n\r\n", b"GET / HTTP/1.1\r\n")
    with pytest.raises(AssertionError):
        gate.judge(b"0\r\n\r\n", b"")
