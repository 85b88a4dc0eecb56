"""Bodies of every shape, and bugs of those who make them."""

import http

import h11
import pytest

from rtot.http.messages import BROKEN, THE_END, End, Header, Request, Response
from rtot.http.outgoing import ResponseWriter
from rtot.http.response_head import REASONS
from rtot.storage import FileSpan
from tests.world import MemoryDisk, at

OLD = Request("GET", "/", {}, None, b"", True)


class Script:
    """A body that answers what the test says, in that order."""

    def __init__(self, *steps: bytes | FileSpan | End | None, length: int | None = None) -> None:
        self.steps = list(steps)
        self.length = length
        self.trailers = "A"
        self.topic: int | None = None

    def pull(self, limit: int) -> bytes | FileSpan | End | None:
        return self.steps.pop(0)


class Answer:
    """An answer under way to a request that h11 has read."""

    def __init__(
        self, body: Script | bytes, *headers: Header, method: str = "GET", old: bool = False
    ) -> None:
        request = Request(method, "/", {}, None, b"", old)
        self.conversation = h11.Connection(h11.SERVER)
        self.conversation.receive_data(
            f"{method} / HTTP/1.{0 if old else 1}\r\nHost: a\r\n\r\n".encode()
        )
        self.conversation.next_event()
        self.conversation.next_event()
        self.writer = ResponseWriter()
        response = Response(200, headers, body)
        self.writer.begin(response, request, self.conversation, at(0), last=False)

    def text(self) -> bytes:
        """What there is behind the head."""
        output = b""
        for piece in self.writer.pieces:
            if isinstance(piece, FileSpan):
                output += piece.file.read(piece.offset, piece.length)
            else:
                output += piece
        return output.partition(b"\r\n\r\n")[2]


def test_a_file_in_chunks() -> None:
    file = MemoryDisk().create("0.out")
    file.append(b"0123456789")
    answer = Answer(Script(b"ab", FileSpan(file, 0, 10), b"", End((("A", "b"),))))
    writer = answer.writer
    writer.pull()
    assert writer.yielded
    writer.pull()
    assert answer.text() == b"2\r\nab\r\na\r\n0123456789\r\n0\r\nA: b\r\n\r\n"
    writer.sent(sum(map(len, writer.pieces)))
    assert writer.done
    assert answer.conversation.our_state is h11.DONE


def test_a_pause_at_the_beginning() -> None:
    answer = Answer(Script(b"ab", b"", b"cd", End()))
    assert answer.text() == b"2\r\nab\r\n"
    answer.writer.pull()
    assert answer.text() == b"2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n"


def test_a_small_answer_is_one_piece() -> None:
    answer = Answer(b"hello")
    assert len(answer.writer.pieces) == 1
    assert answer.text() == b"hello"
    assert answer.conversation.our_state is h11.DONE


def test_a_body_of_another_length_than_it_said_is_a_bug() -> None:
    longer = Answer(Script(b"abc", length=2))
    with pytest.raises(h11.LocalProtocolError, match="Too much"):
        longer.writer.pull()
    shorter = Answer(Script(b"a", End(), length=2))
    with pytest.raises(h11.LocalProtocolError, match="Too little"):
        shorter.writer.pull()


@pytest.mark.parametrize("end", [End(), End((("A", "b"),))])
def test_an_old_client_reads_to_the_end_of_the_connection(end: End) -> None:
    answer = Answer(Script(b"ab", None, end), old=True)
    answer.writer.pull()
    assert answer.text() == b"ab"
    assert answer.conversation.our_state is h11.MUST_CLOSE


@pytest.mark.parametrize("length", [None, 5])
def test_a_body_that_breaks_off_has_no_end(length: int | None) -> None:
    answer = Answer(Script(b"ab", None, BROKEN, length=length))
    answer.writer.pull()
    answer.writer.pull()
    assert answer.writer.body is None
    assert answer.text() == (b"ab" if length else b"2\r\nab\r\n")
    assert answer.conversation.our_state is h11.ERROR


def test_trailers_are_announced_where_they_can_come() -> None:
    for steps, length, method, old, announced in (
        ((b"ab", None), None, "GET", False, True),
        ((b"ab", None), None, "HEAD", False, True),
        ((b"ab", None), None, "GET", True, False),
        ((b"ab", End()), None, "GET", False, False),
        ((b"ab", None), 2, "GET", False, False),
    ):
        answer = Answer(Script(*steps, length=length), method=method, old=old)
        head = answer.writer.pieces[0]
        assert isinstance(head, bytes)
        assert (b"\r\nTrailer: A\r\n" in head) == announced


@pytest.mark.parametrize("value", ["b\r\nC: d", "\u00e9", "\udcff"])
def test_a_header_that_cannot_be_one_is_a_bug_and_sends_nothing(value: str) -> None:
    conversation = h11.Connection(h11.SERVER)
    writer = ResponseWriter()
    response = Response(200, (("A", value),))
    with pytest.raises(h11.LocalProtocolError):
        writer.begin(response, None, conversation, at(0), last=True)
    assert writer.pieces == []
    writer.begin(Response(500), None, conversation, at(0), last=True)
    assert writer.pieces != []


def test_every_answer_says_what_it_is() -> None:
    """With the phrases of RFC 9110, of which Python knows some by older names."""
    newer = {413: "Content Too Large", 414: "URI Too Long", 422: "Unprocessable Content"}
    newer[416] = "Range Not Satisfiable"
    for status, phrase in REASONS.items():
        assert phrase == newer.get(status, http.HTTPStatus(status).phrase)


def test_no_more_is_pulled_than_a_client_is_likely_to_take() -> None:
    body = Script(None, b"x" * (16 * 1024), b"y", THE_END)
    answer = Answer(body)
    answer.writer.pull()
    assert body.steps == [b"y", THE_END]
    answer.writer.pull()
    assert body.steps == [b"y", THE_END]
