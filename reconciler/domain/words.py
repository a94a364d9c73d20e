"""Small words for people."""

from __future__ import annotations

import datetime as dt


def and_more(some: list[str], of: list[str]) -> str:
    """The first few, and how many more there are."""
    rest = len(of) - len(some)
    return ", ".join(some) + (f" and {rest} more" if rest else "")


def counted(number: int, one: str, several: str = "") -> str:
    """How many of something: 1 image, 3 images; `several` where it does not end with an s."""
    return f"{number} {one if number == 1 else several or one + 's'}"


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
