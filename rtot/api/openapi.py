"""GET /openapi.json: the API, described for programs (OpenAPI 3.1), from the table of routes.

Imported when somebody asks for it, as `schemas`.
"""

from json import dumps
from typing import Any

from rtot import __version__
from rtot.api.routes import ROUTES, UNROUTED, Body, Route, is_offered
from rtot.api.schemas import HEADERS, SCHEMAS, Schema, ref
from rtot.config import Settings
from rtot.credentials import Role
from rtot.http.query import Parameter

_JSON = "application/json"
_TEXT = "text/plain"
_TYPES_OF_SCRIPTS = (_TEXT, "application/octet-stream", "application/x-www-form-urlencoded")
_EVENTS = ("text/event-stream", "application/x-ndjson")

_MEANINGS = {
    200: "Done.",
    201: "The job was accepted.",
    202: "The job is not complete.",
    204: "Done, and nothing to say about it.",
    206: "Some bytes of the output.",
    400: "Malformed: the request, a parameter, a header or an empty script.",
    401: "No secret, or a wrong one.",
    403: "The role of the secret is not enough, or a page of another site asks.",
    404: "There is no such job.",
    405: "The server was started with --no-shutdown.",
    408: "The request did not arrive in time.",
    409: "The job is in the wrong state.",
    410: "The job was deleted while it was waited for.",
    412: "The header Rtot-Server of the request names another server.",
    413: "The body is too large.",
    414: "The request line is too long.",
    417: "An expectation other than 100-continue.",
    415: "The body is encoded, an envelope, or not UTF-8.",
    416: "The range lies outside of the output.",
    422: "The Idempotency-Key belongs to another request.",
    424: "What `fail` asks for: a job has failed, was cut, or is not complete in time.",
    429: "This address has failed to authenticate too often.",
    431: "The head is too large.",
    500: "A bug of the server, or output that cannot be read any more.",
    503: "Too many connections or jobs, no memory, or the server is ending.",
    501: "A transfer coding that the server does not know.",
    505: "Neither HTTP/1.0 nor 1.1.",
    507: "The job, or its deletion, cannot be stored.",
}
_HEADERS_OF = {401: ("WWW-Authenticate",), 405: ("Allow",), 429: ("Retry-After",)}
_SUCCESS = frozenset({200, 201, 202, 206, 424})

_OUTPUT = ("Accept-Ranges", "Content-Range", "Rtot-Exit", "Rtot-Dropped", "Rtot-Hint")
_OF_JOB = ("Location", "Rtot-Exit", "Rtot-Dropped", "Preference-Applied")
# Of each operation, what it answers with if all goes well: media types, their schema, headers.
_ANSWERS: dict[str, tuple[tuple[str, ...], Schema, tuple[str, ...]]] = {
    "links": ((_JSON,), ref("Links"), ()),
    "end_server": ((), {}, ()),
    "ping": ((_JSON,), ref("Ping"), ()),
    "metrics": ((_TEXT,), {"type": "string"}, ()),
    "openapi": ((_JSON,), {"type": "object"}, ()),
    "get_file": (("text/html", "text/css", "text/javascript"), {"type": "string"}, ("Vary",)),
    "list_jobs": ((_JSON,), ref("Jobs"), ("Rtot-Seq", "Link", "Preference-Applied")),
    "submit": (
        (_JSON, _TEXT, *_EVENTS),
        {},
        (*_OF_JOB, "Rtot-Hint", "Rtot-Paused", "Idempotency-Replayed"),
    ),
    "delete_jobs": ((), {}, ()),
    "get_job": ((_JSON,), ref("Jobs"), _OF_JOB),
    "delete_job": ((), {}, ()),
    "get_out": ((_TEXT,), {"type": "string"}, _OUTPUT),
    "get_err": ((_TEXT,), {"type": "string"}, _OUTPUT),
    "get_events": (_EVENTS, {}, ("Rtot-Exit", "Rtot-Dropped")),
    "get_script": ((_TEXT,), {"type": "string"}, ()),
    "list_processes": ((_JSON,), ref("Processes"), ()),
    "write_stdin": ((_JSON,), ref("Written"), ()),
    "kill": ((_JSON,), ref("Receipt"), ()),
    "set_timeout": ((_JSON,), ref("Jobs"), _OF_JOB),
    "pause": ((_JSON,), ref("Paused"), ()),
    "resume": ((_JSON,), ref("Paused"), ()),
}

