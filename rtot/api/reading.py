"""GET of one job, of its output and of its events."""

from collections.abc import Iterator

from rtot.api.answers import (
    FAILED,
    TEXT_TYPE,
    Answer,
    Ask,
    RefusalError,
    Reply,
    json,
    unsatisfiable,
)
from rtot.api.job_json import View, render, whole
from rtot.api.parameters import FAIL, FOLLOW, LEASE, OFFSET, TAIL, TIMES
from rtot.api.streams import (
    EXIT,
    EventsBody,
    JsonBody,
    OutputBody,
    Position,
    Told,
    dropped_header,
    exit_field,
    hint_header,
)
from rtot.api.tails import TailBody
from rtot.api.waits import JobsWait, asked_view, asked_wait
from rtot.http.errors import JSON_TYPE, error
from rtot.http.messages import Body, Headers, Request, Response
from rtot.http.query import BadParameterError
from rtot.http.ranges import UnsatisfiableError, parse_range
from rtot.jobs.job import Job
from rtot.jobs.leases import Lease
from rtot.jobs.output import Stream, UnreadableError
from rtot.jobs.table import JobTable
from rtot.jobs.tail import Tail
from rtot.text import is_number, string


def get_job(ask: Ask) -> Answer:
    """A job, after a wait if one was requested."""
    jobs, fail = ask.jobs, ask.query.get(FAIL, False)
    view = asked_view(ask.query)
    wait, headers = asked_wait(ask)
    lease = _lease(ask)
    if LEASE in ask.query and wait is None:
        raise BadParameterError("lease", "goes with wait")
    job_id = parse_job_id(ask.word)

    def answer() -> Response | Reply:
        job = jobs.get(job_id)
        if job is None:
            return json(404, '{"jobs":[]}\n')
        return show_job(200 if job.over else 202, job, view, headers, jobs, fail=fail)

    if wait is not None:
        job = jobs.get(job_id)
        if job is not None and not job.over:
            leased = None if lease is None else Lease(job_id, lease)
            return JobsWait(jobs, {job_id}, ask.now.monotonic + wait, answer, lease=leased)
    return answer()


def show_job(
    status: int,
    job: Job,
    view: View,
    headers: Headers,
    jobs: JobTable,
    *,
    fail: bool = False,
) -> Response | Reply:
    """The job as JSON. With `fail` the status is 424 if the job has not succeeded."""
    try:
        text = whole(job, view, jobs.script_path(job), jobs.wall)
    except UnreadableError:
        return _unreadable(job)
    response = Response(
        FAILED if fail and not job.succeeded else status,
        (
            JSON_TYPE,
            ("Location", f"/jobs/{job.id}"),
            *headers,
            *_exit_header(job),
            *dropped_header(job, Stream),
        ),
        JsonBody(_large(job, view, jobs)) if text is None else f'{{"jobs":[{text}]}}\n'.encode(),
    )
    return response if text is not None else Reply(response, sources=(job.id,))


def _unreadable(job: Job) -> Response:
    message = f"the output of job {job.id} cannot be read any more"
    return error(500, "unreadable output", message)


def _large(job: Job, view: View, jobs: JobTable) -> Iterator[bytes]:
    yield b'{"jobs":['
    yield from render(job, view, jobs.script_path(job), jobs.wall)
    yield b"]}\n"


def _exit_header(job: Job) -> Headers:
    """Rtot-Exit for a complete job, nothing for any other."""
    return ((EXIT, exit_field(job)),) if job.over else ()


def get_out(ask: Ask) -> Answer:
    """The job's stdout."""
    return _output(ask, Stream.OUT)


def get_err(ask: Ask) -> Answer:
    """The job's stderr."""
    return _output(ask, Stream.ERR)


