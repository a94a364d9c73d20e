"""The ledger's file: its schema, all times in it set right, and a look at it that writes nothing.

Schema 1 had times and a count for each image; 2 added what the order of removal asks for, images
that are gone, the newest of each tag series, and the log of starts and pulls (`ledger_log.py`); 3
the clocks at the last write, by which all times are set right after the wall clock was set; 4 what
the pods of a template used; 5 which machine it was written on; 6 how far usage ran past the high
marks; 7 how long an image that came back was gone at least, in seconds. Times are seconds since
1970. What is in the rows is `ledger_rows.py`.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from ..domain.ledger import Remembered
from ..host.clock import Reading
from .database import PATIENCE, check_kinds, is_there, migrate
from .ledger_rows import load, nothing

# What makes a file of schema n one of schema n + 1. Only ever add to these.
STEPS = (
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
    """
    ALTER TABLE images ADD COLUMN counters TEXT NOT NULL DEFAULT '[]';
    ALTER TABLE images ADD COLUMN counted_at REAL NOT NULL DEFAULT 0;
    ALTER TABLE images ADD COLUMN names TEXT NOT NULL DEFAULT '[]';
    ALTER TABLE images ADD COLUMN size INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE images ADD COLUMN layers TEXT;
    ALTER TABLE images ADD COLUMN gone_at REAL;
    CREATE TABLE arrivals (
        stream TEXT PRIMARY KEY, at REAL NOT NULL, key TEXT NOT NULL, name TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE starts (
        container TEXT PRIMARY KEY, key TEXT NOT NULL, at REAL NOT NULL, ended REAL
    ) WITHOUT ROWID;
    CREATE INDEX starts_at ON starts (at);
    CREATE TABLE pulls (at REAL NOT NULL, key TEXT NOT NULL, PRIMARY KEY (at, key)) WITHOUT ROWID;
    """,
    """
    CREATE TABLE clocks (
        one INTEGER PRIMARY KEY CHECK (one = 1), at REAL NOT NULL, boot TEXT NOT NULL,
        since_boot REAL NOT NULL
    ) WITHOUT ROWID;
    """,
    """
    CREATE TABLE templates (
        name TEXT PRIMARY KEY, first_seen REAL NOT NULL, last_seen REAL NOT NULL,
        used TEXT NOT NULL
    ) WITHOUT ROWID;
    """,
    """
    ALTER TABLE clocks ADD COLUMN machine TEXT NOT NULL DEFAULT '';
    """,
    """
    CREATE TABLE overshoots (mountpoint TEXT PRIMARY KEY, recent TEXT NOT NULL) WITHOUT ROWID;
    """,
    """
    ALTER TABLE removals ADD COLUMN gone_for REAL;
    UPDATE removals SET gone_for = came_back_at - answered_at;
    """,
)
# Every time that is written.
TIMES = {
    "images": ("first_seen", "last_used", "last_started", "gone_at"),
    "removals": ("begun_at", "answered_at", "came_back_at"),
    "arrivals": ("at",),
    "starts": ("at", "ended"),
    "pulls": ("at",),
    "templates": ("first_seen", "last_seen"),
}
EACH_TIME = tuple((table, column) for table, columns in TIMES.items() for column in columns)


def note_clocks(base: sqlite3.Connection, reading: Reading | None) -> None:
    """Writes when all this is true, inside the caller's transaction."""
    if reading is None:
        base.execute("DELETE FROM clocks")
    else:
        row = (reading.at, reading.boot, reading.since_boot, reading.machine)
        base.execute("INSERT OR REPLACE INTO clocks VALUES (1, ?, ?, ?, ?)", row)


def set_right(base: sqlite3.Connection, reading: Reading | None) -> None:
    """Moves all times along if the wall clock was set, or the machine started anew, since the last
    write, so that everything is as old as it is for certain. What lies ahead all the same was
    noted just now; left as it is it would be new again with every start. On another machine (the
    file was baked into an image of disks) every image is as new as on its first day. Raises
    sqlite3.Error."""
    if reading is None:
        return
    at = {"at": reading.at}
    row = base.execute("SELECT at, boot, since_boot, machine FROM clocks").fetchone()
    before = reading if row is None else Reading(*row)
    with base:
        step, elsewhere = reading.stepped(before), reading.elsewhere(before)
        if step:
            _move(base, step)
        for table, column in (("images", "counted_at"), *EACH_TIME):
            # Two pulls of one image that lie ahead are one, noted just now.
            base.execute(f"UPDATE OR REPLACE {table} SET {column} = :at WHERE {column} > :at", at)
        if elsewhere:
            base.execute("UPDATE images SET first_seen = :at", at)
        if step or elsewhere:
            note_clocks(base, reading)


def _move(base: sqlite3.Connection, step: float) -> None:
    """By way of the times below 0, where nothing else is: row by row, one pull could come to lie on
    the next of its image, and SQLite refuse them all."""
    for table, column in EACH_TIME:
        base.execute(f"UPDATE {table} SET {column} = -{column}")
        base.execute(f"UPDATE {table} SET {column} = ? - {column}", (step,))
    base.execute("UPDATE images SET counted_at = counted_at + ? WHERE counted_at > 0", (step,))


def copied(path: Path, reading: Reading | None = None) -> sqlite3.Connection | None:
    """A copy in memory, in this schema, made without writing anything; None: there is no file. A
    file that nobody has open, in a directory that cannot be written, has to be called immutable;
    not if a log of changes lies beside it, which would then be left out: an image would look
    unused for longer than it was. Raises sqlite3.Error, OSError."""
    if not is_there(path):
        return None
    check_kinds(path)
    log = Path(f"{path}-wal")
    immutable = not log.exists() or log.stat().st_size == 0
    uris = [f"{path.absolute().as_uri()}?mode=ro"]
    uris += [f"{uris[0]}&immutable=1"] if immutable else []
    for uri in uris:
        base = sqlite3.connect(uri, uri=True, timeout=PATIENCE)
        copy = sqlite3.connect(":memory:")
        try:
            base.backup(copy)
            migrate(copy, STEPS)
            set_right(copy, reading)
            return copy
        except sqlite3.OperationalError:
            copy.close()
            if uri is uris[-1]:
                raise
        except sqlite3.DatabaseError:
            copy.close()
            raise
        finally:
            base.close()
    return None


def read_only(path: Path, now: float, reading: Reading | None = None) -> Remembered:
    """All records, read without writing anything. Raises sqlite3.Error, OSError."""
    base = copied(path, reading)
    if base is None:
        return nothing()
    try:
        return load(base, now)
    finally:
        base.close()
