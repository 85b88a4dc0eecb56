import pytest

from rtot.auth import is_authorized

SECRETS = (b"old", b"new")


@pytest.mark.parametrize("field", ["rtot old", "rtot new", "Bearer new", "RTOT new", "rtot  new "])
def test_who_may(field: str) -> None:
    assert is_authorized(field, SECRETS)


@pytest.mark.parametrize(
    "field",
    [None, "", "rtot", "rtot ", "rtot ne", "rtot neww", "Basic new", "new", "rtot old new", "é é"],
)
def test_who_may_not(field: str | None) -> None:
    assert not is_authorized(field, SECRETS)


def test_nobody_may_without_secrets() -> None:
    assert not is_authorized("rtot ", ())
