"""The margin between kubelet's line and the high mark, learned from the node itself.

After usage reaches the high mark it goes on rising until removal takes effect: pulls are in flight,
layers are unpacked, a removal takes time, its space may show late. How far it ran in each of the
last crossings is remembered; the margin is the farthest of them and a quarter more, within bounds.
A node that has seen few crossings starts with a larger margin, which shrinks with each.

    margin = the farthest of the last 32 x 1.25 + 0.2 %, and at least 3 % x (16 - crossings) / 16,
             between 0.5 and 10 % of the filesystem
"""

from __future__ import annotations

from dataclasses import dataclass

KEPT = 32  # crossings
SAFETY_FACTOR = 1.25
EXTRA = 0.002  # of the capacity
UNLEARNED, LEARNED_AFTER = 0.03, 16  # of the capacity; shrinks to 0 over so many crossings
LEAST, MOST = 0.005, 0.1  # of the capacity
BAND = 0.005  # of the capacity, from the high mark down to the low one
INODES_MARGIN, INODES_BAND = 0.02, 0.01  # of all inodes: used up slowly, so nothing is learned

SLOWEST, FASTEST = 1.0, 0.1  # seconds between measurements of the disk
LOOKS = 4  # measurements before the mark is reached, at the speed of the last seconds
GAP = 5.0  # seconds between two measurements, at most, for a crossing to count as seen
HALF_LIFE = 10.0  # seconds after which a speed counts half


@dataclass(slots=True)
class Overshoot:
    """How far usage of one filesystem ran past its high mark in the last crossings, in bytes."""

    recent: tuple[int, ...] = ()
    farthest: int | None = None  # in the current crossing; None: there is none
    learned: int | None = None  # in the crossing that just ended; None: it taught nothing
    helpless: bool = False  # nothing more may be removed in it: a margin would not help
    filling: float = 0.0  # bytes a second, the fastest recently
    _used: int = 0
    _at: float | None = None

    def take_sample(self, used: int, high: int, at: float, *, counts: bool = True) -> bool:
        """Takes in a new measurement; returns whether a crossing ended that taught something. One
        whose beginning was not seen teaches nothing (as when the daemon was started on a full
        disk), nor one during which nothing is removed here (`counts` False)."""
        recent = self._at is not None and at - self._at <= GAP
        seen, mark_moved = recent and self._used < high, recent and self._used >= high
        self._note_speed(used, at)
        if used >= high and self.farthest is None and not mark_moved:
            self.learned = None  # a new crossing: usage rose, the mark did not move down
        if not counts or (used >= high and self.farthest is None and not seen):
            self.farthest, self.helpless = None, False
        elif used >= high:
            if not self.helpless:
                self.farthest = max(self.farthest or 0, used - high)
        elif self.farthest is not None:
            return self._end(self.farthest)
        return False

    def _end(self, farthest: int) -> bool:
        """Ends a crossing. If nothing more could be removed in it, usage may have run on for that
        reason alone: it teaches only if it ran farther than in all crossings before."""
        teaches = not self.helpless or farthest > max(self.recent, default=0)
        if teaches:
            self.learned, self.recent = farthest, (*self.recent, farthest)[-KEPT:]
        self.farthest, self.helpless = None, False
        return teaches

    def margin(self, capacity: int) -> int:
        """Returns the bytes between the high mark and the line above it."""
        expected = max(self.recent, default=0) * SAFETY_FACTOR + capacity * EXTRA
        careful = capacity * UNLEARNED * max(0, LEARNED_AFTER - len(self.recent)) / LEARNED_AFTER
        return int(min(max(expected, careful, capacity * LEAST), capacity * MOST))

    def look_again_in(self, high: int) -> float:
        """Returns the seconds until the next measurement: few if the mark may be reached soon."""
        if self.filling <= 0:
            return SLOWEST
        return min(max((high - self._used) / self.filling / LOOKS, FASTEST), SLOWEST)

    def _note_speed(self, used: int, at: float) -> None:
        if self._at is not None and at > self._at:
            span = at - self._at
            self.filling *= 0.5 ** (span / HALF_LIFE)
            self.filling = max(self.filling, (used - self._used) / span)
            if self.filling < 1.0:
                self.filling = 0.0
        self._used, self._at = used, at
