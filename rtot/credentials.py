"""Secrets, and what they stand for: a role and perhaps a name.

A secret is known by its SHA-256 digest. So it is found by one look-up, whose time tells nothing
about it, and neither this process nor a file of digests keeps what opens the server. A fast
digest will do where secrets are made up by a machine (`rtot secret`: 160 bits).
"""

import re
from collections.abc import Iterable
from enum import IntEnum
from typing import NamedTuple

from rtot.digest import sha256

_DIGEST = "sha256:"


class Role(IntEnum):
    """What somebody may do; each role may do what those before it may."""

    READ = 1
    """See, and change nothing."""
    RUN = 2
    """Run jobs, and end them one by one."""
    ADMIN = 3
    """End all jobs, and the server."""

    @property
    def word(self) -> str:
        """As it is written in a file of secrets."""
        return self.name.lower()


class Credential(NamedTuple):
    """One secret, by its `digest`, and what it stands for."""

    digest: bytes
    role: Role = Role.ADMIN
    name: str | None = None


Credentials = dict[bytes, Credential]


def digest(secret: bytes) -> bytes:
    """By what a secret is known."""
    return bytes(sha256(secret).digest())


def is_secret(text: str) -> bool:
    """Whether a text can be a secret: what fits into one word of a field's value."""
    return re.fullmatch(r"[\x21-\x7e]+", text) is not None


def is_name(text: str) -> bool:
    """Whether a text can be the name of somebody."""
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}", text) is not None


def parse_credential(text: str) -> Credential:
    """What `SECRET [ROLE [NAME]]` stands for, or `sha256:HEX` in place of the secret.

    Raises ValueError. As a text may be a secret as a whole, no word of it is in the error.
    """
    words = re.split("[ \t]+", text.strip(" \t"))
    if not all(map(is_secret, words)):
        raise ValueError("want printable ASCII")
    if len(words) > 3:
        raise ValueError("want SECRET [ROLE [NAME]]")
    role = parse_role(words[1]) if len(words) > 1 else Role.ADMIN
    if len(words) > 2 and not is_name(words[2]):
        raise ValueError("a name is up to 64 letters, digits and . _ @ + -, the first no mark")
    return Credential(_digest_of(words[0]), role, words[2] if len(words) > 2 else None)


def parse_role(text: str) -> Role:
    """The role of that name. Raises ValueError, without the text."""
    for role in Role:
        if text == role.word:
            return role
    raise ValueError("an unknown role: want read, run or admin")


def _digest_of(word: str) -> bytes:
    # Also within a word: a line was appended to a file that did not end with a newline.
    if re.search(r"(?i)(?:sha|md)-?[0-9]+:", word) is None:
        return digest(word.encode())
    if not re.fullmatch(f"{_DIGEST}[0-9A-Fa-f]{{64}}", word):
        raise ValueError("of a digest, want sha256: and 64 hexadecimal digits")
    found = bytes.fromhex(word[len(_DIGEST) :])
    if found == digest(b""):
        # Every request without a secret would come with this one.
        raise ValueError("this is the digest of nothing")
    return found


def line_of(credential: Credential) -> str:
    """The line of a file of secrets that stands for it."""
    words = [f"{_DIGEST}{credential.digest.hex()}", credential.role.word, credential.name or ""]
    return " ".join(words).strip()


def collect(credentials: Iterable[Credential]) -> Credentials:
    """By digest. Raises ValueError if a secret stands for two things."""
    found: Credentials = {}
    for credential in credentials:
        if found.setdefault(credential.digest, credential) != credential:
            raise ValueError("a secret is given twice, with different roles or names")
    return found
