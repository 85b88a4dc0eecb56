"""Well-known mistakes, in words: what a job's `hint` says. A hint changes nothing about the job.

It is for a person who looks at a job that did nothing, or failed for no reason that can be seen.
"""

import re

from rtot.jobs.job import Job
from rtot.jobs.script import ELF
from rtot.storage import Storage
from rtot.text import decode, string

# As much of a first line as the kernel looks at, and as much of a script as is looked at here.
_KERNEL = 256
_HEAD = 4096
# Compiled when they are used: few scripts look like that, and each takes a start 0.3 ms.
_JSON = rb'\s*(?:(?:\[\s*)?\{\s*"[^"\n]{0,200}"\s*:|\[")|\[object Object\]'
_PAIRS = rb"[A-Za-z0-9_.%+-]+=[^\s&;|<>$()`\"']*(?:&[A-Za-z0-9_.%+-]+=[^\s&;]*)*\s*"
_AS_IT_IS = "send the file as it is, with --data-binary @FILE or -X POST -T FILE"
_CRLF = r"remove the carriage returns (sed -i 's/\r$//' FILE)"
# Exit codes by which a shell or a launcher says that it could not run something.
_CANNOT_RUN = frozenset({126, 127})


def of_script(body: bytes, *, form: bool) -> str:
    """What is probably wrong with a script that was sent; empty for nothing.

    `form`: it came with the content type of a form, as `curl -d` sends it.
    """
    first, newline, _ = body.partition(b"\n")
    if form and not newline and body[:1] == b"#":
        return f"it begins with # and has no newlines, which curl -d @FILE removes: {_AS_IT_IS}"
    if body[:2] == b"#!":
        if first[-1:] == b"\r":
            interpreter = string(_interpreter(first))
            return f"the interpreter is {interpreter}, with a carriage return: {_CRLF}"
        return ""
    if body[:4] == ELF:
        return ""
    if b"\0" in first:
        return "there is a NUL byte in its first line, so it is no text (UTF-16? compressed?)"
    if b"\r\n" in body:
        return f"its lines end in CRLF, and bash takes the CR for a part of the words: {_CRLF}"
    if body[:_HEAD].lstrip()[:1] in (b"{", b"[") and re.match(_JSON, body):
        return "it looks like JSON, and was run by bash: the body is the script, and nothing else"
    if b"=" in first[:_HEAD] and re.fullmatch(_PAIRS, body[:_HEAD]):
        return "it looks like name=value of a form: the body is the script, and nothing else"
    return ""


def of_end(job: Job, storage: Storage) -> str:
    """Why a job that is complete probably failed; empty if that is no such case."""
    if job.failure:
        before, _, why = job.failure.rpartition(": ")
        if not before.startswith("fork/exec ") or not before.endswith(f"/job-{job.id}"):
            return ""
        return _of_failure(storage.read_script(job.id, _HEAD), why)
    code = job.status >> 8
    if code not in _CANNOT_RUN:
        return ""
    script = storage.read_script(job.id, _HEAD)
    if script[:2] != b"#!":
        return ""
    words = script.partition(b"\n")[0][2:_KERNEL].split()
    if job.options.launcher is not None:
        name = string(decode(words[0])) if words else "it"
        return f"exit status {code} of a launcher often means that it cannot run {name}"
    if len(words) > 1 and words[0].endswith(b"/env"):
        name = string(decode(words[-1]))
        return f"exit status {code} of env often means that there is no {name} on the server"
    return ""


def _of_failure(script: bytes, why: str) -> str:
    if not script:
        return ""
    if script[:4] == ELF:
        return f"this machine cannot run that ELF file: {why}"
    name = _interpreter(script.partition(b"\n")[0])
    if not name:
        return "its first line names no interpreter"
    if why == "no such file or directory":
        return f"the interpreter {string(name)} does not exist on the server"
    return f"the interpreter {string(name)} cannot be run: {why}"


def _interpreter(line: bytes) -> str:
    """The interpreter that the first line of a script names, as the kernel finds it."""
    words = line[2:_KERNEL].strip(b" \t").replace(b"\t", b" ").split(b" ", 1)
    return decode(words[0])
