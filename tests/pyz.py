"""python -m tests.pyz DIRECTORY FILE: packages in a directory into one file that Python runs.

As zipapp does, but smaller: as tight as zlib can, and without comments, whose lines are left empty
so that tracebacks name the right ones.
"""

import io
import sys
import tokenize
import zipfile
from pathlib import Path

_MAIN = "from rtot.__main__ import run\nrun()\n"
# The same bytes for the same files (1980 is where a zip file's time begins).
_TIME = (1980, 1, 1, 0, 0, 0)


def build(directory: Path, target: Path) -> None:
    """Make `target` of what is in the directory."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
        files = {str(path.relative_to(directory)): path for path in directory.rglob("*")}
        for name in sorted(files):
            if files[name].is_file():
                data = files[name].read_bytes()
                _add(packed, name, without_comments(data) if name.endswith(".py") else data)
        _add(packed, "__main__.py", _MAIN.encode())
    target.write_bytes(b"#!/usr/bin/env python3\n" + archive.getvalue())
    target.chmod(0o755)


def _add(packed: zipfile.ZipFile, name: str, data: bytes) -> None:
    packed.writestr(zipfile.ZipInfo(name, _TIME), data, zipfile.ZIP_DEFLATED, 9)


def without_comments(source: bytes) -> bytes:
    """The source, line by line, without its comments."""
    lines = source.decode().splitlines(keepends=True)
    for token in tokenize.tokenize(io.BytesIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start[0] - 1, token.start[1]
            lines[row] = lines[row][:column].rstrip() + "\n"
    return "".join(lines).encode()


if __name__ == "__main__":
    build(Path(sys.argv[1]), Path(sys.argv[2]))
