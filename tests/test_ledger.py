"""The ledger: what the disk, a kill or another version can do to it, and what is known after."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from reconciler.domain.ledger import Changes, ImageRecord, Remembered, RemovalRecord
from reconciler.host.lock import Lock, LockUnavailable
from reconciler.store.database import CannotRead
from reconciler.store.ledger import FILE, SET_ASIDE_KEPT, Ledger
from tests.builders import DAY, T0
from tests.programs import ends, output_of

IMAGE = ImageRecord(T0 - DAY, T0 - 60, T0 - 120, 7)
UNUSED = ImageRecord(T0 - DAY)
REMOVAL = RemovalRecord(T0 - 10, ("reg.example/app:v1", "reg.example/app@sha256:00"), T0 - 5, None)


def changed(
    images: Mapping[str, ImageRecord | None], removals: Mapping[str, RemovalRecord | None]
) -> Changes:
    return Changes(dict(images), dict(removals), {}, [])


def known(told: Remembered) -> tuple[dict[str, ImageRecord], dict[str, RemovalRecord]]:
    return told.images, told.removals


def loaded(ledger: Ledger) -> tuple[dict[str, ImageRecord], dict[str, RemovalRecord]]:
    return known(ledger.load(T0))


def read(folder: Path) -> tuple[dict[str, ImageRecord], dict[str, RemovalRecord]]:
    try:
        return known(Ledger.read(folder, T0))
    except CannotRead:  # a command warns, and goes on with nothing
        return {}, {}


def kept(folder: Path, images: int = 200) -> None:
    """A ledger of so many images, closed well."""
    ledger = Ledger.open(folder)
    ledger.save(changed({f"image{number}": UNUSED for number in range(images)}, {"gone": REMOVAL}))
    ledger.close()


Opening = Callable[[Path], Ledger]


@pytest.fixture
def opened() -> Iterator[Opening]:
    """Opens ledgers, and closes them when the test is over."""
    with contextlib.ExitStack() as stack:

        def opening(folder: Path) -> Ledger:
            ledger = Ledger.open(folder)
            stack.callback(ledger.close)
            return ledger

        yield opening


def set_aside(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"{FILE}.unreadable-*"))


def test_what_was_saved_is_there_after_a_restart(tmp_path: Path, opened: Opening) -> None:
    """All fields, and what was forgotten is not."""
    ledger = opened(tmp_path / "made" / "on the way #1?")
    ledger.save(changed({"a": IMAGE, "b": UNUSED, "c": UNUSED}, {"gone": REMOVAL, "back": REMOVAL}))
    ledger.save(changed({"b": None}, {"back": None}))
    ledger.close()
    folder = tmp_path / "made" / "on the way #1?"
    assert loaded(opened(folder)) == ({"a": IMAGE, "c": UNUSED}, {"gone": REMOVAL})
    assert read(folder) == ({"a": IMAGE, "c": UNUSED}, {"gone": REMOVAL})


KILLED = """
import os, signal, sys
from pathlib import Path
from reconciler.domain.ledger import ImageRecord, RemovalRecord
from reconciler.store.ledger import Ledger
from tests.test_ledger import changed
ledger = Ledger.open(Path(sys.argv[1]))
for number in range(50):
    ledger.save(changed({f"image{number}": ImageRecord(1.8e9)}, {}))
