"""Jobs on a cluster through rtot, beside srun alone, by the same daemons on this machine."""

import shlex
import shutil
import statistics
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.bench.common import MEMORY, environment, missing, report, scratch, timed
from tests.bench.load import run_all
from tests.e2e.slurm import PROGRAMS, Slurm
from tests.harness import Rtot, rss, until

AT_ONCE = 20
SCRIPT = "#!/bin/bash\necho hi"


@contextmanager
def cluster(*flags: str) -> Iterator[tuple[Slurm, Rtot, Path]]:
    """The daemons, a server with README's flags in front of them, and a script for srun."""
    # Those that have just ended still take theirs: nobody is to wait for a processor.
    slurm = Slurm(processors=128)
    try:
        with scratch(MEMORY) as directory:
            script = directory / "script"
            script.write_text(SCRIPT)
            script.chmod(0o755)
            environ = {**environment(directory), "SLURM_CONF": str(slurm.conf)}
            words = [word for word in slurm.flags() if not word.startswith("--max-running")]
            server = Rtot(directory, *words, *flags, environ=environ, session=True)
            try:
                yield slurm, server, script
            finally:
                server.end()
    finally:
        slurm.close()


def there_is_one(name: str) -> bool:
    if all(map(shutil.which, PROGRAMS)):
        return True
    missing(name, "needs munge slurm-client slurmctld slurmd")
    return False


def bare(script: Path) -> str:
    return f"srun -QQ -N1 -n1 --cpus-per-task=1 --mem=500M {shlex.quote(str(script))}"


def jobs(count: int, rounds: int) -> None:
    """So many at once, in turns with as many sruns in a shell, each in a session of its own.

    Linux shares the processors out by sessions, and rtot's jobs have theirs: without that, the
    daemons on this machine would get a larger share beside the shell than beside rtot.
    """
    if not there_is_one("jobs through Slurm"):
        return
    with cluster(f"--max-running={AT_ONCE}") as (slurm, server, script):
        shell = f"seq {count} | xargs -P {AT_ONCE} -I+ setsid --wait {bare(script)} > /dev/null"
        ratios = []
        for turn in range(rounds + 1):
            alone = timed(lambda: subprocess.run(shell, shell=True, check=True, env=slurm.environ))
            slurm.wait_until_idle()
            ours = timed(lambda: run_all(server, count))
            slurm.wait_until_idle()
            # The first warms up.
            if turn:
                ratios.append(alone / ours)
        report(f"jobs through Slurm, {AT_ONCE} at once, of srun", ratios, ">= 0.95")


def one(count: int, rounds: int) -> None:
    """What rtot adds to one srun: from POST to the answer, less srun from fork to exit."""
    if not there_is_one("one job through Slurm"):
        return
    with cluster() as (slurm, server, script):
        words = shlex.split(bare(script))
        added = []
        for _ in range(rounds):
            alone, ours = [], []
            for _ in range(count):
                alone.append(
                    timed(
                        lambda: subprocess.run(
                            words, stdout=subprocess.PIPE, check=True, env=slurm.environ
                        )
                    )
                )
                ours.append(
                    timed(lambda: server.exchange("POST", "/jobs?wait=60", SCRIPT.encode()))
                )
            added.append((statistics.median(ours) - statistics.median(alone)) * 1000)
        report("one job through Slurm, ms more than srun", added, "<= 3")


def held(count: int) -> None:
    """What a job that runs elsewhere takes here: of rtot, and of its launcher and srun."""
    if not there_is_one("a running job"):
        return
    with cluster() as (_, server, _script):
        before = server.rss()
        for _ in range(count):
            server.submit(b"echo ready; exec sleep 1000", "fields=")
        for job_id in range(count):
            until(partial(_is_ready, server, job_id))
        report("a running job, KB of rtot", [(server.rss() - before) / count / 1000], "")
        proportional = sum(map(pss, of_jobs(server))) / count
        report("a running job, KB of its launcher and srun", [proportional / 1000], "")
        for job_id in range(count):
            server.exchange("POST", f"/jobs/{job_id}/kill?signal=KILL")


def _is_ready(server: Rtot, job_id: int) -> bool:
    return b"ready" in server.curl(f"/jobs/{job_id}/out")


def of_jobs(server: Rtot) -> list[int]:
    """The processes that descend from the server."""
    found = list(server.children())
    for pid in found:
        found += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    return found


def pss(pid: int) -> int:
    """Memory of a process, of shared pages its share (proc(5), smaps_rollup)."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return rss(pid)
