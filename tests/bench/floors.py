"""Floors: what the machine, h11 and an import cost without any server.

python -m tests.bench.floors spawn N     jobs a second of a bare posix_spawn loop
python -m tests.bench.floors h11 N       requests a second of a bare h11 loop
"""

import os
import select
import sys
import tempfile
import time

import h11

WIDTH = 4
REQUEST = b"GET /jobs/0 HTTP/1.1\r\nHost: 127.0.0.1:8457\r\nAuthorization: rtot bench\r\n\r\n"
BODY = (
    b'{"jobs":[{"id":0,"out":"hi\\n","state":"complete",'
    b'"start":"2026-11-24 05:34:05.158474245 +0000 UTC",'
    b'"complete":"2026-11-24 05:34:05.161947056 +0000 UTC",'
    b'"create":"2026-11-24 05:34:05.158474245 +0000 UTC","href":"/jobs/0"}]}\n'
)


def spawn(count: int) -> float:
    """Run the script `echo hi` so often, four at a time, and read what it writes."""
    with tempfile.NamedTemporaryFile("w", delete=False) as script:
        script.write("#!/bin/bash\necho hi")
        os.fchmod(script.fileno(), 0o700)
    path = script.name
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    poll = select.epoll()
    owners: dict[int, int] = {}
    left: dict[int, int] = {}
    started = done = 0
    begin = time.perf_counter()
    while done < count:
        while started < count and len(left) < WIDTH:
            out, out_write = os.pipe2(os.O_CLOEXEC)
            err, err_write = os.pipe2(os.O_CLOEXEC)
            pid = os.posix_spawn(
                path,
                [path],
                os.environ,
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, null, 0),
                    (os.POSIX_SPAWN_DUP2, out_write, 1),
                    (os.POSIX_SPAWN_DUP2, err_write, 2),
                ],
                setsid=True,
            )
            os.close(out_write)
            os.close(err_write)
            left[pid] = 2
            for fd in (out, err):
                owners[fd] = pid
                poll.register(fd, select.EPOLLIN)
            started += 1
        for fd, _ in poll.poll():
            if os.read(fd, 65536):
                continue
            poll.unregister(fd)
            os.close(fd)
            pid = owners.pop(fd)
            left[pid] -= 1
            if not left[pid]:
                os.waitpid(pid, 0)
                del left[pid]
                done += 1
    elapsed = time.perf_counter() - begin
    os.unlink(path)
    return count / elapsed


def parse_and_write(count: int) -> float:
    """Parse that request and write that response so often, without a socket."""
    connection = h11.Connection(h11.SERVER)
    headers = [
        ("Content-Type", "application/json; charset=UTF-8"),
        ("Content-Length", str(len(BODY))),
    ]
    begin = time.perf_counter()
    for _ in range(count):
        connection.receive_data(REQUEST)
        connection.next_event()
        connection.next_event()
        head = connection.send(h11.Response(status_code=200, headers=headers, reason="OK"))
        body = connection.send(h11.Data(data=BODY))
        end = connection.send(h11.EndOfMessage())
        assert head is not None
        assert body is not None
        assert end is not None
        connection.start_next_cycle()
    return count / (time.perf_counter() - begin)


if __name__ == "__main__":
    print({"spawn": spawn, "h11": parse_and_write}[sys.argv[1]](int(sys.argv[2])))
