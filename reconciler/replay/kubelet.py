"""kubelet in a replay: its image garbage collection and its eviction manager.

Garbage collection looks every five minutes and acts when `100 - int(available * 100 / capacity)`
reaches imageGCHighThresholdPercent. It removes what was unused for the longest, by uses that it
samples as coarsely, until the listed sizes add up to what was over imageGCLowThresholdPercent; it
does not look at the disk again. What it first saw less than two minutes ago it leaves alone
(kubernetes pkg/kubelet/images/image_gc_manager.go, freeSpace).

The eviction manager looks every ten seconds. Where less is available than evictionHard wants, it
removes all dead containers and all unused images, by the same function, so that the two minutes
hold here too; where that is not enough, it evicts one pod (pkg/kubelet/eviction/
eviction_manager.go, reclaimNodeLevelResources, then at most one pod a time). Removals take it no
time here, which is in its favour.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from ..domain.kubelet_lines import GC_OFF, HARD, KubeletConfig, byte_lines
from .disk import AGE, Disk

GC_EVERY, LOOKS_EVERY = 300.0, 10.0  # seconds
BACKOFF, LONGEST_BACKOFF = 10.0, 300.0  # seconds until it pulls again what failed


@dataclass(frozen=True, slots=True)
class KubeletSettings:
    """kubelet's settings; by default those it has without configuration."""

    config: KubeletConfig = field(default_factory=KubeletConfig)
    gc_low: int = 80  # imageGCLowThresholdPercent
    gc_when_full: bool = False  # in its favour, where there is no eviction manager to help


AS_SHIPPED = KubeletSettings()
GC_ALONE = KubeletSettings(KubeletConfig(thresholds=()), gc_when_full=True)


def gc_at(high: float, low: float) -> KubeletSettings:
    """Garbage collection alone, from above `high` down to `low`, in shares of the disk. As kubelet
    rounds, it acts from one percent below its setting on."""
    config = KubeletConfig(image_gc_high=round(high * 100) + 1, thresholds=())
    return KubeletSettings(config, round(low * 100), gc_when_full=True)


class Kubelet:
    """Its lines in bytes in use (infinite: it has none), and what it remembers of images."""

    def __init__(self, settings: KubeletSettings, disk: Disk) -> None:
        config, capacity = settings.config, disk.capacity
        hard = tuple(one for one in config.thresholds if one.setting == HARD)
        self._disk = disk
        self.gc_line = _lowest(replace(config, thresholds=()), capacity)
        self.eviction_line = _lowest(
            replace(config, image_gc_high=GC_OFF, thresholds=hard), capacity
        )
        self.gc_when_full = settings.gc_when_full
        self._gc_low = capacity * settings.gc_low // 100
        self._detected: dict[int, float] = {}
        self._fresh: list[int] = []  # pulled since it looked last
        self._last_used: dict[int, float] = {}
        self._looked_at = 0.0  # outside its schedule

    def pulled(self, image: int, at: float) -> None:
        """An image was pulled; kubelet first sees it at the next look."""
        self._detected[image] = -(-at // GC_EVERY) * GC_EVERY
        self._fresh.append(image)

    def released(self, image: int, at: float) -> None:
        """No container uses an image any more: it was last seen in use at the look before."""
        self._last_used[image] = max(at // GC_EVERY * GC_EVERY, self._looked_at)

    def collect(self, at: float) -> list[int]:
        """Removes as garbage collection does; returns what it removed."""
        wanted, listed, gone = self._disk.used - self._gc_low, 0.0, []
        for image in self._oldest_first(at):
            self._disk.remove(image)
            gone.append(image)
            listed += self._disk.trace.images[image].size
            if listed >= wanted:
                break
        return gone

    def delete_unused(self, at: float) -> list[int]:
        """Removes all it may; returns what it removed."""
        gone = self._oldest_first(at)
        for image in gone:
            self._disk.remove(image)
        return gone

    def _oldest_first(self, at: float) -> list[int]:
        """What it may remove, in its order, by what it sees now."""
        seen, used = self._detected, self._last_used
        for image in self._fresh:
            seen[image] = min(seen[image], at)
        self._fresh.clear()
        self._looked_at = at
        old = (image for image in self._disk.idle if at - seen[image] >= AGE)
        return sorted(old, key=lambda image: (used[image], seen[image], image))


def _lowest(config: KubeletConfig, capacity: int) -> float:
    lines = byte_lines(config, capacity, is_nodefs=True)
    return min((line.crossed_at for line in lines), default=math.inf)


def pull_backoff(failures: int) -> float:
    """Seconds until it pulls again after so many failures; they double with each, up to a limit."""
    return min(BACKOFF * 2.0 ** min(failures, 10), LONGEST_BACKOFF)
