"""Ledgers of older versions are read, and nothing in them is lost."""

from __future__ import annotations

import sqlite3
from functools import partial
from pathlib import Path

import pytest

from reconciler.domain.ledger import (
    Arrival,
    Changes,
    ImageRecord,
    LogLine,
    Remembered,
    RemovalRecord,
    TemplateRecord,
    Used,
)
from reconciler.domain.ranking.use_rate import uses_per_hour
from reconciler.host.clock import Reading
from reconciler.store.ledger import Ledger
from reconciler.store.ledger_log import Log

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
        base.execute("INSERT INTO removals VALUES ('back', ?, '[]', ?, ?)", (T0, T0, T0 + 5))
    base.close()


BEFORE = Remembered(
    {
        "used": ImageRecord(T0, T0 + 9, T0 + 5, 7),
        "never": ImageRecord(T0),
    },
    {},
    {"gone": RemovalRecord(T0, ("app:v1",), T0), "back": RemovalRecord(T0, (), T0, T0 + 5, 5.0)},
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
    """Records, also of images that are gone, removals, arrivals, what templates used, and which
    containers were seen to start."""
    record = ImageRecord(
        T0, T0 + 9, T0 + 5, 7, (1.0, 2.0, 0.5, 0.1, 0.0), T0 + 5, ("app:v1",), 1 << 33
    )
    gone = ImageRecord(T0, gone_at=T0 + 20)
    arrival = Arrival(T0, "k", "app:v1")
    log = [LogLine(T0, "k"), LogLine(T0, "k", "c1"), LogLine(T0 + 1, "k", "c2")]
    log.append(LogLine(T0 + 2, "k", "c1", ended=True))
    ledger = Ledger.open(tmp_path)
    web = TemplateRecord(
        T0, T0 + 5, {"app": Used(T0 + 3, ("k", "app:v1")), "side": Used(T0, ("s",))}
    )
    templates = {"shop/pod-template-hash=1": web}
    ledger.save(Changes({"k": record, "g": gone}, {}, {"reg/app:v#": arrival}, log, {**templates}))
    ledger.close()
    told_of = {"app": Used(T0 + 3, ("k", "app:v1")), "side": Used(T0, ("s",))}
    remembered = {"shop/pod-template-hash=1": TemplateRecord(T0, T0 + 5, told_of)}
    expected = Remembered(
        {"k": record}, {"g": gone}, {}, {"reg/app:v#": arrival}, {"c2": "k"}, remembered
    )
    again = Ledger.open(tmp_path)
    assert again.load(T0 + 100) == expected
    again.close()
    told = Ledger.read_log(tmp_path)
    assert told == Log(
        ((T0, T0 + 2, "k"), (T0 + 1, None, "k")),
        ((T0, "k"),),
        {"k": record, "g": gone},
        frozenset("k"),
    )


def test_a_ledger_that_knows_layers_loses_nothing_else(tmp_path: Path) -> None:
    """An earlier version asked the runtime for them. They are left where they are, and a later
    write of the same image goes well."""
    told = filled(tmp_path, None)
    base = sqlite3.connect(tmp_path / "ledger.db")
    with base:
        base.execute("UPDATE images SET layers = ?", ('["base", "own"]',))
    base.close()
    ledger = Ledger.open(tmp_path)
    assert ledger.load(T0 + 100) == told
    used = ImageRecord(T0, T0 + 50)
    ledger.save(Changes({"bare": used}, {}, {}, []))
    ledger.close()
    assert Ledger.read(tmp_path, T0 + 100).images == told.images | {"bare": used}


def filled(folder: Path, reading: Reading | None) -> Remembered:
    """A ledger with a time of every kind, written at a reading of the clocks; what it says."""
    record = ImageRecord(T0, T0 + 9, T0 + 5, 7, (1.0, 2.0, 0.5, 0.1, 0.0), T0 + 5)
    told = Remembered(
        {"k": record, "bare": ImageRecord(T0)},
        {"g": ImageRecord(T0, gone_at=T0 + 20)},
        {"r": RemovalRecord(T0, ("app:v1",), T0 + 1, T0 + 2, gone_for=0.5)},
        {"reg/app:v#": Arrival(T0, "k", "app:v1")},
        {"c1": "k"},
        {"web": TemplateRecord(T0, T0 + 5)},
    )
    ledger = Ledger.open(folder, lambda: reading)
    log = [LogLine(T0, "k", "c1")]
    images: dict[str, ImageRecord | None] = {**told.images, **told.gone}
    ledger.save(Changes(images, {**told.removals}, {**told.arrivals}, log, {**told.templates}))
    ledger.close()
    return told


def test_a_clock_set_forward_by_a_day_moves_every_time_in_the_ledger_along(tmp_path: Path) -> None:
    """What is left behind makes its image a day older, or a return after a removal a late one."""
    told = filled(tmp_path, Reading(T0 + 50, "boot", 1000.0))
    day = 86400.0
    later = Reading(T0 + 60 + day, "boot", 1010.0)
    expected = Remembered(
        {
            "k": ImageRecord(
                *(T0 + day, T0 + 9 + day, T0 + 5 + day, 7, told.images["k"].counters),
                T0 + 5 + day,
            ),
            "bare": ImageRecord(T0 + day),
        },
        {"g": ImageRecord(T0 + day, gone_at=T0 + 20 + day)},
        {"r": RemovalRecord(T0 + day, ("app:v1",), T0 + 1 + day, T0 + 2 + day, 0.5)},
        {"reg/app:v#": Arrival(T0 + day, "k", "app:v1")},
        {"c1": "k"},
        {"web": TemplateRecord(T0 + day, T0 + 5 + day)},
    )
    before = (tmp_path / "ledger.db").read_bytes()
    assert Ledger.read(tmp_path, later.at, lambda: later) == expected
    assert (tmp_path / "ledger.db").read_bytes() == before  # a command writes nothing
    for _ in range(2):  # a second start moves nothing twice
        ledger = Ledger.open(tmp_path, lambda: later)
        assert ledger.load(later.at) == expected
        ledger.close()


@pytest.mark.parametrize("step", [60.0, -60.0, -3600.0])
def test_pulls_of_one_image_do_not_cost_the_ledger_when_the_clock_is_set(
    step: float, tmp_path: Path
) -> None:
    """Pulled twice, as far apart as the clock was set over the restart, or both ahead of a clock
    that starts anew: SQLite refused to move the one onto the other, and all ages were lost."""
    ledger = Ledger.open(tmp_path, lambda: Reading(T0 + 200, "boot", 1000.0))
    pulls = [LogLine(T0 + at, "k") for at in (0, 60, 120)]
    ledger.save(Changes({"k": ImageRecord(T0)}, {}, {}, pulls))
    ledger.close()
    same_boot = Reading(T0 + 201 + step, "boot", 1001.0)
    for reading in (same_boot, Reading(T0 - 5000, "another boot", 5.0)):
        ledger = Ledger.open(tmp_path, lambda: reading)  # noqa: B023 - it is used at once
        found = ledger.load(reading.at)
        assert ledger.trouble is None
        assert found.images.keys() == {"k"}
        ledger.close()


def test_times_stay_where_there_is_no_second_clock(tmp_path: Path) -> None:
    """The machine has none, or the ledger was written by a version without: a guess would make
    images older than they are."""
    told = filled(tmp_path, Reading(T0 + 50, "boot", 1000.0))
    unknown = Ledger.open(tmp_path)
    assert unknown.load(T0 + 86400) == told
    unknown.save(Changes({}, {}, {}, []))
    unknown.close()
    assert Ledger.read(tmp_path, T0 + 86400, lambda: Reading(T0 + 90, "boot", 1000.0)) == told


@pytest.mark.parametrize("at", [T0 + 86400, T0 + 51, T0 - 86400])
def test_after_a_start_of_the_machine_everything_is_older_by_what_it_has_been_up(
    at: float, tmp_path: Path
) -> None:
    """Nobody knows how long it was off, nor how right its clock is now."""
    filled(tmp_path, Reading(T0 + 50, "boot", 1000.0))
    anew = Reading(at, "another boot", 10.0)
    for _ in range(2):
        ledger = Ledger.open(tmp_path, lambda: anew)
        told = ledger.load(at)
        ledger.close()
    assert at - told.images["bare"].first_seen == 60
    assert at - (told.images["k"].last_used or 0.0) == 51
    assert at - (told.gone["g"].gone_at or 0.0) == 40
    assert at - told.removals["r"].begun_at == 60


def test_on_another_machine_every_image_is_new_and_what_was_used_is_known(tmp_path: Path) -> None:
    """How old its images are was noted where they were baked; which version was used last, and how
    much an image is used, holds here as well."""
    filled(tmp_path, Reading(T0 + 50, "boot", 1000.0, "the builder"))
    here = Reading(T0 + 86400, "another boot", 10.0, "this one")
    for _ in range(2):
        ledger = Ledger.open(tmp_path, lambda: here)
        record = ledger.load(here.at).images["k"]
        ledger.close()
    assert record.first_seen == here.at
    assert record.uses == 7
    assert here.at - (record.last_used or 0.0) == 51


def test_times_that_lie_ahead_grow_old_over_restarts(tmp_path: Path) -> None:
    """Written by a version that let them in: new with every start, they would be so for ever."""
    filled(tmp_path, None)

    def hours_seen(hour: int) -> float:
        now = Reading(T0 - 1e8 + hour * 3600, "boot", 1000.0 + hour * 3600)
        ledger = Ledger.open(tmp_path, lambda: now)
        seen = ledger.load(now.at).images["bare"].first_seen
        ledger.close()
        return (now.at - seen) / 3600

    assert [hours_seen(hour) for hour in range(4)] == [0, 1, 2, 3]


def test_small_steps_of_the_clock_do_not_add_up_to_an_age(tmp_path: Path) -> None:
    """Half a second is a step as well: an image would grow by that much with every restart."""
    told = filled(tmp_path, Reading(T0 + 50, "boot", 1000.0)).images["bare"]
    for number in range(1, 11):
        now = T0 + 50 + number * 10.5
        ledger = Ledger.open(tmp_path, partial(Reading, now, "boot", 1000.0 + number * 10))
        seen = ledger.load(now).images["bare"].first_seen
        ledger.close()
        assert now - seen == T0 + 50 + number * 10 - told.first_seen


def test_what_was_forgotten_is_gone(tmp_path: Path) -> None:
    """An image long gone that was forgotten, an arrival nobody can ask for."""
    ledger = Ledger.open(tmp_path)
    arrival = Arrival(T0, "k", "app:v1")
    ledger.save(Changes({"k": ImageRecord(T0, gone_at=T0)}, {}, {"s": arrival}, []))
    ledger.save(Changes({"k": None}, {}, {"s": None}, []))
    assert ledger.load(T0) == Remembered({}, {}, {}, {}, {})
    ledger.close()
