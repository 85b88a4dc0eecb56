"""The described API: valid, complete, and as exact as the table it is made from."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openapi_spec_validator import validate

from rtot.api.openapi import document
from rtot.api.routes import ROUTES, Route
from rtot.config import Settings
from rtot.http.query import Parameter
from tests.api.face import Face, header, value

ABOUT = json.loads(document(Settings(launchers=(("precious", ("nice",)),), state=True)))
PATHS = {route.path for route in ROUTES}
PARAMETERS = {p.name + p.about: p for r in ROUTES for p in r.parameters}.values()


def operation(route: Route) -> dict[str, Any]:
    found = ABOUT["paths"][route.path][route.method.lower()]
    assert isinstance(found, dict)
    return found


def test_it_is_valid() -> None:
    validate(ABOUT)
    assert ABOUT["openapi"] == "3.1.0"


def test_anybody_gets_it(face: Face) -> None:
    answer = face.ask("GET", "/openapi.json", authorization="")
    assert answer.status == 200
    assert header(answer, "Content-Type") == "application/json; charset=UTF-8"
    paths = value(answer)["paths"]
    assert set(paths) == PATHS - {"/jobs/{id}/script"}
    assert face.ask("GET", "/openapi.json", authorization="").body is answer.body


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_a_route_is_described_whole(route: Route) -> None:
    about = operation(route)
    query = {p["name"]: p for p in about["parameters"] if p["in"] == "query"}
    assert query.keys() == {p.name for p in route.parameters}
    assert {str(status) for status in route.statuses} <= about["responses"].keys()
    assert about["summary"].endswith((".", "…"))
    assert (about.get("security") == []) == (route.role is None)
    assert route.role is None or f"the role {route.role.word}." in about["description"]
    for parameter in about["parameters"]:
        assert parameter["description"]
        assert "schema" in parameter
        assert "example" in parameter
    for response in about["responses"].values():
        assert response["headers"]["X-Request-Id"]["required"]


def test_what_a_server_does_not_offer_is_not_described() -> None:
    about = json.loads(document(Settings(shutdown=False)))
    assert set(about["paths"]["/"]) == {"get"}
    assert "/jobs/{id}/script" not in about["paths"]
    links = about["paths"]["/jobs"]["post"]["responses"]["201"]["links"]
    assert "get_script" not in links
    assert (
        "get_script"
        in operation(next(r for r in ROUTES if r.call.__name__ == "submit"))["responses"]["201"][
            "links"
        ]
    )
    face = Face(shutdown=False)
    assert header(face.ask("PUT", "/"), "Allow") == "GET, HEAD"
    assert header(Face().ask("PUT", "/"), "Allow") == "DELETE, GET, HEAD"


def test_everything_has_a_link(face: Face) -> None:
    links = value(face.ask("GET", "/"))["links"]
    found = {path.replace("{jobs.id}", "{id}").partition("{?")[0] for path in links.values()}
    assert links["page"] == "/page/{name}"
    assert found == PATHS - {"/", "/jobs/{id}/script"}


@pytest.mark.parametrize("parameter", PARAMETERS, ids=lambda parameter: parameter.name)
@given(data=st.data())
def test_what_a_schema_allows_is_taken(parameter: Parameter[Any], data: st.DataObject) -> None:
    schema: dict[str, Any] = dict(parameter.schema)
    if "enum" in schema:
        values = st.sampled_from(schema["enum"])
    elif "pattern" in schema:
        values = st.from_regex(str(schema["pattern"]).removesuffix("$") + r"\Z")
    elif schema["type"] == "integer":
        values = st.integers(schema["minimum"], schema["maximum"]).map(str)
    else:
        values = st.text(min_size=schema.get("minLength", 0), max_size=schema.get("maxLength"))
    parameter.parse(data.draw(values))


@pytest.mark.parametrize("parameter", PARAMETERS, ids=lambda parameter: parameter.name)
def test_examples_are_taken(parameter: Parameter[Any]) -> None:
    for route in ROUTES:
        if parameter in route.parameters:
            found = [p for p in operation(route)["parameters"] if p["name"] == parameter.name]
            example = found[0]["example"]
            for one in example if isinstance(example, list) else [example]:
                parameter.parse(str(one))


def test_what_takes_a_secret_is_not_in_it() -> None:
    assert "precious" not in json.dumps(ABOUT)
