"""The table of routes: where paths lead, and what the log may show of them."""

import re
from pathlib import Path

import pytest

from rtot.api.job_json import ALL_FIELDS
from rtot.api.routes import ROUTES, UNROUTED, Route, find, redact
from rtot.jobs.job import SHOWN, Reason


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_every_route_is_found_at_its_path(route: Route) -> None:
    place, word = find(re.sub(r"\{.*?\}", "some", route.path))
    assert place.routes[route.method] is route
    assert place.open == (route.role is None)
    assert word == ("some" if "{" in route.path else "")


@pytest.mark.parametrize(
    "path",
    ["", "/x", "//", "/jobs/", "/jobs/1/", "/jobs/1/x", "/jobs/1/out/", "/ping/", "jobs", "*"],
)
def test_paths_that_lead_nowhere(path: str) -> None:
    methods = {"GET", "DELETE"} if path == "/jobs/" else set()
    assert set(find(path)[0].routes) == methods


def test_a_word_may_be_encoded() -> None:
    assert find("/jobs/%31%2F/out")[1] == "1/"
    assert find("/%6a%6Fbs")[0] is find("/jobs")[0]
    assert find("/jobs%2F1")[0].routes == {}


README = (Path(__file__).parents[2] / "README.md").read_text()


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_the_reference_names_every_route_and_its_parameters(route: Route) -> None:
    path = route.path.replace("{id}", "ID").replace("{name}", "NAME").replace("/err", "/out")
    (row,) = re.findall(rf"^\| `{route.method} {path}[`?].*$", README, re.MULTILINE)
    missing = {p.name for p in route.parameters if not re.search(rf"[`?]{p.name}[=`]", row)}
    assert missing == set()
    role = "–" if route.role is None else route.role.word
    assert f" | {role} | " in row


def test_every_row_of_the_reference_is_a_route() -> None:
    section = README.partition("### Requests")[2].partition("\n### ")[0]
    rows = re.findall(r"^\| `([A-Z]+) ([^`?]+)", section, re.MULTILINE)
    routes = {
        (route.method, route.path.replace("{id}", "ID").replace("{name}", "NAME"))
        for route in ROUTES
    }
    assert len(rows) == len(routes) - 1, "/err shares a row with /out"
    assert set(rows) == routes - {("GET", "/jobs/ID/err")}


def test_the_reference_names_every_field_state_and_reason() -> None:
    section = README.partition("### Fields of a job")[2].partition("\n### ")[0]
    names = {*ALL_FIELDS, *SHOWN.values(), *(reason.value for reason in Reason)}
    assert {name for name in names if f"`{name}`" not in section} == set()


def test_parameters_of_a_route_differ() -> None:
    for route in ROUTES:
        names = [parameter.name for parameter in route.parameters]
        assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        ("/jobs", "/jobs"),
        ("/jobs?wait=5&lease", "/jobs?wait=5&lease"),
        ("/jobs?env=PW=x&arg=x&label=l", "/jobs?env=...&arg=...&label=l"),
        ("/jobs?secret=x&e%6ev=x&secret", "/jobs?...&...&..."),
        ("/jobs?", "/jobs?"),
    ],
)
def test_values_that_may_be_secret_are_left_out(target: str, shown: str) -> None:
    assert redact(target) == shown


def test_values_that_are_no_secret_are_told() -> None:
    target = (
        "/jobs?after=1&close=2&cwd=3&fail=4&fields=5&follow=6&from=7&grace=8&label=9&launcher=10"
        "&lease=11&limit=12&offset=13&signal=14&state=15&stdin=16&timeout=17&tree=18&until=19"
        "&wait=20"
    )
    assert redact(target) == target


def test_the_reference_names_every_status() -> None:
    reference = README.partition("## Reference")[2].partition("\n## ")[0]
    statuses = {s for r in ROUTES for s in r.statuses} | set(UNROUTED)
    assert {s for s in statuses if not re.search(rf"\b{s}\b", reference)} == set()
