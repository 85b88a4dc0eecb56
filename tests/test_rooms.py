"""The rooms of the house: who may import whom, and who may know of the world."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import rtot

HOUSE = Path(rtot.__file__).parent
WORLD = {"h11", "os", "resource", "select", "selectors", "signal", "socket", "sqlite3", "ssl"}
WORLD |= {"subprocess"}
# room: the rooms that it imports besides itself and the top; what it knows of the world.
ROOMS: dict[str, tuple[set[str], set[str]]] = {
    "": (set(), set()),
    "http": (set(), {"h11"}),
    "jobs": (set(), {"signal"}),
    "api": ({"http", "jobs"}, {"signal"}),
    "system": ({"http", "jobs"}, WORLD - {"h11", "selectors"}),
    "loop": ({"http", "jobs", "api", "system"}, {"os", "selectors", "signal"}),
    "client": (set(), {"h11", "os", "select", "signal", "socket", "ssl"}),
    "cli": (
        {"http", "jobs", "api", "system", "loop", "client"},
        {"os", "resource", "signal", "socket"},
    ),
}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_what_it_may(room: str) -> None:
    rooms, world = ROOMS[room]
    for path in (HOUSE / room).glob("*.py"):
        nodes = list(ast.walk(ast.parse(path.read_text())))
        names = {a.name for n in nodes if isinstance(n, ast.Import) for a in n.names}
        names |= {n.module or "." for n in nodes if isinstance(n, ast.ImportFrom)}
        ours = {n.split(".")[1] for n in names if n.startswith("rtot.")} & set(ROOMS)
        if path.name != "__main__.py":
            assert ours <= rooms | {room}, path
        assert {name.partition(".")[0] for name in names} & WORLD <= world, path


def test_every_room_is_in_the_table() -> None:
    assert {path.name for path in HOUSE.iterdir() if (path / "__init__.py").exists()} | {""} == set(
        ROOMS
    )


def test_what_costs_megabytes_is_not_imported() -> None:
    """By a server that is not asked for TLS, has no launcher and was asked nothing yet."""
    program = "import sys, rtot.cli.main; print(*sys.modules)"
    # What counts lines imports much more.
    environ = {name: v for name, v in os.environ.items() if not name.startswith("COVERAGE_")}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, check=True, env=environ)
    loaded = set(done.stdout.decode().split())
    assert "rtot.loop.server" in loaded
    expensive = {"ssl", "hmac", "subprocess", "tempfile", "http.client", "asyncio", "argparse"}
    expensive |= {"importlib.metadata", "urllib.parse", "shutil", "traceback", "ipaddress"}
    expensive |= {"json", "rtot.http.lists", "sqlite3", "datetime", "rtot.jobs.saved"}
    assert loaded & expensive == set()
