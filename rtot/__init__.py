"""rtot: run this over there. A job server that you curl."""

__version__ = "1.0.0"