ledger.save(changed({}, {"begun": RemovalRecord(1.8e9, ("reg.example/app:v1",))}))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_removal_begun_is_known_after_kill_9(tmp_path: Path, opened: Opening) -> None:
    """What was saved before the call is on disk though nobody closed anything."""
    ended = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert ended.returncode == -signal.SIGKILL
    images, removals = read(tmp_path)
    assert (len(images), removals) == (50, {"begun": RemovalRecord(T0, ("reg.example/app:v1",))})
    images, removals = loaded(opened(tmp_path))
    assert (len(images), list(removals)) == (50, ["begun"])


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """No file grows any more, as on a full disk. The limit is this process's own."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


def test_a_full_disk_is_said_and_made_good_later(tmp_path: Path, opened: Opening) -> None:
    """It lives in memory and says so; with room again all of it is written."""
    ledger = opened(tmp_path)
    ledger.save(changed({"a": UNUSED, "b": UNUSED}, {}))
    with full_disk():
        for number in range(3):
            ledger.save(changed({"a": None, f"new{number}": IMAGE}, {"gone": REMOVAL}))
            told = ledger.trouble_to_log()
            assert told is not None
            assert "live in memory only" in told
    ledger.save(changed({}, {}))
    assert ledger.trouble_to_log() is None
    images, removals = read(tmp_path)
    assert images == {"b": UNUSED, "new0": IMAGE, "new1": IMAGE, "new2": IMAGE}
    assert removals == {"gone": REMOVAL}


def test_a_disk_full_from_the_start_is_no_end(tmp_path: Path, opened: Opening) -> None:
    """Nothing can be made, and nothing is raised."""
    with full_disk():
        ledger = opened(tmp_path)
        assert loaded(ledger) == ({}, {})
        ledger.save(changed({"a": UNUSED}, {}))
        assert ledger.trouble is not None
    ledger.save(changed({"b": UNUSED}, {}))
    assert ledger.trouble is None
    assert read(tmp_path)[0] == {"a": UNUSED, "b": UNUSED}


READ_ONLY = """
import os, sys
import urllib.parse  # while Python's own files can be read: they may be root's
from pathlib import Path
from reconciler.domain.ledger import ImageRecord
from reconciler.store.ledger import Ledger
from tests.test_ledger import changed, loaded, read
os.setgroups([]); os.setgid(65534); os.setuid(65534)
ledger = Ledger.open(Path(sys.argv[1]))
images, removals = loaded(ledger)
ledger.save(changed({"new": ImageRecord(1.8e9)}, {}))
again, _ = read(Path(sys.argv[1]))
print(len(images), len(removals), len(again), ledger.trouble_to_log(), sep="|")
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="gives up root's rights to be refused")
def test_a_directory_that_can_not_be_written_is_read_all_the_same(tmp_path: Path) -> None:
    """What is known counts, what is new lives in memory, and it is said."""
    folder = Path("/tmp") / f"reconciler-ledger-{os.getpid()}"
    folder.mkdir()
    try:
        kept(folder)
        run = [sys.executable, "-c", READ_ONLY, str(folder)]
        out = output_of(run).split("|")
    finally:
        shutil.rmtree(folder)
    assert out[:3] == ["200", "1", "200"]
    assert "live in memory only" in out[3]


def test_a_fifo_in_place_of_the_ledger_is_reported_and_hangs_nobody(
    tmp_path: Path, opened: Opening
) -> None:
    """The daemon could not be ended, nor any command that looks at the past: what is new lives in
    memory, as with a directory there, and is written once the FIFO is gone."""
    os.mkfifo(tmp_path / FILE)
    assert ends(lambda: read(tmp_path))
    assert read(tmp_path) == ({}, {})
    with pytest.raises(CannotRead, match="expected a regular file, found a FIFO; move it away"):
        Ledger.read_log(tmp_path)
    ledger = opened(tmp_path)
    assert loaded(ledger) == ({}, {})
    ledger.save(changed({"a": UNUSED}, {}))
    told = ledger.trouble_to_log() or ""
    assert "ledger.db: expected a regular file, found a FIFO; first-seen" in told
    (tmp_path / FILE).unlink()
    ledger.save(changed({"b": UNUSED}, {}))
    assert ledger.trouble_to_log() is None
    assert read(tmp_path)[0] == {"a": UNUSED, "b": UNUSED}


