"""The tables of a state directory's database, and how each version of them came to be.

A new version is a further step at the end of MIGRATIONS. What is there is never changed: whoever
has an old database goes through the same steps. `PRAGMA user_version` counts those that were done.
"""

import sqlite3

# "rtot": that it is ours.
APPLICATION = 0x72746F74
MIGRATIONS = (
    """
    -- One row. `boot` is the machine's boot in which the last server wrote, `sure` that it had
    -- every commit on the disk. Ids and numbers up to `reserved_…` may have been given.
    CREATE TABLE server (
        id TEXT NOT NULL,
        boot TEXT NOT NULL,
        sure INTEGER NOT NULL,
        last_id INTEGER NOT NULL,
        reserved_id INTEGER NOT NULL,
        reserved_change INTEGER NOT NULL,
        paused INTEGER NOT NULL,
        setback INTEGER NOT NULL,
        -- All deletions after the change of this number are known.
        deletions_from INTEGER NOT NULL,
        -- How many jobs are complete; -1 while a server runs, which counts for itself.
        complete INTEGER NOT NULL
    );
    CREATE TABLE jobs (
        id INTEGER PRIMARY KEY,
        created INTEGER NOT NULL,
        by TEXT,
        in_group TEXT,
        title TEXT NOT NULL,
        options TEXT NOT NULL,
        key_text TEXT,
        key_by TEXT,
        fingerprint BLOB NOT NULL,
        life INTEGER NOT NULL,
        change INTEGER NOT NULL,
        started INTEGER NOT NULL,
        completed INTEGER NOT NULL,
        failed INTEGER NOT NULL,
        reason TEXT,
        status INTEGER NOT NULL,
        failure TEXT NOT NULL,
        hint TEXT NOT NULL,
        timeout REAL,
        pid INTEGER,
        pid_started INTEGER NOT NULL,
        waits_for TEXT,
        usage TEXT,
        holders TEXT,
        receipt TEXT,
        out INTEGER NOT NULL,
        err INTEGER NOT NULL,
        arrivals INTEGER NOT NULL,
        out_dropped INTEGER NOT NULL,
        err_dropped INTEGER NOT NULL,
        cut_at INTEGER NOT NULL,
        newest INTEGER NOT NULL,
        unrecorded INTEGER NOT NULL,
        files INTEGER NOT NULL,
        -- Unless it is large; then it is in `scripts`.
        script BLOB
    );
    -- A job is complete in the end (life 3). The others are few, and in the server's memory.
    CREATE INDEX unfinished ON jobs (id) WHERE life < 3;
    -- The last change of a complete job is its end, so this is the order of ends too. That of ids
    -- is the order of `created`, but for clocks that were set back.
    CREATE INDEX by_change ON jobs (change) WHERE life = 3;
    CREATE INDEX failures ON jobs (id) WHERE life = 3 AND failed = 1;
    CREATE INDEX by_name ON jobs (by) WHERE life = 3 AND by IS NOT NULL;
    CREATE INDEX by_group ON jobs (in_group) WHERE life = 3 AND in_group IS NOT NULL;
    CREATE INDEX by_key ON jobs (key_text) WHERE key_text IS NOT NULL;
    -- Of complete jobs.
    CREATE TABLE labels (label TEXT, job INTEGER, PRIMARY KEY (label, job)) WITHOUT ROWID;
    CREATE TABLE scripts (job INTEGER PRIMARY KEY, script BLOB NOT NULL);
    CREATE TABLE outputs (
        job INTEGER PRIMARY KEY,
        out BLOB,
        err BLOB,
        arrivals BLOB,
        out_end BLOB,
        err_end BLOB
    );
    -- The newest ones.
    CREATE TABLE deletions (number INTEGER PRIMARY KEY, job INTEGER NOT NULL);
    """,
)


class NewerError(Exception):
    """The database was written by a newer rtot; the text is its version."""


class ForeignError(Exception):
    """The database is not rtot's."""


def migrate(database: sqlite3.Connection) -> None:
    """Make the tables, or bring those of an older version up to this one, all or nothing.

    Raises NewerError, ForeignError or sqlite3.Error.
    """
    (application,) = database.execute("PRAGMA application_id").fetchone()
    (version,) = database.execute("PRAGMA user_version").fetchone()
    (tables,) = database.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if application != APPLICATION and (version or tables):
        raise ForeignError
    if version > len(MIGRATIONS):
        raise NewerError(str(version))
    if version == len(MIGRATIONS):
        return
    database.execute("PRAGMA auto_vacuum = INCREMENTAL")
    steps = "".join(MIGRATIONS[version:])
    marks = f"PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {len(MIGRATIONS)};"
    database.executescript(f"BEGIN IMMEDIATE; {steps} {marks} COMMIT;")
