"""argv and environment into settings, settings into a server, its end into an exit status."""

import argparse
import contextlib
import os
import re
import resource
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn, TypeVar

from rtot import __version__, listeners, process
from rtot.config import Settings, parse_duration, parse_size
from rtot.handler import Handler
from rtot.jobs import JobTable
from rtot.listeners import AddressError, ListenError, parse_address
from rtot.log import Log
from rtot.process import Processes
from rtot.server import Server, read_clock
from rtot.spool import Spool, remove_leftovers

T = TypeVar("T")

USAGE_ERROR = 2
FAILURE = 1
_DEFAULTS = Settings()


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line, not the whole usage."""
        self.exit(USAGE_ERROR, f"{self.prog}: {message} (see {self.prog} --help)\n")


def main(argv: Sequence[str]) -> int:
    """Run the server of that command line; return the exit status."""
    try:
        options = _parse(argv, os.environ)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else USAGE_ERROR
    process.close_all_on_exec()
    try:
        spool = Spool(options.spool_dir)
    except OSError as error:
        return _fail(f"cannot use {options.spool_dir}: {(error.strerror or str(error)).lower()}")
    try:
        return _serve(options, spool)
    finally:
        spool.close()


def _serve(options: argparse.Namespace, spool: Spool) -> int:
    remove_leftovers(options.spool_dir)
    settings = _settings(options)
    secret = options.secret or os.urandom(20).hex()
    opened = []
    for address in options.addresses:
        try:
            opened += listeners.listen(address)
        except ListenError as error:
            listeners.close(opened)
            return _fail(str(error))
    log = Log(2, as_json=options.log_format == "json")
    started = read_clock()
    if not options.secret:
        # Not through the log, which may be collected and kept.
        print(f"rtot: no secret was given, this one was made up: {secret}", file=sys.stderr)
    for listener in opened:
        log.info(started, "listening", address=listeners.name_of(listener), version=__version__)
    log.flush(started)
    server = Server(
        settings,
        Handler(settings, (secret.encode(),), started),
        JobTable(settings, spool),
        Processes(os.environ),
        opened,
        log,
    )
    return server.run()


def _parse(argv: Sequence[str], environ: Mapping[str, str]) -> argparse.Namespace:
    parser = _Parser(
        prog="rtot",
        description="Run this over there: a job server that you curl.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "-a",
        dest="addresses",
        metavar="ADDRESS",
        action="append",
        type=_as(parse_address),
        help=":PORT, HOST:PORT, [::1]:PORT or unix:/path; repeatable"
        " (default $RTOT_ADDR or localhost:8457)",
    )
    add(
        "-s",
        dest="secret",
        metavar="SECRET",
        help="the secret; visible to all in ps, $RTOT_SECRET is not (default: made up)",
    )
    add(
        "-f",
        dest="log_format",
        choices=("text", "json"),
        help="log format (default $RTOT_LOG_FORMAT or text)",
    )
    add("-v", "--version", action="version", version=f"rtot {__version__}")
    add(
        "--grace",
        metavar="DURATION",
        type=_as(parse_duration),
        default=_DEFAULTS.grace,
        help="between TERM and KILL (default 5s)",
    )
    add(
        "--drain",
        metavar="DURATION",
        type=_as(parse_duration),
        default=_DEFAULTS.drain,
        help="how long a job whose pipes are held by others stays running (default 1s)",
    )
    add(
        "--max-running",
        metavar="N",
        type=_as(_count),
        help="jobs at a time (default: from the limit of open files)",
    )
    add(
        "--max-queued",
        metavar="N",
        type=_as(_number),
        default=_DEFAULTS.max_queued,
        help="jobs that may wait (default 100000)",
    )
    add(
        "--max-body",
        metavar="SIZE",
        type=_as(parse_size),
        default=_DEFAULTS.max_body,
        help="the largest script (default 16M)",
    )
    add(
        "--max-output",
        metavar="SIZE",
        type=_as(parse_size),
        default=_DEFAULTS.max_output,
        help="output kept of a job, beyond which it is dropped and counted (default 1G)",
    )
    add(
        "--max-connections",
        metavar="N",
        type=_as(_count),
        help="clients at a time (default: from the limit of open files)",
    )
    add(
        "--spool-dir",
        metavar="DIR",
        default=environ.get("TMPDIR") or "/tmp",
        help="scripts and large output (default $TMPDIR or /tmp)",
    )
    add("--keep", metavar="N", type=_as(_number), help="complete jobs to keep (default: all)")
    add(
        "--ttl",
        metavar="DURATION",
        type=_as(parse_duration),
        help="how long to keep complete jobs (default: until deleted)",
    )
    add(
        "--launcher",
        dest="launchers",
        metavar="NAME='ARGV PREFIX'",
        action="append",
        type=_as(_launcher),
        default=[],
        help="what a job may be started under; repeatable; `default` is used for all",
    )
    add(
        "--head-timeout",
        metavar="DURATION",
        type=_as(parse_duration),
        default=_DEFAULTS.head_timeout,
        help="for a request's head (default 10s)",
    )
    add(
        "--body-timeout",
        metavar="DURATION",
        type=_as(parse_duration),
        default=_DEFAULTS.body_timeout,
        help="for progress of a body (default 20s)",
    )
    add(
        "--send-timeout",
        metavar="DURATION",
        type=_as(parse_duration),
        default=_DEFAULTS.send_timeout,
        help="for progress of an answer (default 30s)",
    )
    add(
        "--idle-timeout",
        metavar="DURATION",
        type=_as(parse_duration),
        default=_DEFAULTS.keepalive_timeout,
        help="between requests (default 75s)",
    )
    options = parser.parse_args(argv)
    try:
        if not options.addresses:
            text = environ.get("RTOT_ADDR") or "localhost:8457"
            try:
                options.addresses = [parse_address(text)]
            except AddressError as error:
                raise ValueError(f"RTOT_ADDR: {error}") from None
        options.secret = options.secret or environ.get("RTOT_SECRET") or None
        if options.secret is not None and not re.fullmatch(r"[\x21-\x7e]+", options.secret):
            raise ValueError("a secret is printable ASCII without spaces")
        options.log_format = options.log_format or environ.get("RTOT_LOG_FORMAT") or "text"
        if options.log_format not in ("text", "json"):
            raise ValueError(f"RTOT_LOG_FORMAT: {options.log_format!r} is neither text nor json")
        names = [name for name, _ in options.launchers]
        if len(set(names)) < len(names):
            raise ValueError("--launcher: a name was given twice")
    except ValueError as error:
        parser.error(str(error))
    return options


def _settings(options: argparse.Namespace) -> Settings:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = max(8, limit - process.reserved_descriptors(limit) - 16)
    # A job has three pipes at most and one file of its output open; half of the rest is
    # for clients.
    running = options.max_running or max(1, min(10_000, free // 2 // 4))
    connections = options.max_connections or max(4, min(20_000, free // 2))
    return Settings(
        max_running=running,
        max_connections=connections,
        max_queued=options.max_queued,
        max_body=options.max_body,
        max_output=options.max_output,
        head_timeout=options.head_timeout,
        body_timeout=options.body_timeout,
        send_timeout=options.send_timeout,
        keepalive_timeout=options.idle_timeout,
        grace=options.grace,
        drain=options.drain,
        keep=options.keep,
        ttl=options.ttl,
        launchers=tuple(options.launchers),
    )


def _as(convert: Callable[[str], T]) -> Callable[[str], T]:
    """`convert` for argparse, which would hide the text of a ValueError."""

    def convert_argument(text: str) -> T:
        try:
            return convert(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return convert_argument


def _number(text: str) -> int:
    if not re.fullmatch("[0-9]{1,12}", text):
        raise ValueError(f"{text!r} is not a number")
    return int(text)


def _count(text: str) -> int:
    if not _number(text):
        raise ValueError("want at least 1")
    return int(text)


def _launcher(text: str) -> tuple[str, tuple[str, ...]]:
    """`NAME=ARGV PREFIX`, split like a shell splits words, but by no shell."""
    import shlex

    name, equals, prefix = text.partition("=")
    argv = tuple(shlex.split(prefix))
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", name) or not equals or not argv:
        raise ValueError(f"{text!r}: want NAME='argv prefix'")
    return name, argv


def _fail(message: str) -> int:
    with contextlib.suppress(OSError):
        print(f"rtot: {message}", file=sys.stderr)
    return FAILURE
