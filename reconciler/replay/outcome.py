"""What a replay came to, and whether we could have helped what kubelet did."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from ..domain.margin import SLOWEST
from .daemon import LISTING, REMOVAL
from .disk import AGE, Disk

NOTICED = SLOWEST + LISTING + REMOVAL  # seconds until we can have removed what may go
IN_USE, PULLED, YOUNG = "in use", "being pulled", "too young"


@dataclass(slots=True)
class Outcome:
    """What a replay came to; from the end of the warm-up on, but for `helped` and `overshoots`."""

    starts: int = 0
    cold: int = 0  # starts that waited for a pull that an infinite disk would have spared
    again: float = 0.0  # bytes pulled again
    delay: float = 0.0  # seconds that pods waited for them
    removals: int = 0  # by whomever
    by_kubelet: int = 0  # of the removals
    emergencies: int = 0  # pulls that failed because the disk was full
    mean_use: float = 0.0  # of the disk
    collections: int = 0  # times that kubelet's garbage collection acted
    evictions: int = 0  # times that its eviction manager did
    pods_evicted: int = 0
    helped: int = 0  # acts of kubelet beside us that we could have helped, in all the time
    unhelped: Counter[str] = field(default_factory=Counter)  # those that not, by the reason
    overshoots: list[float] = field(default_factory=list)  # past the high mark, of the disk

    @property
    def acts(self) -> int:
        return self.collections + self.evictions

    def blame(self, why_not_helped: str | None) -> None:
        """kubelet acted beside us; why we could not have helped it, None: we could."""
        if why_not_helped is None:
            self.helped += 1
        else:
            self.unhelped[why_not_helped] += 1


def why_not_helped(disk: Disk, at: float, line: float) -> str | None:
    """Why usage would be above kubelet's line even if we had removed all that we might have, for
    long enough to do it; None where it would not be."""
    old = [image for image in disk.idle if disk.images[image] + AGE + NOTICED <= at]
    if disk.used - disk.held_by(old) < line:
        return None
    in_use = disk.in_use
    if in_use >= line:
        return IN_USE
    pulled = sum(pull.written(at) for pull in disk.pulls.values())
    return PULLED if in_use + pulled >= line else YOUNG
