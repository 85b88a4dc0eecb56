"""Requests to one server: with the secret, to the same life of it, and tried again."""

import pytest

from rtot.client.connection import Request
from rtot.client.failures import (
    FailedError,
    GaveUpError,
    LostError,
    RefusedError,
    RestartedError,
)
from tests.client.script import Answer, Said, Stage, lost, said

PING = Request("GET", "/ping")


def test_the_secret_and_the_servers_life() -> None:
    stage = Stage(said("GET /ping", {"a": 1}), said("GET /ping", {}))
    session = stage.session()
    assert session.read(PING).json() == {"a": 1}
    assert stage.script.requests[0].headers == (("Authorization", "rtot secret"),)
    stage.session().read(PING)
    assert stage.script.header(1, "Rtot-Server") == "life"


def test_what_is_lost_is_asked_again() -> None:
    broken = Said("GET /ping", Answer([b"{", LostError("cut")]))
    stage = Stage(lost("GET /ping"), broken, said("GET /ping", {"a": 1}))
    assert stage.session().read(PING).json() == {"a": 1}
    assert stage.clock.slept == [0.2, 0.4]


def test_a_proxy_without_its_server() -> None:
    stage = Stage(
        said("GET /ping", status=502), said("GET /ping", status=503, retry_after="5"), said("GET ")
    )
    stage.session().read(PING)
    assert sum(stage.clock.slept) == 5.2


@pytest.mark.parametrize("retry_after", ["soon", "1e3", "86400"])
def test_nobody_waits_for_a_day(retry_after: str) -> None:
    stage = Stage(said("GET /ping", status=429, retry_after=retry_after), said("GET /ping"))
    stage.retry = 1e6
    stage.session().read(PING)
    assert sum(stage.clock.slept) <= 60


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b'{"error": "no", "message": "not today"}', "no: not today"),
        (b'{"jobs": []}', "status 404"),
        (b"Not Authorized\n", "Not Authorized (status 404)"),
        (b"<html>\r\n", "<html> (status 404)"),
        (b"\xff\xfe\x1b[31m", "status 404"),
        (b"[]", "status 404"),
        (b"", "status 404"),
    ],
)
def test_a_refusal(body: bytes, why: str) -> None:
    stage = Stage(Said("GET /ping", Answer([body], 404)))
    with pytest.raises(RefusedError) as caught:
        stage.session().read(PING)
    assert (str(caught.value), caught.value.status) == (why, 404)


def test_another_server() -> None:
    with pytest.raises(RestartedError):
        Stage(said("GET /ping", status=412)).session().read(PING)


def test_giving_up() -> None:
    stage = Stage(lost("GET /ping", "no route"), retry=0)
    with pytest.raises(GaveUpError, match="no route"):
        stage.session().read(PING)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (Answer([b"<html>"], 200, {}), "has no Rtot-Server"),
        (Answer([b"<html>"]), "is no JSON"),
        (Answer([], 301, {"location": "https://login.example/"}), "status 301"),
    ],
)
def test_what_a_proxy_says_is_not_taken_for_rtot(answer: Answer, why: str) -> None:
    with pytest.raises(FailedError, match=why):
        Stage(Said("GET /ping", answer)).session().read(PING).json()


def test_what_may_have_been_done_is_not_done_again() -> None:
    stage = Stage(lost("POST /x"), Said("POST /x", LostError("cut", sent=True)))
    with pytest.raises(FailedError, match="cut; whether it was done is not known"):
        stage.session().read(Request("POST", "/x"), once=True)
    assert stage.done()


def test_a_name_that_nobody_knows_may_come_back_if_it_was_there() -> None:
    unknown = Said("GET /ping", LostError("no such host", unknown=True))
    with pytest.raises(FailedError, match="no such host"):
        Stage(unknown).session().read(PING)
    stage = Stage(said("GET /ping"), unknown, said("GET /ping"))
    session = stage.session()
    session.read(PING)
    session.read(PING)
    assert stage.done()
