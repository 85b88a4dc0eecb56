"""Idempotency keys: a request that is sent again gets the job that was made the first time.

A key belongs to the name that sent it, so that nobody gets another's job by a key.
"""

from rtot.jobs.archive import Archive
from rtot.jobs.job import Job, Key


class KeyConflictError(Exception):
    """The idempotency key belongs to another request."""


class Keys:
    """The job of each key. Keys of live jobs are kept here, all others in the archive."""

    __slots__ = ("_alive", "_archive")

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._alive: dict[Key, Job] = {}

    def find(self, key: Key, fingerprint: bytes) -> Job | None:
        """The job that was submitted under the key, None where there is none.

        Raises KeyConflictError where it was submitted by another request.
        """
        job = self._alive.get(key) or self._archive.by_key(key)
        if job is not None and job.fingerprint != fingerprint:
            raise KeyConflictError
        return job

    def add(self, job: Job, key: Key, fingerprint: bytes) -> None:
        """The job was submitted under the key, by a request of that fingerprint."""
        job.key = key
        job.fingerprint = fingerprint
        self._alive[key] = job

    def remove(self, job: Job) -> None:
        """The job is not alive any more."""
        if job.key is not None:
            del self._alive[job.key]
