"""The image filesystems: what was measured, where the marks are, how much removals freed."""

from __future__ import annotations

from dataclasses import dataclass, field

from .inventory import InvisibleFilesystem, UsageSample
from .kubelet_lines import KubeletConfig, NodeFilesystem
from .margin import SLOWEST, Overshoot
from .space import DelayedSpace, Removed
from .watermark import Bounds, FilesystemState, Pressure, pressed

REST_FIRST = 60.0  # seconds of rest when removals free nothing, doubled by each one more


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
    futile: int = 0  # removals in a row that freed nothing of what is short
    certainly_futile: int = 0  # those of which that is certain, as when another filesystem gained
    futile_at: float = 0.0  # when the newest of them was answered
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
        """Resets the count of futile removals and the rest after them."""
        self.futile, self.certainly_futile, self.futile_at = 0, 0, 0.0
        self.rest, self.rest_until = REST_FIRST, 0.0
