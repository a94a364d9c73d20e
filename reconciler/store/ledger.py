"""The ledger on disk: one SQLite file in the state directory.

It survives restarts and kill -9 (write-ahead log, one transaction per save). With a disk that is
full or read-only it stays in memory, `trouble` says so, and every save tries again, with all that
changed in between. A file that is gone is rewritten whole. A file that cannot be read is set aside
and a new one started: every image then counts as seen just now, which errs on the side of keeping.

One process writes it: the one that holds the lock on the directory. Another reads it once,
continues in memory, and reads it again when it gets the lock (`save`).

A save is not forced to the disk (`synchronous = NORMAL`): when the power fails, what was saved in
the last seconds may be missing. A restart at that moment would forget as much: a removal that was
begun and is not remembered makes the image look as if somebody else had removed it.

Calls block; the daemon makes them in a thread, one at a time.
"""

from __future__ import annotations

import math
import os
import sqlite3
import time
from pathlib import Path

from ..domain.ledger import Changes, LogLine, Remembered
from ..host.clock import Clocks, no_second_clock
from ..host.lock import Lock, LockUnavailable
from .database import is_corrupt, opened, reading
from .ledger_file import STEPS, note_clocks, read_only, set_right
from .ledger_log import Log, load_log, trim_log, write_log
from .ledger_rows import Shelves, load, nothing

FILE = "ledger.db"
SET_ASIDE_KEPT = 3
UNWRITTEN_LOG = 10_000  # most unwritten lines of the log of starts that are kept
TRIM_AFTER = 1_000  # lines written to that log before it is trimmed


