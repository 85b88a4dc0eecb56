"""The client's face: argv and environment into a server and a command, its end into a status.

A word imports what it needs, as a start is a good part of what most of them take.
"""

import gc
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

from rtot.cli.errors import UsageError
from rtot.cli.words import PASSED, Invocation, job_paths, parse
from rtot.client.address import Address, parse_url
from rtot.client.attend import attend
from rtot.client.connection import Connection, TlsFiles
from rtot.client.ending import OURS, READER_GONE
from rtot.client.failures import FailedError, ReaderGoneError
from rtot.client.lease import LeaseKeeper
from rtot.client.phases import Reaction
from rtot.client.run import Run
from rtot.client.screen import Screen, Sink
from rtot.client.session import Client, Server
from rtot.client.submission import Order, command_script
from rtot.config import parse_duration
from rtot.credentials import is_secret
from rtot.text import reason

_URL = "http://localhost:8457"
# For what runs or waits. All else fails at once: one can see that, and type it again.
_RETRY = 300.0
_PATIENT = {"run", "wait", "in"}


def main(argv: Sequence[str]) -> int:
    """Do what the words ask for; the exit status."""
    gc.enable()
    screen = Screen(os.environ)
    try:
        asked = parse(argv)
        if isinstance(asked, str):
            screen.print(asked)
            return 0
        screen = Screen(os.environ, asked.options.get("color", "auto"))
        return _COMMANDS[asked.word.name](_Command(asked, screen))
    except (UsageError, FailedError) as error:
        screen.tell(str(error))
        return OURS
    except ReaderGoneError:
        return READER_GONE


class _Command:
    """What was asked for, and what it takes."""

    def __init__(self, asked: Invocation, screen: Screen) -> None:
        self.name = asked.word.name
        self.options = asked.options
        self.words = asked.words
        self.dashed = asked.dashed
        self.screen = screen

    def client(self, url: str | None = None) -> Client:
        """A client of that server, or of the one that was asked for. Raises UsageError."""
        options = self.options
        if url is None:
            url = options.get("url") or os.environ.get("RTOT_URL") or _URL
        try:
            address = parse_url(url)
        except ValueError as error:
            raise UsageError(f"RTOT_URL: {error}") from None
        files = TlsFiles(
            options.get("ca") or os.environ.get("RTOT_CA"),
            options.get("cert") or os.environ.get("RTOT_CERT"),
        )
        patient = self.name in _PATIENT or options.get("follow") or options.get("watch")
        retry = options.get("retry", _RETRY if patient else 0.0)
        return Client(_server(address, self.secret(), files), retry, self.screen.tell)

    def secret(self) -> str:
        """The secret; empty for none. Raises UsageError."""
        path = self.options.get("secret_file")
        if path is None:
            secret = os.environ.get("RTOT_SECRET", "")
            path = os.environ.get("RTOT_SECRET_FILE")
            if secret or not path:
                return _usable(secret, "RTOT_SECRET")
        return _usable(_first_word(path), path)


def _server(address: Address, secret: str, files: TlsFiles) -> Server:
    return Server(address.name, secret, lambda: Connection(address, files))


def _usable(secret: str, where: str) -> str:
    if secret and not is_secret(secret):
        raise UsageError(f"{where}: a secret is printable ASCII without spaces")
    if secret.startswith("sha256:"):
        raise UsageError(
            f"{where}: this is the digest, for the server; the client needs the secret"
        )
    return secret


