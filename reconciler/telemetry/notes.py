"""The content of Kubernetes Events on this node's Node object, whether or not they are sent
(node_events.py). The journal notes it from the same facts as the log.

    ImagesRemoved       a reclaim ended: how many images, bytes, from which usage to which
    ImagesExhausted     nothing more may go, and usage is above the low mark
    ImageInUseMissing   somebody removed an image that containers run on
    PolicyRefused       the policy on disk has a mistake; the last good one stays in force
"""

from __future__ import annotations

from dataclasses import dataclass

from ..domain.humanize import counted, size_text
from ..domain.plan import Cause
from ..store.history import Entry

SPACING = 300.0  # seconds between two Events of one reason
SETTLE = 5.0  # seconds after the low mark, so that a reclaim's last removal is counted too


@dataclass(slots=True)
class Note:
    """One Event to send: the newest text for its reason, and how often it came up since `began`."""

    reason: str
    text: str
    warning: bool
    began: float  # seconds since 1970
    at: float
    count: int = 1


@dataclass(slots=True)
class _Reclaim:
    began_percent: float
    images: int = 0
    freed: int = 0  # bytes
    ended_at: float | None = None
    ended_percent: float = 0.0


class Notes:
    """At most one Event waits for each reason."""

    def __init__(self) -> None:
        self._waiting: dict[str, Note] = {}
        self._sent_at: dict[str, float] = {}
        self._reclaims: dict[str, _Reclaim] = {}  # by mountpoint

    def crossed(self, mountpoint: str, percent: float, at: float) -> None:
        """A filesystem reached its high mark: a reclaim begins."""
        self._end(mountpoint, at)
        self._reclaims[mountpoint] = _Reclaim(percent)

    def reached(self, mountpoint: str, percent: float, at: float) -> None:
        """It is back at its low mark. The last removals are counted until `SETTLE` is over."""
        reclaim = self._reclaims.get(mountpoint)
        if reclaim is not None:
            reclaim.ended_at, reclaim.ended_percent = at, percent

    def removed(self, entry: Entry) -> None:
        """An image is gone."""
        reclaim = self._reclaims.get(entry.mountpoint)
        if reclaim is not None and entry.cause == Cause.WATERMARK.value:
            reclaim.images += 1
            reclaim.freed += entry.freed or 0

    def shown(self, mountpoint: str, freed: int) -> None:
        """Bytes that an earlier removal freed show only now."""
        reclaim = self._reclaims.get(mountpoint)
        if reclaim is not None:
            reclaim.freed += freed

    def exhausted(self, detail: str, at: float) -> None:
        """Nothing more may go, though a filesystem is above its low mark."""
        removed = sum(reclaim.images for reclaim in self._reclaims.values())
        self.warn("ImagesExhausted", f"{detail}; removed {removed} so far", at)

    def warn(self, reason: str, text: str, at: float) -> None:
        """Something an operator should see on the node."""
        self._wait(reason, text, at, warning=True)

    def _end(self, mountpoint: str, now: float) -> None:
        reclaim = self._reclaims.pop(mountpoint, None)
        if reclaim is None or reclaim.ended_at is None or not reclaim.images:
            return
        images = counted(reclaim.images, "image")
        text = f"removed {images}, freed {size_text(reclaim.freed)}, {mountpoint} "
        text += f"from {reclaim.began_percent:g}% to {reclaim.ended_percent:g}%"
        self._wait("ImagesRemoved", text, now, warning=False)

    def _wait(self, reason: str, text: str, now: float, *, warning: bool) -> None:
        note = self._waiting.setdefault(reason, Note(reason, text, warning, now, now, 0))
        note.text, note.at, note.count = text, now, note.count + 1

    def take(self, now: float) -> list[Note]:
        """Returns what may be sent now, in the order it came up; it counts as sent."""
        for mountpoint, reclaim in list(self._reclaims.items()):
            if reclaim.ended_at is not None and now - reclaim.ended_at >= SETTLE:
                self._end(mountpoint, now)
        due = [
            note
            for reason, note in self._waiting.items()
            if now - self._sent_at.get(reason, -SPACING) >= SPACING
        ]
        for note in due:
            del self._waiting[note.reason]
            self._sent_at[note.reason] = now
        return due
