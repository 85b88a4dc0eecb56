"""Headers that are lists (RFC 9110, 5.6): elements with parameters, some of them quoted."""

import re
from typing import NamedTuple

_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z/]+"
_QUOTED = r'"(?:[^"\\]|\\.)*"'
# A blank can match in one place only. Otherwise a list that is malformed at its end would be
# tried again for every way to divide the blanks, which takes exponential time.
_VALUE = rf"(?:[ \t]*=(?:[ \t]*({_TOKEN}|{_QUOTED}))?)?"
_PARAMETER = re.compile(rf"[ \t]*;(?:[ \t]*({_TOKEN}){_VALUE})?")
_ELEMENT = re.compile(rf"[ \t,]*({_TOKEN}){_VALUE}((?:{_PARAMETER.pattern})*)[ \t]*(?=,|$)")
_REST = re.compile(rf"(?:{_QUOTED}|[^,\"]|\")*")


class Element(NamedTuple):
    """`name`, in lower case, its value if it has one, and its parameters."""

    name: str
    value: str
    parameters: dict[str, str]


def parse_list(text: str) -> list[Element]:
    """The elements of a list. Empty ones do not count, and malformed ones are passed over."""
    elements = []
    at = 0
    while at < len(text):
        found = _ELEMENT.match(text, at)
        if found is None:
            rest = _REST.match(text, at)
            assert rest is not None
            at = rest.end() + 1
            continue
        name, value, parameters = found.group(1, 2, 3)
        pairs = {n.lower(): _unquoted(v) for n, v in _PARAMETER.findall(parameters) if n}
        elements.append(Element(name.lower(), _unquoted(value), pairs))
        at = found.end() + 1
    return elements


def quality(accept: str | None, kind: str) -> tuple[float, int]:
    """The weight of a media type in Accept (RFC 9110, 12.5.1), 0 if it is not acceptable.

    And the specificity of the media range that matched: 2 for the type itself, 1 for `type/*`, 0
    for `*/*` or without Accept. The most specific range decides.
    """
    if accept is None or not accept.strip():
        return 1.0, 0
    ranges = (kind, f"{kind.partition('/')[0]}/*", "*/*")
    elements = parse_list(accept)
    for index, wanted in enumerate(ranges):
        for element in elements:
            if element.name == wanted:
                return _weight(element.parameters.get("q", "1")), 2 - index
    return 0.0, 0


def _weight(text: str) -> float:
    return float(text) if re.fullmatch(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?", text) else 1.0


def _unquoted(text: str | None) -> str:
    if text is None:
        return ""
    return re.sub(r"\\(.)", r"\1", text[1:-1]) if text.startswith('"') else text
