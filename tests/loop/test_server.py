"""The turn's phases: what goes wrong in one is told, and the others go on."""

import errno
import os
import select
import selectors
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from rtot.api.auth import Authenticator
from rtot.api.handler import Handler
from rtot.config import Settings
from rtot.jobs.archive import MemoryArchive
from rtot.jobs.job import Job, State
from rtot.jobs.table import JobTable
from rtot.loop.reload import Reload
from rtot.loop.server import Server
from rtot.loop.signals import Signals
from rtot.loop.vitals import Vitals
from rtot.system.listeners import Address, listen
from rtot.system.log import Log
from rtot.system.processes import Processes
from rtot.system.spool import Spool
from rtot.system.systemd import Notifier
from tests.world import CREDENTIALS, SERVER, WHY, at

SHELL = b"#!/bin/sh\n"


class NoSignals(Signals):
    """Signals that a test notes, and that are never handled."""

    def __init__(self) -> None:
        self._noted = set()
        self._read, self._write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def ignore(self) -> None:
        pass


class House:
    """A server, and all that belongs to it."""

    def __init__(self, directory: Path) -> None:
        settings = Settings(grace=0.1)
        self.spool = Spool(str(directory))
        self.signals = NoSignals()
        self.jobs = JobTable(settings, self.spool, MemoryArchive())
        self.processes = Processes(self.spool.server_id, {}, 1 << 20)
        self.log_path = directory / "log"
        self.log_fd = os.open(self.log_path, os.O_WRONLY | os.O_CREAT, 0o600)
        self.log = Log(self.log_fd, as_json=False)
        self.path = directory / "socket"
        self.authenticator = Authenticator(CREDENTIALS)
        self.server = Server(
            settings,
            self.signals,
            Handler(settings, self.authenticator, self.jobs, at(0), SERVER),
            self.jobs,
            self.processes,
            listen(Address(path=str(self.path)), 0o600),
            self.log,
            Notifier({}),
            Reload(self.authenticator, None, None),
            Vitals(),
        )

    def turn(self, seconds: float) -> None:
        self.server._turn([], at(seconds))

    def told(self) -> str:
        self.log.flush(at(0))
        return self.log_path.read_text()

    def close(self) -> None:
        self.server._stop_listening()
        for listener in self.server._listeners:
            listener.close()
        self.spool.close()
        os.close(self.log_fd)
        os.close(self.signals._read)
        os.close(self.signals._write)
        self.server._selector.close()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.close()


def fail(*_: object, **__: object) -> None:
    raise ValueError("ours")


@pytest.mark.parametrize("phase", ["_processes.reap", "_jobs.expire", "_children.start"])
def test_a_bug_in_one_phase_leaves_the_others(
    house: House, monkeypatch: pytest.MonkeyPatch, phase: str
) -> None:
    owner, _, name = phase.partition(".")
    target = house.processes if owner == "_processes" else getattr(house.server, owner)
    monkeypatch.setattr(type(target), name, fail)
    house.signals._noted.add(signal.SIGCHLD)
    job = house.jobs.submit(SHELL, at(1))
    house.turn(1)
    assert "ValueError: ours" in house.told()
    assert (job.state is State.STARTING) == (phase == "_children.start")
    house.jobs.kill(job, at(1), signal.SIGKILL, 0.0, WHY)
    house.turn(1)


def test_a_chosen_job_is_started_whatever_befalls_others(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = house.jobs.submit(SHELL, at(1))
    started: list[Job] = []
    monkeypatch.setattr(house.server._children, "start", lambda job, _: started.append(job), False)
    monkeypatch.setattr(type(house.server._clients), "flush", fail)
    with pytest.raises(ValueError, match="ours"):
        house.turn(1)
    assert started == [job]


def test_listeners_rest_while_there_is_no_descriptor(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def accept(*_: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    server = house.server
    server._listen(at(1))
    (listener,) = server._listeners
    assert listener.sock in server._selector.get_map()
    monkeypatch.setattr(type(server._clients), "accept", accept)
    key = server._selector.get_key(listener.sock)
    server._turn([(key, selectors.EVENT_READ)] * 2, at(1))
    assert listener.sock not in server._selector.get_map()
    assert house.told().count("cannot accept connections for now") == 1
    house.turn(1.4)
    assert listener.sock not in server._selector.get_map()
    house.turn(1.5)
    assert listener.sock in server._selector.get_map()


def test_a_selector_that_has_no_room_for_a_listener_is_asked_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def register(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(type(house.server._selector), "register", register)
        house.server._listen(at(1))
    assert house.server._selector.get_map() == {}
    house.turn(1.5)
    assert len(house.server._selector.get_map()) == 1


def test_a_second_signal_ends_the_grace(house: House) -> None:
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        house.signals._noted.add(number)
        house.turn(1)
    told = house.told()
    assert 'msg="ending" signal="SIGTERM"' in told
    assert 'msg="killing what is left" signal="SIGINT"' in told
    # Nothing is read again by a server that ends.
    assert "reload" not in told
    assert house.server._has_ended(at(1))
    assert not house.path.exists()


def test_a_reload_of_nothing(house: House) -> None:
    house.signals._noted.add(signal.SIGHUP)
    house.turn(1)
    assert "nothing to reload" in house.told()


def test_who_cannot_be_ended_is_given_up(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(house.jobs), "ended", property(lambda _: False))
    house.signals._noted.add(signal.SIGTERM)
    house.turn(1)
    assert not house.server._has_ended(at(13))
    house.turn(13.1)
    assert "some processes could not be ended" in house.told()
    assert house.server._has_ended(at(13.1))


def test_the_selector_waits_until_the_nearest_deadline(house: House) -> None:
    server = house.server
    assert server._patience(at(1)) is None
    server._listen_at = 3.0
    assert server._patience(at(1)) == 2.0
    assert server._patience(at(5)) == 0.0
    house.jobs.submit(SHELL, at(1))
    assert server._patience(at(1)) == 0.0
    server._listen_at = 1e9
    house.jobs.shut_down(at(1))
    house.turn(1)
    house.turn(1)
    assert server._patience(at(2)) is not None
    assert select.select([house.signals], [], [], 0) == ([], [], [])
