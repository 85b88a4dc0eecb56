"""What changes a job that is there, the queue, or the server: kill, stdin, pause, DELETE, …"""

import math
from signal import Signals

from rtot.api.answers import Answer, Ask, RefusalError, Upload, json, no_content
from rtot.api.job_json import DEFAULT_FIELDS, View
from rtot.api.parameters import CLOSE, GRACE, OFFSET, SIGNAL, TIMEOUT_AFTER, TIMES, TREE
from rtot.api.reading import parse_job_id, require_job, show_job
from rtot.api.waits import StopWait, receipt_answer
from rtot.clock import Now
from rtot.config import Settings
from rtot.http.errors import error
from rtot.http.messages import Response
from rtot.jobs.job import Job, State
from rtot.jobs.stop import Cause, Why
from rtot.jobs.table import JobTable

# Signals that end a process in common use. After any other nobody expects a KILL.
_ENDING = frozenset({Signals.SIGTERM, Signals.SIGINT, Signals.SIGQUIT, Signals.SIGKILL})
# Every stop is over this many seconds after its grace.
_STOPPED = 60.0


def kill(ask: Ask) -> Answer:
    """Signal the job's processes, and answer when they are gone."""
    signal = ask.query.get(SIGNAL, Signals.SIGTERM)
    grace = ask.query.get(GRACE)
    if grace is None and signal in _ENDING:
        grace = ask.settings.grace
    elif grace == math.inf:
        # Only delivered.
        grace = None
    job = require_job(ask)
    if job.state is State.COMPLETE:
        # One that is complete and held still has processes.
        raise RefusalError(_complete(job))
    tree = ask.query.get(TREE, True)
    stop = ask.jobs.kill(job, ask.now, signal, grace, Why(Cause.KILL, ask.by), tree=tree)
    if stop is not None:
        return StopWait(stop, ask.now.monotonic + (grace or 0.0) + _STOPPED)
    if grace is None:
        raise RefusalError(error(409, "job has not started", "there is nobody to signal"))
    return receipt_answer(None, signal)


def set_timeout(ask: Ask) -> Answer:
    """Let the job end some time after its start."""
    job = _unfinished(ask)
    ask.jobs.set_timeout(job, ask.query.require(TIMEOUT_AFTER), ask.now)
    view = View((*DEFAULT_FIELDS, "timeout"), ask.query.get(TIMES) == "unix")
    return show_job(200, job, view, (), ask.jobs)


def pause(ask: Ask) -> Answer:
    """Start no jobs until `resume`."""
    return _set_paused(ask, paused=True)


def resume(ask: Ask) -> Answer:
    """Start jobs again."""
    return _set_paused(ask, paused=False)


def _set_paused(ask: Ask, *, paused: bool) -> Response:
    ask.jobs.queue.paused = paused
    return json(200, f'{{"paused":{str(paused).lower()}}}\n')


def write_stdin(ask: Ask) -> Answer:
    """Hand the body to the job's stdin."""
    job = require_job(ask)
    if not job.options.stdin_open or job.over:
        raise RefusalError(upload_refused(job.id, 0))
    return Upload(job.id, ask.query.get(CLOSE, False), ask.query.get(OFFSET))


def uploaded(job_id: int, count: int, jobs: JobTable) -> Response:
    """The answer to a complete upload of `count` bytes."""
    if jobs.get(job_id) is None:
        return error(409, "job is gone", f"job {job_id} was deleted after {count} bytes")
    return json(200, f'{{"written":{count}}}\n')


def upload_refused(job_id: int, count: int) -> Response:
    """The job does not take any more of the upload."""
    return error(409, "stdin is closed", f"job {job_id} has no open stdin ({count} bytes sent)")


def upload_ahead(job_id: int, offset: int, accepted: int) -> Response:
    """Bytes before those of the upload have never come."""
    message = f"the stdin of job {job_id} has {accepted} bytes, and these begin at {offset}"
    return error(416, "bytes are missing", message)


def end_lease(
    job_id: int, jobs: JobTable, settings: Settings, now: Now, by: str | None = None
) -> None:
    """The client of that name that had a lease on the job went away."""
    job = jobs.get(job_id)
    if job is not None and not job.over:
        jobs.kill(job, now, Signals.SIGTERM, settings.grace, Why(Cause.LEASE, by))


def delete_job(ask: Ask) -> Answer:
    """Kill the job and forget it."""
    job = ask.jobs.get(parse_job_id(ask.word))
    if job is None:
        return json(404, '{"error":"no such job"}\n')
    ask.jobs.forget(job, ask.now, tree=ask.query.get(TREE, True), by=ask.by)
    return no_content()


def deletion_not_kept(why: str) -> Response:
    """What was to be deleted is killed and gone, but for a crash."""
    message = f"killed and forgotten, but after a crash it may be there again: {why}"
    return error(507, "insufficient storage", message)


def end_server(ask: Ask) -> Answer:
    """End all jobs, and then the server, unless the operator has ruled that out."""
    if not ask.settings.shutdown:
        message = "this server was started with --no-shutdown"
        raise RefusalError(error(405, "method not allowed", message, ("Allow", "GET, HEAD")))
    ask.jobs.shut_down(ask.now)
    return no_content()


def _unfinished(ask: Ask) -> Job:
    job = require_job(ask)
    if job.over:
        raise RefusalError(_complete(job))
    return job


def _complete(job: Job) -> Response:
    return error(409, "job is complete", f"job {job.id} has ended already")
