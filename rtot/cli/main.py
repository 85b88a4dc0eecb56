"""argv and environment into settings, settings into a server, its end into an exit status."""

import contextlib
import errno
import os
import resource
import socket
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rtot.api.auth import Authenticator
from rtot.api.handler import Handler
from rtot.cli.errors import UsageError
from rtot.cli.flags import parse, wants_json
from rtot.cli.secret import USAGE, line_for, new_secret
from rtot.clock import Now
from rtot.config import Settings, SetupError, share_descriptors
from rtot.credentials import collect, parse_credential
from rtot.jobs.archive import MemoryArchive
from rtot.jobs.table import JobTable
from rtot.loop.reload import Reload
from rtot.loop.server import Server, read_clock
from rtot.loop.signals import Signals
from rtot.loop.vitals import Vitals
from rtot.system import listeners, processes
from rtot.system.leftovers import Leftover, take_leftovers
from rtot.system.listeners import Listener, parse_address
from rtot.system.log import Log, json_line, traceback_lines
from rtot.system.page import read_page
from rtot.system.processes import Processes
from rtot.system.secret_file import read_secrets
from rtot.system.spool import Spool
from rtot.system.systemd import Notifier
from rtot.system.vitals import ProcessVitals
from rtot.text import reason

if TYPE_CHECKING:
    from rtot.system.state import State
    from rtot.system.tls import Tls

USAGE_ERROR = 2
FAILURE = 1


def main(argv: Sequence[str]) -> int:
    """Run the server of that command line; return the exit status."""
    as_json = wants_json(argv, os.environ)
    try:
        return _main(argv)
    except UsageError as error:
        _tell(f"{error} (see rtot --help)", "error", as_json)
        return USAGE_ERROR
    except SetupError as error:
        _tell(str(error), "error", as_json)
    except Exception as bug:
        _write(traceback_lines(bug, read_clock(), as_json=as_json))
    return FAILURE


def _main(argv: Sequence[str]) -> int:
    if argv and argv[0] == "secret":
        return _make_secret(argv[1:])
    options = parse(argv, os.environ)
    if isinstance(options, str):
        return _show(options)
    # Installed before anything is created: a signal's default action would leave it behind.
    signals = Signals()
    try:
        processes.close_all_on_exec()
    except OSError as error:
        raise SetupError(f"cannot read /proc, which is needed: {reason(error)}") from error
    if not os.access(".", os.X_OK):
        # After changing to a job's cwd the server must be able to change back.
        os.chdir("/")
    parent = options.pop("spool_dir", "/tmp")
    try:
        spool = Spool(parent)
    except OSError as error:
        raise SetupError(f"cannot use {parent}: {reason(error)}") from error
    try:
        if not spool.allows_execution and "default" not in dict(options["launchers"]):
            why = "is mounted noexec: no script could be run (see --spool-dir)"
            raise SetupError(f"{parent} {why}")
        state = _state(options, spool)
        try:
            ours = None if state is None else state.database.server_id
            return _serve(options, signals, spool, state, take_leftovers(parent, ours))
        finally:
            if state is not None:
                state.close()
    finally:
        spool.close()


def _state(options: dict[str, Any], spool: Spool) -> "State | None":
    """The state directory if one was asked for. Raises SetupError."""
    path, sync = options.pop("state_dir", None), options.pop("state_sync", "normal")
    options["state"] = path is not None
    if path is None:
        return None
    from rtot.system.state import State

    return State(path, spool, full=sync == "full")


def _make_secret(words: Sequence[str]) -> int:
    if "-h" in words or "--help" in words:
        return _show(USAGE)
    secret = new_secret()
    line = line_for(secret, words)
    # Neither is of use without the other.
    for fd, stream, text in ((2, sys.stderr, secret), (1, sys.stdout, line)):
        try:
            if stream is None:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            os.write(fd, f"{text}\n".encode())
        except OSError as error:
            raise SetupError(f"secret: cannot write it: {reason(error)}") from error
    return 0


