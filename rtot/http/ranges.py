"""Range requests (RFC 9110, 14): one range of bytes, or the whole."""

import re

_SPECIFIER = r"bytes=[ \t]*(?:([0-9]{1,99})-([0-9]{0,99})|-([0-9]{1,99}))[ \t]*"


class UnsatisfiableError(Exception):
    """The range lies outside of what there is."""


def parse_range(text: str, size: int) -> tuple[int, int] | None:
    """Start and end (exclusive) of the one range that is asked for.

    None for a Range that a server may ignore, as this one does: several ranges, other units, a
    malformed value. Raises UnsatisfiableError for a range that contains no byte.
    """
    found = re.fullmatch(_SPECIFIER, text)
    if found is None:
        return None
    first, last, suffix = found.groups()
    if suffix is not None:
        start, end = max(0, size - int(suffix)), size
    else:
        start = int(first)
        if last and int(last) < start:
            return None
        end = min(size, int(last) + 1) if last else size
    if start >= end:
        raise UnsatisfiableError
    return start, end
