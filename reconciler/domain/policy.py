"""The operator's policy as values; `reconciler.policy` parses them from text.

Every default here is the one that docs and `config/policy.yaml` show.
"""

from __future__ import annotations

import datetime as dt
import enum
from dataclasses import dataclass, field

from .kubelet_lines import KubeletConfig
from .pattern import Pattern


class Mode(enum.Enum):
    """The mode of `run`, and of no other command: observe decides and reports, enforce removes."""

    OBSERVE = "observe"
    ENFORCE = "enforce"


@dataclass(frozen=True, slots=True)
class Mark:
    """One watermark: a share of the filesystem (0 < percent < 100) or bytes in use on it."""

    percent: float | None = None
    bytes: int | None = None

    def of(self, capacity: int) -> int:
        """Returns the mark in bytes (or inodes) in use, on a filesystem of that capacity."""
        if self.bytes is not None:
            return self.bytes
        assert self.percent is not None
        return int(capacity * self.percent / 100)

    def __str__(self) -> str:
        return f"{self.bytes} bytes" if self.percent is None else f"{self.percent:g}%"


@dataclass(frozen=True, slots=True)
class Watermarks:
    """Removal starts at or above `high` and stops at or below `low`; the inode marks are percent
    marks. None is auto: just under the lowest of kubelet's lines, and a narrow band below that
    (watermark.py). `from_low`: it starts where it stops."""

    high: Mark | None = None
    low: Mark | None = None
    inodes_high: Mark | None = None
    inodes_low: Mark | None = None
    from_low: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """The position of a rule in a file, counted from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Exclusion:
    """One pattern of an `exclusions` rule; a rule of several patterns becomes several of these."""

    pattern: Pattern
    place: Place
    reason: str | None = None
    until: dt.date | None = None  # protects through that UTC day

    def in_force(self, wall: float) -> bool:
        """Whether it is in force at a time of the wall clock, by which dates count."""
        return self.until is None or dt.datetime.fromtimestamp(wall, dt.UTC).date() <= self.until


class Tier(enum.Enum):
    """How important the operator says an image is, whatever its use: a factor of its score."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"
    SCRATCH = "scratch"

    @property
    def weight(self) -> float:
        return _WEIGHTS[self]


_WEIGHTS = {Tier.HIGH: 3.0, Tier.NORMAL: 1.0, Tier.LOW: 0.3, Tier.SCRATCH: 0.03}


@dataclass(frozen=True, slots=True)
class Importance:
    """One pattern of an `importance` rule."""

    pattern: Pattern
    place: Place
    tier: Tier
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Expendable:
    """One pattern of an `expendable` rule: matching images are removed, whatever the marks say,
    once they were unused for that long."""

    pattern: Pattern
    place: Place
    unused_for: float  # seconds
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Required:
    """A pattern of `requiredImages`: only reported when nothing here matches it."""

    pattern: Pattern
    place: Place


@dataclass(frozen=True, slots=True)
class Policy:
    """What the operator wants kept and how full the node may get. Durations are seconds."""

    mode: Mode = Mode.OBSERVE
    watermarks: Watermarks = Watermarks()
    kubelet: KubeletConfig | None = None  # as given by the operator; None: look for it
    minimum_age: float = 120.0
    maximum_unused_age: float = 0.0  # 0: off
    minimum_size: int = 1 << 20  # bytes; 0: off
    come_back_for: float = 3600.0  # 0: off
    protect_unpullable: bool = True
    system_enabled: bool = True
    system_keep_for: float = 720 * 3600.0
    exclusions: tuple[Exclusion, ...] = ()
    importance: tuple[Importance, ...] = ()
    expendable: tuple[Expendable, ...] = ()
    required: tuple[Required, ...] = ()
    source: str = field(default="built-in defaults", compare=False)  # the path, for people


def unchanged(policy: Policy) -> Policy:
    """The policy as it is, where the command line overrides nothing of it."""
    return policy
