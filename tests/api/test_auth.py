import pytest

from rtot.api.auth import Authenticator, Verdict
from tests.world import PEER, at

SECRETS = (b"old", b"new")


def judge(field: str | None, secrets: tuple[bytes, ...] = SECRETS) -> Verdict:
    return Authenticator(secrets).judge(field, PEER, at(0))


@pytest.mark.parametrize("field", ["rtot old", "rtot new", "Bearer new", "RTOT new", "rtot  new "])
def test_who_may(field: str) -> None:
    assert judge(field) is Verdict.GOOD


@pytest.mark.parametrize(
    "field",
    [None, "", "rtot", "rtot ", "rtot ne", "rtot neww", "Basic new", "new", "rtot old new", "é é"],
)
def test_who_may_not(field: str | None) -> None:
    assert judge(field) is Verdict.BAD


def test_nobody_may_without_secrets() -> None:
    assert judge("rtot ", ()) is Verdict.BAD


def test_secrets_are_rotated() -> None:
    authenticator = Authenticator((b"old",))
    assert authenticator.judge("rtot new", PEER, at(0)) is Verdict.BAD
    authenticator.secrets = (b"old", b"new")
    assert authenticator.judge("rtot new", PEER, at(0)) is Verdict.GOOD
    authenticator.secrets = (b"new",)
    assert authenticator.judge("rtot old", PEER, at(0)) is Verdict.BAD


def guess(authenticator: Authenticator, peer: str, seconds: float, times: int) -> list[Verdict]:
    return [authenticator.judge("rtot wrong", peer, at(seconds)) for _ in range(times)]


@pytest.mark.parametrize(
    ("peer", "neighbour", "stranger"),
    [
        ("192.0.2.1:1", "192.0.2.1:2", "192.0.2.2:1"),
        ("[2001:db8::1]:1", "[2001:db8::ffff:2]:1", "[2001:db8:0:1::1]:1"),
        ("[fe80::1%eth0]:1", "[fe80::2%eth0]:1", "[fe80:0:0:1::1%eth0]:1"),
    ],
)
def test_an_address_that_guesses_has_to_wait(peer: str, neighbour: str, stranger: str) -> None:
    authenticator = Authenticator(SECRETS)
    assert guess(authenticator, peer, 0, 20) == [Verdict.BAD] * 20
    assert guess(authenticator, neighbour, 0, 1) == [Verdict.LIMITED]
    # Not even a right one is looked at, or guessing would go on.
    assert authenticator.judge("rtot new", peer, at(0.9)) is Verdict.LIMITED
    assert authenticator.judge("rtot new", stranger, at(0.9)) is Verdict.GOOD
    assert guess(authenticator, peer, 1.0, 2) == [Verdict.BAD, Verdict.LIMITED]
    assert authenticator.judge("rtot new", peer, at(2.5)) is Verdict.GOOD


@pytest.mark.parametrize("peer", ["unix", "127.0.0.1:5", "127.1.2.3:5", "[::1]:5"])
def test_this_machine_has_not(peer: str) -> None:
    authenticator = Authenticator(SECRETS)
    assert guess(authenticator, peer, 0, 100) == [Verdict.BAD] * 100
    assert authenticator.judge("rtot new", peer, at(0)) is Verdict.GOOD


def test_a_request_without_a_secret_is_no_guess() -> None:
    authenticator = Authenticator(SECRETS)
    for _ in range(100):
        assert authenticator.judge(None, PEER, at(0)) is Verdict.BAD
    assert authenticator.judge("rtot new", PEER, at(0)) is Verdict.GOOD
