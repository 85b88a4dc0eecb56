"""The soak runs, so that it cannot rot; and for so long nothing leaks."""

from tests.soak import soak


def test_a_short_soak() -> None:
    assert soak(6, 2)
