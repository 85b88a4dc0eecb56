"""POST /jobs: the checks on the head, and the job that is made from the body."""

import codecs
import re
from collections.abc import Mapping
from typing import NamedTuple, TypeVar

from rtot.api.answers import Answer, Ask, NeedBody, RefusalError, Reply
from rtot.api.job_json import View
from rtot.api.parameters import (
    AFTER,
    ARG,
    CWD,
    DELAY,
    ENV,
    FAIL,
    FIELDS,
    FOLLOWED,
    GROUP,
    LABEL,
    LAUNCHER,
    LEASE,
    STDERR,
    STDIN,
    SUPERSEDE,
    TIMEOUT,
    WAIT,
)
from rtot.api.reading import asked_position, check_fail, follow_output, show_job, tell_events
from rtot.api.streams import Position
from rtot.api.waits import JobsWait, asked_view, asked_wait
from rtot.clock import Now
from rtot.config import Settings
from rtot.digest import sha256
from rtot.http.errors import RETRY, error
from rtot.http.messages import Headers, Request, Response
from rtot.http.query import BadParameterError, Parameter, Query
from rtot.jobs.blocked import UnknownJobError
from rtot.jobs.hints import of_script
from rtot.jobs.job import PLAIN, Job, Key, Options, asked_for
from rtot.jobs.keys import KeyConflictError
from rtot.jobs.leases import Lease
from rtot.jobs.output import Stream
from rtot.jobs.queue import QueueFullError
from rtot.jobs.script import ELF
from rtot.jobs.table import ClosingError, JobTable
from rtot.storage import StorageError

T = TypeVar("T")

DEFAULT_SHEBANG = b"#!/bin/bash\n"
_FIELDS = frozenset({"rtot-arg", "rtot-env"})
_FORM = "application/x-www-form-urlencoded"
_ENVELOPE = rb"(?i)--[^\r\n]{1,70}\r?\nContent-Disposition:"
# Longer ones first: UTF-32 begins like UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
_OPTIONS = frozenset(
    parameter.name
    for parameter in (
        *(ARG, ENV, CWD, LABEL, TIMEOUT, STDIN, STDERR, LAUNCHER),
        *(GROUP, SUPERSEDE, AFTER, DELAY),
    )
)


def submit(ask: Ask) -> Answer:
    """Accept a job. The body is its script."""
    # Of the head. The rest is for the body.
    options = parse_options(ask.query, ask.request.headers, ask.settings)
    wait, headers = asked_wait(ask)
    lease = ask.query.get(LEASE)
    fail, follow = ask.query.get(FAIL, False), ask.query.get(FOLLOWED)
    for name, given in (("lease", lease is not None), ("fail", fail)):
        if given and wait is None and follow is None:
            raise BadParameterError(name, "goes with wait or follow")
    if follow is not None:
        for parameter in (WAIT, FIELDS):
            if parameter in ask.query:
                raise BadParameterError("follow", f"does not go with {parameter.name}")
        if fail:
            check_fail(ask)
        if follow == "events":
            # Judged before anything runs.
            asked_position(ask.request)
        # A preference that cannot be met is ignored (RFC 7240, 2).
        wait, headers = None, ()
    key = ask.request.headers.get("idempotency-key")
    if key is not None and not 0 < len(key) <= 255:
        raise RefusalError(error(400, "invalid header", "Idempotency-Key: want 1 to 255 bytes"))
    view = asked_view(ask.query)
    kind = ask.request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind.startswith("multipart/"):
        raise RefusalError(_ENVELOPED)
    form = kind == _FORM
    draft = Draft(
        ask.jobs,
        ask.settings,
        ask.request,
        options,
        view,
        headers,
        wait,
        follow,
        lease,
        fail,
        ask.by,
        None if key is None else Key(ask.by, key),
        form,
    )
    if ask.request.body is None:
        return NeedBody(ask.settings.max_body, draft.accept)
    return draft.accept(ask.request.body, ask.now)


def parse_options(query: Query, headers: Mapping[str, str], settings: Settings) -> Options:
    """What is asked for beyond the script. Raises BadParameterError."""
    default = "default" if settings.launcher("default") is not None else None
    if default is None and query.isdisjoint(_OPTIONS) and _FIELDS.isdisjoint(headers):
        # Shared by all jobs that ask for nothing.
        return PLAIN
    launcher = query.get(LAUNCHER, default)
    if launcher is not None and settings.launcher(launcher) is None:
        raise BadParameterError("launcher", "no launcher has that name; GET / lists them")
    if query.get(SUPERSEDE, False) and GROUP not in query:
        raise BadParameterError("supersede", "goes with group")
    return Options(
        args=query.all(ARG),
        private_args=tuple(_from_field(headers, "Rtot-Arg", ARG)),
        env=tuple(dict((*query.all(ENV), *_from_field(headers, "Rtot-Env", ENV))).items()),
        cwd=query.get(CWD),
        labels=query.all(LABEL),
        timeout=query.get(TIMEOUT),
        stdin_open=query.get(STDIN) == "open",
        launcher=launcher,
        stderr_to_stdout=query.get(STDERR) == "out",
        group=query.get(GROUP),
        supersede=query.get(SUPERSEDE, False),
        after=query.all(AFTER),
        delay=query.get(DELAY),
    )


