"""rtot kill, rm, in and ps."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from rtot.client.connection import Request
from rtot.client.ending import OURS
from rtot.client.failures import FailedError, RefusedError
from rtot.client.jobs import id_of, query
from rtot.client.receipts import is_left, receipt_line
from rtot.client.screen import Screen
from rtot.client.session import Session
from rtot.client.stdin import feed
from rtot.client.table import duration, lay_out, size


class KillOptions(NamedTuple):
    """As parameters of a kill: the server's defaults if None."""

    signal: str | None = None
    grace: str | None = None


def kill(
    session: Session,
    paths: Sequence[str],
    options: KillOptions,
    screen: Screen,
    now: Callable[[], float],
) -> int:
    """End each job, and tell what died, and in what time."""
    chosen = [(name, value) for name, value in options._asdict().items() if value is not None]

    def one(path: str) -> int:
        begin = now()
        # Nothing comes until all processes are gone.
        reply = session.read(
            Request("POST", f"{path}/kill?{query(*chosen)}"), silence=None, once=True
        )
        receipt = reply.json()
        line = f"{id_of(path)}: {receipt_line(receipt)}"
        screen.print_visible(f"{line} (in {duration(now() - begin)})")
        return OURS if is_left(receipt) else 0

    return _each(paths, one, screen)


def remove(session: Session, paths: Sequence[str], screen: Screen) -> int:
    """End each job, and have the server forget it."""

    def one(path: str) -> int:
        session.read(Request("DELETE", path), silence=None)
        screen.print(id_of(path))
        return 0

    return _each(paths, one, screen)


def _each(paths: Iterable[str], action: Callable[[str], int], screen: Screen) -> int:
    """The worst exit status. What the server refuses for one job does not leave the others out."""
    status = 0
    for path in paths:
        try:
            status = max(status, action(path))
        except RefusedError as refused:
            screen.tell(f"job {id_of(path)}: {refused}")
            status = OURS
    return status


def write_stdin(session: Session, path: str) -> int:
    """Our stdin into the job's, to its end. Raises FailedError."""
    if not feed(session, path, all_of_it=False):
        raise FailedError(f"job {id_of(path)} reads no more (or has no stdin: run -i)")
    return 0


def show_processes(session: Session, path: str, screen: Screen) -> int:
    """What is alive of the job."""
    found = session.read(Request("GET", f"{path}/processes")).json()
    head = ("PID", "PARENT", "STATE", "AGE", "CPU", "MEMORY", "COMMAND")
    rows = [head, *map(_row, found["processes"])]
    for line in lay_out(rows, screen.width):
        screen.print(line)
    missing = found["count"] - len(found["processes"])
    if missing:
        screen.tell(f"and {missing} more")
    return 0


def _row(process: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        str(process["pid"]),
        str(process["parent"]),
        str(process["state"]),
        duration(process["seconds"]),
        f"{process['cpu']:.2f}s",
        size(process["memory"]),
        " ".join(process["argv"] or [process["command"]]),
    )