def _output(ask: Ask, stream: Stream) -> Answer:
    request, query = ask.request, ask.query
    offset = query.get(OFFSET, 0)
    follow, fail, lease = query.get(FOLLOW, False), query.get(FAIL, False), _lease(ask)
    if LEASE in query and not follow:
        raise BadParameterError("lease", "goes with follow")
    if fail and follow:
        check_fail(ask)
    tail = query.get(TAIL)
    ranged = request.method == "GET" and "range" in request.headers
    for name, given in (("offset", OFFSET in query), ("Range", ranged)):
        if given and tail is not None:
            raise BadParameterError("tail", f"does not go with {name}")
    if ranged and follow:
        raise BadParameterError("follow", "does not go with Range")
    job = require_job(ask)
    if tail is not None:
        return _tail(ask, job, stream, tail, follow=follow, fail=fail, lease=lease)
    size = job.output.size(stream)
    ended = _ended(job, (stream,))
    if offset > size and (job.over or not follow):
        raise RefusalError(unsatisfiable(size, *ended))
    if follow:
        headers: Headers = (("Accept-Ranges", "bytes"),)
        return follow_output(ask.jobs, job, stream, headers, offset=offset, fail=fail, lease=lease)
    headers = (TEXT_TYPE, ("Accept-Ranges", "bytes"), *ended)
    failed = fail and not job.succeeded
    try:
        # A Range is for GET alone (RFC 9110, 14.2).
        wanted = None
        # There is no validator for If-Range to match (RFC 9110, 13.1.5).
        if ranged and OFFSET not in query and not failed and "if-range" not in request.headers:
            wanted = parse_range(request.headers["range"], size)
    except UnsatisfiableError:
        raise RefusalError(unsatisfiable(size, *ended)) from None
    if wanted is None:
        all_of_it = OutputBody(ask.jobs, job, stream, offset, size)
        return Reply(Response(FAILED if failed else 200, headers, all_of_it), sources=(job.id,))
    start, end = wanted
    total = str(size) if job.over else "*"
    headers = (*headers, ("Content-Range", f"bytes {start}-{end - 1}/{total}"))
    part = OutputBody(ask.jobs, job, stream, start, end)
    return Reply(Response(206, headers, part), sources=(job.id,))


def _tail(
    ask: Ask,
    job: Job,
    stream: Stream,
    tail: Tail,
    *,
    follow: bool,
    fail: bool,
    lease: float | None,
) -> Reply:
    try:
        body = TailBody(ask.jobs, job, stream, tail, follow=follow, fail=fail)
    except UnreadableError:
        raise RefusalError(_unreadable(job)) from None
    headers = (TEXT_TYPE, *_ended(job, (stream,)))
    if follow:
        return _stream(job, 200, headers, body, fail=fail, lease=lease)
    status = FAILED if fail and not job.succeeded else 200
    return Reply(Response(status, headers, body), sources=(job.id,))


def get_events(ask: Ask) -> Answer:
    """The job's events, in the format that the client prefers."""
    query = ask.query
    follow, fail, lease = query.get(FOLLOW, False), query.get(FAIL, False), _lease(ask)
    for name, given in (("fail", fail), ("lease", LEASE in query)):
        if given and not follow:
            raise BadParameterError(name, "goes with follow")
    if fail:
        check_fail(ask)
    job = require_job(ask)
    tail = query.get(TAIL)
    position = None
    if tail is not None:
        if "last-event-id" in ask.request.headers:
            raise BadParameterError("tail", "does not go with Last-Event-ID")
        try:
            position = Position.of_tail(job, tail)
        except UnreadableError:
            raise RefusalError(_unreadable(job)) from None
    return tell_events(
        ask.jobs,
        job,
        ask.request,
        (),
        position=position,
        follow=follow,
        fail=fail,
        lease=lease,
        unix=query.get(TIMES) == "unix",
    )


def get_script(ask: Ask) -> Answer:
    """The job's script, as it is run."""
    if not ask.settings.state:
        message = "scripts are kept by a server that was started with --state"
        raise RefusalError(error(404, "not kept", message))
    job = require_job(ask)
    script = ask.jobs.script(job)
    if script is None:
        raise RefusalError(error(404, "not kept", f"there is no script of job {job.id}"))
    return Response(200, (TEXT_TYPE,), script)


def _lease(ask: Ask) -> float | None:
    """Seconds. HEAD has none: its answer is over at once, and it changes nothing."""
    return None if ask.request.method == "HEAD" else ask.query.get(LEASE)


