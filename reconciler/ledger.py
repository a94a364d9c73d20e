"""The ledger on disk: one SQLite file in the state directory.

It survives restarts and kill -9 (write-ahead log, one transaction per save). A disk that is full or
read-only leaves it in memory, says so in `trouble`, and is tried again with every save, with all
that changed in between. A file that can not be read is set aside and a new one begun: every image
then counts as seen just now, which errs on the side of keeping.

Calls block; the daemon makes them in a thread, one at a time.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from .domain.ledger import ImageRecord, RemovalRecord

FILE = "ledger.db"
SCHEMA = 1
SET_ASIDE_KEPT = 3
PATIENCE = 2.0  # seconds to wait for another process's transaction

_TABLES = """
CREATE TABLE images (
    key TEXT PRIMARY KEY, first_seen REAL NOT NULL, last_used REAL, last_started REAL,
    uses INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE removals (
    key TEXT PRIMARY KEY, begun_at REAL NOT NULL, names TEXT NOT NULL, answered_at REAL,
    came_back_at REAL
) WITHOUT ROWID;
"""

Images = dict[str, ImageRecord]
Removals = dict[str, RemovalRecord]


class Ledger:
    """What is on disk, and what should be and could not be written yet."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._base: sqlite3.Connection | None = None
        self._owed_images: dict[str, ImageRecord | None] = {}
        self._owed_removals: dict[str, RemovalRecord | None] = {}
        self.trouble: str | None = None  # why it lives in memory only, for people
        self.set_aside: Path | None = None  # the file that could not be read, under its new name

    @classmethod
    def open(cls, folder: Path) -> Ledger:
        """Opens or begins the ledger; never raises for what a disk can do."""
        ledger = cls(folder)
        ledger._connect()
        return ledger

    @classmethod
    def read(cls, folder: Path) -> tuple[Images, Removals]:
        """What is on disk, for a command that writes nothing; empty where there is none."""
        path = folder / FILE
        try:
            base = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=PATIENCE)
        except sqlite3.Error:
            return {}, {}
        try:
            return _load(base, time.time())
        except sqlite3.Error:
            return {}, {}
        finally:
            base.close()

    def load(self, now: float) -> tuple[Images, Removals]:
        """All records. Times after `now` (the clock was set back) become `now`."""
        if self._base is None:
            return {}, {}
        try:
            return _load(self._base, now)
        except sqlite3.DatabaseError as error:
            self._start_anew(error)
            return {}, {}

    def save(
        self,
        images: Mapping[str, ImageRecord | None],
        removals: Mapping[str, RemovalRecord | None],
    ) -> None:
        """Writes what changed in one transaction; None means forget. What can not be written is
        owed, and `trouble` says why."""
        self._owed_images.update(images)
        self._owed_removals.update(removals)
        if self._base is None:
            self._connect()
        if self._base is None or not (self._owed_images or self._owed_removals):
            return
        try:
            with self._base:
                self._write(self._base)
        except sqlite3.DatabaseError as error:
            if _is_corrupt(error):
                self._start_anew(error)
            else:
                self._give_up(error)
            return
        self._owed_images.clear()
        self._owed_removals.clear()
        self.trouble = None

    def close(self) -> None:
        if self._base is not None:
            self._base.close()
            self._base = None

    def _write(self, base: sqlite3.Connection) -> None:
        _forget(base, "images", self._owed_images)
        _forget(base, "removals", self._owed_removals)
        base.executemany(
            "INSERT OR REPLACE INTO images VALUES (?, ?, ?, ?, ?)",
            (
                (key, one.first_seen, one.last_used, one.last_started, one.uses)
                for key, one in self._owed_images.items()
                if one is not None
            ),
        )
        base.executemany(
            "INSERT OR REPLACE INTO removals VALUES (?, ?, ?, ?, ?)",
            (
                (key, one.begun_at, json.dumps(one.names), one.answered_at, one.came_back_at)
                for key, one in self._owed_removals.items()
                if one is not None
            ),
        )

    def _connect(self) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._base = _opened(self._path)
            self.trouble = None
        except sqlite3.DatabaseError as error:
            if not _is_corrupt(error):
                self._give_up(error)
                return
            self._start_anew(error)
        except OSError as error:
            self._give_up(error)

    def _start_anew(self, error: Exception) -> None:
        """Sets an unreadable file aside and begins a new one."""
        self.close()
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        aside = self._path.with_name(f"{FILE}.unreadable-{stamp}")
        try:
            self._path.rename(aside)
            for suffix in ("-wal", "-shm"):
                Path(f"{self._path}{suffix}").unlink(missing_ok=True)
            for old in sorted(self._path.parent.glob(f"{FILE}.unreadable-*"))[:-SET_ASIDE_KEPT]:
                old.unlink()
            self._base = _opened(self._path)
        except (OSError, sqlite3.DatabaseError) as again:
            self._give_up(again)
            return
        self.set_aside = aside
        self.trouble = f"{self._path} could not be read ({error}); set aside as {aside.name}"

    def _give_up(self, error: Exception) -> None:
        self.close()
        self.trouble = f"{self._path}: {error}; first-seen and last-used times live in memory only"


class NewerSchema(sqlite3.DatabaseError):
    """The file is of a later version of this program."""


def _opened(path: Path) -> sqlite3.Connection:
    base = sqlite3.connect(path, timeout=PATIENCE, check_same_thread=False)
    try:
        base.execute("PRAGMA journal_mode = WAL")
        base.execute("PRAGMA synchronous = NORMAL")
        base.execute("PRAGMA journal_size_limit = 1048576")
        (found,) = base.execute("PRAGMA user_version").fetchone()
        if found > SCHEMA:
            raise NewerSchema(f"written by a later version (schema {found}, known is {SCHEMA})")
        if found == 0:
            base.executescript(f"BEGIN; {_TABLES} PRAGMA user_version = {SCHEMA}; COMMIT;")
        base.execute("PRAGMA quick_check").fetchone()
        base.execute("SELECT count(*) FROM images").fetchone()
    except sqlite3.Error:
        base.close()
        raise
    return base


def _is_corrupt(error: sqlite3.DatabaseError) -> bool:
    if isinstance(error, NewerSchema):
        return True
    codes = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
    code = getattr(error, "sqlite_errorcode", None)
    missing_table = isinstance(error, sqlite3.OperationalError) and "no such" in str(error)
    return missing_table or (code is not None and code & 0xFF in codes)


def _load(base: sqlite3.Connection, now: float) -> tuple[Images, Removals]:
    images = {
        key: ImageRecord(min(first, now), _not_after(used, now), _not_after(started, now), uses)
        for key, first, used, started, uses in base.execute("SELECT * FROM images")
    }
    removals = {
        key: RemovalRecord(
            min(begun, now), _names(names), _not_after(answered, now), _not_after(back, now)
        )
        for key, begun, names, answered, back in base.execute("SELECT * FROM removals")
    }
    return images, removals


def _names(text: str) -> tuple[str, ...]:
    return tuple(str(name) for name in json.loads(text))


def _not_after(value: float | None, now: float) -> float | None:
    return None if value is None else min(value, now)


def _forget(base: sqlite3.Connection, table: str, owed: Mapping[str, object]) -> None:
    keys: Iterable[tuple[str]] = [(key,) for key, one in owed.items() if one is None]
    base.executemany(f"DELETE FROM {table} WHERE key = ?", keys)
