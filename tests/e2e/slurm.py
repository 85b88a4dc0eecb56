"""A cluster of Slurm on loopback for a test: Debian's daemons, two nodes of 16 processors.

Everything is in one directory, on ports of its own, and gone at the end. It needs root, since
slurmd starts what it runs as whoever has submitted it.
"""

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.harness import COMMAND, PATIENCE, Rtot, is_alive, until

PROGRAMS = ("munged", "slurmctld", "slurmd", "srun", "scancel", "unshare")
README = (Path(__file__).parents[2] / "README.md").read_text()
NODES = ("n1", "n2")
PROCESSORS = 16
# rtot sees none of the nodes' processes, as if these were on other machines. On one kernel it would
# otherwise find them by their environment, and a kill would do what no real node allows.
FRONT = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child", *COMMAND)


def needs_slurm() -> pytest.MarkDecorator:
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    why = f"needs {missing} (apt-get install munge slurm-client slurmctld slurmd)"
    if os.geteuid() != 0:
        missing, why = ["root"], "needs root"
    return pytest.mark.skipif(bool(missing), reason=why)


def free_ports(count: int) -> list[int]:
    """Ports that nobody has, for daemons that take no other address than one known beforehand."""
    socks = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [sock.getsockname()[1] for sock in socks]
    for sock in socks:
        sock.close()
    return ports


class Slurm:
    """The daemons, from their start to their end."""

    def __init__(self, processors: int = PROCESSORS) -> None:
        """`processors`: of each node, however many this machine has."""
        # Not the test's own: munged wants a path to its socket that is open to all, and short.
        self.directory = directory = Path(tempfile.mkdtemp(prefix="slurm-"))
        directory.chmod(0o711)
        for name, mode in (("munge", 0o711), ("key", 0o700), ("state", 0o700), ("spool", 0o755)):
            (directory / name).mkdir(mode=mode)
            (directory / name).chmod(mode)
        key = directory / "key" / "key"
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(1024))
        self.conf = directory / "slurm.conf"
        self.conf.write_text(self._configuration(processors))
        # Or slurmd asks which there is, and dies where that cannot be told.
        (directory / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
        self.environ = {**os.environ, "SLURM_CONF": str(self.conf)}
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}
        self._start_daemon(
            "munged",
            *("munged", "--foreground", f"--key-file={key}", f"--socket={directory}/munge/socket"),
            *(f"--pid-file={directory}/key/pid", f"--log-file={directory}/key/log"),
            *(f"--seed-file={directory}/key/seed", "--num-threads=2"),
        )
        until((directory / "munge" / "socket").exists, "munged")
        self.start_controller()
        for node in NODES:
            self.start_node(node)
        self.wait_until_idle()

    def _configuration(self, processors: int) -> str:
        host = socket.gethostname().partition(".")[0]
        controller, *ports = free_ports(1 + len(NODES))
        nodes = "\n".join(
            f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port}"
            f" CPUs={processors} RealMemory=20000"
            for name, port in zip(NODES, ports, strict=True)
        )
        directory = self.directory
        return f"""
ClusterName=rtot
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmUser=root
AuthInfo=socket={directory}/munge/socket
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
StateSaveLocation={directory}/state
SlurmdSpoolDir={directory}/spool/%n
SlurmctldPidFile={directory}/state/pid
SlurmdPidFile={directory}/state/%n.pid
MailProg=/bin/true
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
SlurmdTimeout=3
MessageTimeout=5
InactiveLimit=300
KillWait=5
MinJobAge=2
SchedulerParameters=batch_sched_delay=0,sched_interval=1
{nodes}
PartitionName=all Nodes={",".join(NODES)} Default=YES State=UP
"""

    def _start_daemon(self, name: str, *command: str) -> None:
        with (self.directory / f"{name}.log").open("ab") as log:
            self.daemons[name] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environ,
                start_new_session=True,
            )

    def start_controller(self) -> None:
        self._start_daemon("slurmctld", "slurmctld", "-D")
        until(lambda: self.ask("scontrol", "ping").returncode == 0, "slurmctld")

    def start_node(self, node: str) -> None:
        """In a pid namespace of its own, with which all ends that it has started.

        Process 1 of it is a shell, which reaps what steps leave behind, and slurmd would not.
        """
        unshare = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
        shell = ("sh", "-c", '"$@"; exit', "-")
        self._start_daemon(node, *unshare, *shell, "slurmd", "-D", "-N", node)

    def kill(self, name: str) -> None:
        """Kill a daemon; of a node, all that runs there."""
        daemon = self.daemons.pop(name)
        # slurmctld has a child of its own, in its session.
        os.killpg(daemon.pid, signal.SIGKILL)
        daemon.wait()

    def ask(self, *command: str) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(
                command, env=self.environ, capture_output=True, text=True, timeout=5
            )
        except subprocess.TimeoutExpired as late:
            return subprocess.CompletedProcess(late.cmd, 124, "", "")

    def flags(self) -> list[str]:
        """Carry README's block out, in another place; what it gives to the server."""
        (block,) = re.findall(r"^```sh slurm\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
        block = block.replace("/usr/local/lib/rtot", f"{self.directory}/lib")
        scripts, server = block.split(".venv/bin/rtot ")
        subprocess.run(["bash", "-ec", scripts], check=True)
        words = shlex.split(server.replace("\\\n", " "))
        return [word for word in words if not word.startswith(("-s=", "--spool-dir="))]

    def states(self) -> set[str]:
        return set(self.ask("sinfo", "-h", "-N", "-o", "%T").stdout.split())

    def wait_until_idle(self) -> None:
        until(lambda: self.states() == {"idle"}, "an idle cluster")

    def queue(self) -> list[str]:
        """The names and states of Slurm's jobs."""
        return self.ask("squeue", "-h", "-o", "%j %T").stdout.splitlines()

    def steps(self) -> list[str]:
        """The commands that run on the nodes."""
        found = []
        for node in NODES:
            if node not in self.daemons:
                continue
            (inside,) = _children(self.daemons[node].pid)
            found += [c for c in _tree(inside) if c not in ("sh", "slurmd")]
        return found

    def close(self) -> None:
        for name in list(self.daemons):
            self.kill(name)
        shutil.rmtree(self.directory)


def _children(pid: int) -> list[int]:
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def descendants(pid: int) -> list[int]:
    """Of a process with one thread each, those that it has started, and so on."""
    found = _children(pid)
    for each in found:
        found += _children(each)
    return found


def _tree(pid: int) -> list[str]:
    """The commands of a process and of all that descends from it, without zombies."""
    try:
        name = Path(f"/proc/{pid}/comm").read_text().strip()
        tasks = [int(entry.name) for entry in Path(f"/proc/{pid}/task").iterdir()]
        children = []
        for task in tasks:
            children += Path(f"/proc/{pid}/task/{task}/children").read_text().split()
    except OSError:
        return []
    return [
        *([name] if is_alive(pid) else []),
        *(c for child in children for c in _tree(int(child))),
    ]


class Front(Rtot):
    """A server in a pid namespace of its own, from which the nodes' processes cannot be seen."""

    @property
    def pid(self) -> int:
        """Of the server, and not of unshare."""
        (inside,) = _children(self.process.pid)
        return inside

    def end(self, number: int = signal.SIGTERM) -> int:
        os.kill(self.pid, number)
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        if self.process.poll() is None:
            self.end()
        assert "Traceback" not in self.log, self.log
