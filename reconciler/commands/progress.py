"""Shows the progress of long work: one line on stderr that is overwritten and erased at the end;
nothing at all if stderr is not a terminal."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Iterator

from ..domain.neutral import neutralised

SOON = 1.0  # seconds until a working command shows its progress
ERASE = "\r\x1b[K"
WIDEST = 78  # columns: a line that wraps cannot be overwritten


def show(text: str) -> None:
    """Writes the line over the previous one."""
    if sys.stderr.isatty():
        print(ERASE + neutralised(text)[:WIDEST], end="", file=sys.stderr, flush=True)


def clear() -> None:
    """Erases the line, before something else is printed."""
    if sys.stderr.isatty():
        print(ERASE, end="", file=sys.stderr, flush=True)


@contextlib.contextmanager
def waiting(text: str, after: float = SOON) -> Iterator[None]:
    """Shows the text if the block takes longer than `after` seconds, until it ends."""
    due = asyncio.get_running_loop().call_later(after, show, text)
    try:
        yield
    finally:
        due.cancel()
        clear()
