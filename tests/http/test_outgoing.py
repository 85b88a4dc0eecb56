"""Bodies of every shape, and bugs of those who make them."""

import pytest

from rtot.http.messages import End, Request, Response
from rtot.http.outgoing import ResponseWriter
from rtot.http.response_head import write_head
from rtot.storage import FileSpan
from tests.world import MemoryDisk, at

ASKED = Request("GET", "/", {})


class Script:
    """A body that answers what the test says, in that order."""

    def __init__(self, *steps: bytes | FileSpan | End | None, length: int | None = None) -> None:
        self.steps = list(steps)
        self.length = length
        self.trailers = ""
        self.watched: int | None = None

    def pull(self, limit: int) -> bytes | FileSpan | End | None:
        return self.steps.pop(0)


def begin(body: Script, request: Request = ASKED) -> ResponseWriter:
    writer = ResponseWriter()
    writer.begin(Response(200, (), body), request, at(0), last=False)
    return writer


def text(writer: ResponseWriter) -> bytes:
    output = b""
    for piece in writer.pieces:
        if isinstance(piece, FileSpan):
            output += piece.file.read(piece.offset, piece.length)
        else:
            output += piece
    return output.partition(b"\r\n\r\n")[2]


def test_a_file_in_chunks() -> None:
    file = MemoryDisk().create("0.out")
    file.append(b"0123456789")
    body = Script(b"ab", FileSpan(file, 0, 10), b"", End((("A", "b"),)))
    writer = begin(body)
    writer.pull()
    assert writer.yielded
    writer.pull()
    assert text(writer) == b"2\r\nab\r\na\r\n0123456789\r\n0\r\nA: b\r\n\r\n"
    writer.sent(sum(map(len, writer.pieces)))
    assert writer.done
    assert not writer.last


def test_a_pause_at_the_beginning() -> None:
    writer = begin(Script(b"ab", b"", b"cd", End()))
    assert text(writer) == b"2\r\nab\r\n"
    writer.pull()
    assert text(writer) == b"2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n"


def test_a_body_of_another_length_than_it_said_is_a_bug() -> None:
    longer = begin(Script(b"abc", length=2))
    with pytest.raises(AssertionError, match="longer"):
        longer.pull()
    shorter = begin(Script(b"a", End(), length=2))
    with pytest.raises(AssertionError, match="shorter"):
        shorter.pull()


def test_an_old_client_reads_to_the_end_of_the_connection() -> None:
    writer = begin(Script(b"ab", None), Request("GET", "/", {}, None, b"", True))
    assert text(writer) == b"ab"
    assert writer.last


def test_a_field_of_several_lines_is_a_bug() -> None:
    with pytest.raises(ValueError, match="several lines"):
        write_head(200, (("A", "b\r\nC: d"),), "", at(0))