def check_fail(ask: Ask) -> None:
    """Raise BadParameterError where a stream cannot be broken off."""
    if ask.request.http_1_0 and ask.peer == "unix":
        # An HTTP/1.0 body ends with the connection, and a unix socket cannot be reset.
        raise BadParameterError("fail", "needs HTTP/1.1 on a unix socket")


def follow_output(
    jobs: JobTable,
    job: Job,
    stream: Stream,
    headers: Headers,
    *,
    status: int = 200,
    offset: int = 0,
    fail: bool,
    lease: float | None,
) -> Reply:
    """The job's output, from the offset on until the job is complete."""
    body = OutputBody(jobs, job, stream, offset, None, fail=fail)
    headers = (TEXT_TYPE, *headers, *_ended(job, (stream,)))
    return _stream(job, status, headers, body, fail=fail, lease=lease)


def tell_events(
    jobs: JobTable,
    job: Job,
    request: Request,
    headers: Headers,
    *,
    status: int = 200,
    position: Position | None = None,
    follow: bool,
    fail: bool,
    lease: float | None,
    unix: bool,
) -> Answer:
    """The job's events from the position on, or after the one that the request names."""
    position = position or asked_position(request)
    if position.out > job.output.out_size or position.err > job.output.err_size:
        message = "Last-Event-ID: this job has had no such event"
        raise RefusalError(error(400, "invalid header", message))
    told = (position.out, position.err) == (job.output.out_size, job.output.err_size)
    if position.told & Told.COMPLETE and told and not (fail and not job.succeeded):
        # A 204 tells an EventSource not to reconnect.
        return Response(204, (JSON_TYPE, *headers, *_exit_header(job)))
    from rtot.http.lists import quality

    accept = request.headers.get("accept")
    # If both have the same weight, the one that Accept names more specifically.
    ndjson = quality(accept, "application/x-ndjson") > quality(accept, "text/event-stream")
    kind = "application/x-ndjson" if ndjson else "text/event-stream"
    body = EventsBody(jobs, job, position, follow=follow, fail=fail, sse=not ndjson, unix=unix)
    headers = (("Content-Type", kind), *headers, *_exit_header(job), *dropped_header(job, Stream))
    return _stream(job, status, headers, body, fail=fail, lease=lease)


def asked_position(request: Request) -> Position:
    """Where the request wants events to go on. Raises RefusalError."""
    last = request.headers.get("last-event-id")
    try:
        return Position.parse(last) if last else Position()
    except ValueError as bad:
        raise RefusalError(error(400, "invalid header", f"Last-Event-ID: {bad}")) from None


def _stream(
    job: Job, status: int, headers: Headers, body: Body, *, fail: bool, lease: float | None
) -> Reply:
    # The status passes where a body that breaks off does not: through proxies, and in HEAD.
    failed = fail and job.over and not job.succeeded
    # nginx would hold it back until a buffer is full.
    headers = (*headers, ("X-Accel-Buffering", "no"))
    leased = Lease(job.id, lease) if lease is not None and not job.over else None
    return Reply(Response(FAILED if failed else status, headers, body), leased, sources=(job.id,))


def _ended(job: Job, streams: tuple[Stream, ...]) -> Headers:
    """What the head of an output says of a job that is complete, was cut or has a hint."""
    return (*_exit_header(job), *dropped_header(job, streams), *hint_header(job))


def parse_job_id(text: str) -> int:
    """The job number in a path, or a refusal."""
    number = job_number(text)
    if number is None:
        message = f"what is {string(text[:200])}?"
        if not text:
            # Probably an empty variable in a script.
            message += " want /jobs for all jobs, or /jobs/ID for one"
        raise RefusalError(error(400, "invalid job number", message))
    return number


def job_number(text: str) -> int | None:
    """The job number that a segment of a path is, None if it is none."""
    digits = text[1:] if text[:1] in ("+", "-") else text
    if not is_number(digits):
        return None
    return int(text)


def require_job(ask: Ask) -> Job:
    """The job in the path, or a refusal."""
    job_id = parse_job_id(ask.word)
    job = ask.jobs.get(job_id)
    if job is None:
        raise RefusalError(error(404, "no such job", f"there is no job {job_id}"))
    return job
