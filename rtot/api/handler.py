"""The HTTP face: which request means what. Requests in, answers out, the job table between.

Nothing here knows a socket or a process. Authorisation comes first and everything that can
be judged by the head is judged before a body is read, so that nobody uploads in vain.
"""

import re
from collections.abc import Callable
from enum import Enum, auto
from signal import Signals
from typing import NamedTuple

from rtot.api.answers import (
    TEXT_TYPE,
    Answer,
    NeedBody,
    RefusalError,
    Upload,
    Wait,
    json,
    no_content,
    unsatisfiable,
)
from rtot.api.auth import Authenticator, Verdict
from rtot.api.job_json import DEFAULT_FIELDS, processes, whole
from rtot.api.listing import Listing, Selection, all_jobs, json_array
from rtot.api.streams import EXIT, EventsBody, JsonBody, OutputBody, Position, exit_field
from rtot.api.submission import PARAMETERS, parse_fields, parse_options, parse_wait
from rtot.clock import Now
from rtot.config import Settings
from rtot.http.errors import JSON_TYPE, RETRY, error
from rtot.http.messages import Headers, Request, Response
from rtot.http.query import BadParameterError, Query
from rtot.http.ranges import UnsatisfiableError, parse_range
from rtot.jobs.job import Job, Options
from rtot.jobs.output import Stream, UnreadableError
from rtot.jobs.stop import Stop
from rtot.jobs.table import ClosingError, JobTable, KeyConflictError, QueueFullError
from rtot.storage import StorageError
from rtot.text import format_duration, string, strings

DEFAULT_SHEBANG = b"#!/bin/bash\n"
# Signals that end a process in common use. After any other nobody expects a KILL.
_ENDING = frozenset({Signals.SIGTERM, Signals.SIGINT, Signals.SIGQUIT, Signals.SIGKILL})

_UNUSED_BODY = 64 * 1024
# RFC 9110, 9.3, and 5789. Those that rtot has no use for are not allowed, all others unknown.
_METHODS = frozenset(
    {"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"}
)
_JOB_NUMBER = re.compile(r"[+-]?[0-9]{1,18}")
_SHOW = frozenset({"fields", "wait"})
_SELECTION = frozenset({"state", "label"})
_LIST = _SELECTION | {"fields", "wait", "until", "from", "limit"}
_SUBMIT = PARAMETERS | {"fields", "wait", "lease"}
_OUTPUT = frozenset({"offset", "follow", "fail", "lease"})


class _Body(Enum):
    """What becomes of a request's body."""

    UNREAD = auto()
    """Whoever has no secret may not send one: the answer is the connection's last."""
    UNUSED = auto()
    """It is read and thrown away, so that the connection can go on."""
    SCRIPT = auto()
    """It is read whole."""
    STREAMED = auto()
    """It is handed on as it comes."""


class _Endpoint(NamedTuple):
    """What answers a path and a method, and what becomes of the body."""

    call: Callable[[Request, list[str], JobTable, Now], Answer]
    body: _Body = _Body.UNUSED


