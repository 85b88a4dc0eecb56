"""`rtot secret [ROLE [NAME]]`: a new secret, and the line for --secret-file that lets it in."""

import os
from collections.abc import Sequence

from rtot.cli.errors import UsageError
from rtot.credentials import line_of, parse_credential

USAGE = """\
usage: rtot secret [ROLE [NAME]]

Print the line for --secret-file that lets a new secret of 160 bits in, and on stderr the secret,
for whoever is to have it. ROLE is read, run or admin (the default).

example:
  rtot secret run alice >> secrets"""


def new_secret() -> str:
    """160 bits that nobody can guess, in hexadecimal digits."""
    return os.urandom(20).hex()


def line_for(secret: str, words: Sequence[str]) -> str:
    """The line for the secret with that role and name. Raises UsageError."""
    if not all(words) or len(words) > 2:
        raise UsageError("secret: want [ROLE [NAME]], and none of them empty (rtot secret --help)")
    try:
        return line_of(parse_credential(" ".join([secret, *words])))
    except ValueError as error:
        raise UsageError(f"secret: {error}") from None