def _serve(
    options: dict[str, Any],
    signals: Signals,
    spool: Spool,
    state: "State | None",
    leftovers: list[Leftover],
) -> int:
    secret_file = options.pop("secret_file", None)
    secret = options.pop("secret", None)
    made_up = None
    if secret_file is not None:
        credentials = read_secrets(secret_file)
    else:
        if secret is None:
            secret = parse_credential(made_up := new_secret())
        credentials = collect([secret])
    tls = _tls(options)
    opened = _open_listeners(options, tls)
    variables = dict(options.pop("env", ()))
    as_json = options.pop("log_format", "text") == "json"
    log = Log(2, as_json=as_json)
    settings = _settings(options)
    started = read_clock()
    authenticator = Authenticator(credentials)
    # Microseconds since the epoch: more than any server before this one has counted.
    first_change = started.wall // 1000
    if state is None:
        server_id = spool.server_id
        jobs = JobTable(settings, spool, MemoryArchive(), first_change)
    else:
        server_id, database = state.database.server_id, state.database
        jobs = JobTable(settings, state.storage, database, first_change, database)
    number = settings.first_reserved_descriptor
    children = Processes(server_id, {**os.environ, **variables}, number)
    if state is not None:
        _restore(state, jobs, children, started)
    vitals = Vitals()
    server = Server(
        settings,
        signals,
        Handler(
            settings,
            authenticator,
            jobs,
            started,
            server_id,
            (vitals, ProcessVitals()),
            read_page,
        ),
        jobs,
        children,
        opened,
        log,
        Notifier(os.environ),
        Reload(authenticator, secret_file, tls),
        vitals,
        leftovers,
    )
    if made_up is not None:
        # Not by the log, which may be collected and kept.
        _tell(f"no secret was given, this one was made up: {made_up}", "warning", as_json)
    return server.run()


def _restore(state: "State", jobs: JobTable, children: Processes, now: Now) -> None:
    """Go on where the server before this one was. Raises SetupError."""
    for job in state.restore(jobs, now):
        if job.pid is not None:
            children.adopt(job.id, job.pid, job.pid_started)


def _tls(options: dict[str, Any]) -> "Tls | None":
    """TLS if it was asked for. Raises SetupError."""
    cert = options.pop("tls_cert", None)
    key, ca = options.pop("tls_key", None), options.pop("tls_client_ca", None)
    if cert is None:
        return None
    from rtot.system.tls import Tls

    return Tls(cert, key, ca)


def _open_listeners(options: dict[str, Any], tls: "Tls | None") -> list[Listener]:
    """What a service manager passed, and what was asked for or is the default.

    Raises SetupError, having kept none.
    """
    mode = options.pop("socket_mode", 0o600)
    opened = listeners.inherited(os.environ)
    otherwise = [] if opened else [parse_address("localhost:8457")]
    for address in options.pop("addresses", otherwise):
        try:
            opened += listeners.listen(address, mode)
        except SetupError:
            listeners.close_listeners(opened)
            raise
    for listener in opened:
        if listener.sock.family != socket.AF_UNIX:
            listener.tls = tls
    return opened


def _settings(options: dict[str, Any]) -> Settings:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    shares = share_descriptors(limit)
    options.setdefault("max_running", shares.max_running)
    options.setdefault("max_connections", shares.max_connections)
    options["max_refused"] = shares.max_refused
    options["first_reserved_descriptor"] = shares.first_reserved
    options["max_starting"] = max(4, 2 * len(os.sched_getaffinity(0)))
    for name in ("launchers", "stop_commands", "groups", "allowed_origins"):
        options[name] = tuple(options.get(name, ()))
    return Settings(**options)


def _tell(message: str, level: str, as_json: bool) -> None:
    if as_json:
        _write(json_line(read_clock(), level, message, {}))
    else:
        _write(f"rtot: {message}\n".encode(errors="surrogateescape"))


def _write(line: bytes) -> None:
    # If stderr was closed, its number may be that of something else by now.
    if sys.stderr is not None:
        with contextlib.suppress(OSError):
            os.write(2, line)


def _show(text: str) -> int:
    try:
        print(text, flush=True)
    except BrokenPipeError:
        # Otherwise Python would try again at exit, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return 0
