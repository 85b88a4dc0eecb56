import os
import socket
from pathlib import Path

from rtot.system.systemd import Notifier
from tests.world import at


def test_what_a_manager_is_told(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        path = str(tmp_path / "notify")
        manager.bind(path)
        manager.settimeout(5)
        notifier = Notifier({"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "3000000"})
        assert notifier.deadline is None
        notifier.ready(at(1))
        assert (manager.recv(99), manager.recv(99)) == (b"READY=1", b"WATCHDOG=1")
        assert notifier.deadline == 2.5
        notifier.alive(at(2.5))
        assert (manager.recv(99), notifier.deadline) == (b"WATCHDOG=1", 4.0)
        notifier.reloading(at(3))
        assert manager.recv(99) == b"RELOADING=1\nMONOTONIC_USEC=3000000"
        notifier.stopping()
        assert manager.recv(99) == b"STOPPING=1"


def test_an_abstract_address() -> None:
    name = f"rtot-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{name}")
        manager.settimeout(5)
        Notifier({"NOTIFY_SOCKET": f"@{name}"}).stopping()
        assert manager.recv(99) == b"STOPPING=1"


def test_nobody_to_tell(tmp_path: Path) -> None:
    for environ in ({}, {"WATCHDOG_USEC": "1000"}, {"NOTIFY_SOCKET": str(tmp_path / "gone")}):
        notifier = Notifier(environ)
        notifier.ready(at(1))
        notifier.stopping()
        assert notifier.deadline is None


def test_a_watchdog_of_another_process() -> None:
    other = {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}
    for environ in (other, {**other, "WATCHDOG_PID": "", "WATCHDOG_USEC": "soon"}):
        notifier = Notifier(environ)
        notifier.alive(at(1))
        assert notifier.deadline is None