class Handler:
    """Answers requests. It remembers nothing between them."""

    def __init__(self, settings: Settings, authenticator: Authenticator, started: Now) -> None:
        self._settings = settings
        self._authenticator = authenticator
        self._started = started

    def handle(self, request: Request, peer: str, jobs: JobTable, now: Now) -> Answer:
        """Answer a request, or ask for its body first. Never raises for a peer's fault."""
        try:
            return self._route(request, peer, jobs, now)
        except RefusalError as refusal:
            return refusal.response
        except BadParameterError as bad:
            return error(400, "invalid parameter", str(bad))

    def go_on(
        self, request: Request, needed: NeedBody, peer: str, jobs: JobTable, now: Now
    ) -> Answer:
        """Answer a request that has come again with the body that was needed."""
        if not isinstance(needed.draft, _Draft):
            return self.handle(request, peer, jobs, now)
        assert request.body is not None
        try:
            return self._accept(request, request.body, needed.draft, jobs, now)
        except RefusalError as refusal:
            return refusal.response

    def resume(self, wait: Wait, jobs: JobTable, now: Now) -> Answer:
        """Answer a request whose wait is over."""
        if isinstance(wait.context, Stop):
            return _receipt(wait.context)
        return self._waited(wait, jobs)

    def is_over(self, wait: Wait, job_id: int, jobs: JobTable) -> bool:
        """Whether the wait is over, now that the job has changed."""
        if isinstance(wait.context, Stop):
            return wait.context.over
        job = jobs.get(job_id)
        if job is None or job.over:
            wait.jobs.discard(job_id)
            return not wait.until_all or not wait.jobs
        return False

    def hung_up(self, lease: int, jobs: JobTable, now: Now) -> None:
        """The client that had a lease on a job went away."""
        job = jobs.get(lease)
        if job is not None and not job.over:
            jobs.kill(job, now, Signals.SIGTERM, self._settings.grace)

    def uploaded(self, job_id: int, count: int, jobs: JobTable) -> Response:
        """All of an upload, `count` bytes, was handed to the job's stdin, or it was closed."""
        job = jobs.get(job_id)
        if job is None:
            return error(409, "job is gone", f"job {job_id} was deleted after {count} bytes")
        return json(200, f'{{"written":{count}}}\n')

    def upload_refused(self, job_id: int, count: int) -> Response:
        """The job does not take any more of the upload."""
        return error(409, "stdin is closed", f"job {job_id} has no open stdin ({count} bytes sent)")

    def _route(self, request: Request, peer: str, jobs: JobTable, now: Now) -> Answer:
        path = request.path
        segments = path.split("/")[1:]
        if "%" in path:
            from urllib.parse import unquote

            segments = [unquote(segment, errors="replace") for segment in segments]
        if request.method not in _METHODS:
            message = f"{request.method[:200]} is no method of HTTP"
            refusal = error(501, "not implemented", message)
            raise RefusalError(refusal._replace(anonymous=True))
        self._refuse_browsers(request)
        if path != "/ping":
            match self._authenticator.judge(request.headers.get("authorization"), peer, now):
                case Verdict.BAD:
                    challenge = ("WWW-Authenticate", 'rtot realm="rtot", Bearer realm="rtot"')
                    body = b"Not Authorized\n"
                    return Response(401, (TEXT_TYPE, challenge), body, anonymous=True)
                case Verdict.LIMITED:
                    message = "this address has failed to authenticate too often: wait a second"
                    refusal = error(429, "too many failures", message, RETRY)
                    return refusal._replace(anonymous=True)
        methods = self._methods(segments)
        if methods is None:
            raise RefusalError(error(404, "not found", f"there is nothing at {path[:200]}"))
        method = "GET" if request.method == "HEAD" else request.method
        endpoint = methods.get(method)
        if endpoint is None:
            allowed = ", ".join(sorted({*methods, *(["HEAD"] if "GET" in methods else [])}))
            message = f"{path[:200]} takes {allowed}"
            raise RefusalError(error(405, "method not allowed", message, ("Allow", allowed)))
        encoding = request.headers.get("content-encoding")
        if encoding is not None and encoding.lower() != "identity":
            raise RefusalError(error(415, "unsupported content encoding", "send the body as it is"))
        if request.body is None and endpoint.body in (_Body.UNUSED, _Body.SCRIPT):
            script = endpoint.body is _Body.SCRIPT
            limit = self._settings.max_body if script else _UNUSED_BODY
            if request.content_length is not None and request.content_length > limit:
                message = f"a body may have {limit} bytes"
                raise RefusalError(error(413, "body too large", message))
            if not script:
                return NeedBody(limit)
        return endpoint.call(request, segments, jobs, now)

    def _methods(self, segments: list[str]) -> "dict[str, _Endpoint] | None":
        match segments:
            case [""]:
                return {"GET": _Endpoint(self._links), "DELETE": _Endpoint(self._end)}
            case ["ping"]:
                return {"GET": _Endpoint(self._ping, _Body.UNREAD)}
            case ["jobs"]:
                return {
                    "GET": _Endpoint(self._list),
                    "POST": _Endpoint(self._submit, _Body.SCRIPT),
                    "DELETE": _Endpoint(self._forget_many),
                }
            case ["jobs", _]:
                return {"GET": _Endpoint(self._show), "DELETE": _Endpoint(self._forget)}
            case ["jobs", _, "out" | "err"]:
                return {"GET": _Endpoint(self._output)}
            case ["jobs", _, "events"]:
                return {"GET": _Endpoint(self._events)}
            case ["jobs", _, "in"]:
                return {"POST": _Endpoint(self._write_stdin, _Body.STREAMED)}
            case ["jobs", _, "kill"]:
                return {"POST": _Endpoint(self._kill)}
            case ["jobs", _, "timeout"]:
                return {"POST": _Endpoint(self._set_timeout)}
            case _:
                return None

    def _refuse_browsers(self, request: Request) -> None:
        """No page of another origin may drive rtot (Fetch standard)."""
        origin = request.headers.get("origin")
        site = request.headers.get("sec-fetch-site")
        if origin is None and site is None:
            return
        host = request.headers.get("host")
        own = {f"http://{host}", f"https://{host}"}
        if (origin is not None and origin not in own) or site in ("cross-site", "same-site"):
            refusal = error(403, "forbidden", "requests of other sites are refused")
            raise RefusalError(refusal._replace(anonymous=True))

    def _links(self, request: Request, _: list[str], jobs: JobTable, now: Now) -> Answer:
        Query(request.query, frozenset())
        links = '{"links":{"jobs":"/jobs{?state}","jobs.by_id":"/jobs/{jobs.id}","ping":"/ping"}'
        if self._settings.launchers:
            names = tuple(name for name, _ in self._settings.launchers)
            links += f',"launchers":{strings(names)}'
        return json(200, f"{links}}}\n")

    def _ping(self, request: Request, _: list[str], jobs: JobTable, now: Now) -> Answer:
        uptime = int((now.monotonic - self._started.monotonic) * 1e9)
        text = format_duration(uptime)
        answer = json(200, f'{{"ping":[{{"message":"still here","uptime":"{text}"}}]}}\n')
        return answer._replace(anonymous=True)

    def _end(self, request: Request, _: list[str], jobs: JobTable, now: Now) -> Answer:
        Query(request.query, frozenset())
        jobs.shut_down(now)
        return no_content()

    def _submit(self, request: Request, _: list[str], jobs: JobTable, now: Now) -> Answer:
        query = Query(request.query, _SUBMIT)
        options = parse_options(query, self._settings)
        fields = parse_fields(query)
        wait, headers = parse_wait(request, query)
        lease = query.flag("lease")
        if lease and wait is None:
            raise BadParameterError("lease", "goes with wait")
        key = request.headers.get("idempotency-key")
        if key is not None and not 0 < len(key) <= 255:
            raise RefusalError(error(400, "invalid header", "Idempotency-Key: want 1 to 255 bytes"))
        draft = _Draft(options, fields, headers, wait, lease, key)
        if request.body is None:
            return NeedBody(self._settings.max_body, draft)
        return self._accept(request, request.body, draft, jobs, now)

    def _accept(
        self, request: Request, body: bytes, draft: "_Draft", jobs: JobTable, now: Now
    ) -> Answer:
        """Make a job of what was asked for."""
        options, fields, headers, wait, lease, key = draft
        script = body if body[:2] == b"#!" else DEFAULT_SHEBANG + body
        fingerprint = hash((script, options)) if key is not None else 0
        job = None
        if key is not None:
            try:
                job = jobs.replayed(key, fingerprint)
            except KeyConflictError:
                message = "this Idempotency-Key belongs to another script or other options"
                raise RefusalError(error(422, "idempotency key reused", message)) from None
        if job is not None:
            headers = (*headers, ("Idempotency-Replayed", "true"))
        else:
            try:
                job = jobs.submit(script, now, options, key=key, fingerprint=fingerprint)
            except QueueFullError:
                message = f"{self._settings.max_queued} jobs are waiting already"
                raise RefusalError(error(503, "queue full", message, RETRY)) from None
            except ClosingError:
                message = "the server is ending"
                raise RefusalError(error(503, "shutting down", message, RETRY)) from None
            except StorageError as full:
                message = f"the script cannot be stored: {full}"
                raise RefusalError(error(507, "insufficient storage", message)) from None
        context = _Submitted(job.id, fields, headers)
        if wait is None or job.over:
            return self._job(201, job, fields, headers, jobs)
        return Wait(
            request,
            {job.id},
            now.monotonic + wait,
            lease=job.id if lease else None,
            context=context,
        )

    def _list(self, request: Request, _: list[str], jobs: JobTable, now: Now) -> Answer:
        query = Query(request.query, _LIST)
        selection = Selection(query)
        fields = parse_fields(query)
        first = query.integer("from") or 0
        limit = query.integer("limit")
        if limit == 0:
            raise BadParameterError("limit", "want at least 1")
        wait, headers = parse_wait(request, query)
        until = query.one("until")
        if until not in (None, "all", "any"):
            raise BadParameterError("until", "want all or any")
        if until is not None and wait is None:
            raise BadParameterError("until", "goes with wait")
        context = Listing(selection, fields, first, limit, headers)
        if wait is not None:
            pending = {j.id for j in jobs.unfinished() if j.id >= first and selection.takes(j)}
            if until == "any" and any(j.over and selection.takes(j) for j in all_jobs(jobs, first)):
                pending.clear()
            if pending:
                deadline = now.monotonic + wait
                return Wait(request, pending, deadline, until_all=until != "any", context=context)
        return context.answer(request, jobs)

    def _forget_many(self, request: Request, _: list[str], jobs: JobTable, now: Now) -> Answer:
        selection = Selection(Query(request.query, _SELECTION))
        jobs.forget_all([j for j in all_jobs(jobs, 0) if selection.takes(j)], now)
        return no_content()

    def _show(self, request: Request, segments: list[str], jobs: JobTable, now: Now) -> Answer:
        query = Query(request.query, _SHOW)
        fields = parse_fields(query)
        wait, headers = parse_wait(request, query)
        job_id = _job_id(segments[1])
        job = jobs.get(job_id)
        if job is None:
            return json(404, '{"jobs":[]}\n')
        if wait is None or job.over:
            return self._job(None, job, fields, headers, jobs)
        context = _Shown(job_id, fields, headers)
        return Wait(request, {job_id}, now.monotonic + wait, context=context)

    def _waited(self, wait: Wait, jobs: JobTable) -> Response:
        match wait.context:
            case _Submitted(job_id, fields, headers):
                job = jobs.get(job_id)
                if job is None:
                    message = f"job {job_id} was deleted while it was waited for"
                    return error(410, "job is gone", message)
                return self._job(201, job, fields, headers, jobs)
            case _Shown(job_id, fields, headers):
                job = jobs.get(job_id)
                if job is None:
                    return json(404, '{"jobs":[]}\n')
                return self._job(None, job, fields, headers, jobs)
            case listing:
                assert isinstance(listing, Listing)
                return listing.answer(wait.request, jobs)

    def _job(
        self,
        status: int | None,
        job: Job,
        fields: tuple[str, ...],
        headers: Headers,
        jobs: JobTable,
    ) -> Response:
        if job.over:
            headers = (*headers, (EXIT, exit_field(job)))
        try:
            text = whole(job, fields, jobs.script_path(job))
        except UnreadableError:
            message = f"the output of job {job.id} cannot be read any more"
            return error(500, "unreadable output", message)
        return Response(
            status or (200 if job.over else 202),
            (JSON_TYPE, ("Location", f"/jobs/{job.id}"), *headers),
            JsonBody(json_array(iter([job]), fields, jobs))
            if text is None
            else f'{{"jobs":[{text}]}}\n'.encode(),
        )

    def _forget(self, request: Request, segments: list[str], jobs: JobTable, now: Now) -> Answer:
        query = Query(request.query, frozenset({"tree"}))
        tree = query.flag("tree", default=True)
        job = jobs.get(_job_id(segments[1]))
        if job is None:
            return json(404, '{"error":"no such job"}\n')
        jobs.forget(job, now, tree=tree)
        return no_content()

    def _output(self, request: Request, segments: list[str], jobs: JobTable, now: Now) -> Answer:
        query = Query(request.query, _OUTPUT)
        offset = query.integer("offset") or 0
        follow, fail, lease = query.flag("follow"), query.flag("fail"), query.flag("lease")
        for name, given in (("fail", fail), ("lease", lease)):
            if given and not follow:
                raise BadParameterError(name, "goes with follow")
        if fail and request.http_1_0:
            # Its bodies end with the connection, so that a broken one looks whole.
            raise BadParameterError("fail", "needs HTTP/1.1")
        job = _existing(jobs, segments[1])
        stream = Stream.OUT if segments[2] == "out" else Stream.ERR
        size = job.output.size(stream)
        headers: Headers = (TEXT_TYPE, ("Accept-Ranges", "bytes"))
        ended: Headers = ((EXIT, exit_field(job)),) if job.over else ()
        headers = (*headers, *ended)
        total = str(size) if job.over else "*"
        if follow:
            if offset > size and job.over:
                raise RefusalError(unsatisfiable(size, *ended))
            body = OutputBody(jobs, job, stream, offset, None, fail=fail)
            return Response(200, headers, body, lease=job.id if lease and not job.over else None)
        if offset > size:
            raise RefusalError(unsatisfiable(size, *ended))
        start, end = offset, size
        status = 200
        # A Range is for GET alone (RFC 9110, 14.2).
        ranged = request.method == "GET" and "offset" not in query
        text = request.headers.get("range") if ranged else None
        if text is not None and request.headers.get("if-range") is None:
            try:
                wanted = parse_range(text, size)
            except UnsatisfiableError:
                raise RefusalError(unsatisfiable(size, *ended)) from None
            if wanted is not None:
                start, end = wanted
                status = 206
                headers = (*headers, ("Content-Range", f"bytes {start}-{end - 1}/{total}"))
        return Response(status, headers, OutputBody(jobs, job, stream, start, end))

    def _events(self, request: Request, segments: list[str], jobs: JobTable, now: Now) -> Answer:
        query = Query(request.query, frozenset({"follow"}))
        follow = query.flag("follow")
        job = _existing(jobs, segments[1])
        last = request.headers.get("last-event-id")
        try:
            position = Position.parse(last) if last else Position()
        except ValueError as bad:
            raise RefusalError(error(400, "invalid header", f"Last-Event-ID: {bad}")) from None
        if position.out > job.output.out_size or position.err > job.output.err_size:
            message = "Last-Event-ID: this job has had no such event"
            raise RefusalError(error(400, "invalid header", message))
        if position.states == 3 and position.out == job.output.out_size:
            # What an EventSource takes as the word not to come back.
            return no_content()
        from rtot.http.lists import quality

        accept = request.headers.get("accept")
        # Of two that are wanted as much, the one that is named more exactly.
        ndjson = quality(accept, "application/x-ndjson") > quality(accept, "text/event-stream")
        kind = "application/x-ndjson" if ndjson else "text/event-stream"
        headers: Headers = (("Content-Type", kind),)
        if job.over:
            headers = (*headers, (EXIT, exit_field(job)))
        body = EventsBody(jobs, job, position, follow=follow, sse=not ndjson)
        return Response(200, headers, body)

    def _write_stdin(
        self, request: Request, segments: list[str], jobs: JobTable, now: Now
    ) -> Answer:
        query = Query(request.query, frozenset({"close"}))
        close = query.flag("close")
        job = _existing(jobs, segments[1])
        if not job.options.stdin_open or job.over:
            raise RefusalError(self.upload_refused(job.id, 0))
        return Upload(request, job.id, close)

    def _kill(self, request: Request, segments: list[str], jobs: JobTable, now: Now) -> Answer:
        query = Query(request.query, frozenset({"signal", "grace", "tree"}))
        signal = _signal(query.one("signal"))
        grace = query.duration("grace")
        tree = query.flag("tree", default=True)
        if grace is None and signal in _ENDING:
            grace = self._settings.grace
        job = _existing(jobs, segments[1])
        if job.over:
            raise RefusalError(error(409, "job is complete", f"job {job.id} has ended already"))
        stop = jobs.kill(job, now, signal, grace, tree=tree)
        if stop is None:
            if grace is None:
                raise RefusalError(error(409, "job has not started", "there is nobody to signal"))
            return json(200, _RECEIPT.format(signal.name, "[]", "[]", "[]"))
        # The stop is sure to be over some time after its grace.
        return Wait(request, {job.id}, now.monotonic + (grace or 0.0) + 60.0, context=stop)

    def _set_timeout(
        self, request: Request, segments: list[str], jobs: JobTable, now: Now
    ) -> Answer:
        query = Query(request.query, frozenset({"after"}))
        after = query.duration("after")
        if after is None:
            raise BadParameterError("after", "is missing")
        job = _existing(jobs, segments[1])
        if job.over:
            raise RefusalError(error(409, "job is complete", f"job {job.id} has ended already"))
        jobs.set_timeout(job, after, now)
        return self._job(200, job, (*DEFAULT_FIELDS, "timeout"), (), jobs)


