"""GET of /, /ping, /metrics and /openapi.json: what the server itself has to tell."""

from rtot.api.answers import Answer, Ask, json
from rtot.api.page import VARY
from rtot.http.errors import JSON_TYPE
from rtot.http.messages import Response
from rtot.metrics import CONTENT_TYPE, render
from rtot.text import format_duration, string, strings


def links(ask: Ask) -> Answer:
    """Where everything is, which launchers there are, and whether the queue is paused."""
    # These three are the original's.
    found = {"jobs": "/jobs{?state}", "jobs.by_id": "/jobs/{jobs.id}", "ping": "/ping"}
    for path in ask.description.paths:
        words = [word for word in path.split("/") if word and not word.startswith("{")]
        name = ".".join(words).removesuffix(".json")
        if words:
            found.setdefault(name, path.replace("{id}", "{jobs.id}"))
    pairs = ",".join(f"{string(name)}:{string(path)}" for name, path in found.items())
    text = f'{{"links":{{{pairs}}}'
    if ask.settings.launchers:
        names = tuple(name for name, _ in ask.settings.launchers)
        text += f',"launchers":{strings(names)}'
    if ask.jobs.queue.paused:
        text += ',"paused":true'
    if ask.credential is not None:
        text += f',"role":"{ask.credential.role.word}"'
    response = json(200, f"{text}}}\n")
    return response._replace(headers=(*response.headers, *VARY))


def ping(ask: Ask) -> Answer:
    """Whether the server is there, and for how long it has been."""
    uptime = format_duration(int((ask.now.monotonic - ask.started.monotonic) * 1e9))
    count, why = ask.jobs.unkept
    more = ""
    if why:
        warning = f"the state cannot be kept: {why}: after a crash {count} jobs may be lost"
        more = f',"warning":{string(warning)}'
    return json(200, f'{{"ping":[{{"message":"still here","uptime":"{uptime}"{more}}}]}}\n')


def metrics(ask: Ask) -> Answer:
    """All counts, for Prometheus. There is a fixed number of them, so the text is not large."""
    return Response(200, (("Content-Type", CONTENT_TYPE),), b"".join(render(ask.sources)))


def openapi(ask: Ask) -> Answer:
    """This API, described for programs."""
    return Response(200, (JSON_TYPE,), ask.description.document())
