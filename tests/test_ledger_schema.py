"""Ledgers of older versions are read, and nothing in them is lost."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from reconciler.domain.demand import uses_per_hour
from reconciler.domain.ledger import (
    Arrival,
    Changes,
    Ghost,
    ImageRecord,
    LogLine,
    Remembered,
    RemovalRecord,
)
from reconciler.ledger import Ledger
from reconciler.ledger_file import Log

T0 = 1_700_000_000.0
# The tables as the first version made them, letter by letter.
SCHEMA_1 = """
CREATE TABLE images (
    key TEXT PRIMARY KEY, first_seen REAL NOT NULL, last_used REAL, last_started REAL,
    uses INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE removals (
    key TEXT PRIMARY KEY, begun_at REAL NOT NULL, names TEXT NOT NULL, answered_at REAL,
    came_back_at REAL
) WITHOUT ROWID;
PRAGMA user_version = 1;
"""


def schema_1(folder: Path) -> None:
    base = sqlite3.connect(folder / "ledger.db")
    base.execute("PRAGMA journal_mode = WAL")
    base.executescript(SCHEMA_1)
    with base:
        base.execute("INSERT INTO images VALUES ('used', ?, ?, ?, 7)", (T0, T0 + 9, T0 + 5))
        base.execute("INSERT INTO images VALUES ('never', ?, NULL, NULL, 0)", (T0,))
        base.execute("INSERT INTO removals VALUES ('gone', ?, '[\"app:v1\"]', ?, NULL)", (T0, T0))
    base.close()


BEFORE = Remembered(
    {
        "used": ImageRecord(T0, T0 + 9, T0 + 5, 7),
        "never": ImageRecord(T0),
    },
    {},
    {"gone": RemovalRecord(T0, ("app:v1",), T0)},
    {},
    {},
)


def test_a_ledger_of_schema_1_is_brought_up_with_all_that_is_in_it(tmp_path: Path) -> None:
    """An update of the daemon must not make every image young, nor forget what was removed."""
    schema_1(tmp_path)
    ledger = Ledger.open(tmp_path)
    assert ledger.set_aside is None
    assert ledger.trouble is None
    assert ledger.load(T0 + 100) == BEFORE
    ledger.save(Changes({"used": ImageRecord(T0, T0 + 50)}, {}, {}, []))
    ledger.close()
    assert Ledger.read(tmp_path, T0 + 86400).images["used"].last_used == T0 + 50


def test_a_command_reads_a_ledger_of_schema_1_without_writing_to_it(tmp_path: Path) -> None:
    """`plan` after an update, before the daemon was started again."""
    schema_1(tmp_path)
    before = (tmp_path / "ledger.db").read_bytes()
    assert Ledger.read(tmp_path, T0 + 86400) == BEFORE
    assert (tmp_path / "ledger.db").read_bytes() == before


def test_an_old_record_counts_as_one_use_when_it_was_used_last() -> None:
    """Its counts are not there: the order begins as least recently used, and learns."""
    record = BEFORE.images["used"]
    now = T0 + 9 + 3600
    assert uses_per_hour(record, now) > uses_per_hour(BEFORE.images["never"], now)


def test_everything_that_is_saved_is_loaded_again(tmp_path: Path) -> None:
    """Records, ghosts, removals, arrivals, and which containers were seen to start."""
    record = ImageRecord(
        T0, T0 + 9, T0 + 5, 7, (1.0, 2.0, 0.5, 0.1, 0.0), T0 + 5, ("app:v1",), 1 << 33, ("a", "b")
    )
    ghost = Ghost(ImageRecord(T0, layers=()), T0 + 20)
    arrival = Arrival(T0, "k", "app:v1")
    log = [LogLine(T0, "k"), LogLine(T0, "k", "c1"), LogLine(T0 + 1, "k", "c2")]
    log.append(LogLine(T0 + 2, "k", "c1", ended=True))
    ledger = Ledger.open(tmp_path)
    ledger.save(Changes({"k": record, "g": ghost}, {}, {"reg/app:v#": arrival}, log))
    ledger.close()
    expected = Remembered({"k": record}, {"g": ghost}, {}, {"reg/app:v#": arrival}, {"c2": "k"})
    assert Ledger.open(tmp_path).load(T0 + 100) == expected
    told = Ledger.read_log(tmp_path)
    assert told == Log(
        ((T0, T0 + 2, "k"), (T0 + 1, None, "k")),
        ((T0, "k"),),
        {"k": record, "g": ghost.record},
        frozenset("k"),
    )


def test_what_was_forgotten_is_gone(tmp_path: Path) -> None:
    """A ghost that was forgotten, an arrival nobody can ask for."""
    ledger = Ledger.open(tmp_path)
    arrival = Arrival(T0, "k", "app:v1")
    ledger.save(Changes({"k": Ghost(ImageRecord(T0), T0)}, {}, {"s": arrival}, []))
    ledger.save(Changes({"k": None}, {}, {"s": None}, []))
    assert ledger.load(T0) == Remembered({}, {}, {}, {}, {})
    ledger.close()
