"""Hints: what people were seen to do, and what a job then says. What is in order has none."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rtot.jobs.hints import of_end, of_script
from rtot.jobs.job import Job, Options, State
from rtot.jobs.output import Output
from tests.world import MemoryDisk


@pytest.mark.parametrize(
    ("body", "form", "part"),
    [
        (b"# nightly backupset -eecho backing upfalse", True, "--data-binary @FILE"),
        (b"#!/bin/shset -eecho x", True, "-X POST -T FILE"),
        (b"#!/bin/bash\r\necho hello\r\n", False, r'the interpreter is "/bin/bash\r", with'),
        (b"#! /usr/bin/env bash\r\n", False, r'the interpreter is "/usr/bin/env", with'),
        (b"#!/bin/sh\r", False, r'the interpreter is "/bin/sh\r"'),
        (b"echo one\r\nexit 0\r\n", False, "its lines end in CRLF"),
        (b'{"script": "echo hi"}', False, "it looks like JSON"),
        (b' [ {\n  "a" : 1}]', True, "it looks like JSON"),
        (b"script=echo+hi", True, "it looks like name=value"),
        (b"a=1&b=%20x&c=\n", True, "it looks like name=value"),
        (b"FOO=bar", False, "it looks like name=value"),
        (b"MZ\x90\0\x03\nx", False, "there is a NUL byte in its first line"),
        (b'["echo", "hi"]', False, "it looks like JSON"),
        (b"[object Object]", False, "it looks like JSON"),
        (b"\0", False, "there is a NUL byte in its first line"),
    ],
)
def test_what_is_probably_wrong(body: bytes, form: bool, part: str) -> None:
    hint = of_script(body, form=form)
    assert part in hint
    assert "\r" not in hint


@pytest.mark.parametrize(
    ("body", "form"),
    [
        (b"echo hi", True),
        (b"# comment\necho hi", True),
        (b"# comment", False),
        (b"#!/bin/sh\necho hi", True),
        (b"#!/usr/bin/env python3\nprint({'a': 1})\r\n", False),
        (b"\x7fELF\x02\x01\0\0\r\n", False),
        (b"echo a\n\0", False),
        (b'{ "$cmd" --now; }', False),
        (b'[[ "$x" = y ]] && echo', False),
        (b'[ "$x" = y ] && echo', False),
        (b"A=1 B=2 make", True),
        (b"A=$(date); echo $A", True),
        (b"X=1\necho $X", True),
        (b"a=1 && b=2", True),
        (b"curl 'http://x/?a=1&b=2'", True),
    ],
)
def test_what_is_in_order(body: bytes, form: bool) -> None:
    assert of_script(body, form=form) == ""


@given(st.binary(max_size=200), st.booleans())
@example(b"a=" * 99, True)
@example(b"a=1&" * 99, True)
@example(b'{"' + b" " * 150, True)
def test_any_script_has_a_short_hint_or_none(body: bytes, form: bool) -> None:
    hint = of_script(body, form=form)
    assert "\n" not in hint
    assert len(hint) < 2000


def ended(script: bytes, failure: str = "", code: int = 0, launcher: str | None = None) -> str:
    disk = MemoryDisk()
    disk.store_script(7, script)
    job = Job(7, Options(launcher=launcher), Output(disk, "7", limit=1, memory=1), 1)
    job.state = State.COMPLETE
    job.failure = failure
    job.status = code << 8
    return of_end(job, disk)


NO_FILE = "fork/exec /spool/job-7: no such file or directory"
DENIED = "fork/exec /spool/job-7: permission denied"


@pytest.mark.parametrize(
    ("script", "failure", "hint"),
    [
        (b"#!/opt/python9 -u\n", NO_FILE, 'the interpreter "/opt/python9" does not exist'),
        (b"#!\t /opt/x\t-u", NO_FILE, 'the interpreter "/opt/x" does not exist'),
        (b"#!/tmp\n", DENIED, 'the interpreter "/tmp" cannot be run: permission denied'),
        (b"#! \n", DENIED, "its first line names no interpreter"),
        (b"#!/\xff\n", NO_FILE, 'the interpreter "/\ufffd" does not exist'),
        (
            b"\x7fELF",
            "fork/exec /spool/job-7: exec format error",
            "this machine cannot run that ELF file: exec format error",
        ),
        (b"", NO_FILE, ""),
        (b"#!/bin/sh\n", "chdir /nope: no such file or directory", ""),
        (b"#!/bin/sh\n", "fork/exec nice: no such file or directory", ""),
        (b"#!/bin/sh\n", "fork/exec /x/job-77: no such file or directory", ""),
        (b"#!/bin/sh\n", "killed before it was started", ""),
    ],
)
def test_why_a_script_could_not_be_started(script: bytes, failure: str, hint: str) -> None:
    found = ended(script, failure)
    assert found.startswith(hint)
    assert bool(found) == bool(hint)


@pytest.mark.parametrize(
    ("script", "code", "launcher", "hint"),
    [
        (b"#!/opt/x\n", 127, "low", True),
        (b"#!/opt/x\n", 126, "low", True),
        (b"#!/opt/x\n", 125, "low", False),
        (b"#!/opt/x\n", 127, None, False),
        (b"#!\n", 127, None, False),
        (b"\x7fELF", 127, "low", False),
    ],
)
def test_what_a_launcher_could_not_start(
    script: bytes, code: int, launcher: str | None, hint: bool
) -> None:
    found = ended(script, code=code, launcher=launcher)
    assert bool(found) == hint
    if hint:
        assert 'that it cannot run "/opt/x"' in found


def test_what_env_could_not_find() -> None:
    hint = ended(b"#!/usr/bin/env -S python9\nprint()", code=127)
    assert hint == 'exit status 127 of env often means that there is no "python9" on the server'
    assert ended(b"#!/usr/bin/env\n", code=127) == ""
    assert ended(b"#!\n", code=127, launcher="low").endswith("cannot run it")


def test_a_hint_is_never_long() -> None:
    assert len(of_script(b"#!" + b"a" * 100_000 + b"\r\n", form=False)) < 1000
    assert len(of_script(b"#!/bin/sh\r\n", form=False)) < 200
    assert len(ended(b"#!" + b"\x01" * 5000, NO_FILE)) < 2000
    assert len(ended(b"#!/usr/bin/env " + b"a" * 5000, code=127)) < 400
