"""Opens our SQLite files, all in the same way: with a write-ahead log, a schema number, and a check
of the file."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from ..regular_file import Refused, check

PATIENCE = 2.0  # seconds to wait for another process's transaction


class Unreadable(sqlite3.DatabaseError):
    """The file is damaged, of a later version of this program, or has impossible contents."""


class CannotRead(Exception):
    """One of our files is there and cannot be read; the text says which, why, and what to do."""


def opened(path: Path, steps: Sequence[str]) -> sqlite3.Connection:
    """Opens or creates a file. Each of `steps` is the SQL that makes a file of schema n, its place
    in the list, one of schema n + 1; the first makes a new one. In a write-ahead log with
    `synchronous = NORMAL` a transaction survives kill -9 of ours; the newest may be lost with the
    machine's power. Raises sqlite3.Error, OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    check_kinds(path)
    base = sqlite3.connect(path, timeout=PATIENCE, check_same_thread=False)
    try:
        base.execute("PRAGMA journal_mode = WAL")
        base.execute("PRAGMA synchronous = NORMAL")
        base.execute("PRAGMA journal_size_limit = 1048576")
        base.execute("PRAGMA cache_size = -256")  # KiB: what is written is rarely read again
        migrate(base, steps)
        (verdict,) = base.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise Unreadable(verdict)
    except sqlite3.Error:
        base.close()
        raise
    return base


def check_kinds(path: Path) -> None:
    """Raises OSError unless each file that SQLite would open is a regular one or absent: to open a
    FIFO it would wait for ever."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        with suppress(FileNotFoundError):
            check(Path(f"{path}{suffix}"))


def is_there(path: Path) -> bool:
    """Whether there is such a file. Raises OSError where nobody can tell."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def why_unreadable(path: Path) -> str | None:
    """Why this user may not read one of our files, for people; None: it may, or there is none."""
    try:
        if not is_there(path) or os.access(path, os.R_OK, effective_ids=True):
            return None
        why = os.strerror(errno.EACCES)
    except OSError as error:
        why = error.strerror or str(error)
    return f"{path} cannot be read: {why}; this needs to run as a user who may (root)"


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Raises CannotRead for what SQLite and the disk raise within."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise CannotRead(why_unreadable(path) or _in_words(path, error)) from error


def _in_words(path: Path, error: sqlite3.Error | OSError) -> str:
    if isinstance(error, Refused) and not path.is_dir():
        return f"{error.filename} cannot be read: {error}; move it away"
    why = os.strerror(errno.EISDIR) if path.is_dir() else str(error)
    useless = path.is_dir() or (isinstance(error, sqlite3.Error) and is_corrupt(error))
    remedy = "move it away, and the daemon begins a new one" if useless else "try again"
    return f"{path} cannot be read: {why}; {remedy}"


def migrate(base: sqlite3.Connection, steps: Sequence[str]) -> None:
    """Makes the tables, or migrates older ones, each step in one transaction."""
    found = schema_of(base, known=len(steps))
    for number, step in enumerate(steps[found:], found + 1):
        base.executescript(f"BEGIN; {step} PRAGMA user_version = {number}; COMMIT;")


def schema_of(base: sqlite3.Connection, known: int) -> int:
    """A file's schema, 0 for a new one. Raises Unreadable if it is later than what is known."""
    (found,) = base.execute("PRAGMA user_version").fetchone()
    if found > known:
        raise Unreadable(f"written by a later version (schema {found}, known is {known})")
    return int(found)


def is_corrupt(error: sqlite3.Error) -> bool:
    """Whether this version can never read a file: set it aside and start a new one."""
    if isinstance(error, Unreadable):
        return True
    codes = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
    code = getattr(error, "sqlite_errorcode", None)
    missing_table = isinstance(error, sqlite3.OperationalError) and "no such" in str(error)
    return missing_table or (code is not None and code & 0xFF in codes)