def _first_word(path: str) -> str:
    """The first secret in a file as the server's, or with nothing else in it."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = [line.split() for line in file if not line.startswith("#")]
    except OSError as error:
        raise UsageError(f"cannot read {path}: {reason(error)}") from error
    words = [line[0] for line in lines if line]
    if not words:
        raise UsageError(f"{path}: there is no secret in it")
    return words[0]


def _run(command: _Command) -> int:
    options, screen = command.options, command.screen
    if options.get("detach") and options.get("interactive"):
        raise UsageError("run: -d does not stay to pass stdin on: leave -i out")
    if "on" not in options:
        for name, key in (("-P", "parallel"), ("--group-output", "grouped")):
            if key in options:
                raise UsageError(f"run: {name} goes with --on")
        run = _one(command, _order(command), command.client(), screen)
        if not options.get("detach"):
            return attend(run.work, lambda number: _left(run.signalled(number), number))
        job_id = run.submit()
        if job_id is None:
            return OURS
        screen.print(job_id)
        return 0
    for name, key in (("-d", "detach"), ("-i", "interactive")):
        if key in options:
            raise UsageError(f"run: {name} does not go with --on")
    from rtot.client.many import Grouped, Many, Member, Prefixed

    urls = _urls(options["on"])
    # Once for all of them: it may be read from stdin.
    order = _order(command)
    clients = [command.client(url) for url in urls]
    members = []
    for url, client in zip(urls, clients, strict=True):
        sink = (Grouped if options.get("grouped") else Prefixed)(screen, client.server.name)
        members.append(Member(url, _one(command, order, client._replace(tell=sink.tell), sink)))
    many = Many(members, options.get("parallel", len(members)), screen)
    return attend(many.work, many.signalled)


def _one(command: _Command, order: Order, client: Client, sink: Sink) -> Run:
    return Run(
        client.session,
        order,
        sink,
        keeper=None if command.options.get("keep_running") else LeaseKeeper(client.session),
        reads=command.options.get("interactive", False),
    )


def _left(found: Reaction, number: int) -> int | None:
    return 128 + number if found is Reaction.LEAVE else None


def _order(command: _Command) -> Order:
    """What is to be run. Raises UsageError."""
    options, words = command.options, command.words
    if "line" in options:
        script = os.fsencode(options["line"]) + b"\n"
    elif not words:
        raise UsageError("run: what? (see rtot run --help)")
    elif command.dashed:
        script, words = command_script(map(os.fsencode, words)), ()
    else:
        script, words = _script(words[0], options), words[1:]
    chosen = [(key, options[key]) for key in PASSED if key in options]
    parameters = [(key, "1" if value is True else str(value)) for key, value in chosen]
    parameters += [("label", label) for label in options.get("labels", ())]
    parameters += [("after", after) for after in options.get("after", ())]
    if options.get("merged"):
        parameters.append(("stderr", "out"))
    env = tuple(_pair(text, os.environ) for text in options.get("env", ()))
    return Order(script, tuple(map(os.fsencode, words)), tuple(parameters), env)


def _script(path: str, options: Mapping[str, Any]) -> bytes:
    try:
        if path != "-":
            with open(path, "rb") as file:
                return file.read()
        if options.get("interactive"):
            raise UsageError("run: stdin cannot be both the script and the job's (-i)")
        with open(0, "rb", closefd=False) as file:
            return file.read()
    except FileNotFoundError:
        raise UsageError(
            f"run: there is no file {path} here; for a command over there: rtot run -- {path}"
        ) from None
    except OSError as error:
        raise UsageError(f"run: cannot read {path}: {reason(error)}") from error


def _pair(text: str, environ: Mapping[str, str]) -> str:
    if "=" in text:
        return text
    if text not in environ:
        raise UsageError(f"--env: {text} is not set here: want NAME=VALUE")
    return f"{text}={environ[text]}"


def _urls(text: str) -> list[str]:
    """Of `URL,URL` or `@FILE`. Raises UsageError."""
    if text.startswith("@"):
        try:
            with open(text[1:], encoding="utf-8", errors="replace") as file:
                found = [line.strip() for line in file if not line.startswith("#")]
        except OSError as error:
            raise UsageError(f"--on: cannot read {text[1:]}: {reason(error)}") from error
    else:
        found = text.split(",")
    urls = [url for url in found if url]
    if not urls:
        raise UsageError("--on: there is no URL")
    try:
        places = {parse_url(url)._replace(url="") for url in urls}
    except ValueError as error:
        raise UsageError(f"--on: {error}") from None
    if len(places) < len(urls):
        raise UsageError("--on: a server is there twice")
    return urls


def _logs(command: _Command) -> int:
    from rtot.client.logs import LogOptions, logs

    options = command.options
    (path,) = job_paths(command.words)
    only = {name for name in ("out", "err") if options.get(name)}
    chosen = LogOptions(
        follow=options.get("follow", False),
        tail=options.get("tail"),
        times=options.get("times", False),
        streams=frozenset(only or ("out", "err")),
        since=_since(options["since"]) if "since" in options else 0.0,
    )
    return logs(command.client().session(), path, chosen, command.screen)


def _since(text: str) -> float:
    """Seconds since 1970 of a time, or of a duration before now. Raises UsageError."""
    try:
        return time.time() - parse_duration(text)
    except ValueError:
        from datetime import datetime

        try:
            return datetime.fromisoformat(text).timestamp()
        except ValueError:
            raise UsageError(f"--since: {text!r}: want 10m or 2026-11-25T10:00:00Z") from None


def _wait(command: _Command) -> int:
    from rtot.client.wait import WaitOptions, wait

    options = command.options
    if bool(command.words) == ("label" in options):
        raise UsageError("wait: for what? Want ids or --label")
    chosen = WaitOptions(
        job_paths(command.words),
        options.get("label"),
        options.get("any", False),
        options.get("timeout"),
    )
    session = command.client().session(within=options.get("timeout"))
    return wait(session, chosen, command.screen, time.monotonic)


def _ls(command: _Command) -> int:
    from rtot.client import lists

    options = command.options
    chosen = lists.ListOptions(
        json=options.get("json", False),
        failed=options.get("failed", False),
        labels=tuple(options.get("labels", ())),
        last=options.get("last"),
        watch=options.get("watch", False),
    )
    return lists.list_jobs(command.client().session(), chosen, command.screen, time.time)


def _show(command: _Command) -> int:
    from rtot.client import lists

    (path,) = job_paths(command.words)
    session = command.client().session()
    return lists.show_job(session, path, command.screen, as_json=command.options.get("json", False))


def _ps(command: _Command) -> int:
    from rtot.client import control

    (path,) = job_paths(command.words)
    return control.show_processes(command.client().session(), path, command.screen)


def _kill(command: _Command) -> int:
    from rtot.client import control

    chosen = control.KillOptions(command.options.get("signal"), command.options.get("grace"))
    session = command.client().session()
    return control.kill(session, job_paths(command.words), chosen, command.screen, time.monotonic)


def _rm(command: _Command) -> int:
    from rtot.client import control

    session = command.client().session()
    return control.remove(session, job_paths(command.words), command.screen)


def _in(command: _Command) -> int:
    from rtot.client import control

    (path,) = job_paths(command.words)
    return control.write_stdin(command.client().session(), path)


_COMMANDS = {
    "run": _run,
    "logs": _logs,
    "wait": _wait,
    "ls": _ls,
    "show": _show,
    "ps": _ps,
    "kill": _kill,
    "rm": _rm,
    "in": _in,
}
