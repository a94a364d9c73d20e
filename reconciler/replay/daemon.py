"""Our daemon in a replay: it looks at the disk as often as the real one, learns its margin in the
same way, and removes one image after the other, measuring after each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..domain.inventory import FilesystemUsage
from ..domain.kubelet_lines import KubeletConfig, pulls_fail
from ..domain.margin import SLOWEST, Overshoot
from ..domain.policy import Mark, Watermarks
from ..domain.shortage import GREATEST_YIELD, aim
from ..domain.watermark import Bounds, Pressure, measured, next_pressure
from .disk import AGE, Disk
from .orders import Order

# Bytes used, most that all candidates free, low mark, lines above it -> where removal ends.
StopsAt = Callable[[int, float | None, int, list[int]], int]
LISTING, REMOVAL = 0.06, 0.04  # seconds; medians of a real node (docs/benchmarks.md)


@dataclass(frozen=True, slots=True)
class Marks:
    """Shares of the disk, between 0 and 1. None: auto."""

    high: float | None = None
    low: float | None = None

    @property
    def watermarks(self) -> Watermarks:
        return Watermarks(_mark(self.high), _mark(self.low))

    def __str__(self) -> str:
        if self.high is None and self.low is None:
            return "auto"
        return f"{_text(self.high)}/{_text(self.low)}"


AUTO = Marks()


class Daemon:
    """Looks at the disk whenever `look` is called; asks with `wake(at)` to be called by then."""

    def __init__(
        self,
        disk: Disk,
        order: Order,
        marks: Marks,
        kubelet: KubeletConfig,
        wake: Callable[[float], None],
    ) -> None:
        self._disk, self._order, self._wake = disk, order, wake
        self._bounds = Bounds(marks.watermarks, kubelet)
        self._yield = 1.0 if disk.trace.crio else GREATEST_YIELD["containerd"]
        self.stops_at: StopsAt = aim
        self._overshoot, self._pressure = Overshoot(), Pressure.CALM
        self._removes_at: float | None = None  # when the removal in flight is done
        self._farthest: float | None = None  # past the mark, in the present crossing
        self._hopeless = False  # nothing more could be removed in it
        self.overshoots: list[float] = []  # how far other crossings went, in shares of the disk
        self._set_marks()

    def _set_marks(self) -> None:
        capacity = self._disk.capacity
        usage = FilesystemUsage("/", 0, capacity, int(self._disk.used))
        found = measured(usage, self._bounds, self._overshoot)
        self.high, self._low = found.high, found.low
        lines = (line.kept_at for line in found.lines)
        self._lines = [self.high - 1, *lines, pulls_fail(capacity).kept_at]

    def look(self, at: float) -> int | None:
        """Does one turn of the loop; returns the image that it removed."""
        self._sample(at)
        done, victim = self._removes_at, None
        if done is not None and at < done:
            self._wake(done)
            return None
        if done is not None and self._pressure is Pressure.RECLAIMING:
            victim = self._victim(at)
            if victim is not None:
                self._disk.remove(victim)
                self._order.removed(victim, at)
                self._sample(at)
        self._removes_at = None
        if self._pressure is Pressure.CALM:
            if self._disk.pulls:
                self._wake(at + self._overshoot.look_again_in(self.high))
        elif done is not None and victim is None:
            self._give_up(at)
        else:
            self._removes_at = at + LISTING + REMOVAL
            self._wake(self._removes_at)
        return victim

    def _give_up(self, at: float) -> None:
        """Handles that nothing more may be removed now."""
        self._overshoot.helpless = self._hopeless = True
        if self._disk.pulls:
            self._wake(at + SLOWEST)
        old_enough = [old for one in self._disk.idle if (old := self._disk.images[one] + AGE) > at]
        if old_enough:
            self._wake(min(old_enough) + LISTING)

    def _victim(self, at: float) -> int | None:
        """Returns what to remove, down to the low mark or the next line above it that all
        candidates can reach."""
        disk = self._disk
        listed = sum(disk.trace.images[image].size for image in disk.candidates(at))
        used, most = int(disk.used), listed * self._yield
        if used <= self.stops_at(used, most, self._low, self._lines):
            return None
        return self._order.first(lambda image: disk.may_go(image, at), at)

    def _sample(self, at: float) -> None:
        used = int(self._disk.used)
        self._pressure = next_pressure(self._pressure, used, self.high, self._low)
        if self._overshoot.take_sample(used, self.high, at):
            self._set_marks()

    def released(self, at: float) -> None:
        """An image is unused: it may be removed when it is old enough."""
        if self._pressure is Pressure.RECLAIMING:
            self._wake(at + AGE + LISTING)

    def track_overshoot(self) -> None:
        """Notes exactly how far usage went past the mark; called whenever usage may turn."""
        used = self._disk.used
        if used >= self.high:
            self._farthest = max(self._farthest or 0.0, used - self.high)
        elif self._farthest is not None:
            if not self._hopeless:
                self.overshoots.append(self._farthest / self._disk.capacity)
            self._farthest, self._hopeless = None, False


def _mark(share: float | None) -> Mark | None:
    return None if share is None else Mark(percent=share * 100)


def _text(share: float | None) -> str:
    return "auto" if share is None else f"{share * 100:g}"
