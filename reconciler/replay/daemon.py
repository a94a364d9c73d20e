"""our daemon in a replay: it looks at the disk as often as it does, learns its margin as it
does, and removes one image after the other, measured after each."""

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

# Bytes used, freed by all candidates at the most, low mark, lines above it: down to what to go.
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
    """Woken by `wake(at)` at the latest; looks at the disk whenever `look` is called."""

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
        self._removes_at: float | None = None  # when the removal that is under way is done
        self._farthest: float | None = None  # past the mark, in the crossing that goes on
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
        """What the loop does once; gives the image that it removed."""
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
        """Nothing more may go now."""
        self._overshoot.helpless = self._hopeless = True
        if self._disk.pulls:
            self._wake(at + SLOWEST)
        ripe = [old for one in self._disk.idle if (old := self._disk.images[one] + AGE) > at]
        if ripe:
            self._wake(min(ripe) + LISTING)

    def _victim(self, at: float) -> int | None:
        """Down to the low mark, or to the next line above that all candidates can reach."""
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
        """An image is unused: it may go when it is old enough."""
        if self._pressure is Pressure.RECLAIMING:
            self._wake(at + AGE + LISTING)

    def watch(self) -> None:
        """How far usage went past the mark, exactly; asked for whenever it may have turned."""
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
