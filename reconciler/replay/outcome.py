"""What a replay resulted in, and whether we could have prevented what kubelet did."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from ..domain.margin import SLOWEST
from .daemon import LISTING, REMOVAL
from .disk import AGE, Disk

NOTICED = SLOWEST + LISTING + REMOVAL  # seconds until we can have removed what we may
IN_USE, PULLED, YOUNG = "in use", "being pulled", "too young"


@dataclass(slots=True)
class Outcome:
    """The figures of a replay from the end of the warm-up on; `preventable`, `unpreventable` and
    `overshoots` of all of it."""

    starts: int = 0
    cold: int = 0  # starts that waited for a pull that an infinite disk would have spared
    pulled_again: float = 0.0  # bytes
    delay: float = 0.0  # seconds that pods waited for such pulls
    removals: int = 0  # by us and by kubelet
    by_kubelet: int = 0  # of the removals
    emergencies: int = 0  # pulls that failed because the disk was full
    mean_use: float = 0.0  # of the disk
    collections: int = 0  # times that kubelet's garbage collection acted
    evictions: int = 0  # times that its eviction manager did
    pods_evicted: int = 0
    preventable: int = 0  # acts of kubelet with us running that we could have prevented
    unpreventable: Counter[str] = field(default_factory=Counter)  # the others, by reason
    overshoots: list[float] = field(default_factory=list)  # past the high mark, of the disk

    @property
    def acts(self) -> int:
        return self.collections + self.evictions

    def count_act(self, why_unpreventable: str | None) -> None:
        """Counts an act of kubelet, and why we could not have prevented it (None: we could)."""
        if why_unpreventable is None:
            self.preventable += 1
        else:
            self.unpreventable[why_unpreventable] += 1


def why_unpreventable(disk: Disk, at: float, line: float) -> str | None:
    """Why usage would be above kubelet's line even if we had removed all that was removable for
    long enough; None where it would not be."""
    old = [image for image in disk.idle if disk.images[image] + AGE + NOTICED <= at]
    if disk.used - disk.held_by(old) < line:
        return None
    in_use = disk.in_use
    if in_use >= line:
        return IN_USE
    pulled = sum(pull.written(at) for pull in disk.pulls.values())
    return PULLED if in_use + pulled >= line else YOUNG