@pytest.mark.parametrize("at", [0, 16, 60, 100, 4096, 8192, 12000])
def test_a_damaged_file_is_set_aside_and_begun_anew(
    tmp_path: Path, at: int, opened: Opening
) -> None:
    """Wherever the damage is: no image is thought older than it is, and it is said once."""
    kept(tmp_path)
    with (tmp_path / FILE).open("r+b") as file:
        file.seek(at)
        file.write(b"\xde\xad\xbe\xef" * 64)
    ledger = opened(tmp_path)
    images, removals = loaded(ledger)
    assert (images, removals) == ({}, {})
    assert len(set_aside(tmp_path)) == 1
    ledger.save(changed({"a": UNUSED}, {}))
    told = ledger.trouble_to_log()
    assert told is not None
    assert "could not be read" in told
    assert "set aside as ledger.db.unreadable-" in told
    assert ledger.trouble_to_log() is None
    assert read(tmp_path)[0] == {"a": UNUSED}


@pytest.mark.parametrize("content", [b"", b"no database at all " * 500, b"\x00" * 8192])
def test_a_file_that_is_no_ledger_is_no_end(
    tmp_path: Path, content: bytes, opened: Opening
) -> None:
    """Truncated, zeroed or somebody else's: begun anew."""
    (tmp_path / FILE).write_bytes(content)
    ledger = opened(tmp_path)
    assert loaded(ledger) == ({}, {})
    ledger.save(changed({"a": UNUSED}, {}))
    assert read(tmp_path)[0] == {"a": UNUSED}


def test_damage_that_shows_late_costs_nothing_that_is_known(
    tmp_path: Path, opened: Opening
) -> None:
    """A page that breaks while the daemon runs: the file is begun anew from memory, in the very
    save that found it."""
    kept(tmp_path, images=2000)
    ledger = opened(tmp_path)
    assert len(loaded(ledger)[0]) == 2000
    with contextlib.closing(sqlite3.connect(tmp_path / FILE)) as other:
        with other:
            other.execute("UPDATE images SET uses = 1 WHERE key = 'image9'")
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # now ours must look at the disk again
    size = (tmp_path / FILE).stat().st_size
    with (tmp_path / FILE).open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (size - 4096))
    ledger.save(
        changed({f"image{number}": IMAGE for number in range(0, 2000, 3)}, {"begun": REMOVAL})
    )
    assert len(set_aside(tmp_path)) == 1
    assert "could not be read" in (ledger.trouble_to_log() or "")
    images, removals = read(tmp_path)
    assert (len(images), images["image0"], images["image1"]) == (2000, IMAGE, UNUSED)
    assert removals == {"gone": REMOVAL, "begun": REMOVAL}


def test_only_a_few_damaged_files_are_kept(tmp_path: Path, opened: Opening) -> None:
    """A disk that breaks files all the time is not filled with them."""
    for number in range(6):
        (tmp_path / f"{FILE}.unreadable-2026010{number}T000000Z").write_bytes(b"old")
    (tmp_path / FILE).write_bytes(b"no database" * 1000)
    opened(tmp_path)
    assert len(set_aside(tmp_path)) == SET_ASIDE_KEPT
    assert set_aside(tmp_path)[0].name.endswith("20260104T000000Z")


def test_a_ledger_of_a_later_version_is_set_aside(tmp_path: Path, opened: Opening) -> None:
    """After a downgrade nothing is read by guesswork; the later version finds its file again."""
    kept(tmp_path)
    with contextlib.closing(sqlite3.connect(tmp_path / FILE)) as base:
        base.execute("PRAGMA user_version = 99")
    assert read(tmp_path) == ({}, {})
    ledger = opened(tmp_path)
    assert loaded(ledger) == ({}, {})
    assert "written by a later version (schema 99" in (ledger.trouble_to_log() or "")
    assert len(set_aside(tmp_path)) == 1


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE images SET first_seen = 'yesterday'",
        "UPDATE images SET last_used = x'00ff'",
        "UPDATE removals SET names = '[\"cut off'",
        "DROP TABLE removals",
        "INSERT INTO templates VALUES ('shop/web', 1e9, 1e9, '[]')",
        "INSERT INTO templates VALUES ('shop/web', 1e9, 1e9, '{\"app\": 7}')",
        "ALTER TABLE images DROP COLUMN uses",
        f"UPDATE removals SET names = '{'[' * 100_000}'",
        "UPDATE images SET size = 9e999",
        "INSERT INTO overshoots VALUES ('/images', '[1e999]')",
    ],
)
def test_values_that_can_not_be_are_damage(tmp_path: Path, damage: str, opened: Opening) -> None:
    """SQLite holds no column to its type: a sound file can still say nonsense."""
    kept(tmp_path)
    with contextlib.closing(sqlite3.connect(tmp_path / FILE)) as base, base:
        base.execute(damage)
    assert read(tmp_path) == ({}, {})
    assert loaded(opened(tmp_path)) == ({}, {})
    assert len(set_aside(tmp_path)) == 1


