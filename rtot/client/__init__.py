"""The client: `rtot run` and its kin.

It speaks to a server as curl does, by h11 over blocking sockets: a client has time to wait. What it
waits for besides the network (a terminal, an interrupt) has threads of its own.

    address      where a server is
    connection   one request at a time, h11 over a socket
    session      the secret, the server's life, and requests that are tried again (`retries`)
    events       a job's story, which goes on where a lost connection ended it
    ending       what a job's end is for a shell: an exit status and a line
    screen       bytes of jobs and lines of ours, onto stdout and stderr; `table`, `receipts`
    run, many    one job, or the same on many servers; `submission`, `stdin`, `attend` (Ctrl-C)
    logs, wait, lists, control    one command or a few: functions from options to an exit status

Every failure of rtot's own ends with 255 and a line that says why (`failures`). What may be mended
by trying again is a LostError, and nothing but a session catches it.
"""
