"""What schemathesis is told beyond the description, and a check of its own."""

import json
import re
from typing import Any

import schemathesis
from schemathesis import Case, CheckContext, GenerationMode, HookContext, Response

# Of parameters that are good, each for itself, and not together; or not with the jobs there are.
# Rtot-Env: of a header's pattern schemathesis does not always take notice.
_TOGETHER = re.compile(
    "goes with|does not go with|needs HTTP/1.1|has had no such event|Rtot-Env: want NAME=VALUE"
    "|no launcher has that name"
)
# Which launchers there are, nobody is told without a secret.
_LAUNCHER = "other"
_OFF = ("0", "false", "no", None)


@schemathesis.check
def good_data_is_refused_only_for_what_goes_together(
    ctx: CheckContext, response: Response, case: Case[Any]
) -> None:
    """What OpenAPI cannot describe is told in words."""
    if case.meta is None or case.meta.generation.mode is not GenerationMode.POSITIVE:
        return
    if response.status_code == 400:
        message = json.loads(response.content).get("message", "")
        assert _TOGETHER.search(message), message


@schemathesis.hook
def filter_query(context: HookContext, query: dict[str, Any] | None) -> bool:
    """Streams that break off when a job failed are what was asked for, and no fault."""
    if not query or query.get("fail", "0") in _OFF:
        return True
    return query.get("follow", "0") in _OFF


@schemathesis.hook
def map_query(context: HookContext, query: dict[str, Any] | None) -> dict[str, Any] | None:
    if query and isinstance(query.get("launcher"), str):
        query["launcher"] = _LAUNCHER
    return query
