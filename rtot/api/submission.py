"""What a submitter may ask for beyond the script, and for how long he would wait."""

import re

from rtot.api.job_json import ALL_FIELDS, DEFAULT_FIELDS
from rtot.config import Settings
from rtot.http.messages import Headers, Request
from rtot.http.query import BadParameterError, Query
from rtot.jobs.job import PLAIN, Options

PARAMETERS = frozenset({"arg", "env", "cwd", "label", "timeout", "stdin", "launcher"})


def parse_options(query: Query, settings: Settings) -> Options:
    """Raises BadParameterError."""
    if PARAMETERS.isdisjoint(query) and settings.launcher("default") is None:
        return PLAIN
    env = {}
    for pair in query.all("env"):
        name, equals, value = pair.partition("=")
        if not name or not equals or "\0" in pair:
            raise BadParameterError("env", "want NAME=VALUE")
        if name.startswith("RTOT_"):
            raise BadParameterError("env", "names that start with RTOT_ are rtot's own")
        env[name] = value
    args = query.all("arg")
    if any("\0" in arg for arg in args):
        raise BadParameterError("arg", "a NUL byte cannot be passed")
    cwd = query.one("cwd")
    if cwd is not None and (not cwd.startswith("/") or "\0" in cwd):
        raise BadParameterError("cwd", "want an absolute path")
    labels = query.all("label")
    if not all(0 < len(label) <= 255 for label in labels):
        raise BadParameterError("label", "want 1 to 255 characters")
    timeout = query.duration("timeout")
    if timeout == 0:
        raise BadParameterError("timeout", "want more than nothing")
    stdin = query.one("stdin")
    if stdin not in (None, "open", "null"):
        raise BadParameterError("stdin", "want open or null")
    launcher = query.one("launcher")
    if launcher is None:
        launcher = "default" if settings.launcher("default") is not None else None
    elif settings.launcher(launcher) is None:
        raise BadParameterError("launcher", "there is none of that name; GET / lists them")
    return Options(
        args=args,
        env=tuple(env.items()),
        cwd=cwd,
        labels=labels,
        timeout=timeout,
        stdin_open=stdin == "open",
        launcher=launcher,
    )


def parse_fields(query: Query) -> tuple[str, ...]:
    text = query.one("fields")
    if text is None:
        return DEFAULT_FIELDS
    names = dict.fromkeys(text.split(","))
    return ALL_FIELDS if "*" in names else tuple(names)


def parse_wait(request: Request, query: Query) -> tuple[float | None, Headers]:
    """How long the client would wait (`?wait`, or Prefer of RFC 7240), and what to say of it."""
    wait = query.duration("wait")
    if wait is not None:
        return wait, ()
    prefer = request.headers.get("prefer")
    if prefer is None:
        return None, ()
    from rtot.http.lists import parse_list

    for preference in parse_list(prefer):
        # What is not understood is ignored (RFC 7240, 2).
        if preference.name == "wait" and re.fullmatch("[0-9]{1,9}", preference.value):
            return float(preference.value), (("Preference-Applied", f"wait={preference.value}"),)
    return None, ()
