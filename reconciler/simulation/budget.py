"""How big a disk makes a workload telling: on one too big nothing is ever missed, on one too small
nothing helps. It is the one on which closed-loop LRU lets a given share of starts wait needlessly.
"""

from __future__ import annotations

import heapq
import math

from .orders import Lru
from .daemon import Marks
from .replay import Replay
from .trace import Trace

SHARES = {"tight": 0.15, "medium": 0.05, "loose": 0.015}
MARKS = Marks(0.85, 0.80)
STEPS = 14
CLOSE = 0.03  # of the share: near enough


def disk_for(trace: Trace, share: float) -> float:
    """Bytes of the disk, by bisection on a logarithmic scale."""
    low = math.log(in_use(trace) / MARKS.high)
    high = math.log(max(1.2 * sum(map(trace.on_disk, range(len(trace.packed)))), 2.0))
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
    """Bytes of the images in use: 95 of 100 starts find no more than that."""
    holders = [0] * len(trace.packed)
    users = [0] * len(trace.images)
    ends: list[tuple[float, int]] = []
    used, seen = 0.0, []

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
        if start.at >= trace.warm:
            seen.append(used)
    seen.sort()
    return max(1.0, seen[int(0.95 * len(seen))]) if seen else 1.0
