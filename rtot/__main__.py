"""`python -m rtot` is `rtot`."""

import sys

from rtot.cli.main import main


def run() -> None:
    """The console script."""
    sys.exit(main(sys.argv[1:]))


if __name__ == "__main__":
    run()
