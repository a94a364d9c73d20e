"""The ledger's file: its schema, and records <-> rows.

Schema 1 had times and a count for each image; 2 added what the order of removal asks for, ghosts,
the newest of each stream of tags, and the log of starts and pulls (`ledger_log.py`); 3 the clocks
at the last write, by which all times are set right after the wall clock was set; 4 what the pods of
a template used; 5 which machine it was written on; 6 how far usage ran past the high marks. Times
are seconds since 1970.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from ..domain.ledger import (
    Arrival,
    Ghost,
    ImageRecord,
    Remembered,
    RemovalRecord,
    TemplateRecord,
    Used,
)
from ..domain.ranking.demand import PACES
from ..host.clock import Reading
from .database import PATIENCE, Unreadable, bring_up

OLDEST = 25 * 365 * 86400.0  # seconds: no time in the file can be so long ago

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
_IMAGES = (
    "SELECT key, first_seen, last_used, last_started, uses, counters, counted_at, names, size, "
    "gone_at FROM images"
)
_TEMPLATES = "SELECT name, first_seen, last_seen, used FROM templates"
_REMOVALS = "SELECT key, begun_at, names, answered_at, came_back_at FROM removals"

T = TypeVar("T")


@dataclass(slots=True)
class Shelf(Generic[T]):
    """One table: all that should be in it, and the keys of what changed since it was written."""

    table: str
    key: str  # the column
    records: dict[str, T] = field(default_factory=dict)
    owed: set[str] = field(default_factory=set)

    def update(self, changes: Mapping[str, T | None]) -> None:
        """Takes changes in; None means forget."""
        self.owed.update(changes)
        for key, record in changes.items():
            if record is None:
                self.records.pop(key, None)
            else:
                self.records[key] = record

    def begin(self, base: sqlite3.Connection, *, whole: bool) -> Iterator[tuple[str, T]]:
        """Deletes what is not to be there, inside the caller's transaction; gives what is to be
        written."""
        if whole:
            base.execute(f"DELETE FROM {self.table}")
        keys = self.records.keys() if whole else self.owed
        gone = ((key,) for key in keys - self.records.keys())
        base.executemany(f"DELETE FROM {self.table} WHERE {self.key} = ?", gone)
        return ((key, self.records[key]) for key in keys if key in self.records)


@dataclass(slots=True)
class Shelves:
    """All tables of records."""

    images: Shelf[ImageRecord | Ghost] = field(default_factory=lambda: Shelf("images", "key"))
    removals: Shelf[RemovalRecord] = field(default_factory=lambda: Shelf("removals", "key"))
    arrivals: Shelf[Arrival] = field(default_factory=lambda: Shelf("arrivals", "stream"))
    templates: Shelf[TemplateRecord] = field(default_factory=lambda: Shelf("templates", "name"))
    overshoots: Shelf[tuple[int, ...]] = field(
        default_factory=lambda: Shelf("overshoots", "mountpoint")
    )

    def put(self, told: Remembered) -> None:
        """Holds what was read, as on disk."""
        self.images.records = {**told.images, **told.ghosts}
        self.removals.records = dict(told.removals)
        self.arrivals.records = dict(told.arrivals)
        self.templates.records = dict(told.templates)
        self.overshoots.records = dict(told.overshoots)

    def settle(self) -> None:
        """All is on disk."""
        shelves = (self.images, self.removals, self.arrivals, self.templates, self.overshoots)
        for shelf in shelves:
            shelf.owed.clear()

    def write(self, base: sqlite3.Connection, *, whole: bool) -> None:
        """Writes what changed, or all of it, inside the caller's transaction."""
        base.executemany(
            "INSERT OR REPLACE INTO images (key, first_seen, last_used, last_started, uses, "
            "counters, counted_at, names, size, gone_at) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (_image_row(key, one) for key, one in self.images.begin(base, whole=whole)),
        )
        base.executemany(
            "INSERT OR REPLACE INTO removals (key, begun_at, names, answered_at, came_back_at) "
            "VALUES (?, ?, ?, ?, ?)",
            (
                (key, one.begun_at, json.dumps(one.names), one.answered_at, one.came_back_at)
                for key, one in self.removals.begin(base, whole=whole)
            ),
        )
        base.executemany(
            "INSERT OR REPLACE INTO arrivals (stream, at, key, name) VALUES (?, ?, ?, ?)",
            (
                (stream, one.at, one.key, one.name)
                for stream, one in self.arrivals.begin(base, whole=whole)
            ),
        )
        base.executemany(
            "INSERT OR REPLACE INTO templates (name, first_seen, last_seen, used) "
            "VALUES (?, ?, ?, ?)",
            (
                (name, one.first_seen, one.last_seen, _used_text(one))
                for name, one in self.templates.begin(base, whole=whole)
            ),
        )
        base.executemany(
            "INSERT OR REPLACE INTO overshoots (mountpoint, recent) VALUES (?, ?)",
            (
                (mountpoint, json.dumps(recent))
                for mountpoint, recent in self.overshoots.begin(base, whole=whole)
            ),
        )


