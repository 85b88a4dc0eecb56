"""rtot logs: a job's output, from its beginning or its end on."""

import time
from typing import NamedTuple

from rtot.client.ending import ending
from rtot.client.events import Event, Story
from rtot.client.failures import FailedError
from rtot.client.jobs import id_of
from rtot.client.screen import Screen
from rtot.client.session import Session


class LogOptions(NamedTuple):
    """`tail` in lines of each stream, `since` in seconds since 1970."""

    follow: bool = False
    tail: int | None = None
    times: bool = False
    streams: frozenset[str] = frozenset(("out", "err"))
    since: float = 0.0


def logs(session: Session, path: str, options: LogOptions, screen: Screen) -> int:
    """Show it. The exit status is the job's with `follow`, otherwise 0. Raises FailedError."""
    story = Story(session, follow=options.follow, tail=options.tail)
    begun = {"out": False, "err": False}
    for event in story.of(path):
        match event.name:
            case "out" | "err" if event.name in options.streams and event.time >= options.since:
                data = _stamped(event, begun) if options.times else event.data
                screen.write(event.name, data)
            case "hint":
                screen.tell(f"hint: {event.fields['text']}")
            case "complete":
                status, why = ending(event.fields)
                if why:
                    screen.tell(f"job {id_of(path)} {why}")
                return status if options.follow else 0
    if options.follow:
        raise FailedError("the server told of no end")
    return 0


def _stamped(event: Event, begun: dict[str, bool]) -> bytes:
    """The data with its time in front of each line that begins in it."""
    stamp = rfc3339(event.time).encode() + b" "
    data = event.data if begun[event.name] else stamp + event.data
    begun[event.name] = not data.endswith(b"\n")
    ends = data.count(b"\n") - data.endswith(b"\n")
    return data.replace(b"\n", b"\n" + stamp, ends)


def rfc3339(seconds: float) -> str:
    """A time in UTC, to the microsecond."""
    whole, rest = divmod(round(seconds * 1_000_000), 1_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{rest:06}Z"
