"""`reconciler history`: what was removed here, when and why, and how to pull it again."""

from __future__ import annotations

import sys
import time

from ..domain.humanize import image_name, size_text
from ..report import document, entry_json, freed_text, timestamp, to_text
from ..settings import Settings
from ..store.database import CannotRead
from ..store.history import Entry, read
from .tables import Table, emit, heading


def history(settings: Settings, output: str, since: float | None, image: str, count: int) -> int:
    """Prints removals, newest first; `since`: only those of the last `since` seconds. Returns 1 if
    they cannot be read."""
    now = time.time()
    start = 0.0 if since is None else now - since
    try:
        entries = read(settings.state_dir, count, start, image)
    except CannotRead as trouble:
        print(f"error: {trouble}", file=sys.stderr)
        return 1
    if output == "json":
        listed = document("History", now) | {"items": [entry_json(entry) for entry in entries]}
        print(to_text(listed))
    elif not entries:
        heading("nothing was removed here" + (" that matches" if image or since else ""))
    else:
        _show(entries)
    return 0


def _show(entries: tuple[Entry, ...]) -> None:
    rows = tuple(_row(entry) for entry in entries)
    columns = ("when", "image", "freed", "cause", "why")
    emit(Table("Removed, the newest first", columns, rows))
    freed = sum(entry.freed or 0 for entry in entries if entry.outcome == "removed")
    gone = sum(entry.outcome == "removed" for entry in entries)
    heading(f"{gone} removed, {size_text(freed)} freed; `-o json` has the digests to pull again by")


def _row(entry: Entry) -> tuple[str, ...]:
    name = image_name(entry.names, entry.image_id)
    if entry.outcome != "removed":
        why = entry.error or "the runtime answered OK, but it was still listed"
        what = "untagged, NOT removed" if entry.outcome == "untagged" else "NOT removed"
        return timestamp(entry.at), name, "-", entry.cause, f"{what}: {why}"
    freed = freed_text(entry.freed, entry.about)
    return timestamp(entry.at), name, freed, entry.cause, entry.why
