"""Error responses: JSON that says what is wrong and what to do about it."""

from rtot.http.messages import Header, Response
from rtot.text import string

JSON_TYPE = ("Content-Type", "application/json; charset=UTF-8")
RETRY = ("Retry-After", "1")


def error(status: int, name: str, message: str, *headers: Header) -> Response:
    """`name` says what it is, `message` what to do about it."""
    body = f'{{"error":{string(name)},"message":{string(message)}}}\n'
    return Response(status, (JSON_TYPE, *headers), body.encode(errors="replace"))
