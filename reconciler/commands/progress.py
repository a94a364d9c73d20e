"""Progress of long work: one line on stderr that is written over and gone in the end; nothing at
all where stderr is no terminal."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Iterator

from ..domain.neutral import neutralised

SOON = 1.0  # seconds until a command that is at work says so
ERASE = "\r\x1b[K"
WIDEST = 78  # columns: a line that wraps cannot be written over


def show(text: str) -> None:
    """Writes the line, over the one before."""
    if sys.stderr.isatty():
        print(ERASE + neutralised(text)[:WIDEST], end="", file=sys.stderr, flush=True)


def clear() -> None:
    """Takes it away, before something else is printed."""
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
