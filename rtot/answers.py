"""Answers that many routes give, in the one form that they have here."""

from rtot import wire
from rtot.messages import Response

JSON_TYPE = ("Content-Type", "application/json; charset=UTF-8")
TEXT_TYPE = ("Content-Type", "text/plain; charset=utf-8")
RETRY = ("Retry-After", "1")


class RefusalError(Exception):
    """An answer that ends the handling of a request."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status)
        self.response = response


def error(status: int, name: str, message: str, *headers: tuple[str, str]) -> Response:
    """An error as JSON: what it is, and what to do about it."""
    body = f'{{"error":{wire.string(name)},"message":{wire.string(message)}}}\n'
    return Response(status, (JSON_TYPE, *headers), body.encode(errors="replace"))


def json(status: int, text: str) -> Response:
    """An answer of JSON text."""
    return Response(status, (JSON_TYPE,), text.encode())


def no_content() -> Response:
    """Done, and nothing to say about it."""
    return Response(204, (JSON_TYPE,))


def unsatisfiable(size: int, *headers: tuple[str, str]) -> Response:
    """The range lies outside of what there is."""
    message = f"there are {size} bytes"
    return error(
        416, "range not satisfiable", message, ("Content-Range", f"bytes */{size}"), *headers
    )
