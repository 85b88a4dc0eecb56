"""What can be told of a script without running it."""

from rtot.text import decode

ELF = b"\x7fELF"
# Characters of a title, and bytes of a script that are looked through for it.
_LONGEST = 80
_LOOK = 4096


def title_of(script: bytes) -> str:
    """The first line that is neither empty nor a comment, cut; empty if there is none near."""
    if script[:4] == ELF:
        return ""
    for line in script[:_LOOK].split(b"\n"):
        stripped = line.strip()
        if stripped and not stripped.startswith(b"#"):
            title = decode(stripped)[:_LONGEST]
            return title if title.isprintable() else "".join(map(_shown, title))
    return ""


def _shown(c: str) -> str:
    return c if c.isprintable() else "\ufffd"
