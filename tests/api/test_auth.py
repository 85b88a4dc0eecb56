import base64

import pytest

from rtot.api.auth import Authenticator, Denial
from rtot.credentials import Credential, Role, digest
from tests.world import PEER, at, secrets

BOTH = secrets("old read alice", "new")
OLD = Credential(digest(b"old"), Role.READ, "alice")
NEW = Credential(digest(b"new"))


def judge(field: str | None, *lines: str) -> Credential | Denial:
    return Authenticator(secrets(*lines) if lines else BOTH).judge(field, PEER, at(0))


def basic(text: str) -> str:
    return f"Basic {base64.b64encode(text.encode()).decode()}"


@pytest.mark.parametrize(
    "field",
    [
        "rtot new",
        "Bearer new",
        "RTOT new",
        "rtot  new ",
        basic(":new"),
        basic("somebody:new"),
        basic(":new").replace("Basic", "bASIC"),
    ],
)
def test_who_may(field: str) -> None:
    assert judge(field) == NEW


def test_who_it_is() -> None:
    assert judge("rtot old") == judge(basic("bob:old")) == OLD


@pytest.mark.parametrize(
    "field",
    [
        None,
        "",
        "rtot",
        "rtot ",
        "rtot ne",
        "rtot neww",
        "Basic new",
        "Basic",
        "Basic bmV3",
        "Basic Om5ld",
        "Basic Om5ld\u00e9",
        basic("new"),
        basic("new:"),
        basic(":new\n"),
        basic("a:b:new"),
        "new",
        "rtot old new",
        "Digest new",
        "\u00e9 \u00e9",
        f"rtot {digest(b'new').hex()}",
        f"rtot sha256:{digest(b'new').hex()}",
    ],
)
def test_who_may_not(field: str | None) -> None:
    assert judge(field) is Denial.BAD


def test_a_password_may_have_colons() -> None:
    assert judge(basic("me:a:b"), "a:b") == Credential(digest(b"a:b"))


def test_nobody_may_without_secrets() -> None:
    assert Authenticator({}).judge("rtot ", PEER, at(0)) is Denial.BAD


def test_secrets_are_rotated() -> None:
    authenticator = Authenticator(secrets("old read alice"))
    assert authenticator.judge("rtot new", PEER, at(0)) is Denial.BAD
    authenticator.credentials = BOTH
    assert authenticator.judge("rtot new", PEER, at(0)) == NEW
    assert authenticator.is_good(OLD)
    authenticator.credentials = secrets("new")
    assert authenticator.judge("rtot old", PEER, at(0)) is Denial.BAD
    assert not authenticator.is_good(OLD)


def test_a_secret_that_stands_for_something_else_now() -> None:
    authenticator = Authenticator(secrets("old run alice"))
    assert not authenticator.is_good(OLD)


def guess(
    authenticator: Authenticator, peer: str, seconds: float, times: int
) -> list[Credential | Denial]:
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
    authenticator = Authenticator(BOTH)
    assert guess(authenticator, peer, 0, 20) == [Denial.BAD] * 20
    assert guess(authenticator, neighbour, 0, 1) == [Denial.LIMITED]
    # Not even a right one is looked at, or guessing would go on.
    assert authenticator.judge("rtot new", peer, at(0.9)) is Denial.LIMITED
    assert authenticator.judge("rtot new", stranger, at(0.9)) == NEW
    assert guess(authenticator, peer, 1.0, 2) == [Denial.BAD, Denial.LIMITED]
    assert authenticator.judge("rtot new", peer, at(2.5)) == NEW


@pytest.mark.parametrize("peer", ["unix", "127.0.0.1:5", "127.1.2.3:5", "[::1]:5"])
def test_this_machine_has_not(peer: str) -> None:
    authenticator = Authenticator(BOTH)
    assert guess(authenticator, peer, 0, 100) == [Denial.BAD] * 100
    assert authenticator.judge("rtot new", peer, at(0)) == NEW


def test_a_request_without_a_secret_is_no_guess() -> None:
    authenticator = Authenticator(BOTH)
    for _ in range(100):
        assert authenticator.judge(None, PEER, at(0)) is Denial.BAD
    assert authenticator.judge("rtot new", PEER, at(0)) == NEW
