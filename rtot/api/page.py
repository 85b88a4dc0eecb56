"""GET /page/…: the files of the web page, and who gets it at `/`.

They are the same for everybody and need no secret: the page has none of its own, and asks for
what it shows with the secret of whoever reads it.
"""

from collections.abc import Callable

from rtot.api.answers import Answer, Ask, RefusalError
from rtot.http.errors import error
from rtot.http.messages import Headers, Request, Response

# Of a name: the file, None for none.
Page = Callable[[str], bytes | None]
INDEX = "index.html"
# What the page may do: nothing but what it is made of (CSP 3, Trusted Types). The worker's URL is
# the one that its policy makes.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "worker-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; "
    "require-trusted-types-for 'script'; trusted-types rtot"
)
_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
}
VARY: Headers = (("Vary", "Accept"),)


def no_page(name: str) -> None:
    """A Page without files."""


def place_of(request: Request) -> str:
    """The path of a request; of one for `/` by a browser, which wants to show it, the page's."""
    path = request.path
    if path == "/" and request.method in ("GET", "HEAD"):
        from rtot.http.lists import parse_list

        accepted = request.headers.get("accept", "")
        if any(element.name == "text/html" for element in parse_list(accepted)):
            return f"/page/{INDEX}"
    return path


def get_file(ask: Ask) -> Answer:
    """One of the page's files."""
    content_type = _TYPES.get(ask.word.rpartition(".")[2])
    content = ask.page(ask.word) if content_type is not None else None
    if content_type is None or content is None:
        raise RefusalError(error(404, "not found", f"there is no {ask.word[:200]} of the page"))
    headers: Headers = (("Content-Type", content_type), ("Content-Security-Policy", _POLICY))
    return Response(200, (*headers, *VARY), content)
