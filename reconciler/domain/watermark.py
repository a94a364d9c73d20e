"""When a filesystem is too full, when it no longer is, and how many bytes lie between.

A mark is what the policy says, or `auto`: just under the lowest line at which kubelet acts, by the
margin learned on the node (margin.py); the low mark is a narrow band below.

- The pressure moves by the table `TRANSITIONS` alone, which docs/architecture.md draws.
- At or under the low mark it is calm, whatever it was, also where both marks are equal (`prune`).
- Between the marks it stays what it was: a reclaim ends at the low mark, and only a crossing of
  the high one, or the operator, begins one.
- A measurement that arrives late ends a reclaim, and never begins one.
- Bytes and inodes each have a pressure of their own; a filesystem reclaims while either does. One
  without a fixed number of inodes is never short of them.

What is done about it is decided in decision.py and shortage.py.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace

from . import margin
from .inventory import FilesystemUsage
from .kubelet_lines import (
    NO_LINES,
    KubeletConfig,
    Line,
    NodeFilesystem,
    byte_lines,
    inode_lines,
    inodes_fail,
    lowest,
    pulls_fail,
)
from .policy import Watermarks


class Pressure(enum.Enum):
    CALM = "calm"
    RECLAIMING = "reclaiming"


class Level(enum.Enum):
    """Where usage stands between the marks. The low one counts first where both are equal."""

    LOW = "at or under the low mark"
    BETWEEN = "between the marks"
    HIGH = "at or over the high mark"


class Occasion(enum.Enum):
    """What makes the pressure move."""

    SAMPLED = "measured"
    MEASURED_LATE = "an older measurement, reported late"
    ASKED = "the operator asks for space"


# What the pressure becomes; None: what it was.
TRANSITIONS: dict[tuple[Occasion, Level], Pressure | None] = {
    (Occasion.SAMPLED, Level.LOW): Pressure.CALM,
    (Occasion.SAMPLED, Level.BETWEEN): None,
    (Occasion.SAMPLED, Level.HIGH): Pressure.RECLAIMING,
    # It was taken before the latest removals.
    (Occasion.MEASURED_LATE, Level.LOW): Pressure.CALM,
    (Occasion.MEASURED_LATE, Level.BETWEEN): None,
    (Occasion.MEASURED_LATE, Level.HIGH): None,
    (Occasion.ASKED, Level.LOW): None,
    (Occasion.ASKED, Level.BETWEEN): Pressure.RECLAIMING,
    (Occasion.ASKED, Level.HIGH): Pressure.RECLAIMING,
}


def level(used: int, high: int, low: int) -> Level:
    """Returns the level of a usage, in bytes or inodes."""
    if used <= low:
        return Level.LOW
    return Level.HIGH if used >= high else Level.BETWEEN


def moved(pressure: Pressure, occasion: Occasion, at: Level) -> Pressure:
    """Returns the next pressure by the table."""
    return TRANSITIONS[occasion, at] or pressure


def next_pressure(pressure: Pressure, used: int, high: int, low: int) -> Pressure:
    """Returns the next pressure after a sample."""
    return moved(pressure, Occasion.SAMPLED, level(used, high, low))


@dataclass(frozen=True, slots=True)
class FilesystemState:
    """One filesystem as last measured, with its marks in bytes and inodes in use."""

    usage: FilesystemUsage
    high: int
    low: int
    inodes_high: int
    inodes_low: int
    by_bytes: Pressure = Pressure.CALM
    by_inodes: Pressure = Pressure.CALM
    lines: tuple[Line, ...] = ()  # kubelet's, in bytes in use, lowest first
    inode_lines: tuple[Line, ...] = ()
    margin: int | None = None  # bytes from the high mark up to the lowest line; None: not auto

    @property
    def pressure(self) -> Pressure:
        reclaiming = Pressure.RECLAIMING in (self.by_bytes, self.by_inodes)
        return Pressure.RECLAIMING if reclaiming else Pressure.CALM

    @property
    def bytes_over_low(self) -> int:
        """Bytes to free until the low mark; 0 unless bytes are what is short."""
        return max(0, self.usage.used - self.low) if self.by_bytes is Pressure.RECLAIMING else 0

    @property
    def used_percent(self) -> float:
        return 100 * self.usage.used / self.usage.capacity if self.usage.capacity else 0.0

    @property
    def inodes_percent(self) -> float | None:
        """None where the filesystem has no fixed number of inodes (f_files = 0: btrfs, say)."""
        total = self.usage.total_inodes
        return 100 * self.usage.used_inodes / total if total else None


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the filesystems' marks are derived from: the policy, kubelet's lines (None: not looked
    for yet, so that they have no effect), and which filesystem is kubelet's own (None: unknown, so
    that each may be)."""

    marks: Watermarks
    kubelet: KubeletConfig | None = None
    nodefs: NodeFilesystem | None = None

    def is_nodefs(self, usage: FilesystemUsage) -> bool:
        """Whether it is kubelet's own. Subvolumes of one filesystem have different devices and
        the same capacity."""
        known = self.nodefs
        return known is None or usage.device == known.device or usage.capacity == known.capacity


