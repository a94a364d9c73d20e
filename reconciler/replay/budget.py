"""The disk size at which a past is instructive: on one too big nothing is ever missed, on one too
small nothing helps. It is the size at which closed-loop LRU makes a given share of starts
wait needlessly. Also, which past is too short to show anything."""

from __future__ import annotations

import heapq
import math

from .daemon import Marks
from .orders import Lru
from .replay import Replay
from .trace import DAY, Trace

SHARES = {"tight": 0.15, "medium": 0.05, "loose": 0.015}
FULL = 0.85
MARKS = Marks(FULL, 0.80)
STEPS = 14
CLOSE = 0.03  # of the share: near enough
SHORTEST, FEWEST = DAY, 100  # seconds and starts after the warm-up that a past needs


def disk_for(trace: Trace, share: float) -> float:
    """Bytes of the disk, by bisection on a logarithmic scale."""
    whole = sum(map(trace.on_disk, range(len(trace.packed))))
    low = math.log((trace.other + in_use(trace)) / FULL)
    high = math.log(trace.other + max(1.2 * whole, 2.0))
    for _ in range(STEPS):
        middle = (low + high) / 2
        outcome = Replay(trace, math.exp(middle), Lru(trace), MARKS, kubelet=None).run()
        found = outcome.cold / max(1, outcome.starts)
        if abs(found - share) <= CLOSE * share:
            return math.exp(middle)
        if found > share:
            low = middle
        else:
            high = middle
    return math.exp((low + high) / 2)


def in_use(trace: Trace) -> float:
    """Bytes of the images in use, as 95 of 100 starts find them at most: of those after the
    warm-up, or of all where there are none."""
    holders = [0] * len(trace.packed)
    users = [0] * len(trace.images)
    ends: list[tuple[float, int]] = []
    used, seen, warming = 0.0, list[float](), list[float]()

    def hold(image: int, by: int) -> float:
        users[image] += by
        changed = 0.0
        if users[image] == (1 if by > 0 else 0):
            for layer in trace.layers[image]:
                holders[layer] += by
                if holders[layer] == (1 if by > 0 else 0):
                    changed += by * trace.on_disk(layer)
        return changed

    for start in trace.starts:
        while ends and ends[0][0] <= start.at:
            used += hold(heapq.heappop(ends)[1], -1)
        used += hold(start.image, 1)
        heapq.heappush(ends, (start.at + start.lasted + trace.lingers, start.image))
        (seen if start.at >= trace.warm else warming).append(used)
    found = sorted(seen or warming)
    return max(1.0, found[int(0.95 * len(found))]) if found else 1.0


def too_short(trace: Trace) -> str | None:
    """Why a past shows little, for people; None where it is long enough."""
    starts = sum(start.at >= trace.warm for start in trace.starts)
    if trace.counted >= SHORTEST and starts >= FEWEST:
        return None
    hours, wanted = trace.counted / 3600, SHORTEST / 3600
    return (
        f"The record is too short: {hours:.1f} hours and {starts} starts after the warm-up; what "
        f"it says means little before {wanted:.0f} hours and {FEWEST} starts."
    )
