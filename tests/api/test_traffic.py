"""Requests are counted; and there is a fixed list of series, whatever is sent."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from rtot.api.routes import ROUTES
from rtot.api.traffic import CONNECTIONS, Traffic
from rtot.metrics import render
from tests.api.face import Face, header, text
from tests.world import PaperServer, request


def counts(traffic: Traffic) -> dict[str, float]:
    lines = b"".join(render([traffic])).decode().splitlines()
    pairs = [line.rsplit(" ", 1) for line in lines if not line.startswith("#")]
    return {name: float(value) for name, value in pairs}


def some(traffic: Traffic) -> dict[str, float]:
    return {name: value for name, value in counts(traffic).items() if value}


def test_by_route_and_status() -> None:
    server = PaperServer()
    for data in (
        request("GET", "/jobs"),
        request("HEAD", "/jobs"),
        request("GET", "/jobs?bogus"),
        request("GET", "/jobs/5"),
        request("GET", "/jobs/6"),
        request("GET", "/nope"),
        request("GET", "/jobs", secret=b"wrong"),
        b"\0\r\n",
    ):
        server.receive(data)
    found = {n: v for n, v in some(server.handler.traffic).items() if "seconds" not in n}
    total = "rtot_http_requests_total"
    assert found == {
        f'{total}{{method="GET",route="/jobs",code="200"}}': 2,
        f'{total}{{method="GET",route="/jobs",code="400"}}': 1,
        f'{total}{{method="GET",route="/jobs/{{id}}",code="404"}}': 2,
        f'{total}{{method="-",route="-",code="404"}}': 1,
        f'{total}{{method="-",route="-",code="401"}}': 1,
        f'{total}{{method="-",route="-",code="400"}}': 1,
        'rtot_refusals_total{kind="malformed"}': 2,
        'rtot_refusals_total{kind="unauthorized"}': 1,
    }
    seconds = some(server.handler.traffic)
    assert seconds['rtot_http_request_seconds_count{method="GET",route="/jobs"}'] == 3


@pytest.mark.parametrize(
    ("target", "timed"),
    [("/jobs/0", 1), ("/jobs/0?wait=5", 0), ("/jobs/0/out", 1), ("/jobs/0/events?follow", 0)],
)
def test_waits_and_streams_are_not_timed(target: str, timed: int) -> None:
    server = PaperServer()
    server.receive(request("POST", "/jobs", b"sleep"))
    server.receive(request("GET", target))
    server.processes.end(0, 0, server.now)
    server.turn()
    found = some(server.handler.traffic)
    assert sum(v for n, v in found.items() if "_seconds_count" in n and '"GET"' in n) == timed
    assert sum(v for n, v in found.items() if "_requests_total" in n and '"GET"' in n) == 1


def test_a_status_that_nobody_expects() -> None:
    traffic = Traffic()
    traffic.answered(ROUTES[0], 299, 0.1)
    traffic.answered(None, 299, None)
    assert [name for name in some(traffic) if 'code="other"' in name] == [
        'rtot_http_requests_total{method="GET",route="/",code="other"}',
        'rtot_http_requests_total{method="-",route="-",code="other"}',
    ]


@given(
    st.lists(
        st.tuples(st.sampled_from([None, *ROUTES]), st.integers(100, 599), st.floats(0, 9)),
        max_size=20,
    )
)
def test_no_series_comes_or_goes(answers: list[tuple[object, int, float]]) -> None:
    traffic = Traffic()
    before = counts(traffic).keys()
    for route, status, seconds in answers:
        traffic.answered(route, status, seconds)  # type: ignore[arg-type]
    traffic.refused(CONNECTIONS)
    assert counts(traffic).keys() == before
    assert len(before) < 600


def test_the_answer(face: Face) -> None:
    face.complete()
    answer = face.ask("GET", "/metrics")
    assert header(answer, "Content-Type") == "text/plain; version=0.0.4; charset=utf-8"
    families = {f.name: f for f in text_string_to_metric_families(text(answer))}
    assert {"rtot_jobs", "rtot_jobs_accepted", "rtot_http_requests"} <= families.keys()
    (accepted,) = families["rtot_jobs_accepted"].samples
    assert (accepted.value, accepted.labels) == (1, {})
    assert face.ask("POST", "/metrics").status == 405