def measured(
    usage: FilesystemUsage,
    bounds: Bounds,
    learned: margin.Overshoot,
    before: FilesystemState | None = None,
) -> FilesystemState:
    """Returns a filesystem's state after a new sample, given the state before."""
    marks, is_nodefs = bounds.marks, bounds.is_nodefs(usage)
    kubelet = bounds.kubelet or NO_LINES
    lines = byte_lines(kubelet, usage.capacity, is_nodefs=is_nodefs)
    of_inodes = inode_lines(kubelet, usage.total_inodes, is_nodefs=is_nodefs)
    high, low, kept = _byte_marks(marks, usage.capacity, lines, learned)
    inodes_high, inodes_low = _inode_marks(marks, usage.total_inodes, of_inodes)
    if marks.from_low:
        high, inodes_high = low, inodes_low
    by_bytes = before.by_bytes if before else Pressure.CALM
    by_inodes = before.by_inodes if before and usage.total_inodes else Pressure.CALM
    if usage.total_inodes:
        by_inodes = next_pressure(by_inodes, usage.used_inodes, inodes_high, inodes_low)
    by_bytes = next_pressure(by_bytes, usage.used, high, low)
    return FilesystemState(
        usage, high, low, inodes_high, inodes_low, by_bytes, by_inodes, lines, of_inodes, kept
    )


def _byte_marks(
    marks: Watermarks, capacity: int, lines: tuple[Line, ...], learned: margin.Overshoot
) -> tuple[int, int, int | None]:
    """The high mark, the low mark, and the margin under the lowest line if the high one is auto."""
    kept = None
    if marks.high is not None:
        high = marks.high.of(capacity)
    else:
        kept = learned.margin(capacity)
        high = lowest(lines, capacity, pulls_fail(capacity)).kept_at - kept
    low = high - int(capacity * margin.BAND) if marks.low is None else marks.low.of(capacity)
    return high, max(0, low), kept


def _inode_marks(marks: Watermarks, inodes: int, lines: tuple[Line, ...]) -> tuple[int, int]:
    if marks.inodes_high is not None:
        high = marks.inodes_high.of(inodes)
    else:
        line = lowest(lines, inodes, inodes_fail(inodes))
        high = max(0, line.kept_at - int(inodes * margin.INODES_MARGIN))
    if marks.inodes_low is not None:
        return high, marks.inodes_low.of(inodes)
    return high, max(0, high - int(inodes * margin.INODES_BAND))


def measured_late(fs: FilesystemState, older: FilesystemUsage) -> FilesystemState:
    """Returns a filesystem's state after a measurement that is older than the last one."""
    return _moved(fs, Occasion.MEASURED_LATE, older)


def pressed(fs: FilesystemState) -> FilesystemState:
    """Returns a filesystem's state after the operator asked for space, down to the low mark,
    although the high one was not reached."""
    return _moved(fs, Occasion.ASKED, fs.usage)


def _moved(fs: FilesystemState, occasion: Occasion, usage: FilesystemUsage) -> FilesystemState:
    by_bytes = moved(fs.by_bytes, occasion, level(usage.used, fs.high, fs.low))
    by_inodes = fs.by_inodes
    if usage.total_inodes:
        inodes = level(usage.used_inodes, fs.inodes_high, fs.inodes_low)
        by_inodes = moved(by_inodes, occasion, inodes)
    return replace(fs, by_bytes=by_bytes, by_inodes=by_inodes)
