"""The image filesystems: what was measured, where the marks are, how much removals freed."""

from __future__ import annotations

from dataclasses import dataclass, field

from .inventory import InvisibleFilesystem, UsageSample
from .kubelet_lines import KubeletConfig, NodeFilesystem
from .margin import SLOWEST, Overshoot
from .space import AT_FIRST, DelayedSpace, Removed
from .watermark import Bounds, FilesystemState, Pressure, pressed

REST_FIRST = 60.0  # seconds of rest when removals free nothing, doubled by each one more
FUTILE_REMOVALS = 10  # in a row that freed nothing of what is short, until a rest


@dataclass(slots=True)
class Disks:
    """All image filesystems; dicts and sets are by mountpoint."""

    sample: UsageSample | None = None
    filesystems: dict[str, FilesystemState] = field(default_factory=dict)
    bounds: Bounds | None = None  # what the filesystems' marks are derived from
    kubelet: KubeletConfig | None = None  # None: not looked for yet
    nodefs: NodeFilesystem | None = None  # kubelet's own; None: not known
    overshoots: dict[str, Overshoot] = field(default_factory=dict)
    changed_overshoots: set[str] = field(default_factory=set)
    delayed: dict[str, DelayedSpace] = field(default_factory=dict)
    shown: tuple[Removed, ...] = ()  # settled by the last fact: what they freed is known
    unhelpful: list[Removed] = field(default_factory=list)  # none of these last ones helped yet
    futile_at: float = 0.0  # when the newest one that can help no more was answered
    rest_until: float = 0.0
    rest: float = REST_FIRST

    @property
    def pressure(self) -> Pressure:
        """Reclaiming while any filesystem is reclaiming."""
        pressures = (fs.pressure for fs in self.filesystems.values())
        return Pressure.RECLAIMING if Pressure.RECLAIMING in pressures else Pressure.CALM

    @property
    def invisible(self) -> tuple[InvisibleFilesystem, ...]:
        """The image filesystems that cannot be measured."""
        return self.sample.invisible if self.sample is not None else ()

    @property
    def bytes_shown(self) -> int:
        """Bytes that the removals settled by the last fact freed."""
        return sum(removed.freed for removed in self.shown)

    def bytes_owed(self, mountpoint: str) -> int:
        """Bytes that removals freed on a filesystem and that do not show yet."""
        return self.delayed[mountpoint].bytes_owed if mountpoint in self.delayed else 0

    def overshoot(self, mountpoint: str) -> Overshoot:
        """How far usage of a filesystem ran past its high mark."""
        return self.overshoots.setdefault(mountpoint, Overshoot())

    def waits_for_others(self, space: DelayedSpace) -> bool:
        """Whether nothing more may go for one filesystem until others have shown what they owe: by
        then too many removals in a row may turn out to have helped none."""
        elsewhere = [one for one in self.unhelpful if one not in space.owed]
        undecided = sum(one.wanted_by > 0 for one in elsewhere)
        return undecided >= AT_FIRST or len(elsewhere) >= FUTILE_REMOVALS

    @property
    def look_again_in(self) -> float:
        """Seconds until the filesystems are to be measured again."""
        found = (self.overshoot(of).look_again_in(fs.high) for of, fs in self.filesystems.items())
        return min(found, default=SLOWEST)

    def press(self) -> None:
        """The operator wants space back, down to the low mark."""
        self.filesystems = {name: pressed(fs) for name, fs in self.filesystems.items()}
        self.forgive()

    def forgive(self) -> None:
        """Resets the count of removals that did not help, and ends the rest after them."""
        self.unhelpful, self.futile_at = [], 0.0
        self.rest, self.rest_until = REST_FIRST, 0.0
