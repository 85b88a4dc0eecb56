"""Settings: every limit and choice of the operator, frozen before the loop starts.

`cli` builds them from argv and the environment. What a setting does is up to the module that
reads it.
"""

import math
import re
from typing import NamedTuple

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB


class SetupError(Exception):
    """The server cannot start with what it was given; the text says why."""


def parse_count(text: str) -> int:
    """A number of at least 1; ValueError for all else."""
    if not re.fullmatch("[0-9]{1,12}", text) or not int(text):
        raise ValueError(f"{text!r} is not a number of at least 1")
    return int(text)


_DURATION = (
    r"(?:(?P<plain>\d+(?:\.\d*)?|\.\d+)"
    r"|(?=\d)(?:(?P<d>\d+(?:\.\d+)?)d)?(?:(?P<h>\d+(?:\.\d+)?)h)?(?:(?P<m>\d+(?:\.\d+)?)m)?(?:(?P<s>\d+(?:\.\d+)?)s)?"
    r"(?:(?P<ms>\d+(?:\.\d+)?)ms)?)"
)
# A century: longer is a mistake, and would overflow the selector's timeout.
_LONGEST = 100 * 365 * 86400.0


def parse_duration(text: str) -> float:
    """Seconds of `90`, `1.5`, `90s`, `5m`, `1h30m`, `2d` or `250ms`; ValueError for all else."""
    found = re.fullmatch(_DURATION, text, re.ASCII)
    if found is None:
        raise ValueError(f"{text!r} is not a duration: want 90, 1.5s, 5m, 1h30m or 2d")
    if found["plain"] is not None:
        seconds = float(found["plain"])
    else:
        seconds = (
            float(found["d"] or 0) * 86400
            + float(found["h"] or 0) * 3600
            + float(found["m"] or 0) * 60
            + float(found["s"] or 0)
            + float(found["ms"] or 0) / 1000
        )
    if seconds > _LONGEST:
        raise ValueError(f"{text!r} is longer than a century")
    return seconds


def parse_size(text: str) -> int:
    """Bytes of `65536`, `64K`, `1.5M` or `1GiB` (powers of 1024); ValueError for all else."""
    found = re.fullmatch(r"([0-9]{1,15})(\.[0-9]{1,9})?([KMGTkmgt]?)(?:i?[Bb]?)", text)
    if found is None or (found[2] and not found[3]):
        raise ValueError(f"{text!r} is not a size: want 65536, 64K, 1.5M, 1G or 1T")
    unit = {"": 1, "K": KIB, "M": MIB, "G": GIB, "T": 1024 * GIB}[found[3].upper()]
    return int(found[1]) * unit + int(float(found[2] or 0) * unit)


class Descriptors(NamedTuple):
    """How the limit on open files is divided, so that jobs and clients do not starve each other.

    At most `max_running` jobs and `max_connections` clients at a time. Up to `max_refused` more
    clients get a 503. A job's pipes never use a descriptor of `first_reserved` or above, so that
    requests are answered however many jobs run.
    """

    max_running: int
    max_connections: int
    max_refused: int
    first_reserved: int


# Listeners, standard streams, the selector, the spool, a walk of /proc.
_OWN_DESCRIPTORS = 16
_REFUSED = 16
# Descriptors of a job: three pipes, and three files of output.
_PER_JOB = 6


def share_descriptors(limit: int) -> Descriptors:
    """The defaults for a `limit` of open files (RLIMIT_NOFILE): jobs and clients get half each."""
    reserved = min(32, limit // 4)
    half = max(8, limit - reserved - _REFUSED - _OWN_DESCRIPTORS) // 2
    return Descriptors(
        max_running=max(1, min(10_000, half // _PER_JOB)),
        max_connections=max(4, min(20_000, half)),
        max_refused=_REFUSED,
        first_reserved=limit - reserved,
    )


_DEFAULT = share_descriptors(1024)


class Settings(NamedTuple):
    """What the operator decided. Sizes are bytes, times are seconds; a timeout may be infinite."""

    max_request_line: int = 8 * KIB
    max_head: int = 16 * KIB
    max_headers: int = 100
    max_body: int = 16 * MIB
    head_timeout: float = 10.0
    body_timeout: float = 20.0
    idle_timeout: float = 75.0
    send_timeout: float = 30.0
    linger_timeout: float = 2.0
    max_buffer: int = 256 * KIB
    max_connections: int = _DEFAULT.max_connections
    max_refused: int = _DEFAULT.max_refused
    first_reserved_descriptor: int = _DEFAULT.first_reserved

    max_running: int = _DEFAULT.max_running
    max_starting: int = 4
    max_queued: int = 100_000
    max_output: int = GIB
    max_memory: int = 64 * KIB
    keep_end: int = 64 * KIB
    drain: float = 1.0
    grace: float = 5.0
    heartbeat: float = 15.0
    max_wait: float = math.inf
    keep: int | None = None
    ttl: float | None = None
    shutdown: bool = True
    state: bool = False
    allowed_origins: tuple[str, ...] = ()
    launchers: tuple[tuple[str, tuple[str, ...]], ...] = ()
    stop_commands: tuple[tuple[str, tuple[str, ...]], ...] = ()
    groups: tuple[tuple[str, int], ...] = ()

    @property
    def output_limits(self) -> tuple[int, int, int]:
        """How much of a job's output is kept, how much in memory, and how much of its end."""
        return self.max_output, self.max_memory, self.keep_end

    def launcher(self, name: str) -> tuple[str, ...] | None:
        """The argv prefix of that name, or None where there is no such launcher."""
        return dict(self.launchers).get(name)

    def stop_command(self, launcher: str | None) -> tuple[str, ...]:
        """What delivers signals to the jobs of that launcher; empty if rtot does it itself."""
        return dict(self.stop_commands).get(launcher, ()) if launcher is not None else ()
