"""Hypothesis profiles: fast in the ordinary run, deep by name (`--hypothesis-profile=deep`)."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from rtot.system.spool import Spool

settings.register_profile(
    "fast", max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "deep", max_examples=20_000, deadline=None, suppress_health_check=list(HealthCheck)
)
# For tests/api/test_fuzz.py alone: a million examples together.
settings.register_profile(
    "million", max_examples=250_000, deadline=None, suppress_health_check=list(HealthCheck)
)
settings.load_profile("fast")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--no-skips", action="store_true", help="fail if a test is skipped")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test has the mark of its room, so that `-m "not e2e"` leaves a room out."""
    for item in items:
        for room in {"e2e", "bench"} & set(item.path.parts):
            item.add_marker(room)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.getplugin("terminalreporter")
    skipped = reporter.stats.get("skipped") if reporter is not None else None
    if skipped and session.config.getoption("--no-skips"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    spool = Spool(str(tmp_path))
    yield spool
    spool.close()
