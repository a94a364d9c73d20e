"""The ledger's file: its schema, how it is opened and read, and what counts as damage."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

from .domain.ledger import ImageRecord, RemovalRecord

PATIENCE = 2.0  # seconds to wait for another process's transaction
EARLIEST = 1_000_000_000.0  # September 2001: no time in the file can be older

# What makes a file of schema n one of schema n + 1. Only ever add to these.
_STEPS = (
    """
    CREATE TABLE images (
        key TEXT PRIMARY KEY, first_seen REAL NOT NULL, last_used REAL, last_started REAL,
        uses INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE removals (
        key TEXT PRIMARY KEY, begun_at REAL NOT NULL, names TEXT NOT NULL, answered_at REAL,
        came_back_at REAL
    ) WITHOUT ROWID;
    """,
)
SCHEMA = len(_STEPS)

Images = dict[str, ImageRecord]
Removals = dict[str, RemovalRecord]


class Unreadable(sqlite3.DatabaseError):
    """The file is damaged, of a later version, or says what can not be."""


def opened(path: Path) -> sqlite3.Connection:
    """A connection to a sound file of this schema, made if there is none. Raises sqlite3.Error."""
    base = sqlite3.connect(path, timeout=PATIENCE, check_same_thread=False)
    try:
        base.execute("PRAGMA journal_mode = WAL")
        base.execute("PRAGMA synchronous = NORMAL")
        base.execute("PRAGMA journal_size_limit = 1048576")
        for number, step in enumerate(_STEPS[_schema(base) :], _schema(base) + 1):
            base.executescript(f"BEGIN; {step} PRAGMA user_version = {number}; COMMIT;")
        (verdict,) = base.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise Unreadable(verdict)
        base.execute("SELECT count(*) FROM images").fetchone()
    except sqlite3.Error:
        base.close()
        raise
    return base


def read_only(path: Path, now: float) -> tuple[Images, Removals]:
    """Reads without writing anything. A file that nobody has open, in a directory that can not be
    written, has to be called immutable; not if a log of changes lies beside it, which would then
    be left out: an image would look unused for longer than it was."""
    log = Path(f"{path}-wal")
    immutable = not log.exists() or log.stat().st_size == 0
    uris = [f"{path.absolute().as_uri()}?mode=ro"]
    uris += [f"{uris[0]}&immutable=1"] if immutable else []
    for uri in uris:
        base = sqlite3.connect(uri, uri=True, timeout=PATIENCE)
        try:
            if _schema(base) == SCHEMA:
                return load(base, now)
            break
        except sqlite3.OperationalError:
            continue
        finally:
            base.close()
    return {}, {}


def _schema(base: sqlite3.Connection) -> int:
    (found,) = base.execute("PRAGMA user_version").fetchone()
    if found > SCHEMA:
        raise Unreadable(f"written by a later version (schema {found}, known is {SCHEMA})")
    return int(found)


def is_damage(error: sqlite3.DatabaseError) -> bool:
    """Whether the file itself is at fault, and not the disk or another process."""
    if isinstance(error, Unreadable):
        return True
    codes = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
    code = getattr(error, "sqlite_errorcode", None)
    missing_table = isinstance(error, sqlite3.OperationalError) and "no such" in str(error)
    return missing_table or (code is not None and code & 0xFF in codes)


def load(base: sqlite3.Connection, now: float) -> tuple[Images, Removals]:
    """All records. Raises sqlite3.DatabaseError, Unreadable for values that can not be."""
    images = "SELECT key, first_seen, last_used, last_started, uses FROM images"
    removals = "SELECT key, begun_at, names, answered_at, came_back_at FROM removals"
    try:
        return {
            key: ImageRecord(_past(seen, now), _maybe(used, now), _maybe(started, now), uses)
            for key, seen, used, started, uses in base.execute(images)
        }, {
            key: RemovalRecord(
                _past(begun, now), _names(names), _maybe(answered, now), _maybe(back, now)
            )
            for key, begun, names, answered, back in base.execute(removals)
        }
    except (TypeError, ValueError) as error:  # SQLite does not hold columns to their types
        raise Unreadable(f"what it says can not be: {error}") from error


def _names(text: str) -> tuple[str, ...]:
    return tuple(map(str, json.loads(text)))


def _past(value: float, now: float) -> float:
    return value if EARLIEST <= value <= now else now


def _maybe(value: float | None, now: float) -> float | None:
    return None if value is None else _past(value, now)