class Ledger:
    """The ledger on disk, and what could not be written to it yet."""

    def __init__(
        self, folder: Path, clocks: Clocks = no_second_clock, lock: Lock | None = None
    ) -> None:
        self._path, self._clocks = folder / FILE, clocks
        self._lock = lock  # None: nobody else writes here
        self._ours = lock is None
        self.writer: str | None = None  # another process that writes it, for people
        self._base: sqlite3.Connection | None = None
        self._inode: tuple[int, int] | None = None  # the file that was opened last
        self._shelves = Shelves()  # everything that should be on disk
        self._log: list[LogLine] = []  # to be written
        self._logged = TRIM_AFTER  # lines written since the log was trimmed
        self._rewrite = False  # the next save writes everything, not only changes
        self._notice: str | None = None
        self.trouble: str | None = None  # why it lives in memory only, for people
        self.set_aside: Path | None = None  # the file that could not be read, under its new name

    @classmethod
    def open(
        cls, folder: Path, clocks: Clocks = no_second_clock, lock: Lock | None = None
    ) -> Ledger:
        """Opens or creates the ledger; never raises for what a disk can do. `clocks` show whether
        the wall clock was set since it was written: its times are then corrected. Where another
        process has the lock it is only read."""
        ledger = cls(folder, clocks, lock)
        if ledger._take():
            ledger._connect()
        return ledger

    @classmethod
    def read(cls, folder: Path, now: float, clocks: Clocks = no_second_clock) -> Remembered:
        """Returns what is on disk, for a command that writes nothing; empty where there is none.
        Raises CannotRead."""
        with reading(folder / FILE):
            return read_only(folder / FILE, now, clocks())

    @classmethod
    def read_log(cls, folder: Path) -> Log | None:
        """The log of starts and pulls; None where there is none. Raises CannotRead."""
        with reading(folder / FILE):
            return load_log(folder / FILE, time.time())

    def load(self, now: float) -> Remembered:
        """Returns all records. Impossible times (the clock was set back) become `now`."""
        remembered = nothing()
        try:
            if self._base is None:  # a disk that cannot be written can still be read
                remembered = read_only(self._path, now, self._clocks())
            else:
                remembered = load(self._base, now)
        except (sqlite3.DatabaseError, OSError) as error:
            if self._base is not None:
                self._replace_file(error)
        self._shelves.put(remembered)
        return remembered

    @staticmethod
    def make_room(folder: Path) -> None:
        """Makes the state directory. Raises LockUnavailable if it cannot."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            text = f"no state directory at {folder}: {error.strerror}; name one that can be made"
            raise LockUnavailable(f"{text} with --state-dir") from error

    def save(self, changes: Changes, now: float = math.inf) -> Remembered | None:
        """Writes what changed in one transaction; None means forget. What cannot be written waits
        for the next save, and `trouble` says why. Where another process wrote the file until
        now, returns what that one wrote, and writes nothing yet: the caller merges it with what
        is known here."""
        self._shelves.images.update(changes.images)
        self._shelves.removals.update(changes.removals)
        self._shelves.arrivals.update(changes.arrivals)
        self._shelves.templates.update(changes.templates)
        self._shelves.overshoots.update(changes.overshoots)
        self._log = [*self._log, *changes.log][-UNWRITTEN_LOG:]
        before = self._ours
        if not self._take():
            return None
        if not before:
            return self._take_over(now)
        if self._inode is not None and self._file() != self._inode:
            self.close()
            self._rewrite = True  # the file was replaced, or is gone
        if self._base is None:
            self._connect()
        if not self._written():
            self._written()  # the file was damaged, and a new one was started
        return None

    def trouble_to_log(self, *, standby: bool = False) -> str | None:
        """What to log after a save: the current trouble, or, once, that a file was set aside. That
        another process writes the ledger is no trouble for one that stands by."""
        notice, self._notice = self._notice, None
        return notice or self.trouble or (None if standby else self._written_by())

    def close(self) -> None:
        if self._base is not None:
            self._base.close()
            self._base = None

    def _take(self) -> bool:
        """Whether this process may write the file. No other process has a directory that is gone or
        can't be made: then the last answer stays valid."""
        if self._lock is None:
            return True
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self.writer = self._lock.take([self._path.parent])
        except OSError as error:
            if not self._ours:
                self._give_up(error)
            return self._ours
        self._ours = self.writer is None
        if not self._ours:
            self.close()
        return self._ours

    def _take_over(self, now: float) -> Remembered:
        """Returns what is in a file that another process wrote until now, and which already has the
        pulls in its log."""
        self._log = [line for line in self._log if line.container]
        self._connect()
        return self.load(now)

    def _written_by(self) -> str | None:
        if self.writer is None:
            return None
        text = f"{self._path.parent}: {self.writer} writes it; ages live in memory only here; "
        return text + "give each its own --state-dir"

    def _written(self) -> bool:
        """Writes what waits. False: the file was damaged and replaced, so write again."""
        if self._base is None:
            return True
        try:
            with self._base:
                self._write(self._base)
        except sqlite3.DatabaseError as error:
            if is_corrupt(error):
                self._replace_file(error)
                return False
            self._give_up(error)
            return True
        self._shelves.settle()
        self._log, self._rewrite, self.trouble = [], False, None
        return True

    def _write(self, base: sqlite3.Connection) -> None:
        self._shelves.write(base, whole=self._rewrite)
        note_clocks(base, self._clocks())
        write_log(base, self._log)
        self._logged += len(self._log)
        if self._logged >= TRIM_AFTER:
            trim_log(base)
            self._logged = 0

    def _connect(self) -> None:
        try:
            base = opened(self._path, STEPS)
            self._use(base)
            set_right(base, self._clocks())
            self.trouble = None
        except sqlite3.DatabaseError as error:
            if is_corrupt(error):
                self._replace_file(error)
            else:
                self._give_up(error)
        except OSError as error:
            self._give_up(error)

    def _use(self, base: sqlite3.Connection) -> None:
        self._base, self._inode = base, self._file()

    def _file(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self._path)
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _replace_file(self, error: Exception) -> None:
        """Sets an unreadable file aside and starts a new one."""
        self.close()
        self._rewrite = True
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        aside = self._path.with_name(f"{FILE}.unreadable-{stamp}")
        try:
            self._path.rename(aside)
            for suffix in ("-wal", "-shm"):
                Path(f"{self._path}{suffix}").unlink(missing_ok=True)
            for old in sorted(self._path.parent.glob(f"{FILE}.unreadable-*"))[:-SET_ASIDE_KEPT]:
                old.unlink()
            self._use(opened(self._path, STEPS))
        except (OSError, sqlite3.DatabaseError) as again:
            self._give_up(again)
            return
        self.set_aside = aside
        self._notice = f"{self._path} could not be read ({error}); set aside as {aside.name}"

    def _give_up(self, error: Exception) -> None:
        self.close()
        self.trouble = f"{self._path}: {error}; first-seen and last-used times live in memory only"
