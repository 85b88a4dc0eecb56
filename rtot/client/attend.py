"""A thread that works, and signals that come meanwhile.

Python runs a signal's handler in the main thread, between two steps of it. So the main thread only
waits, for whichever comes first: the end of the work, or a signal.
"""

import os
import signal
import threading
from collections.abc import Callable
from queue import SimpleQueue

from rtot.client.ending import OURS, READER_GONE
from rtot.client.failures import ReaderGoneError

_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def attend(work: Callable[[], int], signalled: Callable[[int], int | None]) -> int:
    """Do the work; the exit status.

    `signalled` is told of INT, TERM and HUP while that goes on, and may answer with an exit status
    with which to leave at once.
    """
    # A status, or below 0 the number of a signal.
    facts: SimpleQueue[int] = SimpleQueue()
    threading.Thread(target=lambda: facts.put(outcome(work)), daemon=True).start()
    before = {number: signal.getsignal(number) for number in _PASSED_ON}
    for number in _PASSED_ON:
        # nohup(1) has HUP ignored, and a shell INT for what runs in its background.
        if before[number] is not signal.SIG_IGN:
            signal.signal(number, lambda number, _: facts.put(-number))
    status: int | None = None
    interrupted = False
    while status is None:
        fact = facts.get()
        status = signalled(-fact) if fact < 0 else fact
        interrupted = interrupted or fact == -signal.SIGINT
    for number, handler in before.items():
        signal.signal(number, handler)
    if interrupted and status == 128 + signal.SIGINT:
        # A shell goes on with its loop unless its child dies of it.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    return status


def outcome(work: Callable[[], int]) -> int:
    """The exit status of the work, whatever it raises."""
    try:
        return work()
    except ReaderGoneError:
        return READER_GONE
    except Exception:
        # A bug of ours.
        import traceback

        traceback.print_exc()
        return OURS
