"""Logs a trouble that lasts or returns once, then counts it."""

from __future__ import annotations

from dataclasses import dataclass

from .logs import get_logger

REMIND = 600.0  # seconds between reminders of a trouble that lasts
CHANGES = 10  # times in REMIND that a trouble is logged because its text changed


class Once:
    """Decides when a trouble is logged: when it begins, now and then with a count while it lasts,
    and again after it ended or changed, but not for every change of one that keeps changing."""

    def __init__(self) -> None:
        self._topics: dict[str, _Topic] = {}

    def due(self, topic: str, text: str, now: float) -> int | None:
        """How often it came up since it was last logged (0 the first time); None: not now."""
        known = self._topics.setdefault(topic, _Topic(began=now))
        if now - known.began >= REMIND:
            known.began, known.changes = now, 0
        elif text == known.text or known.changes >= CHANGES:
            known.suppressed += 1
            return None
        count = known.suppressed if text == known.text else 0
        known.text, known.changes, known.suppressed = text, known.changes + 1, 0
        return count

    def over(self, topic: str) -> bool:
        """Ends the trouble; returns whether it had been logged."""
        return self._topics.pop(topic, None) is not None


@dataclass(slots=True)
class _Topic:
    began: float  # when the span of REMIND seconds began
    text: str | None = None
    changes: int = 0  # times logged in that span
    suppressed: int = 0  # times not logged since the last line


class Troubles(Once):
    """Troubles by the name of their log event."""

    def __init__(self) -> None:
        super().__init__()
        self._log = get_logger()

    def warn(self, event: str, detail: str, at: float) -> bool:
        """Logs a warning if one is due; returns whether it was."""
        count = self.due(event, detail, at)
        if count is not None:
            self._log.warning(event, detail=detail, **since_logged(count))
        return count is not None

    def ended(self, event: str, then: str) -> None:
        """Logs that a trouble is over, if it had been logged."""
        if self.over(event):
            self._log.info(then)


def since_logged(count: int) -> dict[str, int]:
    """The log field that says how often a trouble came up since the last line."""
    return {"times_since": count} if count else {}
