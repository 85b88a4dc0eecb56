"""The command line by which a job is started, and the one by which a signal gets to it.

Both come from words of the operator, in which `{id}`, `{server}`, `{script}` and `{signal}` stand
for what they name. The words were split before that, so that no value can become several words.
"""

import re
from collections.abc import Mapping, Sequence
from signal import Signals

_NAMES = r"\{(id|server|script|signal)\}"


def placeholders(words: Sequence[str]) -> set[str]:
    """Which names stand in the words."""
    return {name for word in words for name in re.findall(_NAMES, word)}


def launch_command(prefix: Sequence[str], job_id: int, server: str, script: str) -> list[str]:
    """The words of the launcher, and the script's path behind them unless it is one of them."""
    words = _filled(prefix, {"id": str(job_id), "server": server, "script": script})
    return words if "script" in placeholders(prefix) else [*words, script]


def stop_command(words: Sequence[str], job_id: int, server: str, signal: Signals) -> list[str]:
    """The words of the launcher's stop command. A signal is named as kill(1) does: TERM."""
    name = signal.name.removeprefix("SIG")
    return _filled(words, {"id": str(job_id), "server": server, "signal": name})


def _filled(words: Sequence[str], values: Mapping[str, str]) -> list[str]:
    # What is filled in is not looked at again.
    return [re.sub(_NAMES, lambda found: values.get(found[1], found[0]), word) for word in words]
