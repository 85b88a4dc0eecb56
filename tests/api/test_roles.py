"""Who may do what: a wall around the role read, and what the other two are for."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtot.api.answers import NeedBody, Reply, Wait
from rtot.api.auth import Authenticator
from rtot.api.handler import Handler
from rtot.api.processes import ExaminationWait
from rtot.api.routes import ROUTES, Route
from rtot.credentials import Role
from rtot.http.messages import Request, Response
from rtot.http.query import Parameter
from rtot.jobs.job import State
from tests.api.face import Face, value
from tests.world import PEER, SERVER, at, secrets

READ, RUN, ADMIN = "rtot r", "rtot u", "rtot a"
OF_ROLE = {Role.READ: READ, Role.RUN: RUN, Role.ADMIN: ADMIN}


class Company(Face):
    """Three who ask, each with a role; and three jobs: complete, running, waiting."""

    def __init__(self, **settings: object) -> None:
        super().__init__(max_running=1, **settings)
        lines = secrets("r read rita", "u run ulf", "a admin ada")
        self.handler = Handler(self.settings, Authenticator(lines), self.jobs, at(0), SERVER)
        for _ in range(3):
            assert self.ask("POST", "/jobs?stdin=open", b"x", authorization=RUN).status == 201
        self.world.obey(self.now)
        self.world.end(0, 0, self.now)
        self.world.obey(self.now)
        self.jobs.take_changes()

    def picture(self) -> list[Any]:
        """All that anybody could change."""
        jobs = [self.jobs.get(job_id) for job_id in range(self.jobs.last_id + 1)]
        rows = [(j.id, j.state, j.timeout, j.reason, j.stop, j.change) for j in jobs if j]
        leased = dict(self.jobs.leases._held)
        return [
            rows,
            leased,
            self.jobs.queue.paused,
            self.jobs.closing,
            self.jobs.last_id,
            self.jobs.changes.last,
        ]


@pytest.fixture(name="company")
def _company() -> Company:
    return Company()


TABLE = """
GET    /                     read
DELETE /                     admin
GET    /ping                 -
GET    /metrics              read
GET    /openapi.json         -
GET    /page/{name}          -
GET    /jobs                 read
POST   /jobs                 run
DELETE /jobs                 admin
GET    /jobs/{id}            read
DELETE /jobs/{id}            run
GET    /jobs/{id}/out        read
GET    /jobs/{id}/err        read
GET    /jobs/{id}/events     read
GET    /jobs/{id}/script     run
GET    /jobs/{id}/processes  read
POST   /jobs/{id}/in         run
POST   /jobs/{id}/kill       run
POST   /jobs/{id}/timeout    run
POST   /queue/pause          admin
POST   /queue/resume         admin
"""


def test_the_roles_of_routes_are_these() -> None:
    drawn = {(m, p): r for m, p, r in (line.split() for line in TABLE.split("\n") if line)}
    found = {(r.method, r.path): "-" if r.role is None else r.role.word for r in ROUTES}
    assert found == drawn


def guarded() -> Iterator[tuple[Route, Parameter[Any] | None, Role]]:
    for route in ROUTES:
        for role in Role:
            if route.role is not None and role < route.role:
                yield route, None, role
            for parameter in route.parameters:
                if route.role is not None and route.role <= role < parameter.role:
                    yield route, parameter, role


@pytest.mark.parametrize(("route", "parameter", "role"), list(guarded()))
@pytest.mark.parametrize("body", [b"", b"x"])
@pytest.mark.parametrize("head", [False, True])
def test_a_role_that_is_not_enough(
    company: Company,
    route: Route,
    parameter: Parameter[Any] | None,
    role: Role,
    body: bytes,
    head: bool,
) -> None:
    before = company.picture()
    method = "HEAD" if head and route.method == "GET" else route.method
    for job in "012":
        target = route.path.replace("{id}", job)
        for query in ("", "=5", "=0") if parameter else (None,):
            asked = target if parameter is None else f"{target}?wait=5&{parameter.name}{query}"
            if parameter is not None and not target.endswith(job):
                asked = f"{target}?follow&{parameter.name}{query}"
            answer = company.ask(method, asked, body, authorization=OF_ROLE[role])
            assert answer.status == 403, asked
            takes = (parameter or route).role
            assert takes is not None
            assert f"the role {takes.word}, and this secret has {role.word}" in str(value(answer))
    assert company.picture() == before
    assert company.jobs.take_commands() == []


METHODS = st.sampled_from(["GET", "HEAD", "POST", "DELETE", "PUT", "PATCH", "OPTIONS", "TRACE"])
NAMES = sorted({p.name for route in ROUTES for p in route.parameters} | {"x"})
QUERIES = st.lists(
    st.tuples(st.sampled_from(NAMES), st.sampled_from(["", "0", "1", "5", "any", "TERM", "out"])),
    max_size=4,
)
PATHS = st.sampled_from([r.path.replace("{id}", job) for r in ROUTES for job in "012"])


@given(METHODS, PATHS, QUERIES, st.sampled_from([None, b"", b"echo"]), st.booleans())
def test_whoever_may_read_changes_nothing(
    method: str,
    path: str,
    query: list[tuple[str, str]],
    body: bytes | None,
    encoded: bool,
) -> None:
    company = Company()
    before = company.picture()
    if encoded:
        path = "".join(c if c == "/" else f"%{ord(c):02x}" for c in path)
        query = [("".join(f"%{ord(c):02X}" for c in name), text) for name, text in query]
    target = f"{path}?{'&'.join(f'{name}={text}' for name, text in query)}"
    headers = {"host": "a", "authorization": READ, "idempotency-key": "k", "prefer": "wait=1"}
    request = Request(method, target, headers, len(body) if body else None, body)
    answer = company.handler.handle(request, PEER, company.now).answer
    if isinstance(answer, NeedBody):
        answer = company.handler.go_on(answer, b"echo", company.now)
    match answer:
        case Reply():
            assert answer.lease is None
        case Response():
            pass
        case ExaminationWait():
            company.world.obey(company.now)
        case wait:
            assert getattr(wait, "lease", None) is None
    company.jobs.expire(at(2))
    company.world.obey(at(2))
    assert company.picture() == before


def test_command_lines_are_for_those_who_may_run(company: Company) -> None:
    for authorization, argv in ((READ, None), (RUN, ["job-1", "a"]), (ADMIN, ["job-1", "a"])):
        company.now = at(company.now.monotonic + 5)
        wait = company.answer("GET", "/jobs/1/processes", authorization=authorization)
        assert isinstance(wait, ExaminationWait)
        found = company.answer("GET", "/jobs/1/processes", authorization=authorization)
        assert isinstance(found, ExaminationWait)
        company.world.obey(company.now)
        answer = wait.answer()
        assert value(answer)["processes"][0]["argv"] == argv
        assert value(answer)["processes"][0]["command"] == "job-1"


def test_whoever_may_run_runs(company: Company) -> None:
    assert company.ask("DELETE", "/jobs/0", authorization=RUN).status == 204
    assert company.ask("DELETE", "/jobs/2", authorization=RUN).status == 204
    wait: Wait | Any = company.answer("POST", "/jobs/1/kill", authorization=RUN)
    company.world.obey(company.now)
    company.jobs.expire(at(2))
    company.world.obey(at(2))
    assert wait.changed(1)
    job = company.jobs.get(1)
    assert job is not None
    assert job.state is State.COMPLETE


def test_whoever_is_admin_ends_all(company: Company) -> None:
    assert company.ask("DELETE", "/jobs", authorization=ADMIN).status == 204
    assert len(company.jobs) == 0
    assert company.ask("DELETE", "/", authorization=ADMIN).status == 204
    assert company.jobs.closing


def test_jobs_are_somebody_s(company: Company) -> None:
    company.ask("POST", "/jobs?label=x", b"x", authorization=ADMIN)
    shown = value(company.ask("GET", "/jobs?fields=by", authorization=READ))["jobs"]
    assert [job["by"] for job in shown] == ["ulf", "ulf", "ulf", "ada"]
    shown = value(company.ask("GET", "/jobs?fields=&by=ada", authorization=READ))["jobs"]
    assert [job["id"] for job in shown] == [3]
    assert company.ask("DELETE", "/jobs?by=ulf", authorization=ADMIN).status == 204
    assert len(company.jobs) == 1
    # An empty variable must not mean everybody.
    assert company.ask("DELETE", "/jobs?by=", authorization=ADMIN).status == 400
    assert len(company.jobs) == 1


def test_keys_belong_to_names(company: Company) -> None:
    ask = {"idempotency_key": "k"}
    first = company.ask("POST", "/jobs", b"x", authorization=RUN, **ask)
    other = company.ask("POST", "/jobs", b"y", authorization=ADMIN, **ask)
    again = company.ask("POST", "/jobs", b"x", authorization=RUN, **ask)
    ids = [value(answer)["jobs"][0]["id"] for answer in (first, other, again)]
    assert ids == [3, 4, 3]
