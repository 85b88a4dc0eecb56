from itertools import combinations
from signal import Signals
from typing import Any, get_args

import pytest

from rtot.jobs.commands import Command
from rtot.jobs.stop import Scope, Stop

STOP = Stop(0, 100, Signals.SIGTERM, 5.0, Scope.TREE, 0.0)
KINDS = get_args(Command)


@pytest.mark.parametrize(("one", "other"), [*combinations(KINDS, 2)])
def test_commands_of_different_kind_are_never_equal(one: Any, other: Any) -> None:
    for values in ((0,), (STOP, Scope.TREE), (STOP, Signals.SIGTERM, Scope.TREE)):
        if len(values) == len(one.__match_args__) == len(other.__match_args__):
            assert one(*values) != other(*values)
            assert not {one(*values)} & {other(*values)}


@pytest.mark.parametrize("kind", KINDS)
def test_a_command_is_what_it_holds(kind: Any) -> None:
    count = len(kind.__match_args__)
    assert kind(*range(count)) == kind(*range(count)) != kind(*range(1, count + 1))
    with pytest.raises(AttributeError):
        setattr(kind(*range(count)), kind.__match_args__[0], 0)
