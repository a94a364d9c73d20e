"""The recent past, in memory and bounded: the newest log lines, and usage over time.

For people who look at a running daemon; a restart clears it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..domain.state import State

LINES = 500  # log lines kept
SPACING = 10.0  # seconds between points of usage
POINTS = 2160  # points kept for each filesystem: six hours


@dataclass(frozen=True, slots=True)
class Line:
    """One log line as values; numbers count up from 1 and have no gaps."""

    number: int
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Point:
    """One filesystem at one moment; bytes and inodes."""

    at: float
    used: int
    high: int
    low: int
    used_inodes: int


class Recent:
    """Written by the log and the journal, read by the HTTP server."""

    def __init__(self) -> None:
        self._lines: deque[Line] = deque(maxlen=LINES)
        self._number = 0
        self.usage: dict[str, deque[Point]] = {}  # by mountpoint

    def add(self, fields: Mapping[str, Any]) -> None:
        """Remembers a log line, with its names neutralised already."""
        self._number += 1
        self._lines.append(Line(self._number, dict(fields)))

    def after(self, number: int) -> list[Line]:
        """The lines after a number, oldest first; all that are kept for 0, and for a number that
        this process has not reached yet: it is from before a restart."""
        number = number if number <= self._number else 0
        return [line for line in self._lines if line.number > number]

    def sampled(self, state: State) -> None:
        """Remembers usage, a point every `SPACING` seconds; the newest is always the last one."""
        at = state.disks.sample.at if state.disks.sample else 0.0
        for mountpoint, fs in state.disks.filesystems.items():
            points = self.usage.setdefault(mountpoint, deque(maxlen=POINTS))
            if len(points) > 1 and points[-1].at - points[-2].at < SPACING:
                points.pop()
            points.append(Point(at, fs.usage.used, fs.high, fs.low, fs.usage.used_inodes))
        for gone in self.usage.keys() - state.disks.filesystems.keys():
            del self.usage[gone]
