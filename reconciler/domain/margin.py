"""How far below kubelet's line the high mark stands: what the node itself has taught.

Between the moment when usage reaches the high mark and the one when removal has it back, it runs
on: pulls are in flight, layers are unpacked, a removal takes its time, its space may come late. How
far it ran, each of the last times, is remembered; the margin is the farthest of them and a quarter
more, within bounds. A node that has seen few crossings is careful, and less so with each.

    margin = the farthest of the last 32 x 1.25 + 0.2 %, and at least 3 % x (16 - crossings) / 16,
             between 0.5 and 10 % of the filesystem
"""

from __future__ import annotations

from dataclasses import dataclass

KEPT = 32  # crossings
SAFETY_FACTOR = 1.25
EXTRA = 0.002  # of the capacity
UNLEARNED, LEARNED_AFTER = 0.03, 16  # of the capacity, until so many crossings
LEAST, MOST = 0.005, 0.1  # of the capacity
BAND = 0.005  # of the capacity, from the high mark down to the low one
INODES_MARGIN, INODES_BAND = 0.02, 0.01  # of all inodes: they go slowly, and nothing is learned

SLOWEST, FASTEST = 1.0, 0.1  # seconds between looks at the disk
LOOKS = 4  # before the mark is reached, at the speed of the last seconds
GAP = 5.0  # seconds between two looks, at the most, for a crossing between them to be seen
CALMS = 10.0  # seconds after which a speed counts half


@dataclass(slots=True)
class Overshoot:
    """How far usage of one filesystem ran past its high mark, in the last crossings, in bytes."""

    recent: tuple[int, ...] = ()
    farthest: int | None = None  # in the crossing that goes on; None: there is none
    taught: int | None = None  # in the crossing that just ended; None: it taught nothing
    helpless: bool = False  # nothing more may be removed in it: a margin would not help
    filling: float = 0.0  # bytes a second, the fastest of late
    _used: int = 0
    _at: float | None = None

    def take_sample(self, used: int, high: int, at: float, *, counts: bool = True) -> bool:
        """A new measurement; gives whether a crossing ended that taught something. One whose
        beginning was not seen teaches nothing (the daemon was started on a full disk, say), nor
        one while nothing is removed here (`counts`)."""
        looked = self._at is not None and at - self._at <= GAP
        seen, moved = looked and self._used < high, looked and self._used >= high
        self._note_speed(used, at)
        if used >= high and self.farthest is None and not moved:
            self.taught = None  # it is a new crossing, not the mark that moved down
        if not counts or (used >= high and self.farthest is None and not seen):
            self.farthest, self.helpless = None, False
        elif used >= high:
            if not self.helpless:
                self.farthest = max(self.farthest or 0, used - high)
        elif self.farthest is not None:
            return self._end(self.farthest)
        return False

    def _end(self, farthest: int) -> bool:
        """Where nothing more could be removed, it may have run farther only for that."""
        teaches = not self.helpless or farthest > max(self.recent, default=0)
        if teaches:
            self.taught, self.recent = farthest, (*self.recent, farthest)[-KEPT:]
        self.farthest, self.helpless = None, False
        return teaches

    def margin(self, capacity: int) -> int:
        """Bytes between the high mark and the line above it."""
        learned = max(self.recent, default=0) * SAFETY_FACTOR + capacity * EXTRA
        careful = capacity * UNLEARNED * max(0, LEARNED_AFTER - len(self.recent)) / LEARNED_AFTER
        return int(min(max(learned, careful, capacity * LEAST), capacity * MOST))

    def look_again_in(self, high: int) -> float:
        """Seconds until the disk is to be looked at: soon, where the mark may be reached soon."""
        if self.filling <= 0:
            return SLOWEST
        return min(max((high - self._used) / self.filling / LOOKS, FASTEST), SLOWEST)

    def _note_speed(self, used: int, at: float) -> None:
        if self._at is not None and at > self._at:
            span = at - self._at
            self.filling *= 0.5 ** (span / CALMS)
            self.filling = max(self.filling, (used - self._used) / span)
            if self.filling < 1.0:
                self.filling = 0.0
        self._used, self._at = used, at
