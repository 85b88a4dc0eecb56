"""Which of the two faces: flags make rtot the server, a word makes it a client.

Neither imports what the other one needs.
"""

from collections.abc import Sequence


def main(argv: Sequence[str]) -> int:
    """Be what the command line asks for; the exit status."""
    if not argv or argv[0].startswith("-") or argv[0] == "secret":
        from rtot.cli.main import main as serve

        return serve(argv)
    import os
    import signal

    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            # So that no socket gets its number. It cannot be written to, and is read as empty.
            os.open(os.devnull, os.O_RDONLY)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # No KeyboardInterrupt, whose traceback nobody wants.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from rtot.cli.client import main as ask

    return ask(argv)
