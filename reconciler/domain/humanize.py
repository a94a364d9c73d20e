"""Format values for people."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence


def and_more(some: list[str], of: list[str]) -> str:
    """Returns the first few, and how many more there are."""
    more = len(of) - len(some)
    return ", ".join(some) + (f" and {more} more" if more else "")


def counted(number: int, one: str, several: str = "") -> str:
    """Returns a count with its noun: 1 image, 3 images; `several`: a plural that is irregular."""
    return f"{number} {one if number == 1 else several or one + 's'}"


def image_name(names: Sequence[str], image_id: str) -> str:
    """Returns an image's first name, or enough of its id to distinguish it."""
    return names[0] if names else f"sha256:{image_id.removeprefix('sha256:')[:12]}"


def size_text(count: float) -> str:
    """Bytes for people: 512 B, 1.5 MiB, 40 GiB."""
    unit = "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if abs(count) < 1024:
            break
        count, unit = count / 1024, larger
    return f"{count:.1f}".removesuffix(".0") + f" {unit}"


def ago(seconds: float) -> str:
    """How long ago for people, in one unit: 42 s ago, 5 min ago, 3 h ago, 9 d ago."""
    whole = max(0, int(seconds))
    for unit, length, up_to in (("s", 1, 60), ("min", 60, 3600), ("h", 3600, 48 * 3600)):
        if whole < up_to:
            return f"{whole // length} {unit} ago"
    return f"{whole // 86400} d ago"


def unused_for(seconds: float, *, used: bool = True) -> str:
    """How long an image has been unused, or, if it was never used, on this node."""
    return f"{'unused' if used else 'on this node'} for {duration(seconds)}"


def how_often(a_day: float) -> str:
    """A number of uses a day for people: 5x an hour, 3x a day, once a week."""
    for times, span in ((a_day / 24, "an hour"), (a_day, "a day"), (a_day * 7, "a week")):
        if times >= 0.95:
            return f"once {span}" if times < 1.5 else f"{times:.0f}x {span}"
    return "less than once a week"


def duration(seconds: float) -> str:
    """A span of time for people: 42s, 5m, 3h20m, 9d."""
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m"
    if whole < 48 * 3600:
        hours, minutes = divmod(whole // 60, 60)
        return f"{hours}h{minutes}m" if minutes else f"{hours}h"
    return f"{dt.timedelta(seconds=whole).days}d"
