import pytest

from rtot.jobs.commands import CloseStdin, Outbox, WriteStdin
from rtot.jobs.stdin import BUFFER, TRANSITIONS, Event, Inputs, State, Stdin, StdinClosedError
from tests.tables import drawn

TABLE = drawn(
    """
       END_ASKED CLOSED
OPEN   ENDING    CLOSED
ENDING -         CLOSED
CLOSED -         -
""",
    State,
    Event,
)


def test_the_table_is_the_one_that_was_drawn() -> None:
    assert TRANSITIONS == TABLE


def test_what_is_sent_is_pending_until_it_is_written() -> None:
    stdin = Stdin()
    stdin.write(b"hello")
    stdin.write(memoryview(b" you"))
    assert (bytes(stdin.pending), stdin.room) == (b"hello you", BUFFER - 9)
    stdin.written(6)
    assert (bytes(stdin.pending), stdin.closed) == (b"you", False)


def test_what_was_accepted_is_counted() -> None:
    stdin = Stdin()
    stdin.write(b"hello")
    stdin.written(5)
    stdin.write(b" you")
    assert stdin.accepted == 9


def test_there_is_never_less_than_no_room() -> None:
    stdin = Stdin()
    stdin.write(b"x" * (BUFFER + 1))
    assert stdin.room == 0


def test_the_end_comes_when_all_is_written() -> None:
    stdin = Stdin()
    stdin.write(b"hello")
    stdin.end()
    assert not stdin.closed
    stdin.written(4)
    assert not stdin.closed
    stdin.written(1)
    assert stdin.closed


def test_the_end_of_nothing_comes_at_once() -> None:
    stdin = Stdin()
    stdin.end()
    assert stdin.closed


@pytest.mark.parametrize("ending", [True, False])
def test_nothing_is_accepted_behind_the_end(ending: bool) -> None:
    stdin = Stdin()
    stdin.write(b"x")
    if ending:
        stdin.end()
    else:
        stdin.close()
        assert stdin.pending == b""
    with pytest.raises(StdinClosedError):
        stdin.write(b"y")
    with pytest.raises(StdinClosedError):
        stdin.end()
    with pytest.raises(StdinClosedError):
        _ = stdin.room


def test_to_close_what_is_closed_is_nothing() -> None:
    stdin = Stdin()
    stdin.close()
    stdin.close()
    assert stdin.closed


def test_inputs_are_written_and_closed_by_command() -> None:
    outbox = Outbox()
    inputs = Inputs(outbox)
    inputs.open(3)
    inputs.write(3, b"hello")
    inputs.write(3, b"!")
    assert outbox.take_commands() == [WriteStdin(3)]
    assert (inputs.pending(3), inputs.room(3)) == (b"hello!", BUFFER - 6)
    inputs.written(3, 5)
    assert (outbox.take_commands(), outbox.take_changes()) == ([], {3})
    inputs.end(3)
    assert outbox.take_commands() == []
    inputs.written(3, 1)
    assert (outbox.take_commands(), outbox.take_changes()) == ([CloseStdin(3)], {3})
    inputs.written(3, 0)
    inputs.broken(3)
    inputs.exited(3)
    assert not outbox


@pytest.mark.parametrize("how", ["end", "broken", "exited"])
def test_an_input_that_is_closed_is_closed_once(how: str) -> None:
    outbox = Outbox()
    inputs = Inputs(outbox)
    inputs.open(3)
    getattr(inputs, how)(3)
    inputs.broken(3)
    inputs.exited(3)
    assert (outbox.take_commands(), outbox.take_changes()) == ([CloseStdin(3)], {3})
    with pytest.raises(StdinClosedError):
        inputs.write(3, b"x")


def test_an_input_that_is_not_there() -> None:
    outbox = Outbox()
    inputs = Inputs(outbox)
    assert inputs.pending(9) == b""
    inputs.written(9, 1)
    inputs.broken(9)
    inputs.exited(9)
    assert not outbox
    with pytest.raises(StdinClosedError):
        inputs.room(9)
