"""When a filesystem is too full, when it is not any more, and how many bytes lie between.

    pressure     sample            becomes
    (any)        used <= low       CALM: also where both marks are one (`prune`)
    CALM         used >= high      RECLAIMING
    CALM         the operator asks for space, used > low: RECLAIMING (`pressed`)
    (anything else stays as it is)

Bytes and inodes each have their own pressure; a filesystem reclaims while either does.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace

from .inventory import FilesystemUsage
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


def measured(
    usage: FilesystemUsage, marks: Watermarks, before: FilesystemState | None = None
) -> FilesystemState:
    """What a new sample makes of a filesystem, given what it was."""
    high, low = marks.high.of(usage.capacity), marks.low.of(usage.capacity)
    inodes_high = marks.inodes_high.of(usage.total_inodes)
    inodes_low = marks.inodes_low.of(usage.total_inodes)
    by_bytes = before.by_bytes if before else Pressure.CALM
    by_inodes = before.by_inodes if before and usage.total_inodes else Pressure.CALM
    if usage.total_inodes:
        by_inodes = next_pressure(by_inodes, usage.used_inodes, inodes_high, inodes_low)
    return FilesystemState(
        usage,
        high,
        low,
        inodes_high,
        inodes_low,
        next_pressure(by_bytes, usage.used, high, low),
        by_inodes,
    )


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
