"""Jobs in SQLite: an archive that outlives the server, and has no job in memory.

Everything of a turn is one transaction, committed before anybody is told (`keep`). With the
journal mode WAL a commit is a write, which survives the death of this process; with `full` it is
also a sync of the disk. Nobody waits for other programs: a database that one of them has locked
for longer than a moment is one that cannot be written now.

A page walks along one index, in the order of ids, and looks at so many rows at most. No cursor is
open between two calls. Files of output are deleted after the commit that says so.
"""

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from typing import Any
from weakref import WeakValueDictionary

from rtot.clock import Now
from rtot.jobs.archive import Page, Recovered, Turn
from rtot.jobs.changes import MOST_DELETIONS
from rtot.jobs.job import Job, Key
from rtot.jobs.output import FILES, Small
from rtot.jobs.saved import Life, Progress, Submitted, progress, restore, submitted, text
from rtot.jobs.selection import Selection
from rtot.storage import Storage, StorageError
from rtot.system.schema import migrate
from rtot.text import is_number

# How long to wait for another program's lock (s).
_LOCK = 0.02
# Pages of the log after which they go to the database, with two syncs of the disk.
_LOG = 4000
# Kilobytes of pages that SQLite keeps.
_CACHE = 512
# Ids that are reserved by one sync of the disk, and changes.
_IDS = 1000
_CHANGES = 1_000_000
# Free pages that are given back to the file system at a time, and how many may be left.
_PAGES = 100
_FREE = 500
# Longer ones would make each change of their jobs cost more.
_SMALL_SCRIPT = 4096
# Jobs that are looked at for a page.
_LOOK = 1000
_INCREMENTAL = 2
_LAST = (1 << 63) - 2
# Files that are looked at in a turn.
_FILES = 100
_BITS = {suffix: bit for bit, suffix in FILES.items()}
_COLUMNS = ", ".join((*Submitted._fields, *Progress._fields))
_VALUES = ", ".join("?" * (len(Submitted._fields) + len(Progress._fields)))
_INSERT = f"INSERT INTO jobs ({_COLUMNS}, script) VALUES ({_VALUES}, ?)"
_UPDATE = f"UPDATE jobs SET {', '.join(f'{name} = ?' for name in Progress._fields)} WHERE id = ?"
_SELECT = f"SELECT {_COLUMNS} FROM jobs"
# As the indices say it, or SQLite does not use them.
_COMPLETE = f"life = {Life.COMPLETE:d}"
_UNFINISHED = f"life < {Life.COMPLETE:d}"
_FILES_BEGIN = len(Submitted._fields)