_ANY: Schema = {"type": "string"}
# Headers of requests: the name, what it does, a schema, and an example.
_REQUEST_ID = (
    "X-Request-Id",
    "An id of yours for the request: a token of up to 64 characters. Any other is replaced.",
    _ANY,
    "build-42",
)
_PREFER = (
    "Prefer",
    "`wait=N` as the parameter (RFC 7240). What is not understood is ignored.",
    _ANY,
    "wait=10",
)
_RANGE = ("Range", "Some of the bytes (RFC 9110).", _ANY, "bytes=0-99")
_LAST_EVENT_ID = (
    "Last-Event-ID",
    "Events go on after the one of this id.",
    {"type": "string", "pattern": r"^(?:(?:[12]?[0-9]|3[01])\.[0-9]{1,18}\.[0-9]{1,18})?$"},
    "0.0.0",
)
_HEADERS: dict[str, tuple[tuple[str, str, Schema, str], ...]] = {
    "list_jobs": (_PREFER,),
    "get_job": (_PREFER,),
    "submit": (
        _PREFER,
        (
            "Idempotency-Key",
            "The same key with the same request gives the same job.",
            {"type": "string", "minLength": 1, "maxLength": 255},
            "release-42",
        ),
        (
            "Rtot-Arg",
            "As `arg`, percent-encoded; several are joined by commas.",
            _ANY,
            "one%20word",
        ),
        (
            "Rtot-Env",
            "As `env`, percent-encoded; several are joined by commas.",
            {"type": "string", "pattern": "^[A-QS-Za-z_][A-Za-z0-9_]*=[!-$&-+.-~-]*$"},
            "TOKEN=abc",
        ),
    ),
    "get_out": (_RANGE,),
    "get_err": (_RANGE,),
    "get_events": (_LAST_EVENT_ID,),
}

_EXAMPLES = {
    "arg": ["one", "two words"],
    "env": ["LANG=C"],
    "cwd": "/tmp",
    "label": ["nightly"],
    "timeout": "90s",
    "lease": "1m",
    "fields": "out,code",
    "wait": "10",
    "by": "alice",
    "tail": "20",
    "signal": "TERM",
    "grace": "5s",
    "after": "1h",
    "limit": 100,
    "last": 20,
    "follow": "1",
    "launcher": "small",
    "offset": 0,
    "from": 0,
    "since": 0,
    "group": "deploy",
    "delay": "10m",
    "created-from": "1700000000",
    "created-to": "2026-11-25T10:00:00Z",
}
# Where a parameter of the same name means something else.
_EXAMPLES_OF = {("submit", "after"): ["0:any"]}


def document(settings: Settings) -> bytes:
    """The API of a server with these settings, as JSON."""
    paths: dict[str, Schema] = {}
    for route in ROUTES:
        if not is_offered(route, settings):
            continue
        place = paths.setdefault(route.path, {})
        if "{" in route.path and not place:
            place["parameters"] = [_JOB_ID if "{id}" in route.path else _FILE_NAME]
        place[route.method.lower()] = _operation(route, settings)
    about = {
        "openapi": "3.1.0",
        "info": {
            "title": "rtot",
            "version": __version__,
            "description": "A job server that you curl. HEAD is answered where GET is. README.md "
            "has the whole reference.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "security": [{name: []} for name in _SECURITY],
        "paths": paths,
        "components": {"schemas": SCHEMAS, "securitySchemes": _SECURITY},
    }
    return f"{dumps(about, separators=(',', ':'))}\n".encode()


_SECURITY = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "basic": {"type": "http", "scheme": "basic", "description": "The password is the secret."},
    "rtot": {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": "`rtot SECRET`",
    },
}
_JOB_ID: Schema = {
    "name": "id",
    "in": "path",
    "required": True,
    "description": "The number of a job.",
    "schema": {"type": "integer", "minimum": 0, "maximum": 10**18 - 1},
    "example": 0,
}
_FILE_NAME: Schema = {
    "name": "name",
    "in": "path",
    "required": True,
    "description": "The name of a file.",
    "schema": {"type": "string"},
    "example": "app.js",
}


