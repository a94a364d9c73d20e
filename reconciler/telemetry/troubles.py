"""Troubles, which last or come again: each is told once, then counted."""

from __future__ import annotations

from dataclasses import dataclass

from .logs import get_logger

REMIND = 600.0  # seconds between reminders of a trouble that lasts
CHANGES = 10  # times in REMIND that a trouble is told for having changed


class Once:
    """Tells a trouble when it begins, reminds of it with a count while it lasts, and lets it be
    told anew after it ended or changed; but not for every change of one that keeps changing."""

    def __init__(self) -> None:
        self._told: dict[str, _Told] = {}  # by topic

    def due(self, topic: str, text: str, now: float) -> int | None:
        """How often it came up since it was last told (0 the first time); None: not now."""
        told = self._told.setdefault(topic, _Told(began=now))
        if now - told.began >= REMIND:
            told.began, told.changes = now, 0
        elif text == told.text or told.changes >= CHANGES:
            told.untold += 1
            return None
        count = told.untold if text == told.text else 0
        told.text, told.changes, told.untold = text, told.changes + 1, 0
        return count

    def over(self, topic: str) -> bool:
        """The trouble ended; whether it had been told."""
        return self._told.pop(topic, None) is not None


@dataclass(slots=True)
class _Told:
    began: float  # when the span of REMIND seconds began
    text: str | None = None
    changes: int = 0  # times told in that span
    untold: int = 0


class Troubles(Once):
    """Those that the log tells, by their event's name."""

    def __init__(self) -> None:
        super().__init__()
        self._log = get_logger()

    def tell(self, event: str, detail: str, at: float) -> bool:
        """A line, if one is due; whether it was."""
        count = self.due(event, detail, at)
        if count is not None:
            self._log.warning(event, detail=detail, **since_told(count))
        return count is not None

    def ended(self, event: str, then: str) -> None:
        """The line that a trouble is over, if it had been told."""
        if self.over(event):
            self._log.info(then)


def since_told(count: int) -> dict[str, int]:
    """What a reminder says of how often it came up since."""
    return {"times_since": count} if count else {}
