"""Text formats that all modules share: JSON strings, and the original's times, durations and exits.

The original was written in Go, whose packages time, syscall and encoding/json define the formats.
"""

import codecs
import time

# These are json.encoder's own functions. Importing json costs every start 1.3 ms and 90 KiB,
# for a decoder that a server never uses.
from _json import (  # type: ignore[import-not-found, unused-ignore]
    encode_basestring,
    encode_basestring_ascii,
)
from functools import lru_cache

_MOST_DIGITS = 18
NEVER = "0001-01-01 00:00:00 +0000 UTC"
# Names the handler for `bytes.decode` that is registered below.
EACH_BYTE = "rtot.each"


def _replace_each_byte(error: UnicodeError) -> tuple[str, int]:
    """One U+FFFD for each bad byte, as Go does; Python's own handler merges them."""
    assert isinstance(error, UnicodeDecodeError)
    return "\ufffd" * (error.end - error.start), error.end


codecs.register_error(EACH_BYTE, _replace_each_byte)


def string(text: str) -> str:
    """A JSON string. U+FFFD stands for each byte that was not UTF-8 where the text came from."""
    return str(encode_basestring(text if text.isascii() else _without_surrogates(text)))


def ascii_string(text: str) -> str:
    """A JSON string in which everything beyond ASCII is escaped; U+FFFD as in `string`."""
    return str(encode_basestring_ascii(text if text.isascii() else _without_surrogates(text)))


def _without_surrogates(text: str) -> str:
    # Python has a lone surrogate for a byte that it could not decode (PEP 383), in arguments
    # and paths. UTF-8 has none, so that encoding such a text would fail.
    try:
        text.encode()
    except UnicodeEncodeError:
        return "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in text)
    return text


def original_bytes(text: str) -> bytes:
    """The bytes that a parameter of a request stood for, UTF-8 or not."""
    return text.encode("utf-8", "surrogateescape")


def strings(texts: tuple[str, ...]) -> str:
    """A JSON array of strings."""
    return f"[{', '.join(map(string, texts))}]"


def decode(data: bytes) -> str:
    """Text of bytes that should be UTF-8: U+FFFD for each byte that is not."""
    return data.decode("utf-8", EACH_BYTE)


def reason(error: OSError) -> str:
    """Why a system call failed: strerror(3)'s words in lower case, as the original wrote them."""
    return (error.strerror or str(error)).lower()


# Cached, since clients that poll get the same times again, and a turn's log lines share one.
@lru_cache(maxsize=128)
def format_time(wall: int) -> str:
    """Nanoseconds since the epoch as Go's Time.String in UTC; 0 is Go's zero time."""
    if not wall:
        return NEVER
    seconds, nanoseconds = divmod(wall, 1_000_000_000)
    fraction = f".{nanoseconds:09d}".rstrip("0") if nanoseconds else ""
    return f"{_calendar(seconds)}{fraction} +0000 UTC"


# Cached, since the jobs of a list were often made within the same few seconds.
@lru_cache(maxsize=64)
def _calendar(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))


def format_duration(nanoseconds: int) -> str:
    """Go's Duration.String: `2.019438118s`, `1h2m3s`, `1.5ms`, `0s`."""
    if nanoseconds < 1_000_000_000:
        for unit, size in (("ms", 1_000_000), ("µs", 1_000), ("ns", 1)):
            if nanoseconds >= size:
                return f"{_decimal(nanoseconds, size)}{unit}"
        return "0s"
    minutes, rest = divmod(nanoseconds, 60_000_000_000)
    hours, minutes = divmod(minutes, 60)
    text = f"{_decimal(rest, 1_000_000_000)}s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text


def _decimal(value: int, unit: int) -> str:
    whole, rest = divmod(value, unit)
    digits = f"{rest:0{len(str(unit)) - 1}d}".rstrip("0") if rest else ""
    return f"{whole}.{digits}" if digits else str(whole)


def is_number(text: str) -> bool:
    """Whether it is a decimal number that is not too long: int() takes much else."""
    return text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS


# The texts of Go's package syscall, which the original printed.
_SIGNALS = {
    1: "hangup",
    2: "interrupt",
    3: "quit",
    4: "illegal instruction",
    5: "trace/breakpoint trap",
    6: "aborted",
    7: "bus error",
    8: "floating point exception",
    9: "killed",
    10: "user defined signal 1",
    11: "segmentation fault",
    12: "user defined signal 2",
    13: "broken pipe",
    14: "alarm clock",
    15: "terminated",
    16: "stack fault",
    17: "child exited",
    18: "continued",
    19: "stopped (signal)",
    20: "stopped",
    21: "stopped (tty input)",
    22: "stopped (tty output)",
    23: "urgent I/O condition",
    24: "CPU time limit exceeded",
    25: "file size limit exceeded",
    26: "virtual timer expired",
    27: "profiling timer expired",
    28: "window changed",
    29: "I/O possible",
    30: "power failure",
    31: "bad system call",
}


def format_status(status: int) -> str:
    """A wait status (waitpid(2)) as the original told of it; empty for 0."""
    if number := status & 0x7F:
        name = _SIGNALS.get(number, f"signal {number}")
        return f"signal: {name}{' (core dumped)' if status & 0x80 else ''}"
    return f"exit status {status >> 8}" if status else ""
