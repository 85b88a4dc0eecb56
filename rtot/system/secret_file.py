"""Secrets in a file that nobody else may read: a line each, `SECRET [ROLE [NAME]]`, or a comment.

A line that begins with `#` is a comment.
"""

import os
import stat

from rtot.config import SetupError
from rtot.credentials import Credentials, collect, parse_credential

_MOST = 64 * 1024


class SecretFileError(SetupError):
    """The file gives no secrets; the text says why."""


def read_secrets(path: str) -> Credentials:
    """What the secrets in the file stand for, at least one. Raises SecretFileError.

    Only its owner may read it. If root owns it, its group may too, as is usual for the files of a
    service and for credentials that systemd passes.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise SecretFileError(f"{path}: {os.strerror(error.errno or 0).lower()}") from error
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise SecretFileError(f"{path}: not a regular file")
        if status.st_uid not in (0, os.geteuid()):
            raise SecretFileError(f"{path}: belongs to another user")
        forbidden = 0o037 if status.st_uid == 0 else 0o077
        if stat.S_IMODE(status.st_mode) & forbidden:
            raise SecretFileError(f"{path}: others may read it (chmod 600 would do)")
        data = os.read(fd, _MOST + 1)
    except OSError as error:
        raise SecretFileError(f"{path}: {os.strerror(error.errno or 0).lower()}") from error
    finally:
        os.close(fd)
    if len(data) > _MOST:
        raise SecretFileError(f"{path}: larger than {_MOST} bytes")
    found = []
    for number, line in enumerate(data.decode("latin-1").split("\n"), 1):
        line = line.removesuffix("\r")
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            found.append(parse_credential(line))
        except ValueError as error:
            raise SecretFileError(f"{path}: line {number}: {error}") from None
    if not found:
        raise SecretFileError(f"{path}: has no secret in it")
    try:
        return collect(found)
    except ValueError as error:
        raise SecretFileError(f"{path}: {error}") from None
