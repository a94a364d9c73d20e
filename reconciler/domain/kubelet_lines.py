"""The lines at which kubelet itself acts on an image filesystem, as kubelet rounds them.

kubelet counts as we do: whatever an ordinary user cannot allocate is in use. Its image GC acts when
`100 - int(available * 100 / capacity)` reaches imageGCHighThresholdPercent, so as soon as usage is
above one percent less (kubernetes pkg/kubelet/images/image_gc_manager.go, every 5 min). Its
eviction manager acts when less is available than a threshold; a share is one of a float32
(pkg/kubelet/eviction/helpers.go, every 10 s), deletes every unused image, and then evicts pods.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache

HARD, SOFT = "evictionHard", "evictionSoft"
IMAGEFS, NODEFS = "imagefs.available", "nodefs.available"
IMAGEFS_INODES, NODEFS_INODES = "imagefs.inodesFree", "nodefs.inodesFree"
SIGNALS = (IMAGEFS, NODEFS, IMAGEFS_INODES, NODEFS_INODES)
DEFAULTS = "kubelet's defaults"
GC_OFF = 100  # imageGCHighThresholdPercent at which kubelet collects no images
PULLS_FAIL = 0.95  # of the capacity, or
ROOM_FOR_A_PULL = 2 << 30  # bytes less than the capacity, if that is more
INODES_FAIL = 0.95  # of all inodes
LOWEST = 0.1  # of the capacity: on a lower line kubelet acts for ever


@dataclass(frozen=True, slots=True)
class Threshold:
    """One of kubelet's eviction thresholds on a filesystem: kubelet acts when less than this is
    free, a share of the filesystem (0 < percent < 100) or a number of bytes or inodes."""

    setting: str  # evictionHard or evictionSoft
    signal: str
    percent: float | None = None
    amount: int | None = None

    def free(self, whole: int) -> int:
        """Returns the bytes or inodes of `whole` that must be free."""
        if self.percent is None:
            return self.amount or 0
        return int(whole * _float32(_float32(self.percent) / 100))

    def __str__(self) -> str:
        free = f"{self.percent:g}%" if self.amount is None else f"{self.amount}"
        return f"{self.setting} {self.signal}<{free}"


AS_SHIPPED = (
    Threshold(HARD, IMAGEFS, percent=15),
    Threshold(HARD, NODEFS, percent=10),
    Threshold(HARD, IMAGEFS_INODES, percent=5),
    Threshold(HARD, NODEFS_INODES, percent=5),
)


@dataclass(frozen=True, slots=True)
class KubeletConfig:
    """The part of kubelet's configuration that governs images (KubeletConfiguration v1beta1), and
    where it is from, for people. The field defaults are kubelet's own."""

    source: str = field(default=DEFAULTS, compare=False)
    image_gc_high: int = 85  # imageGCHighThresholdPercent
    maximum_image_age: float = 0.0  # seconds, imageMaximumGCAge; 0: off
    thresholds: tuple[Threshold, ...] = AS_SHIPPED

    def __str__(self) -> str:
        lines = [f"imageGCHighThresholdPercent {self.image_gc_high}", *map(str, self.thresholds)]
        return ", ".join(lines)


NO_LINES = KubeletConfig("", GC_OFF, thresholds=())


@dataclass(frozen=True, slots=True)
class NodeFilesystem:
    """The filesystem of kubelet's own directory (nodefs); it may hold the images too."""

    device: int
    capacity: int  # bytes


@dataclass(frozen=True, slots=True)
class Line:
    """A usage in bytes or inodes from which kubelet acts, or pulls fail."""

    crossed_at: int
    setting: str  # where it is from, for people

    @property
    def kept_at(self) -> int:
        """The most that may be in use without crossing it."""
        return self.crossed_at - 1


@lru_cache(maxsize=64)  # called ten times a second with the same arguments
def byte_lines(config: KubeletConfig, capacity: int, *, is_nodefs: bool) -> tuple[Line, ...]:
    """Returns kubelet's lines in bytes in use, lowest first."""
    lines = _crossed_by(config, (IMAGEFS, NODEFS) if is_nodefs else (IMAGEFS,), capacity)
    if config.image_gc_high < GC_OFF:
        crossed_at = capacity * (config.image_gc_high - 1) // 100 + 1
        lines.append(Line(crossed_at, f"imageGCHighThresholdPercent {config.image_gc_high}"))
    return _sorted(lines)


@lru_cache(maxsize=64)
def inode_lines(config: KubeletConfig, inodes: int, *, is_nodefs: bool) -> tuple[Line, ...]:
    """Returns kubelet's lines in inodes in use, lowest first; none if their number is not fixed."""
    signals = (IMAGEFS_INODES, NODEFS_INODES) if is_nodefs else (IMAGEFS_INODES,)
    return _sorted(_crossed_by(config, signals, inodes)) if inodes else ()


def lowest(lines: Iterable[Line], whole: int, last: Line) -> Line:
    """Returns the line to stay under: kubelet's lowest, or `last`, where pulls fail. A line so low
    that kubelet acts whatever is removed is left out."""
    return min((*_possible(lines, whole), last), key=lambda line: line.crossed_at)


def impossible(lines: Iterable[Line], whole: int) -> tuple[Line, ...]:
    """Returns the lines on which kubelet acts for ever, whatever is removed."""
    return tuple(line for line in lines if line.crossed_at < LOWEST * whole)


def pulls_fail(capacity: int) -> Line:
    crossed_at = max(int(capacity * PULLS_FAIL), capacity - ROOM_FOR_A_PULL) + 1
    return Line(crossed_at, "pulls begin to fail")


def inodes_fail(inodes: int) -> Line:
    return Line(int(inodes * INODES_FAIL) + 1, "pulls begin to fail")


def _possible(lines: Iterable[Line], whole: int) -> list[Line]:
    return [line for line in lines if line.crossed_at >= LOWEST * whole]


def _crossed_by(config: KubeletConfig, signals: tuple[str, ...], whole: int) -> list[Line]:
    return [
        Line(whole - one.free(whole) + 1, str(one))
        for one in config.thresholds
        if one.signal in signals
    ]


def _sorted(lines: Iterable[Line]) -> tuple[Line, ...]:
    return tuple(sorted(lines, key=lambda line: line.crossed_at))


def _float32(value: float) -> float:
    return float(struct.unpack("f", struct.pack("f", value))[0])
