"""What answers and headers look like (JSON Schema), for the described API.

Imported when somebody asks for it: an idle server pays nothing for the texts.
"""

from typing import Any

from rtot.api.job_json import ALL_FIELDS, ALWAYS
from rtot.jobs.job import SHOWN, Reason

Schema = dict[str, Any]


def ref(name: str) -> Schema:
    """The schema of that name, in another one."""
    return {"$ref": f"#/components/schemas/{name}"}


def _object(required: str, **properties: Schema) -> Schema:
    """Exactly these properties, of which those in `required` are always there."""
    return {
        "type": "object",
        "properties": properties,
        "required": required.split(),
        "additionalProperties": False,
    }


def _or_null(kind: str, **more: Any) -> Schema:
    return {"type": [kind, "null"], **more}


def _array(items: Schema) -> Schema:
    return {"type": "array", "items": items}


_TEXT: Schema = {"type": "string"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_TIME: Schema = {
    "type": ["string", "number", "null"],
    "description": "UTC with nanoseconds; with `times=unix` seconds since 1970. Not yet: "
    "`0001-01-01 00:00:00 +0000 UTC`, or null.",
    "examples": ["2014-01-12 03:42:32.314152969 +0000 UTC"],
}
_SECONDS: Schema = _or_null("number", minimum=0)

_FIELDS: dict[str, Schema] = {
    "id": _COUNT,
    "state": {"enum": list(dict.fromkeys(SHOWN.values()))},
    "exit": {"type": "string", "description": "Absent for 0.", "examples": ["exit status 3"]},
    "href": {"type": "string", "pattern": "^/jobs/[0-9]+$"},
    "out": _TEXT,
    "err": _TEXT,
    "start": _TIME,
    "complete": _TIME,
    "create": _TIME,
    "hint": {"type": "string", "description": "What was probably done wrong."},
    "seconds": _SECONDS,
    "code": _or_null("integer", minimum=0, maximum=255),
    "signal": _or_null("string", examples=["SIGTERM"]),
    "reason": {"enum": [*(reason.value for reason in Reason), None]},
    "pid": _or_null("integer"),
    "by": _or_null("string"),
    "label": _array(_TEXT),
    "arg": _array(_TEXT),
    "cwd": _or_null("string"),
    "env": {**_array(_TEXT), "description": "The names; values are never shown."},
    "title": _TEXT,
    "group": _or_null("string"),
    "after": {**_array(_TEXT), "description": "Ids, or `ID:any`."},
    "delay": _SECONDS,
    "waits_for": {**_array(_COUNT), "description": "Jobs that have to be complete first."},
    "timeout": _SECONDS,
    "launcher": _or_null("string"),
    "out_bytes": _COUNT,
    "err_bytes": _COUNT,
    "out_dropped": _COUNT,
    "err_dropped": _COUNT,
    "holders": _array(ref("Process")),
    "receipt": {"anyOf": [ref("Receipt"), {"type": "null"}]},
    "usage": {"anyOf": [ref("Usage"), {"type": "null"}]},
    "filename": _TEXT,
    "error": {"type": "string", "description": "In a list, why the job cannot be shown."},
}
assert _FIELDS.keys() == {*ALWAYS, *ALL_FIELDS, "error"}

SCHEMAS: dict[str, Schema] = {
    "Error": _object("error", error=_TEXT, message=_TEXT),
    "Process": _object("pid command", pid=_COUNT, command=_TEXT),
    "Receipt": _object(
        "signal signalled escalated surviving",
        signal=_TEXT,
        signalled=_array(ref("Process")),
        escalated=_array(ref("Process")),
        surviving=_array(ref("Process")),
        stop=_array(_object("signal exit text", signal=_TEXT, exit=_TEXT, text=_TEXT)),
    ),
    "Usage": _object(
        "user system peak", user={"type": "number"}, system={"type": "number"}, peak=_COUNT
    ),
    "Job": _object("id state href", **_FIELDS),
    "Jobs": {
        **_object(
            "jobs",
            jobs=_array(ref("Job")),
            deleted=_array(_COUNT),
            whole={"const": True},
        ),
        "examples": [{"jobs": [{"id": 0, "state": "complete", "href": "/jobs/0", "out": "hi\n"}]}],
    },
    "NoJobs": _object("jobs", jobs={"type": "array", "maxItems": 0}),
    "Processes": _object(
        "count processes",
        count=_COUNT,
        processes=_array(
            _object(
                "pid parent state command argv seconds cpu memory",
                pid=_COUNT,
                parent=_COUNT,
                state={"type": "string", "description": "The letter that ps shows."},
                command=_TEXT,
                argv={
                    **_or_null("array", items=_TEXT),
                    "description": "Null for the role read.",
                },
                seconds={"type": "number"},
                cpu={"type": "number"},
                memory=_COUNT,
            )
        ),
    ),
    "Paused": _object("paused", paused={"type": "boolean"}),
    "Written": _object("written", written=_COUNT),
    "Links": _object(
        "links",
        links={"type": "object", "additionalProperties": _TEXT},
        launchers=_array(_TEXT),
        paused={"const": True},
        role={"enum": ["read", "run", "admin"]},
    ),
    "Ping": _object(
        "ping",
        ping={
            **_array(_object("message uptime", message=_TEXT, uptime=_TEXT, warning=_TEXT)),
            "maxItems": 1,
        },
    ),
}

# Of answers; a name with its meaning and schema.
HEADERS: dict[str, tuple[str, Schema]] = {
    "X-Request-Id": ("The request's id, as the log has it.", _TEXT),
    "Rtot-Server": ("The id of this life of the server; with --state, of its directory.", _TEXT),
    "Location": ("The path of the job.", {"type": "string", "pattern": "^/jobs/[0-9]+$"}),
    "Link": ("The next page, if there is one.", _TEXT),
    "Rtot-Seq": ("The number of the newest change that the answer tells of.", _COUNT),
    "Rtot-Exit": ("Of a complete job: `0`, or its `exit`. Of a stream also a trailer.", _TEXT),
    "Rtot-Dropped": ("How many bytes of output were dropped, if some were.", _COUNT),
    "Rtot-Hint": ("What was probably done wrong, if that can be seen.", _TEXT),
    "Rtot-Paused": ("`true` while no job is started.", _TEXT),
    "Idempotency-Replayed": ("`true` if the job is that of an earlier request.", _TEXT),
    "Preference-Applied": ("How long was waited at most, if Prefer said so.", _TEXT),
    "Accept-Ranges": ("Ranges can be asked for.", {"const": "bytes"}),
    "Content-Range": ("Which bytes these are.", _TEXT),
    "Allow": ("The methods that there are.", _TEXT),
    "Retry-After": ("In how many seconds to try again.", _COUNT),
    "Vary": ("What the answer depends on.", _TEXT),
    "WWW-Authenticate": ("How to authenticate.", _TEXT),
}