def nothing() -> Remembered:
    """What an empty ledger holds."""
    return Remembered({}, {}, {}, {}, {})


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
    log = Path(f"{path}-wal")
    immutable = not log.exists() or log.stat().st_size == 0
    uris = [f"{path.absolute().as_uri()}?mode=ro"]
    uris += [f"{uris[0]}&immutable=1"] if immutable else []
    for uri in uris:
        base = sqlite3.connect(uri, uri=True, timeout=PATIENCE)
        copy = sqlite3.connect(":memory:")
        try:
            base.backup(copy)
            bring_up(copy, STEPS)
            set_right(copy, reading)
            return copy
        except sqlite3.OperationalError:
            copy.close()
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


def load(base: sqlite3.Connection, now: float) -> Remembered:
    """All records. Raises sqlite3.DatabaseError, Unreadable for values that cannot be."""
    try:
        images: dict[str, ImageRecord] = {}
        ghosts: dict[str, Ghost] = {}
        for key, *row, gone_at in base.execute(_IMAGES):
            record = _record(row, now)
            if gone_at is None:
                images[key] = record
            else:
                ghosts[key] = Ghost(record, _past(gone_at, now))
        removals = {
            key: RemovalRecord(
                _past(begun, now), _texts(names), _maybe(answered, now), _maybe(back, now)
            )
            for key, begun, names, answered, back in base.execute(_REMOVALS)
        }
        arrivals = {
            stream: Arrival(_past(at, now), key, name)
            for stream, at, key, name in base.execute("SELECT stream, at, key, name FROM arrivals")
        }
        templates = {
            name: TemplateRecord(_past(first, now), _past(last, now), _used(text))
            for name, first, last, text in base.execute(_TEMPLATES)
        }
        overshoots = {
            mountpoint: tuple(max(0, int(one)) for one in json.loads(recent))
            for mountpoint, recent in base.execute("SELECT mountpoint, recent FROM overshoots")
        }
    except (
        TypeError,
        ValueError,
        AttributeError,
    ) as error:  # SQLite does not hold columns to their types
        raise Unreadable(f"what it says cannot be: {error}") from error
    running = dict(base.execute("SELECT container, key FROM starts WHERE ended IS NULL"))
    return Remembered(images, ghosts, removals, arrivals, running, templates, overshoots)


def _image_row(key: str, one: ImageRecord | Ghost) -> tuple[object, ...]:
    record, gone_at = (one.record, one.gone_at) if isinstance(one, Ghost) else (one, None)
    return (
        key,
        record.first_seen,
        record.last_used,
        record.last_started,
        record.uses,
        json.dumps(record.counters),
        record.counted_at,
        json.dumps(record.names),
        record.size,
        gone_at,
    )


def _record(row: list[Any], now: float) -> ImageRecord:
    first, used, started, uses, counters, counted, names, size = row
    return ImageRecord(
        first_seen=_past(first, now),
        last_used=_maybe(used, now),
        last_started=_maybe(started, now),
        uses=uses,
        counters=_counts(counters),
        counted_at=min(float(counted), now),
        names=_texts(names),
        size=int(size),
    )


def _used_text(record: TemplateRecord) -> str:
    """When a container was made is kept as the runtime says it, and never moved along: by that it
    is compared with those that are still there."""
    used = record.used.items()
    return json.dumps({container: [one.made_at, *one.images] for container, one in used})


def _used(text: str) -> dict[str, Used]:
    told = json.loads(text).items()
    return {
        container: Used(float(made_at), tuple(map(str, images)))
        for container, (made_at, *images) in told
    }


def _counts(text: str) -> tuple[float, ...]:
    counts = tuple(map(float, json.loads(text)))
    if len(counts) not in (0, len(PACES)):
        raise ValueError(f"expected {len(PACES)} counts, found {len(counts)}")
    return counts


def _texts(text: str) -> tuple[str, ...]:
    return tuple(map(str, json.loads(text)))


def _past(value: float, now: float) -> float:
    return value if now - OLDEST <= value <= now else now


def _maybe(value: float | None, now: float) -> float | None:
    return None if value is None else _past(value, now)
