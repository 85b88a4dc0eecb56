"""Bytes into messages and messages into bytes (RFC 9110, 9112). No sockets, no jobs."""
