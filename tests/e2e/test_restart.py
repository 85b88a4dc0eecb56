"""Servers that are killed and started anew: what is left of their jobs, and who notices."""

import os
import signal
from collections.abc import Callable

from tests.harness import Rtot, is_alive, until

Start = Callable[..., Rtot]
# Prints the pids of all that it leaves: a child, one of another session, one without variables.
SPREAD = b"""sleep 1000 & echo $!
setsid sh -c 'echo $$; exec sleep 1000' &
env -i setsid sh -c 'echo $$; exec sleep 1000' &
echo $$; wait
"""


def spread(rtot: Rtot, job_id: int) -> list[int]:
    """The processes of a job that runs SPREAD."""

    def written() -> list[bytes]:
        return rtot.curl(f"/jobs/{job_id}/out").split()

    until(lambda: len(written()) == 4, "all of the job's processes")
    return [int(word) for word in written()]


def test_what_a_killed_server_leaves_is_ended_by_the_next(start: Start) -> None:
    first = start()
    job_id = first.submit(SPREAD)
    pids = spread(first, job_id)
    daemon = int(str(first.run(b"setsid sleep 1000 > /dev/null 2>&1 & echo $!")["out"]))
    first.submit(b"exit", "delay=1h")
    (spool,) = first.spool.iterdir()
    first.end(signal.SIGKILL)
    assert len(pids) == 4
    assert all(map(is_alive, pids))
    second = start(TMPDIR=str(first.spool))
    until(lambda: not any(map(is_alive, pids)))
    assert is_alive(daemon)
    os.kill(daemon, signal.SIGKILL)
    assert f'job={job_id} server="{spool.name.rpartition("-")[2]}"' in second.log
    assert len(list(first.spool.iterdir())) == 1


def test_a_client_notices_that_the_server_is_another(start: Start) -> None:
    first = start()
    head = first.curl("-sI", "/ping").decode()
    (server,) = [line for line in head.splitlines() if line.startswith("Rtot-Server: ")]
    assert first.submit(b"echo") == 0
    first.end(signal.SIGKILL)
    second = start()
    second.run(b"echo another")
    status = ("-o", "/dev/null", "-w", "%{http_code}")
    assert second.curl(*status, "-H", server, "/jobs/0") == b"412"
    assert second.curl(*status, "/jobs/0") == b"200"
