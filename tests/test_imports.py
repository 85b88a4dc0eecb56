"""The table of who may import whom, held true. A module that is not in it fails the test."""

import ast
import subprocess
import sys
from pathlib import Path

import rtot

PACKAGE = Path(rtot.__file__).parent

# Values and rules first, then the cores, then what touches the world, then all together.
TABLE = {
    "__init__": "",
    "clock": "",
    "config": "",
    "deadlines": "",
    "ranges": "",
    "throttle": "",
    "auth": "clock throttle",
    "secret_file": "config",
    "notify": "clock",
    "reload": "auth clock log secret_file",
    "spool": "",
    "stop": "",
    "process": "stop",
    "listeners": "config",
    "output": "spool",
    "query": "config",
    "framing": "config",
    "messages": "spool",
    "fields": "clock messages",
    "heads": "framing messages",
    "incoming": "config framing heads messages",
    "outgoing": "clock fields messages",
    "job": "output",
    "commands": "stop",
    "queue": "job",
    "jobs": "clock commands config deadlines job output queue spool stop",
    "wire": "job output",
    "log": "clock throttle wire",
    "bodies": "job jobs messages output wire",
    "answers": "messages wire",
    "submission": "config job messages query wire",
    "listing": "answers bodies job jobs messages query wire",
    "handler": "answers auth bodies clock config job jobs listing messages output query ranges"
    " spool stop submission wire",
    "connection": "clock config fields framing heads incoming messages outgoing",
    "client": "connection messages",
    "children": "clock commands config job jobs log output process",
    "tls": "client config connection messages",
    "clients": "answers client clock config connection deadlines handler heads jobs listeners log"
    " messages",
    "server": "__init__ children client clients clock config handler jobs listeners log"
    " notify process reload",
    "cli": "__init__ auth clients config handler jobs listeners log notify process reload"
    " secret_file server spool tls",
    "__main__": "cli",
}
WORLD = {"socket", "selectors", "select", "subprocess", "signal", "ssl", "h11", "os", "time"}
# Of the world each core may know this much: names of signals, the calendar, files.
KNOWS = {
    "stop": {"signal"},
    "commands": {"signal"},
    "jobs": {"signal"},
    "wire": {"signal", "time"},
    "handler": {"signal"},
    "fields": {"time"},
    "heads": {"h11"},
    "spool": {"os"},
    "client": {"os", "select", "socket"},
    "process": {"os", "signal"},
    "children": {"os", "selectors"},
    "listeners": {"os", "socket"},
    "log": {"os", "select"},
    "secret_file": {"os"},
    "notify": {"os", "socket"},
    "tls": {"os", "socket", "ssl"},
    "clients": {"selectors"},
    "server": {"os", "selectors", "signal", "time"},
    "cli": {"os", "socket"},
}


def imports(module: str) -> tuple[set[str], set[str]]:
    """What a module imports of rtot, and of the world."""
    ours: set[str] = set()
    world: set[str] = set()
    tree = ast.parse((PACKAGE / f"{module}.py").read_text())
    # What is imported for its types only is not imported.
    for guard in [n for n in ast.walk(tree) if isinstance(n, ast.If)]:
        if isinstance(guard.test, ast.Name) and guard.test.id == "TYPE_CHECKING":
            guard.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "rtot":
            names = [
                f"rtot.{alias.name}" if (PACKAGE / f"{alias.name}.py").exists() else "rtot.__init__"
                for alias in node.names
            ]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        else:
            continue
        ours |= {name.removeprefix("rtot.") for name in names if name.startswith("rtot.")}
        world |= {name.partition(".")[0] for name in names} & WORLD
    return ours, world


def test_every_module_is_in_the_table() -> None:
    assert {path.stem for path in PACKAGE.glob("*.py")} == set(TABLE)


def test_the_table_is_true() -> None:
    assert {m: imports(m)[0] for m in TABLE} == {m: set(TABLE[m].split()) for m in TABLE}


def test_what_costs_megabytes_is_not_imported() -> None:
    """By a server that is not asked for TLS, has no launcher and was asked nothing yet."""
    program = "import sys, rtot.cli; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    loaded = set(done.stdout.decode().split())
    assert "rtot.server" in loaded
    expensive = {"ssl", "hmac", "subprocess", "tempfile", "http.client", "asyncio", "argparse"}
    expensive |= {"importlib.metadata", "urllib.parse", "json", "shutil", "traceback", "ipaddress"}
    assert loaded & expensive == set()


def test_the_world_stays_outside() -> None:
    for module in TABLE:
        assert imports(module)[1] <= KNOWS.get(module, set()), module
