"""What SIGHUP reads again: secrets and certificates. What cannot be read stays as it was."""

from typing import TYPE_CHECKING

from rtot.api.auth import Authenticator
from rtot.clock import Now
from rtot.system.log import Log
from rtot.system.secret_file import SecretFileError, read_secrets

if TYPE_CHECKING:
    from rtot.system.tls import Tls


class Reload:
    """Where the secrets and the certificates are, and who uses them."""

    __slots__ = ("_authenticator", "_secret_file", "_tls")

    def __init__(
        self, authenticator: Authenticator, secret_file: str | None, tls: "Tls | None"
    ) -> None:
        self._authenticator = authenticator
        self._secret_file = secret_file
        self._tls = tls

    def carry_out(self, log: Log, now: Now) -> None:
        """Read them again; what was read and what could not be goes to the log."""
        if self._secret_file is not None:
            try:
                self._authenticator.credentials = found = read_secrets(self._secret_file)
                log.info(now, "reloaded secrets", count=len(found))
            except SecretFileError as error:
                log.warning(now, "kept the old secrets", error=str(error))
        if self._tls is not None:
            failure = self._tls.reload()
            if failure is None:
                log.info(now, "reloaded certificates")
            else:
                log.warning(now, "kept the old certificates", error=failure)
        if self._secret_file is None and self._tls is None:
            log.info(now, "nothing to reload")
