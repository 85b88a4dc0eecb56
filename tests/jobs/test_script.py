import pytest

from rtot.jobs.script import title_of


@pytest.mark.parametrize(
    ("script", "title"),
    [
        (b"#!/bin/bash\n\n  # nightly\n  set -e \r\nmake", "set -e"),
        (b"#!/bin/bash\necho " + b"x" * 100, "echo " + "x" * 75),
        (b"#!/bin/sh\n# nothing", ""),
        (b"#!/bin/sh\necho \xff\t\x1b[0m", "echo \ufffd\ufffd\ufffd[0m"),
        (b"\x7fELF\x02 code", ""),
        (b"#!/bin/sh\n" + b"#" * 5000 + b"\necho", ""),
        (b"", ""),
    ],
)
def test_the_title_of_a_script(script: bytes, title: str) -> None:
    assert title_of(script) == title
