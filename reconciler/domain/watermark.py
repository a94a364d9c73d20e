"""When a filesystem is too full, when it is not any more, and how many bytes lie between.

    pressure     sample            becomes
    (any)        used <= low       CALM: also where both marks are one (`prune`)
    CALM         used >= high      RECLAIMING
    CALM         the operator asks for space, used > low: RECLAIMING (`pressed`)
    (anything else stays as it is)

Bytes and inodes each have their own pressure; a filesystem reclaims while either does.

A mark is what the policy says, or `auto`: just under the lowest line at which kubelet acts, by the
margin that the node has taught (margin.py); the low one a narrow band below.
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


def next_pressure(pressure: Pressure, used: int, high: int, low: int) -> Pressure:
    """The table above, one row at a time."""
    if used <= low:
        return Pressure.CALM
    if used >= high:
        return Pressure.RECLAIMING
    return pressure


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
    margin: int | None = None  # bytes that the high mark lies under the lowest line; None: given

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
    """What marks of filesystems go by: the policy's word, kubelet's lines (None: not looked for
    yet, so that nothing is done for their sake), and which filesystem is kubelet's own (None: not
    known, and each may be)."""

    marks: Watermarks
    kubelet: KubeletConfig | None = None
    nodefs: NodeFilesystem | None = None

    def is_nodefs(self, usage: FilesystemUsage) -> bool:
        """Subvolumes of one filesystem differ by their device, and have one capacity."""
        known = self.nodefs
        return known is None or usage.device == known.device or usage.capacity == known.capacity


def measured(
    usage: FilesystemUsage,
    bounds: Bounds,
    learned: margin.Overshoot,
    before: FilesystemState | None = None,
) -> FilesystemState:
    """What a new sample makes of a filesystem, given what it was."""
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
    """The high mark, the low one, and the margin under the lowest line if the high one is auto."""
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


def told_late(fs: FilesystemState, older: FilesystemUsage) -> FilesystemState:
    """What a measurement that is older than the last one makes of a filesystem. It may say that the
    low mark was reached in between, never that the high one was: what has gone since was not gone
    when it was taken."""
    low = older.used <= fs.low
    low_inodes = bool(older.total_inodes) and older.used_inodes <= fs.inodes_low
    return replace(
        fs,
        by_bytes=Pressure.CALM if low else fs.by_bytes,
        by_inodes=Pressure.CALM if low_inodes else fs.by_inodes,
    )


def pressed(fs: FilesystemState) -> FilesystemState:
    """A filesystem from which the operator wants space back, down to the low mark, although it
    has not reached the high one."""
    usage = fs.usage
    by_bytes = Pressure.RECLAIMING if usage.used > fs.low else fs.by_bytes
    inodes = bool(usage.total_inodes) and usage.used_inodes > fs.inodes_low
    return replace(fs, by_bytes=by_bytes, by_inodes=Pressure.RECLAIMING if inodes else fs.by_inodes)