class Database:
    """A Store. Its methods raise StorageError if the database cannot be read."""

    def __init__(self, path: str, storage: Storage, boot: str, *, full: bool) -> None:
        """Open it, or make it. `boot` is the machine's.

        Raises sqlite3.Error, or what `migrate` does.
        """
        self._storage = storage
        self._boot = boot
        self._full = full
        self._database = sqlite3.connect(path, timeout=_LOCK, isolation_level=None)
        # A turn changes few rows, and each of their pages goes to the log whole.
        self._run("PRAGMA page_size = 1024")
        self._run("PRAGMA auto_vacuum = INCREMENTAL")
        self._run("PRAGMA journal_mode = WAL")
        self._run(f"PRAGMA cache_size = -{_CACHE}")
        self._run("PRAGMA temp_store = MEMORY")
        self._run(f"PRAGMA wal_autocheckpoint = {_LOG}")
        migrate(self._database)
        (vacuum,) = self._run("PRAGMA auto_vacuum").fetchone()
        # One that was made by other programs may not.
        self._shrinks = vacuum == _INCREMENTAL
        if self._run("SELECT 1 FROM server").fetchone() is None:
            values = (os.urandom(8).hex(), boot)
            self._run("INSERT INTO server VALUES (?, ?, 1, -1, -1, 0, 0, -1, -1, 0)", values)
        (self.server_id,) = self._run("SELECT id FROM server").fetchone()
        """Of the directory."""
        # The jobs that somebody uses, each only once.
        self._loaded: WeakValueDictionary[int, Job] = WeakValueDictionary()
        # Those of the last turn: who waited for them asks for them now.
        self._recent: list[Job] = []
        # Those whose deletion is not committed.
        self._removed: dict[int, Job] = {}
        self._spared: dict[int, float] = {}
        self._oldest: tuple[int, float] | None = None
        self._count = 0
        # Whether all that this server was to keep is kept.
        self._clean = False
        self._reserved_id = self._reserved_change = 0
        self._paused = False
        self._newest_time = 0
        # The newest job whose time of creation lies before an older one's.
        self._setback = -1
        # Between the clock on the wall and the monotonic one.
        self._offset = 0.0
        # There are free pages to be given back.
        self._sweeping = False
        # Files of which nobody has looked yet whether they belong to a job.
        self._unseen: list[str] = []
        self._deletions = 0

    def _run(self, statement: str, values: tuple[object, ...] = ()) -> sqlite3.Cursor:
        return self._database.execute(statement, values)

    def close(self) -> None:
        """The server ends."""
        if self._clean and not self._removed:
            with contextlib.suppress(sqlite3.Error):
                # All that happened is on the disk: the machine may be rebooted now.
                self._sync_commits(always=True)
                self._run("UPDATE server SET complete = ?, sure = 1", (self._count,))
        self._database.close()

    def recover(self, now: Now) -> Recovered:
        """As Store.recover. Raises sqlite3.Error."""
        self._offset = now.monotonic - now.wall / 1e9
        row = self._run(
            "SELECT boot, sure, last_id, reserved_id, reserved_change, paused, setback,"
            " deletions_from, complete FROM server"
        ).fetchone()
        boot, sure, last_id, self._reserved_id, self._reserved_change, *rest = row
        paused, setback, deletions_from, self._count = rest
        rebooted = boot != self._boot
        newest = self._run("SELECT id, created FROM jobs ORDER BY id DESC LIMIT 1").fetchone()
        newest_id, self._newest_time = newest or (-1, 0)
        given = max(last_id, newest_id)
        if rebooted and not sure:
            given = max(given, self._reserved_id)
        self._paused, self._setback = bool(paused), setback
        change = max(self._reserved_change, now.wall // 1000)
        if deletions_from < 0:
            # It is new: of what came before it knows nothing.
            deletions_from = change
        # Before any is given, even if nothing can be kept for long.
        self._reserved_id, self._reserved_change = given + _IDS, change + _CHANGES
        self._begin_life(given, deletions_from)
        self._unseen = self._storage.names()
        if self._count < 0:
            # The server before this one was killed.
            (self._count,) = self._run(f"SELECT count(*) FROM jobs WHERE {_COMPLETE}").fetchone()
        self._clean = True
        waiting: list[Job] = []
        started: list[Job] = []
        for found in self._run(f"{_SELECT} WHERE {_UNFINISHED} ORDER BY id").fetchall():
            job = self._restore(found, now)
            (waiting if found[_FILES_BEGIN] == Life.WAITING else started).append(job)
        deletions = self._run("SELECT number, job FROM deletions ORDER BY number").fetchall()
        self._deletions = len(deletions)
        return Recovered(
            waiting,
            started,
            given + 1,
            change,
            deletions,
            deletions_from,
            self._paused,
            rebooted,
            bool(sure) or not rebooted,
        )

    def _begin_life(self, given: int, deletions_from: int) -> None:
        """Have it on the disk that this server goes on, and complete what others held."""
        self._sync_commits(always=True)
        self._run("BEGIN IMMEDIATE")
        self._run(
            "UPDATE server SET complete = -1, boot = ?, sure = ?, last_id = ?, deletions_from = ?,"
            " reserved_id = ?, reserved_change = ?",
            (
                *(self._boot, self._full, given, deletions_from),
                *(self._reserved_id, self._reserved_change),
            ),
        )
        for held in self._run(f"{_SELECT} WHERE {_UNFINISHED} AND life = {Life.HELD:d}").fetchall():
            self._label(self._restore(held))
            self._run(f"UPDATE jobs SET life = {Life.COMPLETE:d} WHERE id = ?", (held[0],))
            self._count += self._count >= 0
        self._run("COMMIT")
        self._sync_commits(always=False)

    def _sync_commits(self, *, always: bool) -> None:
        """Have commits wait for the disk: all of them, or those of `full` alone."""
        self._run(f"PRAGMA synchronous = {'FULL' if always or self._full else 'NORMAL'}")

    def __len__(self) -> int:
        return self._count

    @property
    def has_work(self) -> bool:
        """As Store.has_work: there is space to be given back."""
        return self._sweeping or bool(self._unseen)

    def keep(self, turn: Turn) -> None:
        """As Store.keep."""
        self._recent.clear()
        # Before this turn's jobs have less files than they had.
        for _ in range(min(_FILES, len(self._unseen))):
            self._see(self._unseen.pop())
        reserve = turn.last_id > self._reserved_id or turn.last_change > self._reserved_change
        try:
            if reserve:
                self._sync_commits(always=True)
            self._run("BEGIN IMMEDIATE")
            if reserve:
                self._run("UPDATE server SET reserved_id = ?, reserved_change = ?", _ahead(turn))
            self._write(turn)
            self._run("COMMIT")
        except Exception as failure:
            # Whatever it is, nothing of this turn is kept.
            self._roll_back()
            self._clean = False
            raise StorageError(str(failure)) from failure
        self._clean = True
        if reserve:
            self._reserved_id, self._reserved_change = _ahead(turn)
            self._sync_commits(always=False)
        self._committed(turn)

    def _roll_back(self) -> None:
        try:
            if self._database.in_transaction:
                self._run("ROLLBACK")
            self._sync_commits(always=False)
        except sqlite3.Error:
            # The failure that led here is the one to be told.
            return

    def _write(self, turn: Turn) -> None:
        for job in turn.changed:
            script, small = turn.new.get(job.id), turn.ended.get(job.id)
            values = progress(job)
            if small is not None and values.files:
                values = values._replace(files=_files(values.files, small))
            if script is None:
                self._run(_UPDATE, (*values, job.id))
            else:
                self._insert(job, values, script)
            if small is not None:
                self._label(job)
                if any(small):
                    columns = (job.id, *small)
                    self._run("INSERT OR REPLACE INTO outputs VALUES (?, ?, ?, ?, ?, ?)", columns)
        for number, job_id in turn.deleted:
            self._delete(number, job_id)
        if turn.deleted or turn.paused != self._paused or not turn.changed:
            # A deleted job's id is not to be given again. Without this nothing might be written
            # by a turn that is to find out whether there is room again.
            self._run("UPDATE server SET last_id = ?, paused = ?", (turn.last_id, turn.paused))
        if self._sweeping:
            for _ in range(_PAGES):
                # Python's module takes one step of it, which is one page, whatever the number.
                self._run("PRAGMA incremental_vacuum(1)")

    def _insert(self, job: Job, values: Progress, script: bytes) -> None:
        if job.create < self._newest_time:
            self._run("UPDATE server SET setback = ?", (job.id,))
        inside = script if len(script) < _SMALL_SCRIPT else None
        self._run(_INSERT, (*submitted(job), *values, inside))
        if inside is None:
            self._run("INSERT INTO scripts VALUES (?, ?)", (job.id, script))

    def _label(self, job: Job) -> None:
        for label in set(job.options.labels):
            self._run("INSERT OR REPLACE INTO labels VALUES (?, ?)", (text(label), job.id))

    def _delete(self, number: int, job_id: int) -> None:
        removed = self._removed.get(job_id)
        if removed is not None:
            for label in removed.options.labels:
                self._run("DELETE FROM labels WHERE label = ? AND job = ?", (text(label), job_id))
        self._run("DELETE FROM jobs WHERE id = ?", (job_id,))
        for table in ("scripts", "outputs"):
            self._run(f"DELETE FROM {table} WHERE job = ?", (job_id,))
        self._run("INSERT OR REPLACE INTO deletions VALUES (?, ?)", (number, job_id))
        self._deletions += 1
        if self._deletions > 2 * MOST_DELETIONS:
            (last,) = self._run(
                "SELECT number FROM deletions ORDER BY number DESC LIMIT 1 OFFSET ?",
                (MOST_DELETIONS,),
            ).fetchone()
            self._run("DELETE FROM deletions WHERE number <= ?", (last,))
            self._run("UPDATE server SET deletions_from = ?", (last,))
            self._deletions = MOST_DELETIONS

    def _committed(self, turn: Turn) -> None:
        self._paused = turn.paused
        for job in turn.changed:
            if job.id in turn.new:
                if job.create < self._newest_time:
                    self._setback = job.id
                self._newest_time = max(self._newest_time, job.create)
        for _, job_id in turn.deleted:
            removed = self._removed.pop(job_id, None)
            if removed is not None:
                removed.output.remove()
        if turn.deleted or self._sweeping:
            (free,) = self._run("PRAGMA freelist_count").fetchone()
            self._sweeping = free > _FREE and self._shrinks

    def _see(self, name: str) -> None:
        """Remove the file if it is no job's: the server was killed before it could."""
        number, _, suffix = name.partition(".")
        bit = _BITS.get(suffix)
        if bit is None or not is_number(number):
            return
        rows = self._read("SELECT files, life FROM jobs WHERE id = ?", (number,))
        if not rows or not (rows[0][0] & bit or rows[0][1] < Life.HELD):
            self._storage.remove(name)

    def add(self, job: Job, now: float) -> None:
        """As Archive.add. Its end was kept before."""
        self._loaded[job.id] = job
        self._recent.append(job)
        if not self._count:
            self._oldest = job.id, now
        self._count += 1

    def get(self, job_id: int) -> Job | None:
        job = self._loaded.get(job_id)
        if job is not None or job_id in self._removed:
            return job
        return self._load("id = ?", (job_id,))

    def _load(self, where: str, values: tuple[object, ...]) -> Job | None:
        rows = self._read(f"{_SELECT} WHERE {where} AND {_COMPLETE} LIMIT 1", values)
        return self._restore(rows[0]) if rows else None

    def _read(self, statement: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
        with _reading():
            try:
                return self._run(statement, values).fetchall()
            except OverflowError:
                # A number that no id can be.
                return []

    def _restore(self, row: tuple[Any, ...], now: Now | None = None) -> Job:
        about = Submitted(*row[:_FILES_BEGIN])
        known = self._loaded.get(about.id)
        if known is not None:
            return known
        now_is = Progress(*row[_FILES_BEGIN:])
        job_id = about.id
        job = restore(about, now_is, self._storage, lambda: self._small(job_id), now or Now(0, 0))
        if now is None:
            self._loaded[job.id] = job
        return job

    def _small(self, job_id: int) -> Small | None:
        try:
            rows = self._read("SELECT * FROM outputs WHERE job = ?", (job_id,))
        except StorageError:
            # As a file that cannot be read.
            return None
        return Small(*rows[0][1:]) if rows else None

    def script(self, job_id: int) -> bytes | None:
        for table, name in (("jobs", "id"), ("scripts", "job")):
            for (script,) in self._read(f"SELECT script FROM {table} WHERE {name} = ?", (job_id,)):
                if script is not None:
                    return bytes(script)
        return None

    def page(
        self, selection: Selection, first: int, limit: int, look: int, *, down: bool = False
    ) -> Page:
        found: list[Job] = []
        # Each may lie on a page of its own.
        look = min(look, _LOOK)
        with (
            _reading(),
            contextlib.closing(
                self._walk(_storable(selection), first, limit, look, down=down)
            ) as rows,
        ):
            for matches, *row in rows:
                if len(found) == limit or not look:
                    return Page(found, row[0])
                look -= 1
                if matches and row[0] not in self._removed:
                    found.append(self._restore(tuple(row)))
        return Page(found, None)

    def _walk(
        self, selection: Selection, first: int, limit: int, look: int, *, down: bool
    ) -> sqlite3.Cursor:
        """Along the index that selects most: whether what else was selected is met, and the job."""
        criteria = list(_criteria(selection))
        (chosen, value), rest = criteria[0], criteria[1:]
        low, high = (0, first) if down else (first, 1 << 62)
        table, name = ("jobs", "id")
        if chosen.startswith("label"):
            table, name = ("labels JOIN jobs ON jobs.id = labels.job", "job")
        if selection.created_from is not None or selection.created_to is not None:
            low, high = self._span(selection, low, high)
        met = " AND ".join(condition for condition, _ in rest) or "1"
        most = look + 1 if rest else min(limit, look) + 1
        order = "DESC" if down else "ASC"
        statement = (
            f"SELECT {met}, {_COLUMNS} FROM {table} WHERE {chosen} AND {_COMPLETE}"
            f" AND {name} BETWEEN ? AND ? ORDER BY {name} {order} LIMIT ?"
        )
        values = (*(v for _, v in rest if v is not None), *(() if value is None else (value,)))
        return self._run(statement, (*values, low, high, most))

    def _span(self, selection: Selection, low: int, high: int) -> tuple[int, int]:
        """Between which ids the jobs of that time are; more if the clock was set back."""
        if selection.created_from is not None and low > self._setback:
            low = max(low, self._first_after(selection.created_from - 1))
        if selection.created_to is not None:
            last = self._first_after(selection.created_to) - 1
            high = min(high, max(last, self._setback))
        return low, high

    def _first_after(self, time: int) -> int:
        """Above every clock that was set back, the first id of those created after that time."""
        (newest,) = self._read("SELECT max(id) FROM jobs", ())[0]
        low, high = self._setback + 1, -1 if newest is None else newest
        while low <= high:
            middle = (low + high) // 2
            statement = "SELECT id, created FROM jobs WHERE id >= ? ORDER BY id LIMIT 1"
            ((found, created),) = self._read(statement, (middle,))
            if created > time:
                high = middle - 1
            else:
                low = found + 1
        return low

    def changed_after(self, number: int, limit: int) -> list[Job]:
        rows = self._read(
            f"{_SELECT} WHERE {_COMPLETE} AND change > ? ORDER BY change LIMIT ?", (number, limit)
        )
        return [self._restore(row) for row in rows if row[0] not in self._removed]

    def by_key(self, key: Key) -> Job | None:
        by = None if key.by is None else text(key.by)
        job = self._load("key_text = ? AND key_by IS ?", (text(key.text), by))
        return None if job is None or job.id in self._removed else job

    def oldest(self) -> tuple[int, float] | None:
        if self._oldest is None and self._count > len(self._spared):
            rows = self._read(
                f"SELECT id, completed FROM jobs WHERE {_COMPLETE} ORDER BY change LIMIT ?",
                (1 + len(self._spared) + len(self._removed),),
            )
            for job_id, completed in rows:
                if job_id not in self._spared and job_id not in self._removed:
                    self._oldest = job_id, completed / 1e9 + self._offset
                    break
        return self._oldest

    def spare(self, job_id: int) -> None:
        assert self._oldest is not None
        assert self._oldest[0] == job_id
        self._spared[job_id] = self._oldest[1]
        self._oldest = None

    def unspare(self, job_id: int) -> None:
        if self._spared.pop(job_id, None) is not None:
            self._oldest = None

    @property
    def spared(self) -> int:
        return len(self._spared)

    def remove(self, job: Job) -> None:
        """As Archive.remove. It is gone for good with the next turn that is kept."""
        self._removed[job.id] = job
        self._recent.clear()
        self._loaded.pop(job.id, None)
        self._spared.pop(job.id, None)
        if self._oldest is not None and self._oldest[0] == job.id:
            self._oldest = None
        self._count -= 1


@contextlib.contextmanager
def _reading() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as failure:
        raise StorageError(str(failure)) from failure


def _ahead(turn: Turn) -> tuple[int, int]:
    """Up to which id and change some are reserved."""
    return turn.last_id + _IDS, turn.last_change + _CHANGES


def _files(files: int, small: Small) -> int:
    """The bits of those that stay files, now that what is `small` is in the database."""
    for bit, data in zip(FILES, small, strict=False):
        if data is not None:
            files &= ~bit
    return files


def _storable(selection: Selection) -> Selection:
    """The same, with times that SQLite has integers for."""
    created_from, created_to = (
        None if time is None else max(-_LAST, min(time, _LAST))
        for time in (selection.created_from, selection.created_to)
    )
    return selection._replace(created_from=created_from, created_to=created_to)


def _criteria(selection: Selection) -> Iterator[tuple[str, object]]:
    """Conditions with a value each, None for none; the first is one that has an index."""
    labels = sorted(selection.labels)
    for index, label in enumerate(labels):
        if not index:
            yield "label = ?", text(label)
        else:
            yield (
                "EXISTS (SELECT 1 FROM labels AS more WHERE more.label = ? AND more.job = jobs.id)",
                text(label),
            )
    if selection.by is not None:
        yield "by = ?", text(selection.by)
    if selection.group is not None:
        yield "in_group = ?", text(selection.group)
    if selection.failed is True:
        yield "failed = 1", None
    elif not labels and selection.by is None and selection.group is None:
        yield "1", None
    if selection.failed is False:
        yield "failed = 0", None
    if selection.created_from is not None:
        yield "created >= ?", selection.created_from
    if selection.created_to is not None:
        yield "created <= ?", selection.created_to