@pytest.mark.parametrize("wrong", [T0 + DAY, 1e300, float("inf"), 0.0, -1e9, 1e-300])
def test_a_time_that_can_not_be_true_counts_as_now(
    tmp_path: Path, wrong: float, opened: Opening
) -> None:
    """A clock that was set back, or a flipped bit, makes no image old."""
    ledger = opened(tmp_path)
    ledger.save(
        changed({"a": ImageRecord(wrong, wrong, wrong, 1)}, {"b": RemovalRecord(wrong, (), wrong)})
    )
    ledger.close()
    images, removals = loaded(opened(tmp_path))
    assert images == {"a": ImageRecord(T0, T0, T0, 1)}
    assert removals == {"b": RemovalRecord(T0, (), T0)}


def test_a_state_directory_that_is_removed_comes_back_by_itself(
    tmp_path: Path, opened: Opening
) -> None:
    """Somebody cleans up /var/lib: the next save writes everything anew, not only what changed."""
    folder = tmp_path / "state"
    kept(folder)
    ledger = opened(folder)
    loaded(ledger)
    shutil.rmtree(folder)
    ledger.save(changed({"new": IMAGE, "image7": None}, {}))
    assert ledger.trouble_to_log() is None
    images, removals = read(folder)
    assert (len(images), images["new"], removals) == (200, IMAGE, {"gone": REMOVAL})
    assert "image7" not in images


def test_a_ledger_restored_from_a_backup_does_not_win(tmp_path: Path, opened: Opening) -> None:
    """Another file at the same place while the daemon runs is written over with what is known."""
    folder, backup = tmp_path / "state", tmp_path / "backup"
    kept(folder, images=3)
    shutil.copytree(folder, backup)
    ledger = opened(folder)
    loaded(ledger)
    ledger.save(changed({"image0": None, "image1": IMAGE}, {}))
    shutil.rmtree(folder)
    backup.rename(folder)
    ledger.save(changed({}, {}))
    assert read(folder)[0] == {"image1": IMAGE, "image2": UNUSED}


def test_a_long_time_without_a_disk_is_made_good_in_one_go(tmp_path: Path, opened: Opening) -> None:
    """50,000 changes are owed; they are written when the disk is back."""
    folder = tmp_path / "state"
    folder.write_text("a file where the directory should be")
    ledger = opened(folder)
    for round_ in range(10):
        ledger.save(changed({f"image{round_}-{number}": UNUSED for number in range(5000)}, {}))
        ledger.save(changed({f"image{round_}-{number}": None for number in range(2500)}, {}))
    assert ledger.trouble is not None
    folder.unlink()
    ledger.save(changed({}, {}))
    assert ledger.trouble is None
    assert len(read(folder)[0]) == 25_000


def test_a_command_that_reads_changes_nothing(tmp_path: Path, opened: Opening) -> None:
    """`plan` beside the daemon, or where there never was one, leaves no file behind."""
    assert read(tmp_path) == ({}, {})
    assert read(tmp_path / "nowhere") == ({}, {})
    assert list(tmp_path.iterdir()) == []
    ledger = opened(tmp_path)
    ledger.save(changed({"a": UNUSED}, {}))
    assert read(tmp_path)[0] == {"a": UNUSED}
    ledger.save(changed({"b": UNUSED}, {}))
    assert len(read(tmp_path)[0]) == 2


