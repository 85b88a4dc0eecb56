"""The page's cores, asked in Node.js: one process for all tests."""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

Ask = Callable[[str, object], Any]
_PAGE = Path(__file__).parents[2] / "rtot" / "page"


@pytest.fixture(scope="session")
def core(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    """Ask for a core by its name in cores.mjs."""
    folder = tmp_path_factory.mktemp("page")
    for path in _PAGE.glob("*.js"):
        shutil.copy(path, folder)
    # As a browser takes them, since they are asked for by <script type=module>.
    (folder / "package.json").write_text('{"type":"module"}')
    script = str(Path(__file__).with_name("cores.mjs"))
    with subprocess.Popen(
        ["node", script, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as node:
        assert node.stdin is not None
        assert node.stdout is not None

        def ask(name: str, argument: object) -> object:
            assert node.stdin is not None
            assert node.stdout is not None
            node.stdin.write(json.dumps([name, argument]).encode() + b"\n")
            node.stdin.flush()
            answer = node.stdout.readline()
            assert answer, "Node.js is gone: see its stderr"
            return json.loads(answer).get("found")

        yield ask
        node.stdin.close()
