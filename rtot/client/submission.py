"""A request that runs a script, and is safe to send again."""

import os
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import quote

from rtot.client.connection import Request
from rtot.client.failures import FailedError
from rtot.client.jobs import query

# A server takes a request line of 8 KB, and 16 KB with all headers.
_LONGEST_TARGET = 6000
_LARGEST_HEAD = 15_000


class Order(NamedTuple):
    """What is to be run. `parameters` are those of POST /jobs, but for arguments and `env`."""

    script: bytes
    arguments: tuple[bytes, ...] = ()
    parameters: tuple[tuple[str, str], ...] = ()
    env: tuple[str, ...] = ()

    def request(self, *parameters: tuple[str, str]) -> Request:
        """With those parameters too, and a key of its own. Raises FailedError."""
        fields = [("Idempotency-Key", os.urandom(16).hex())]
        # Where neither a log nor a list shows them.
        fields += [("Rtot-Env", quote(os.fsencode(pair), safe="=/:")) for pair in self.env]
        target = f"/jobs?{query(*self.parameters, *parameters)}"
        arguments = [quote(word, safe="/:") for word in self.arguments]
        with_arguments = target + "".join(f"&arg={word}" for word in arguments)
        if len(with_arguments) <= _LONGEST_TARGET:
            target = with_arguments
        else:
            # One list (RFC 9110, 5.6), as a server takes a hundred headers.
            fields.append(("Rtot-Arg", ",".join(arguments)))
        size = len(target) + sum(len(name) + len(value) + 4 for name, value in fields)
        if size > _LARGEST_HEAD:
            why = f"arguments and variables take {size} bytes, and a request has room for"
            raise FailedError(f"{why} {_LARGEST_HEAD}: put them into the script")
        return Request("POST", target, tuple(fields), self.script)


def command_script(words: Iterable[bytes]) -> bytes:
    """A script that is that command, word by word."""
    return b"#!/bin/sh\nexec " + b" ".join(map(_quoted, words)) + b"\n"


def _quoted(word: bytes) -> bytes:
    plain = b"%+,-./0123456789:=@ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"
    if word and not word.translate(None, plain):
        return word
    return b"'" + word.replace(b"'", b"'\\''") + b"'"