async def test_a_slow_disk_does_not_stop_the_loop(tmp_path: Path, opened: Opening) -> None:
    """Another process holds the file: the save waits in its thread, the event loop turns."""
    ledger = opened(tmp_path)
    with contextlib.closing(sqlite3.connect(tmp_path / FILE)) as other:
        other.execute("BEGIN EXCLUSIVE")
        saving = asyncio.ensure_future(asyncio.to_thread(ledger.save, changed({"a": UNUSED}, {})))
        for _ in range(1000):
            await asyncio.sleep(0)
        assert not saving.done()
        other.rollback()
    await saving
    assert ledger.trouble is None
    assert read(tmp_path)[0] == {"a": UNUSED}


WRITER = """
import sys
from pathlib import Path
from reconciler.domain.ledger import Changes, ImageRecord
from reconciler.store.ledger import Ledger
from reconciler.host.lock import Lock
with Lock() as lock:
    ledger = Ledger.open(Path(sys.argv[1]), lock=lock)
    ledger.save(Changes({"a": ImageRecord(float(sys.argv[2]))}, {}, {}, []))
    print("saved", flush=True)
    sys.stdin.read()
"""


def test_a_ledger_that_another_process_writes_is_read_and_taken_over_when_that_one_ends(
    tmp_path: Path,
) -> None:
    """Two daemons with one state directory: what the second would write would undo the first's.
    It says who writes, and has all that the first wrote when that is killed."""
    kept(tmp_path, 1)
    run = [sys.executable, "-c", WRITER, str(tmp_path), str(T0 - 60)]
    with Lock() as lock:
        with subprocess.Popen(run, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"saved\n"
            ledger = Ledger.open(tmp_path, lock=lock)
            assert loaded(ledger)[0] == {"image0": UNUSED, "a": ImageRecord(T0 - 60)}
            assert ledger.save(changed({"b": UNUSED}, {}), T0) is None
            assert f"(pid {writer.pid}: " in str(ledger.trouble_to_log())
            assert "--state-dir" in str(ledger.trouble_to_log())
            assert ledger.trouble_to_log(standby=True) is None
            assert "b" not in read(tmp_path)[0]
            writer.kill()
        theirs = ledger.save(changed({"c": UNUSED}, {}), T0)
        assert theirs is not None
        assert known(theirs)[0] == {"image0": UNUSED, "a": ImageRecord(T0 - 60)}
        assert ledger.save(changed({"b": UNUSED, "c": UNUSED}, {}), T0) is None
        assert ledger.trouble_to_log() is None
        ledger.close()
    assert read(tmp_path)[0].keys() == {"image0", "a", "b", "c"}


def test_a_ledger_whose_directory_was_made_anew_and_taken_is_left_alone(tmp_path: Path) -> None:
    """Another process was faster on the new directory: nothing of ours is written into it, and
    nothing is forgotten."""
    folder = tmp_path / "state"
    with Lock() as lock:
        ledger = Ledger.open(folder, lock=lock)
        ledger.save(changed({"a": UNUSED}, {}), T0)
        shutil.rmtree(folder)
        ledger.save(changed({"b": UNUSED}, {}), T0)
        assert read(folder)[0].keys() == {"a", "b"}
        shutil.rmtree(folder)
        folder.mkdir()
        with Lock() as other:
            assert other.take([folder]) is None
            assert ledger.save(changed({"c": UNUSED}, {}), T0) is None
            assert list(folder.iterdir()) == []
        assert ledger.save(changed({}, {}), T0) is not None
        ledger.close()


def test_a_state_directory_that_can_not_be_made_is_told(tmp_path: Path) -> None:
    """A file in its place is the operator's to mend, before anything else is begun."""
    (tmp_path / "state").write_text("")
    with pytest.raises(LockUnavailable, match=f"no state directory at {tmp_path}/state: "):
        Ledger.make_room(tmp_path / "state")
    with Lock() as lock:
        ledger = Ledger.open(tmp_path / "state", lock=lock)
        assert ledger.save(changed({"a": UNUSED}, {}), T0) is None
        assert "live in memory only" in str(ledger.trouble_to_log())
