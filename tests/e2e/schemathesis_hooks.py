"""What schemathesis is told beyond the description, and a check of its own."""

import json
import re
from typing import Any

import requests
import schemathesis
from schemathesis import Case, CheckContext, GenerationMode, HookContext, Response

# Of parameters that are good, each for itself, and not together; or not with the jobs there are.
# Rtot-Env: of a header's pattern schemathesis does not always take notice.
_TOGETHER = re.compile(
    "goes with|does not go with|needs HTTP/1.1|has had no such event|Rtot-Env: want NAME=VALUE"
    "|no launcher has that name|there is no job [0-9]+$"
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
    """Streams that break off when a job failed, or wait for a delay, are what was asked for."""
    if not query or query.get("follow", "0") in _OFF:
        return True
    return "delay" not in query and query.get("fail", "0") in _OFF


@schemathesis.hook
def after_call(context: HookContext, case: Case[Any], response: Response) -> None:
    """Whoever follows a job would wait for ever."""
    if case.operation.path == "/queue/pause":
        url = str(response.request.url).replace("/pause", "/resume")
        headers = {"Authorization": response.request.headers.get("Authorization", "")}
        requests.post(url, headers=headers, timeout=20)


@schemathesis.hook
def map_query(context: HookContext, query: dict[str, Any] | None) -> dict[str, Any] | None:
    if query and isinstance(query.get("launcher"), str):
        query["launcher"] = _LAUNCHER
    return query
