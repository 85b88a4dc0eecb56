"""State tables as a person draws them: a row a state, a column an event, `-` for no transition.

A machine's own table is compared with such a drawing, so that a cell that is changed, lost or
added by mistake fails a test whatever else the tests happen to do.
"""

from enum import Enum
from typing import TypeVar

S = TypeVar("S", bound=Enum)
E = TypeVar("E", bound=Enum)


def drawn(text: str, states: type[S], events: type[E]) -> dict[S, dict[E, S]]:
    """The drawing as a machine writes its table; every state and every event stands in it."""
    head, *lines = [line.split() for line in text.strip().splitlines()]
    assert [e.name for e in events] == head, "a column an event, in their order"
    assert [s.name for s in states] == [line[0] for line in lines], "a row a state"
    assert {len(line) for line in lines} == {len(head) + 1}, "a cell each"
    return {
        states[name]: {
            events[event]: states[cell]
            for event, cell in zip(head, cells, strict=True)
            if cell != "-"
        }
        for name, *cells in lines
    }
