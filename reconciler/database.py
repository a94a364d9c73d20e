"""Opening one of our SQLite files, as all of them are: a write-ahead log, a schema number, checked
before it is believed."""

from __future__ import annotations

import sqlite3
from pathlib import Path

PATIENCE = 2.0  # seconds to wait for another process's transaction


class NewerSchema(sqlite3.DatabaseError):
    """The file is of a later version of this program."""


def opened(path: Path, schema: int, tables: str) -> sqlite3.Connection:
    """Opens or begins a file; `tables` is the SQL of a new one. In a write-ahead log with
    `synchronous = NORMAL` a transaction survives kill -9 of ours; the newest may be lost with the
    machine's power. Raises sqlite3.Error, OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    base = sqlite3.connect(path, timeout=PATIENCE, check_same_thread=False)
    try:
        base.execute("PRAGMA journal_mode = WAL")
        base.execute("PRAGMA synchronous = NORMAL")
        base.execute("PRAGMA journal_size_limit = 1048576")
        (found,) = base.execute("PRAGMA user_version").fetchone()
        if found > schema:
            raise NewerSchema(f"written by a later version (schema {found}, known is {schema})")
        if found == 0:
            base.executescript(f"BEGIN; {tables} PRAGMA user_version = {schema}; COMMIT;")
        base.execute("PRAGMA quick_check").fetchone()
    except sqlite3.Error:
        base.close()
        raise
    return base


def is_corrupt(error: sqlite3.Error) -> bool:
    """Whether a file can never be read, by this version: set it aside and begin a new one."""
    if isinstance(error, NewerSchema):
        return True
    codes = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
    code = getattr(error, "sqlite_errorcode", None)
    missing_table = isinstance(error, sqlite3.OperationalError) and "no such" in str(error)
    return missing_table or (code is not None and code & 0xFF in codes)
