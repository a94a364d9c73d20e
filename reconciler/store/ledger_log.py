"""The ledger's log of starts and pulls: what `record` exports and `simulate` replays. Bounded; no
decision uses it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..domain.ledger import ImageRecord, LogLine
from .ledger_file import copied
from .ledger_rows import load

STARTS_KEPT = 50_000  # the newest; about a month of a busy node, some 10 MB
PULLS_KEPT = 20_000


@dataclass(frozen=True, slots=True)
class Log:
    """The log of starts and pulls, oldest first, with the records of the images in it."""

    starts: tuple[tuple[float, float | None, str], ...]  # start, end, image key
    pulls: tuple[tuple[float, str], ...]
    images: dict[str, ImageRecord]
    present: frozenset[str]  # the images on the node


def load_log(path: Path, now: float) -> Log | None:
    """The log of starts and pulls; None where there is no ledger. Raises sqlite3.Error, OSError."""
    base = copied(path)
    if base is None:
        return None
    try:
        remembered = load(base, now)
        starts = base.execute("SELECT at, ended, key FROM starts ORDER BY at, container")
        pulls = base.execute("SELECT at, key FROM pulls ORDER BY at, key")
        return Log(
            tuple(starts),
            tuple(pulls),
            remembered.images | remembered.gone,
            frozenset(remembered.images),
        )
    finally:
        base.close()


def write_log(base: sqlite3.Connection, log: Iterable[LogLine]) -> None:
    """Adds lines to the log, inside the caller's transaction."""
    for line in log:
        if line.ended:
            base.execute(
                "UPDATE starts SET ended = ? WHERE container = ?", (line.at, line.container)
            )
        elif line.container:
            base.execute(
                "INSERT OR IGNORE INTO starts (container, key, at) VALUES (?, ?, ?)",
                (line.container, line.key, line.at),
            )
        else:
            base.execute("INSERT OR IGNORE INTO pulls (key, at) VALUES (?, ?)", (line.key, line.at))


def trim_log(base: sqlite3.Connection) -> None:
    """Forgets the oldest starts and pulls beyond what is kept."""
    for table, kept in (("starts", STARTS_KEPT), ("pulls", PULLS_KEPT)):
        base.execute(
            f"DELETE FROM {table} WHERE at < "
            f"(SELECT at FROM {table} ORDER BY at DESC LIMIT 1 OFFSET ?)",
            (kept,),
        )
