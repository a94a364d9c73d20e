"""The ledger's file: its schema, and how it is read."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

from .database import PATIENCE, Unreadable, schema_of
from .domain.ledger import ImageRecord, RemovalRecord

EARLIEST = 1_000_000_000.0  # September 2001: no time in the file can be older

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
)

Images = dict[str, ImageRecord]
Removals = dict[str, RemovalRecord]


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
            if schema_of(base, known=len(STEPS)) == len(STEPS):
                return load(base, now)
            break
        except sqlite3.OperationalError:
            continue
        finally:
            base.close()
    return {}, {}


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
