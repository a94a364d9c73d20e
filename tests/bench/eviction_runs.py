"""The replays that `make bench-eviction` takes, and the disks they are on."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from reconciler.replay.budget import SHARES, disk_for
from reconciler.replay.daemon import AUTO, Marks
from reconciler.replay.kubelet import AS_SHIPPED, GC_ALONE, KubeletSettings, gc_at
from reconciler.replay.orders import ORDERS
from reconciler.replay.outcome import Outcome
from reconciler.replay.replay import Replay
from reconciler.replay.trace import Trace
from reconciler.replay.workloads import workload

from .figures import median

WORKERS = 2
EQUAL = Marks(0.85, 0.83)
BIG, STRETCHED, TENTH = "big", "batch", 0.1
DISKS = ("medium", "tight", "loose")


@dataclass(frozen=True, slots=True)
class Run:
    """One replay: on which disk, with which order of ours (none: kubelet is alone), next to which
    kubelet (none: ours is alone), on which kind of runtime."""

    disk: str
    order: str | None = None
    marks: Marks = AUTO
    kubelet: KubeletSettings | None = AS_SHIPPED
    crio: bool = False

    def outcome(self, trace: Trace, disk: float) -> Outcome:
        order = None if self.order is None else ORDERS[self.order](trace)
        return Replay(trace, disk, order, self.marks, self.kubelet).run()


KUBELET = {disk: Run(disk) for disk in DISKS}
COLLECTOR = {disk: Run(disk, kubelet=GC_ALONE) for disk in DISKS}
OURS = {disk: Run(disk, "keepscore") for disk in DISKS}
CRIO_KUBELET, CRIO_OURS = Run("medium", crio=True), Run("medium", "keepscore", crio=True)
EQUAL_KUBELET = Run("medium", kubelet=gc_at(0.85, 0.83))
EQUAL_LRU, EQUAL_OURS = (Run("medium", one, EQUAL, None) for one in ("lru", "keepscore"))
RUNS = (
    *KUBELET.values(),
    *COLLECTOR.values(),
    *OURS.values(),
    CRIO_KUBELET,
    CRIO_OURS,
    EQUAL_KUBELET,
    EQUAL_LRU,
    EQUAL_OURS,
)
BIG_RUNS = (KUBELET["medium"], COLLECTOR["medium"], OURS["medium"])
Found = dict[tuple[str, int], dict[Run, Outcome]]  # by workload and seed
Job = tuple[str, int, Path | None]


def outcomes(job: Job) -> dict[Run, Outcome]:
    """All replays of one workload and seed."""
    name, seed, traces = job
    if name == BIG:
        trace, disk = stretched(workload(STRETCHED, seed), SHARES["medium"])
        return {run: run.outcome(trace, disk) for run in BIG_RUNS}
    found: dict[Run, Outcome] = {}
    for crio in (False, True):
        trace = workload(name, seed, traces, crio=crio)
        disks: dict[str, float] = {}
        for run in RUNS:
            if run.crio is crio:
                if run.disk not in disks:
                    disks[run.disk] = disk_for(trace, SHARES[run.disk])
                found[run] = run.outcome(trace, disks[run.disk])
    return found


def stretched(trace: Trace, share: float) -> tuple[Trace, float]:
    """The same past with its images' sizes drawn apart until the largest takes a tenth of the disk
    that is chosen for them; with that disk."""
    low, high = 0.0, 1.0
    for _ in range(6):
        middle = (low + high) / 2
        other = drawn_apart(trace, middle)
        disk = disk_for(other, share)
        largest = max(sum(map(other.on_disk, layers)) for layers in other.layers) / disk
        if abs(largest - TENTH) <= TENTH / 50:
            break
        low, high = (middle, high) if largest < TENTH else (low, middle)
    return other, disk


def drawn_apart(trace: Trace, power: float) -> Trace:
    """Layers grow by a power of how much they are larger than the middle one, and shrink so."""
    middle = median(trace.packed)
    factors = [(size / middle) ** power for size in trace.packed]
    packed = [size * factor for size, factor in zip(trace.packed, factors, strict=True)]
    unpacked = [size * factor for size, factor in zip(trace.unpacked, factors, strict=True)]
    images = [
        replace(image, size=int(sum(packed[layer] for layer in layers)))
        for image, layers in zip(trace.images, trace.layers, strict=True)
    ]
    return Trace(BIG, packed, unpacked, trace.layers, images, trace.starts, trace.warm, trace.end)


def all_outcomes(names: Iterable[str], seeds: Iterable[int], traces: Path | None) -> Found:
    """Everything, in two processes at low priority; progress on a terminal only."""
    jobs: list[Job] = [(name, seed, traces) for name in names for seed in seeds]
    found: Found = {}
    with ProcessPoolExecutor(WORKERS, initializer=os.nice, initargs=(10,)) as pool:
        for job, one in zip(jobs, pool.map(outcomes, jobs), strict=True):
            found[job[0], job[1]] = one
            if sys.stderr.isatty():
                done = f"\r\x1b[K{len(found)} of {len(jobs)}: {job[0]} seed {job[1]}"
                print(done, end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr)
    return found
