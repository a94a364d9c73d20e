"""Removals are remembered for people, and never disturb the daemon."""

from __future__ import annotations

import os
import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.store.database import CannotRead
from reconciler.store.history import FILE, KEPT, Entry, History, read
from tests.programs import ends

ONE = Entry(
    at=1000.0,
    image_id="sha256:" + "ab" * 32,
    names=("reg.example/app:v1", "reg.example/app@sha256:" + "cd" * 32),
    outcome="removed",
    cause="watermark",
    why="last used 3h ago, nothing refers to it",
    error=None,
    took=0.01,
    size=100,
    expected=300,
    freed=250,
    first_seen=10.0,
    last_used=None,
    last_user="main of default/web-1",
    uses=2,
    listed_at=999.0,
    mountpoint="/images",
    used_before=900,
    used_after=650,
    high=800,
    low=700,
)


def test_a_removal_is_remembered_with_what_brings_the_image_back(tmp_path: Path) -> None:
    """Names and digests come out as they went in, also after a restart."""
    history = History(tmp_path)
    history.add([ONE])
    history.close()
    assert read(tmp_path, 10) == (ONE,)


def test_a_history_of_an_earlier_version_is_read_and_written_on(tmp_path: Path) -> None:
    """It had no factors of scores: removals from before an update are still there, without them."""
    with closing(History(tmp_path)) as history:
        history.add([ONE])
    with closing(sqlite3.connect(tmp_path / FILE)) as base:
        base.executescript("ALTER TABLE removals DROP COLUMN account; PRAGMA user_version = 2;")
    assert read(tmp_path, 10) == (ONE,)
    later = replace(ONE, at=2000.0, account="keep=0.04: used 2x, idle 24h")
    with closing(History(tmp_path)) as history:
        history.add([later])
    assert read(tmp_path, 10) == (later, ONE)


def test_the_newest_come_first_and_old_ones_make_room(tmp_path: Path) -> None:
    """A busy node's history stays bounded."""
    with closing(History(tmp_path)) as history:
        history.add(replace(ONE, at=float(n)) for n in range(KEPT + 50))
        history.add([replace(ONE, at=1e9)])
        found = read(tmp_path, KEPT * 2)
        assert len(found) == KEPT
        assert [one.at for one in found[:2]] == [1e9, float(KEPT + 49)]


def test_one_image_is_found_by_part_of_its_name_or_id(tmp_path: Path) -> None:
    """A query by `app`, the beginning of an id or a time returns only matching removals."""
    other = replace(ONE, at=2000.0, image_id="sha256:" + "ef" * 32, names=("reg.example/other:v1",))
    with closing(History(tmp_path)) as history:
        history.add([ONE, other])
        assert read(tmp_path, 10, image="app") == (ONE,)
        assert read(tmp_path, 10, image="sha256:efef") == (other,)
        assert read(tmp_path, 10, since=1500) == (other,)
        assert read(tmp_path, 10, image="nothing") == ()


def test_a_disk_that_refuses_costs_nothing_and_is_tried_again(tmp_path: Path) -> None:
    """While it cannot be written the entries wait, and are returned all the same."""
    blocked = tmp_path / "state"
    blocked.write_text("a file where the folder should be")
    with closing(History(blocked)) as history:
        history.add([ONE])
        assert history.trouble is not None
        assert history.newest(10) == (ONE,)
        blocked.unlink()
        history.add([replace(ONE, at=2000.0)])
        assert history.trouble is None
        assert [one.at for one in read(blocked, 10)] == [2000.0, 1000.0]


def test_an_unreadable_file_is_renamed_and_a_new_one_begun(tmp_path: Path) -> None:
    """Garbage in place of the history: new removals are remembered from the next save on."""
    (tmp_path / FILE).write_bytes(b"rubbish" * 1000)
    with closing(History(tmp_path)) as history:
        history.add([ONE])
        assert history.trouble is not None
        history.add([])
        assert history.trouble is None
        assert read(tmp_path, 10) == (ONE,)
        assert (tmp_path / FILE).with_suffix(".unreadable").exists()


@pytest.mark.parametrize("beside", ["", "-journal"])
def test_a_fifo_in_place_of_the_history_is_reported_and_hangs_nobody(
    tmp_path: Path, beside: str
) -> None:
    """The daemon and `history` waited for ever for somebody to write to it."""
    if beside:
        with closing(History(tmp_path)) as history:
            history.add([ONE])
    os.mkfifo(tmp_path / f"{FILE}{beside}")
    found: list[str] = []

    def look() -> None:
        try:
            read(tmp_path, 10)
        except CannotRead as error:
            found.append(str(error))

    assert ends(look)
    why = "expected a regular file, found a FIFO"
    assert found == [f"{tmp_path / FILE}{beside} cannot be read: {why}; move it away"]
    with closing(History(tmp_path)) as history:
        history.add([ONE])
        assert history.trouble is not None
        assert history.trouble.startswith(f"{tmp_path / FILE}: {why}")


def rubbish(path: Path) -> None:
    path.write_bytes(random.Random(1).randbytes(5000))


@pytest.mark.parametrize("damage", [rubbish, Path.mkdir], ids=["rubbish", "a directory"])
def test_a_history_that_cannot_be_read_is_not_taken_for_an_empty_one(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    """To say that nothing was removed would be a lie. The daemon's own answer over HTTP is what it
    has not written yet."""
    damage(tmp_path / FILE)
    with pytest.raises(CannotRead, match=rf"{FILE} cannot be read: .*; move it away"):
        read(tmp_path, 10)
    with closing(History(tmp_path)) as history:
        assert history.newest(10) == ()
        history.add([ONE])
        assert history.newest(10) == (ONE,)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE removals SET at = 'yesterday'",
        "UPDATE removals SET at = 1e300",
        "UPDATE removals SET first_seen = NULL",
        "UPDATE removals SET size = x'00ff'",
        "UPDATE removals SET names = '[\"cut off'",
        "UPDATE removals SET names = NULL",
        "DROP TABLE removals",
    ],
)
def test_values_that_can_not_be_are_said_to_be_damage(tmp_path: Path, damage: str) -> None:
    """SQLite holds no column to its type: one such row was a traceback in `history`, and an error
    of the server over HTTP."""
    with closing(History(tmp_path)) as history:
        history.add([ONE])
    with closing(sqlite3.connect(tmp_path / FILE)) as base, base:
        base.execute(damage)
    with pytest.raises(CannotRead, match=rf"{FILE} cannot be read: "):
        read(tmp_path, 10)
    with closing(History(tmp_path)) as history:
        assert history.newest(10) == ()


def test_a_history_that_was_just_begun_is_empty(tmp_path: Path) -> None:
    """Killed between making the file and its tables, the daemon leaves one without content."""
    (tmp_path / FILE).touch()
    assert read(tmp_path, 10) == ()
