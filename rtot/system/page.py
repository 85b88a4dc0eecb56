"""The files of the web page, read from the package when they are asked for.

By the loader of this package, as they may be in a zip file (zipimport). Only what is listed is
read: a name is a client's.
"""

import os

import rtot

_FILES = frozenset(
    {
        *("index.html", "style.css", "app.js", "api.js", "dom.js", "jobs.js", "run.js"),
        *("worker.js", "log.js", "events.js", "lines.js", "rows.js", "search.js", "ansi.js"),
    }
)


def read_page(name: str) -> bytes | None:
    """The file of that name; None if there is none."""
    if name not in _FILES or rtot.__spec__ is None:
        return None
    path = os.path.join(os.path.dirname(rtot.__file__), "page", name)
    try:
        found = rtot.__spec__.loader.get_data(path)  # type: ignore[union-attr]
    except OSError:
        return None
    return bytes(found)
