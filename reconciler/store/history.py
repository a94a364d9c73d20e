"""What was removed, when, why, and what would bring it back: a SQLite file in the state directory.

It is for people only: no decision depends on it. So it is a separate file next to the ledger, and
trouble with it never blocks a removal. It keeps the newest `KEPT` entries.

Calls block; the daemon makes them in a thread, one at a time.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from .database import (
    PATIENCE,
    CannotRead,
    Unreadable,
    check_kinds,
    is_corrupt,
    is_there,
    opened,
    reading,
)

FILE = "history.db"
KEPT = 5000  # entries
LATEST = 2e11  # seconds since 1970, before or after: dates end with the year 9999


@dataclass(frozen=True, slots=True)
class Entry:
    """One removal that was asked for, with the evidence it was decided on."""

    at: float
    image_id: str
    names: tuple[str, ...]  # tags and digest names: what brings the image back
    outcome: str  # "removed"; still listed afterwards: "refused", "untagged" if it lost names
    cause: str  # plan.Cause's value
    why: str  # a clause for people
    error: str | None
    took: float  # seconds, the call alone
    size: int  # bytes, as listed
    expected: int  # bytes, as estimated before
    freed: int | None  # bytes less in use afterwards; None: not measured, or not shown yet
    first_seen: float
    last_used: float | None
    last_user: str  # "main of default/web-1"; empty: none was seen since the start
    uses: int
    listed_at: float | None  # when the listing it was decided on began
    mountpoint: str  # the filesystem that was fullest, over its mark
    used_before: int  # bytes in use on it
    used_after: int
    high: int  # bytes
    low: int  # bytes
    about: bool = False  # what was freed is not exact: others wrote or freed at the same time
    account: str | None = None  # a line with every factor of its score


COLUMNS = tuple(field.name for field in fields(Entry))


class History:
    """The history file, and the entries that are not written to it yet."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._base: sqlite3.Connection | None = None
        self._unwritten: list[Entry] = []
        self.trouble: str | None = None  # why the last entries are not on disk, for people

    def add(self, entries: Iterable[Entry]) -> None:
        """Writes entries, and those that could not be written before; never raises for what a
        disk can do."""
        self._unwritten = [*self._unwritten, *entries][-KEPT:]
        if not self._unwritten:
            return
        try:
            base = self._base or self._connected()
            with base:
                base.executemany(_INSERT, map(_row, self._unwritten))
                base.execute(_TRIM, (KEPT,))
        except (sqlite3.Error, OSError) as error:
            self.close()
            self.trouble = f"{self._path}: {error}; removals are in the log only"
            return
        self._unwritten, self.trouble = [], None

    def newest(self, count: int, since: float = 0.0, image: str = "") -> tuple[Entry, ...]:
        """Like `read`, but also with entries that could not be written yet, and with these alone
        where the file cannot be read."""
        unwritten = [one for one in self._unwritten if one.at >= since and _about(one, image)]
        try:
            written = read(self._path.parent, count, since, image)
        except CannotRead:  # set aside, and said in the log, with the next removal
            written = ()
        return (*reversed(unwritten), *written)[:count]

    def close(self) -> None:
        if self._base is not None:
            self._base.close()
            self._base = None

    def _connected(self) -> sqlite3.Connection:
        try:
            self._base = opened(self._path, _STEPS)
        except sqlite3.Error as error:
            if is_corrupt(error):  # the next try starts a new one
                self._path.replace(self._path.with_suffix(".unreadable"))
            raise
        return self._base


def read(folder: Path, count: int, since: float = 0.0, image: str = "") -> tuple[Entry, ...]:
    """The newest entries, newest first; `since` in seconds since 1970; `image` is any part of a
    name or the beginning of an id. Empty where there is no history. Raises CannotRead."""
    path = folder / FILE
    with reading(path):
        if not is_there(path):
            return ()
        check_kinds(path)
        uri = f"{path.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=PATIENCE)) as base:
            if _is_new(base):
                return ()
            rows = base.execute(_select(base), (since,))
            found = (entry for entry in map(_entry, rows) if _about(entry, image))
            return tuple(entry for entry, _ in zip(found, range(count), strict=False))


def _about(entry: Entry, image: str) -> bool:
    plain = image.removeprefix("sha256:")
    return entry.image_id.removeprefix("sha256:").startswith(plain) or any(
        image in name for name in entry.names
    )


def _row(entry: Entry) -> Sequence[object]:
    values = list(astuple(entry))
    values[COLUMNS.index("names")] = json.dumps(entry.names)
    return values


def _entry(row: Sequence[object]) -> Entry:
    """Raises Unreadable for values that cannot be."""
    values = dict(zip(COLUMNS, row, strict=True))
    try:
        values["names"] = tuple(map(str, json.loads(str(values["names"]))))
    except (ValueError, TypeError, RecursionError) as error:
        raise Unreadable(f"what it says cannot be: {error}") from error
    values["about"] = bool(values["about"])
    for field in fields(Entry):
        if not _can_be(values[field.name], str(field.type)):
            raise Unreadable(f"what it says cannot be: {field.name} {values[field.name]!r:.40}")
    return Entry(**values)  # type: ignore[arg-type] # the columns are the fields, by name


def _can_be(value: object, annotation: str) -> bool:
    """Whether SQLite, which holds no column to its type, returned what the field takes; a time far
    from any date cannot be printed."""
    if value is None:
        return annotation.endswith("None")
    if annotation.startswith("float"):
        return isinstance(value, float) and abs(value) < LATEST
    return isinstance(value, int if annotation.startswith("int") else (str, bool, tuple))


def _is_new(base: sqlite3.Connection) -> bool:
    """Whether a file has no tables yet."""
    return bool(base.execute("PRAGMA user_version").fetchone() == (0,))


def _kind(annotation: str) -> str:
    return {"int": "INTEGER", "float": "REAL"}.get(annotation.partition(" ")[0], "TEXT")


def _select(base: sqlite3.Connection) -> str:
    """Works on a file that an older daemon still writes, too."""
    here = {row[1] for row in base.execute("PRAGMA table_info(removals)")}
    wanted = [one if one in here else "NULL" for one in COLUMNS]
    return f"SELECT {', '.join(wanted)} FROM removals WHERE at >= ? ORDER BY id DESC"


_FIRST = [field for field in fields(Entry) if field.name not in ("about", "account")]
_STEPS = (
    "CREATE TABLE removals (id INTEGER PRIMARY KEY, {});".format(
        ", ".join(f"{field.name} {_kind(str(field.type))}" for field in _FIRST)
    ),
    "ALTER TABLE removals ADD COLUMN about INTEGER NOT NULL DEFAULT 0;"
    "DELETE FROM removals WHERE id NOT IN (SELECT max(id) FROM removals GROUP BY at, image_id);"
    "CREATE UNIQUE INDEX removal ON removals (at, image_id);",
    "ALTER TABLE removals ADD COLUMN account TEXT;",
)
_INSERT = (
    "INSERT INTO removals ({}) VALUES ({}) ON CONFLICT (at, image_id) DO UPDATE "
    "SET freed = excluded.freed, about = excluded.about"
).format(", ".join(COLUMNS), ", ".join("?" for _ in COLUMNS))
_TRIM = "DELETE FROM removals WHERE id <= (SELECT max(id) FROM removals) - ?"