def _from_field(headers: Mapping[str, str], name: str, parameter: Parameter[T]) -> list[T]:
    """The values of a parameter that stand in a header, percent-encoded, as a list (RFC 9110, 5.6).

    URLs get into logs, histories and `ps`. A header of curl can be in a file.
    """
    text = headers.get(name.lower())
    if text is None:
        return []
    from urllib.parse import unquote_to_bytes

    values = []
    for element in text.split(","):
        try:
            data = unquote_to_bytes(element.strip(" \t").encode("latin-1"))
            values.append(parameter.parse(data.decode("utf-8", "surrogateescape")))
        except ValueError as bad:
            # The value is shown nowhere.
            message = f"{name}: {bad if str(bad) else f'want {parameter.wanted}, percent-encoded'}"
            raise RefusalError(error(400, "invalid header", message)) from None
    return values


_ENVELOPED = error(
    415,
    "multipart body",
    "this is an envelope, not a script: send the script itself (curl --data-binary @FILE)",
)


def _checked(body: bytes) -> bytes:
    """The script without a byte order mark. Raises RefusalError for what cannot be one."""
    body = body.removeprefix(codecs.BOM_UTF8)
    if not body or body.isspace():
        message = "the body is the script, and it is empty (was a variable not set?)"
        raise RefusalError(error(400, "empty script", message))
    for mark, name in _MARKS:
        if body.startswith(mark):
            message = f"this is {name}: send the script as UTF-8 (iconv -f {name} -t UTF-8)"
            raise RefusalError(error(415, "unsupported encoding", message))
    if body[:2] == b"--" and re.match(_ENVELOPE, body):
        raise RefusalError(_ENVELOPED)
    return body


def _fingerprint(script: bytes, options: Options) -> bytes:
    """A digest of what was asked for, which every version of rtot computes alike."""
    digest = sha256(script)
    for name, value in asked_for(options).items():
        plainly = tuple(map(tuple, value)) if name == "after" else value
        digest.update(f"\0{name}={plainly!r}".encode("utf-8", "surrogateescape"))
    return bytes(digest.digest()[:16])


class Draft(NamedTuple):
    """What the head of a submission tells of it. `wait` and `lease` in seconds, None for none."""

    jobs: JobTable
    settings: Settings
    request: Request
    options: Options
    view: View
    headers: Headers
    wait: float | None
    follow: str | None
    lease: float | None
    fail: bool
    by: str | None
    key: Key | None
    form: bool

    def accept(self, body: bytes, now: Now) -> Answer:
        """Submit the job, or find the one that the same request made earlier."""
        body = _checked(body)
        script = body if body[:2] == b"#!" or body[:4] == ELF else DEFAULT_SHEBANG + body
        fingerprint = _fingerprint(script, self.options) if self.key is not None else b""
        headers = self.headers
        job = self._replayed(fingerprint)
        new = job is None
        if job is not None:
            headers = (*headers, ("Idempotency-Replayed", "true"))
        else:
            hint = of_script(body, form=self.form)
            job = self._submit(script, fingerprint, hint, now)
        if self.jobs.queue.paused:
            headers = (*headers, ("Rtot-Paused", "true"))
        if self.follow is not None:
            return self._follow(job, (("Location", f"/jobs/{job.id}"), *headers), new)
        job_id = job.id

        def answer() -> Response | Reply:
            job = self.jobs.get(job_id)
            if job is None:
                message = f"job {job_id} was deleted while it was waited for"
                return error(410, "job is gone", message)
            return show_job(201, job, self.view, headers, self.jobs, fail=self.fail)

        if self.wait is None or job.over:
            return answer()
        deadline = now.monotonic + self.wait
        lease = None if self.lease is None else Lease(job_id, self.lease)
        return JobsWait(self.jobs, {job_id}, deadline, answer, lease=lease)

    def _follow(self, job: Job, headers: Headers, new: bool) -> Answer:
        """What the job tells, from its beginning on; or of events, from where a replay goes on."""
        jobs, fail, lease = self.jobs, self.fail, self.lease
        if self.follow == "events":
            return tell_events(
                jobs,
                job,
                self.request,
                headers,
                status=201,
                position=Position() if new else None,
                follow=True,
                fail=fail,
                lease=lease,
                unix=self.view.unix,
            )
        stream = Stream.OUT if self.follow == "out" else Stream.ERR
        return follow_output(jobs, job, stream, headers, status=201, fail=fail, lease=lease)

    def _replayed(self, fingerprint: bytes) -> Job | None:
        if self.key is None:
            return None
        try:
            return self.jobs.replayed(self.key, fingerprint)
        except KeyConflictError:
            message = "this Idempotency-Key belongs to another script or other options"
            raise RefusalError(error(422, "idempotency key reused", message)) from None

    def _submit(self, script: bytes, fingerprint: bytes, hint: str, now: Now) -> Job:
        try:
            return self.jobs.submit(
                script,
                now,
                self.options,
                by=self.by,
                key=self.key,
                fingerprint=fingerprint,
                hint=hint,
            )
        except UnknownJobError as unknown:
            raise BadParameterError("after", f"there is no job {unknown.job_id}") from None
        except QueueFullError:
            message = f"{self.settings.max_queued} jobs are waiting already"
            raise RefusalError(error(503, "queue full", message, RETRY)) from None
        except ClosingError:
            message = "the server is ending"
            raise RefusalError(error(503, "shutting down", message, RETRY)) from None
        except StorageError as full:
            raise RefusalError(not_stored(str(full))) from None


def not_stored(why: str) -> Response:
    """The job was not accepted, since it cannot be kept."""
    return error(507, "insufficient storage", f"the job cannot be stored: {why}")
