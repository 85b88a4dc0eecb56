"""rtot: run this over there. A job server that you curl.

Packages. Each package has one concern. It may import the packages that its line names, and the
modules next to this file, which all packages share:

    (here)   clock, config, credentials, deadlines, digest, metrics, storage, text, throttle
    http     bytes into messages and back                   knows h11
    jobs     the job table: what is to be run, and what became of it
    api      what a request means                           imports http, jobs
    system   the kernel, the disk, the network              imports values of http, jobs
    loop     the turn: selector, clock, signals             imports all of these
    client   `rtot run` and its kin                         knows h11; imports none of these
    page     the web page's files: no Python
    cli      argv and environment                           imports all of these

`http`, `jobs` and `api` are the cores: they do no I/O, and get the time as an argument
(`clock.Now`). Calls that report an event to them are named in the past tense (`exited`). What
they want done, they return as data, named in the imperative (`Signal`). `tests/test_rooms.py`
checks the table above. Tests are in directories of the same names; `tests/e2e` starts real
servers.

A turn of the loop (`loop.server`):

    1 observe  accept connections, receive bytes, read pipes, note exits
    2 expire   every deadline that has come
    3 decide   answer requests; choose the next job to start
    4 act      carry out the job table's commands
    5 keep     make changes durable, if there is a state directory; then wake clients that wait for
               a changed job
    6 flush    begin the answers, send what clients accept, update the selector's interest; then
               forget complete jobs that are not to be kept and that nobody reads
    7 start    spawn the job that was chosen; last, because that is slow

Rules. One enum, one table of transitions and one function that assigns the state for each
state machine: a connection (`http.connection_state`), an exchange (`api.exchange`), a job
(`jobs.job`), its stdin (`jobs.stdin`), its end (`jobs.stop`). A transition that is not in its
table is a bug, and raises. OSError is caught only by the function that made the call. A client's
fault becomes a response; a bug of ours becomes a 500 and a traceback in the log. Work in a turn
is bounded for every descriptor, and nothing gets slower with the number of idle connections or
complete jobs.

What happens to `POST /jobs`:

    1  `Clients.receive` gives the bytes to the client's `HttpConnection`, and so to h11.
    3  `next_exchange` asks for a request: the gate judges its head, then h11 parses it.
       `Handler.handle` finds the `Route`, checks the secret and its role, and parses the
       parameters; `submission.submit` makes a `Draft` of them and answers `NeedBody`. When h11
       has all of the body, `Draft.accept` calls `JobTable.submit`: the script goes to the spool,
       the job to the queue. The answer is decided. `take_job` chooses the job: STARTING.
    4  The job's line for the log is in the `Journal`, which has counted it too.
    6  `Exchange.begin` hands the response to h11, `ClientSocket.send` sends what it makes.
    7  `Children.start` opens pipes, spawns the process, reports `started`: RUNNING.
    Later turns: `exited` and `output_closed` complete the job; it goes to the archive.

`POST /jobs?follow` does all of this, and then goes on as the next one, from its step 6 on.

`GET /jobs/ID/out?follow`:

    3  `reading.get_out` answers with an `OutputBody` that has no end yet.
    6  The connection pulls the body. It returns the bytes so far, and then None (*nothing
       yet*). The exchange's topic is the job, and `Clients` remembers who watches it.
    1  In a later turn the job writes: `Children.read_output`, `JobTable.output_received`.
    5  The job has changed: `Clients.wake` marks those that watch it.
    6  The body is pulled again. At the end of the job it gives the trailer, and nobody
       watches any more. `Exchange.complete` has `Traffic` count the answer, and gives the
       `Record` of it for the log.

With `lease`, the reply holds a `Lease`: the exchange takes it when it begins to wait or to
respond, and releases it when the client is gone. Then `Leases` says when the job is to be ended.

An upload, `POST /jobs/ID/in`:

    3  `control.write_stdin` answers `Upload`. The exchange takes as much of the body as the
       job's stdin has room for. If there is no room it pauses the body, so that the kernel
       holds the sender back. `jobs.inputs` gives the command WriteStdin.
    4  `Children` writes to the pipe, and has the selector report when there is room again.
       `written` marks the job as changed: `Clients.wake` makes the exchange feed more.
    6  After the last byte the answer says how many were written.

A kill, `POST /jobs/ID/kill`:

    3  `JobTable.kill` begins a `Stop`, whose first command is Signal. The answer is a
       `StopWait`.
    4  `Processes.signal` looks through /proc for all of the job's processes and signals them.
    2  At its deadlines the stop asks for a Survey of who is left, or sends KILL.
    4  When nobody is left the stop is over, the exchange is woken, and the receipt is the
       answer. The exit itself comes as for any job.

If the job's launcher has a stop command, the Stop says RunStopCommand in place of Signal.
`Children` fills in the words, `StopCommands` starts the process in phase 7 of that turn, and notes
its exit, or in phase 2 that its time is over: `JobTable.stop_command_ended`.

A job that comes after another, `POST /jobs?after=7`:

    3  `prerequisites` finds that job 7 is not complete: the new one is BLOCKED, and `BlockedJobs`
       knows that it waits.
    2  In the turn after job 7's end `BlockedJobs.settle` names it: it is NEW, and in the queue
       in the place that its id gives it, or complete, if job 7 has failed.

A browser that asks for `/` gets `page/index.html` by way of `api.page`, and the rest of the page
as its parts ask for it: `jobs.js` has the list and `worker.js` the one long poll of all tabs,
`log.js` shows what `lines.js` holds, `ansi.js` knows colors, `app.js` ties them together.

What happens to `rtot run`, which is another process: `client/__init__.py`.

With a state directory (`--state`):

    1  What a job writes is in memory, until
    2  `Unkept.store_output` puts it into files, before anybody can be told.
    3  `Unkept` notes each job that is new, has changed or is deleted.
    5  `Unkept.keep` gives all of it to the `Store`, which is `system.database`: one commit. Jobs
       whose end is kept go to the archive, which is the same database, and leave memory. If it
       cannot be kept, `Exchange.not_kept` replaces the answers that are decided and not begun.
    At the next start `JobTable.restore` gets what was not complete. What waited waits again; what
    was started is `lost`, and a `Stop` ends what is left of it.
"""

__version__ = "1.1.0.dev0"