_RECEIPT = '{{"signal":"{}","signalled":{},"escalated":{},"surviving":{}}}\n'


class _Draft(NamedTuple):
    """What the head of a submission tells of it. `wait` in seconds, None for not to wait."""

    options: Options
    fields: tuple[str, ...]
    headers: Headers
    wait: float | None
    lease: bool
    key: str | None


class _Shown:
    """A wait that ends with the job's JSON."""

    __slots__ = ("fields", "headers", "job_id")
    __match_args__ = ("job_id", "fields", "headers")

    def __init__(self, job_id: int, fields: tuple[str, ...], headers: Headers) -> None:
        self.job_id = job_id
        self.fields = fields
        self.headers = headers


class _Submitted(_Shown):
    """A wait that ends with the JSON of a job that was submitted by it."""


def _receipt(stop: Stop) -> Response:
    surviving = {} if stop.over and not stop.surviving else stop.surviving
    return json(
        200,
        _RECEIPT.format(
            stop.signal.name,
            processes(stop.signalled),
            processes(stop.escalated),
            processes(surviving),
        ),
    )


def _job_id(text: str) -> int:
    if not _JOB_NUMBER.fullmatch(text):
        quoted = string(text[:200])
        raise RefusalError(error(400, "invalid job number", f"what is {quoted}?"))
    return int(text)


def _existing(jobs: JobTable, text: str) -> Job:
    job_id = _job_id(text)
    job = jobs.get(job_id)
    if job is None:
        raise RefusalError(error(404, "no such job", f"there is no job {job_id}"))
    return job


def _signal(text: str | None) -> Signals:
    """A signal by name, with or without SIG, or by number; TERM by default."""
    if text is None:
        return Signals.SIGTERM
    try:
        if text.isascii() and text.isdigit():
            return Signals(int(text))
        name = text.upper()
        return Signals[name if name.startswith("SIG") else f"SIG{name}"]
    except (KeyError, ValueError):
        raise BadParameterError("signal", "want a name as TERM, or a number") from None
