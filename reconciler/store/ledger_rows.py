"""The ledger's records and the rows that they are on disk, both ways.

- What is read is checked: SQLite does not hold columns to their types, and a time that cannot be is
  taken for now, which errs on the side of keeping.
- What is written is what changed since the last write, or all of it, in the caller's transaction.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from ..domain.ledger import (
    Arrival,
    ImageRecord,
    Remembered,
    RemovalRecord,
    TemplateRecord,
    Used,
)
from ..domain.ranking.use_rate import PACES
from .database import Unreadable

OLDEST = 25 * 365 * 86400.0  # seconds: no time in the file can be so long ago
# The columns of each table, the key first.
IMAGES = (
    "key, first_seen, last_used, last_started, uses, counters, counted_at, names, size, gone_at"
)
REMOVALS = "key, begun_at, names, answered_at, came_back_at, gone_for"
ARRIVALS = "stream, at, key, name"
TEMPLATES = "name, first_seen, last_seen, used"
OVERSHOOTS = "mountpoint, recent"

T = TypeVar("T")


@dataclass(slots=True)
class Shelf(Generic[T]):
    """One table: all that should be in it, and the keys of what changed since it was written."""

    table: str
    columns: str
    row: Callable[[T], tuple[object, ...]]  # all columns but the key
    records: dict[str, T] = field(default_factory=dict)
    unwritten: set[str] = field(default_factory=set)

    def update(self, changes: Mapping[str, T | None]) -> None:
        """Takes changes in; None means forget."""
        self.unwritten.update(changes)
        for key, record in changes.items():
            if record is None:
                self.records.pop(key, None)
            else:
                self.records[key] = record

    def write(self, base: sqlite3.Connection, *, whole: bool) -> None:
        """Deletes what is not to be there, and writes what changed or all of it, inside the
        caller's transaction."""
        key_column, *others = self.columns.split(", ")
        if whole:
            base.execute(f"DELETE FROM {self.table}")
        keys = self.records.keys() if whole else self.unwritten
        gone = ((key,) for key in keys - self.records.keys())
        base.executemany(f"DELETE FROM {self.table} WHERE {key_column} = ?", gone)
        base.executemany(
            f"INSERT OR REPLACE INTO {self.table} ({self.columns}) VALUES (?{', ?' * len(others)})",
            ((key, *self.row(self.records[key])) for key in keys if key in self.records),
        )


class Shelves:
    """All tables of records."""

    def __init__(self) -> None:
        self.images = Shelf[ImageRecord]("images", IMAGES, _image_row)
        self.removals = Shelf[RemovalRecord]("removals", REMOVALS, _removal_row)
        self.arrivals = Shelf[Arrival](
            "arrivals", ARRIVALS, lambda one: (one.at, one.key, one.name)
        )
        self.templates = Shelf[TemplateRecord]("templates", TEMPLATES, _template_row)
        self.overshoots = Shelf[tuple[int, ...]](
            "overshoots", OVERSHOOTS, lambda recent: (json.dumps(recent),)
        )

    @property
    def _all(self) -> tuple[Shelf[Any], ...]:
        return self.images, self.removals, self.arrivals, self.templates, self.overshoots

    def put(self, saved: Remembered) -> None:
        """Holds what was read, as on disk."""
        self.images.records = saved.images | saved.gone
        self.removals.records = dict(saved.removals)
        self.arrivals.records = dict(saved.arrivals)
        self.templates.records = dict(saved.templates)
        self.overshoots.records = dict(saved.overshoots)

    def settle(self) -> None:
        """All is on disk."""
        for shelf in self._all:
            shelf.unwritten.clear()

    def write(self, base: sqlite3.Connection, *, whole: bool) -> None:
        """Writes what changed, or all of it, inside the caller's transaction."""
        for shelf in self._all:
            shelf.write(base, whole=whole)


def nothing() -> Remembered:
    """What an empty ledger holds."""
    return Remembered({}, {}, {}, {}, {})


def load(base: sqlite3.Connection, now: float) -> Remembered:
    """All records. Raises sqlite3.DatabaseError, Unreadable for values that cannot be."""
    try:
        images: dict[str, ImageRecord] = {}
        gone: dict[str, ImageRecord] = {}
        for key, *row in _rows(base, "images", IMAGES):
            record = _record(row, now)
            (images if record.gone_at is None else gone)[key] = record
        removals = {
            key: RemovalRecord(
                _past(begun, now),
                _texts(names),
                _maybe(answered, now),
                _maybe(back, now),
                gap and max(0.0, gap),
            )
            for key, begun, names, answered, back, gap in _rows(base, "removals", REMOVALS)
        }
        arrivals = {
            stream: Arrival(_past(at, now), key, name)
            for stream, at, key, name in _rows(base, "arrivals", ARRIVALS)
        }
        templates = {
            name: TemplateRecord(_past(first, now), _past(last, now), _used(text))
            for name, first, last, text in _rows(base, "templates", TEMPLATES)
        }
        overshoots = {
            mountpoint: tuple(max(0, int(one)) for one in json.loads(recent))
            for mountpoint, recent in _rows(base, "overshoots", OVERSHOOTS)
        }
    except (TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise Unreadable(f"what it says cannot be: {error}") from error
    running = dict(base.execute("SELECT container, key FROM starts WHERE ended IS NULL"))
    return Remembered(images, gone, removals, arrivals, running, templates, overshoots)


def _rows(base: sqlite3.Connection, table: str, columns: str) -> sqlite3.Cursor:
    return base.execute(f"SELECT {columns} FROM {table}")


def _image_row(record: ImageRecord) -> tuple[object, ...]:
    return (
        record.first_seen,
        record.last_used,
        record.last_started,
        record.uses,
        json.dumps(record.counters),
        record.counted_at,
        json.dumps(record.names),
        record.size,
        record.gone_at,
    )


def _removal_row(one: RemovalRecord) -> tuple[object, ...]:
    names = json.dumps(one.names)
    return one.begun_at, names, one.answered_at, one.came_back_at, one.gone_for


def _template_row(one: TemplateRecord) -> tuple[object, ...]:
    """When a container was made is kept as the runtime says it, and never moved along: by that it
    is compared with those that are still there."""
    used = one.used.items()
    text = json.dumps({container: [use.made_at, *use.images] for container, use in used})
    return one.first_seen, one.last_seen, text


def _record(row: list[Any], now: float) -> ImageRecord:
    first, used, started, uses, counters, counted, names, size, gone = row
    return ImageRecord(
        first_seen=_past(first, now),
        last_used=_maybe(used, now),
        last_started=_maybe(started, now),
        uses=uses,
        counters=_counts(counters),
        counted_at=min(float(counted), now),
        names=_texts(names),
        size=int(size),
        gone_at=_maybe(gone, now),
    )


def _used(text: str) -> dict[str, Used]:
    entries = json.loads(text).items()
    return {
        container: Used(float(made_at), tuple(map(str, images)))
        for container, (made_at, *images) in entries
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
