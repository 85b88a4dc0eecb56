"""What may be wrong with a command line."""


class UsageError(Exception):
    """An invalid command line or environment; the text says why."""
