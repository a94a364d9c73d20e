"""The log: one line per decision that matters, on stderr, as text or as JSON.

Names come from strangers: control characters, escape sequences and bidirectional marks are shown as
escapes and long texts cut, in one place, whatever is logged.
"""

from __future__ import annotations

import contextlib
import logging
import re
import sys
from collections.abc import Iterator, MutableMapping
from typing import Any


@contextlib.contextmanager
def _hidden(name: str) -> Iterator[None]:
    """Makes an optional import of others fail, unless somebody has it loaded already."""
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

LONGEST = 2000  # characters of one value
REMIND = 600.0  # seconds between reminders of a trouble that lasts

_HOSTILE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")

Event = MutableMapping[str, Any]
get_logger = structlog.get_logger  # whoever logs takes it from here


def neutralised(text: str) -> str:
    """The text with everything a terminal or a log could trip over shown as an escape."""
    shown = _HOSTILE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
    return shown if len(shown) <= LONGEST else f"{shown[:LONGEST]}... ({len(shown)} characters)"


def _neutralise(logger: object, method: str, event: Event) -> Event:
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = neutralised(value)
        elif isinstance(value, list | tuple):
            event[key] = [neutralised(str(one)) for one in value]
    return event


def _as_text(logger: object, method: str, event: Event) -> str:
    """`2026-01-31T09:00:00Z info  removed image=... freed_bytes=...`"""
    head = f"{event.pop('timestamp')} {event.pop('level'):<7} {event.pop('event')}"
    return " ".join([head, *(f"{key}={_quoted(value)}" for key, value in event.items())])


def _quoted(value: object) -> str:
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    return f'"{text}"' if " " in text or not text else text


def set_up(as_json: bool, level: str) -> None:
    """To be called once, before anything is logged."""
    render: structlog.typing.Processor = (
        structlog.processors.JSONRenderer() if as_json else _as_text
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.UnicodeDecoder(),
            _neutralise,
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )


class Once:
    """Tells a trouble when it begins, reminds of it with a count while it lasts, and lets it be
    told anew after it ended or changed."""

    def __init__(self) -> None:
        self._told: dict[str, tuple[str, float, int]] = {}  # topic -> text, when, how often since

    def due(self, topic: str, text: str, now: float) -> int | None:
        """How often it came up since it was last told (0 the first time); None: not now."""
        before, told, count = self._told.get(topic, ("", 0.0, 0))
        if text == before and now - told < REMIND:
            self._told[topic] = (before, told, count + 1)
            return None
        self._told[topic] = (text, now, 0)
        return count if text == before else 0

    def over(self, topic: str) -> bool:
        """The trouble ended; whether it had been told."""
        return self._told.pop(topic, None) is not None
