"""The log: one line per decision that matters, on stderr, as text or as JSON.

Names are untrusted: control characters, escape sequences and bidirectional marks are shown as
escapes and long texts are cut, in one place, whatever is logged.
"""

from __future__ import annotations

import contextlib
import io
import logging
import math
import sys
from collections.abc import Callable, Iterator, MutableMapping
from typing import Any, TextIO, cast

from ..domain.neutral import neutralised
from .recent import Recent


@contextlib.contextmanager
def _hidden(name: str) -> Iterator[None]:
    """Makes a library's optional import of this module fail, unless it is loaded already."""
    modules: dict[str, object] = sys.modules  # type: ignore[assignment] # None: import fails
    modules.setdefault(name, None)
    try:
        yield
    finally:
        if modules[name] is None:
            del modules[name]


with _hidden("rich"):  # loaded for a renderer that is not used here: 5 MiB on every node
    import structlog
    import structlog.typing

MOST_ITEMS = 20  # shown of one list

Event = MutableMapping[str, Any]
get_logger = structlog.get_logger  # imported from here by every module that logs


def _neutralise(logger: object, method: str, event: Event) -> Event:
    for key, value in event.items():
        if isinstance(value, list | tuple | set | frozenset):
            event[key] = _shortened([neutralised(str(one)) for one in value])
        elif isinstance(value, float) and not math.isfinite(value):
            event[key] = str(value)  # JSON cannot express it
        elif not isinstance(value, bool | int | float | None):
            event[key] = neutralised(str(value))
    return event


def _shortened(items: list[str]) -> list[str]:
    return (
        items if len(items) <= MOST_ITEMS else [*items[:MOST_ITEMS], f"... ({len(items)} in all)"]
    )


def _as_text(logger: object, method: str, event: Event) -> str:
    """`2026-01-31T09:00:00Z info  removed image=... freed_bytes=...`"""
    head = f"{event.pop('timestamp')} {event.pop('level'):<7} {event.pop('event')}"
    return " ".join([head, *(f"{key}={_quoted(value)}" for key, value in event.items())])


def _quoted(value: object) -> str:
    """A value that cannot be mistaken for a key or end early: one with a space, a quote or an
    equals sign is put in quotes, in which backslashes and quotes are escaped by a backslash. In the
    items of a list so are backslashes and commas, so that one item can't pass for two."""
    text = ",".join(map(_item, value)) if isinstance(value, list) else str(value)
    if text and not any(mark.isspace() or mark in '"=' for mark in text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _item(text: str) -> str:
    return text.replace("\\", "\\\\").replace(",", "\\,")


class Discarded(io.TextIOBase):
    """Discards log lines that nobody should see; `recent` remembers them all the same."""

    def write(self, text: str) -> int:
        return len(text)


class Written(io.TextIOBase):
    """Writes log lines to a stream, past its buffer, which would keep what can't be written and
    fail with it again and again. A line that can't be written (the disk is full, nobody reads, the
    stream is closed) is lost: what the daemon does is worth more than its log."""

    def __init__(self, to: TextIO, lost: Callable[[], None]) -> None:
        self._to, self._lost = to, lost
        self._torn = False  # the last line was written in part

    def write(self, text: str) -> int:
        begun = "\n" + text if self._torn else text
        left = begun.encode(self._to.encoding, "backslashreplace")
        try:
            raw = getattr(self._to.buffer, "raw", self._to.buffer)
            while left:
                written = left[: raw.write(left) or 0]
                if not written:
                    raise BlockingIOError
                self._torn = not written.endswith(b"\n")
                left = left[len(written) :]
        except (OSError, ValueError):
            self._lost()
        return len(text)


def set_up(
    as_json: bool,
    level: str,
    recent: Recent | None = None,
    to: io.TextIOBase | None = None,
    lost: Callable[[], None] = lambda: None,
) -> None:
    """Configures logging; called once, before anything is logged. Lines go to `to`, by default
    stderr, where `lost` is called for each that can't be written; `recent` remembers the newest
    ones."""

    def remember(logger: object, method: str, event: Event) -> Event:
        if recent is not None:
            recent.add(event)
        return event

    to = to or Written(sys.stderr, lost)
    render: structlog.typing.Processor = (
        structlog.processors.JSONRenderer() if as_json else _as_text
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.UnicodeDecoder(),
            _neutralise,
            remember,
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=structlog.WriteLoggerFactory(file=cast("TextIO", to)),
        cache_logger_on_first_use=True,
    )
