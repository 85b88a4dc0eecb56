"""What a server offers, by the table of routes: to people as links, to programs as a document."""

from rtot.api.routes import ROUTES, is_offered
from rtot.config import Settings


class ApiDescription:
    """An answers.Description of the server with these settings."""

    __slots__ = ("_document", "_settings", "paths")

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._document = b""
        offered = [route.path for route in ROUTES if is_offered(route, settings)]
        self.paths = tuple(dict.fromkeys(offered))

    def document(self) -> bytes:
        if not self._document:
            # An idle server pays nothing for its texts.
            from rtot.api.openapi import document

            self._document = document(self._settings)
        return self._document
