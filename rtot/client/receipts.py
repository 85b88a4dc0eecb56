"""What became of a kill, in a line."""

from collections.abc import Iterable, Mapping
from typing import Any


def receipt_line(receipt: Mapping[str, Any]) -> str:
    """Of a receipt as README has it, under *Fields of a job*."""
    parts = []
    for name, words in (
        ("signalled", f"{short(receipt['signal'])} to"),
        ("escalated", "KILL to"),
        ("surviving", "still there:"),
    ):
        if found := receipt.get(name):
            parts.append(f"{words} {_processes(found)}")
    for told in receipt.get("stop") or ():
        if told["exit"] == "0":
            parts.append(f"{short(told['signal'])} delivered by its stop command")
        else:
            why = told["text"].strip() or told["exit"]
            parts.append(f"{short(told['signal'])} not delivered: {why}")
    return "; ".join(parts) or "it had no process"


def is_left(receipt: Mapping[str, Any]) -> bool:
    """Whether something of the job may still run."""
    failed = (told["exit"] != "0" for told in receipt.get("stop") or ())
    return bool(receipt.get("surviving")) or any(failed)


def short(signal: str) -> str:
    """`TERM` of `SIGTERM`."""
    return signal.removeprefix("SIG")


def _processes(found: Iterable[Mapping[str, Any]]) -> str:
    return ", ".join(f"{process['command']} ({process['pid']})" for process in found)