def _operation(route: Route, settings: Settings) -> Schema:
    name = route.call.__name__
    parameters = [_parameter(parameter, name) for parameter in route.parameters]
    for header, about, schema, example in (_REQUEST_ID, *_HEADERS.get(name, ())):
        parameters.append(
            {
                "name": header,
                "in": "header",
                "description": about,
                "schema": schema,
                "example": example,
            }
        )
    summary, _, more = (route.call.__doc__ or name).partition("\n\n")
    role = "Anybody may ask." if route.role is None else f"Takes the role {route.role.word}."
    operation: Schema = {
        "operationId": name,
        "summary": " ".join(summary.split()),
        "description": f"{' '.join(more.split())} {role}".strip(),
        "parameters": parameters,
        "responses": {
            str(status): _response(route, status, settings)
            for status in sorted({*route.statuses, *UNROUTED})
        },
    }
    if route.role is None:
        operation["security"] = []
    else:
        operation["x-rtot-role"] = route.role.word
    if route.body is Body.SCRIPT:
        # What is empty or blank is refused.
        script = {"type": "string", "pattern": "[!-,.-~]"}
        content = {kind: {"schema": script, "example": "echo hi"} for kind in _TYPES_OF_SCRIPTS}
        operation["requestBody"] = {
            "description": "The script. Its type does not matter, but an envelope is refused.",
            "required": True,
            "content": content,
        }
    elif route.body is Body.STREAMED:
        octets = {"application/octet-stream": {"schema": {"type": "string"}, "example": "hi\n"}}
        operation["requestBody"] = {"description": "What is to be written.", "content": octets}
    return operation


def _parameter(parameter: Parameter[Any], operation: str) -> Schema:
    schema: Schema = dict(parameter.schema)
    if parameter.repeatable:
        schema = {"type": "array", "items": schema}
    about = parameter.about
    if parameter.role > Role.READ:
        about = f"{about} Takes the role {parameter.role.word}."
    described: Schema = {
        "name": parameter.name,
        "in": "query",
        "description": about,
        "required": parameter.required,
        "schema": schema,
        "allowEmptyValue": "" in schema.get("enum", ()),
    }
    allowed = schema.get("enum")
    example = _EXAMPLES_OF.get((operation, parameter.name), _EXAMPLES.get(parameter.name))
    if allowed and example not in allowed:
        # Of a flag the first is empty.
        example = allowed[-1] if len(allowed) == 1 else allowed[1]
    described["example"] = example
    return described


def _response(route: Route, status: int, settings: Settings) -> Schema:
    kinds, schema, headers = _ANSWERS[route.call.__name__]
    names = ["X-Request-Id", "Rtot-Server", *_HEADERS_OF.get(status, ())]
    response: Schema = {"description": _MEANINGS[status]}
    if status in _SUCCESS and (kinds or status != 204):
        names += headers
        by_kind = {_JSON: ref("Jobs")} if route.call.__name__ == "submit" else {_JSON: schema}
        # Of one event OpenAPI 3.1 has no schema.
        response["content"] = {
            kind: {} if kind in _EVENTS else {"schema": by_kind.get(kind, _ANY)} for kind in kinds
        }
    elif status == 404 and route.call.__name__ == "get_job":
        response["content"] = {_JSON: {"schema": ref("NoJobs")}}
    elif status == 401:
        response["content"] = {_TEXT: {"schema": {"const": "Not Authorized\n"}}}
    elif status != 204:
        response["content"] = {_JSON: {"schema": ref("Error")}}
    if status == 201:
        response["links"] = {
            name: {"operationId": name, "parameters": {"id": "$response.body#/jobs/0/id"}}
            for name in (
                r.call.__name__ for r in ROUTES if "{id}" in r.path and is_offered(r, settings)
            )
        }
    response["headers"] = {name: _header(name) for name in dict.fromkeys(names)}
    return response


def _header(name: str) -> Schema:
    about, schema = HEADERS[name]
    return {
        "description": about,
        "schema": schema,
        "required": name in ("X-Request-Id", "Rtot-Server"),
    }
