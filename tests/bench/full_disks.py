"""`python -m tests.bench.full_disks`: what removal is worth where images alone can't reach the low
mark, because others hold most of the disk; docs/eviction.md.

Three rules on the same traces: remove nothing then; remove all that may go; go as far as the next
line that can be reached, which is the daemon's. Told are the shares of time above the line where
kubelet acts and above the one where pulls begin to fail, pulls that did not fit, and pods' delay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from reconciler.domain.kubelet_lines import pulls_fail
from reconciler.domain.shortage import aim
from reconciler.simulation.budget import SHARES, disk_for, in_use
from reconciler.simulation.orders import Keepscore
from reconciler.simulation.replay import AGE, Marks, Outcome, Replay
from reconciler.simulation.trace import Trace
from reconciler.simulation.workloads import workload

MARKS = Marks(0.80, 0.78)
KUBELET_ACTS = 0.84  # of the disk, as it is shipped
NAMES, SEEDS = ("cron1", "mono"), (21, 22)
HELD = (0.76, 0.82, 0.88, 0.94)  # of the disk, by others and by images in use
Rule = Callable[[float, float, float], float]  # used, freed at most, disk: where to stop


def nothing(used: float, most: float, disk: float) -> float:
    low = MARKS.low * disk
    return low if used - most <= low else used


def everything(used: float, most: float, disk: float) -> float:
    return MARKS.low * disk


def lines(used: float, most: float, disk: float) -> float:
    above = [int(MARKS.high * disk) - 1, int(KUBELET_ACTS * disk), pulls_fail(int(disk)).kept_at]
    return aim(int(used), most, int(MARKS.low * disk), above)


RULES: dict[str, Rule] = {"nothing": nothing, "everything": everything, "lines": lines}


@dataclass(slots=True)
class Told:
    outcome: Outcome
    above_kubelet: float  # share of the time
    above_full: float


class Crowded(Replay):
    """A replay in which a rule says how far a collection goes, on a disk others hold most of."""

    rule: Rule = staticmethod(nothing)

    def __init__(self, trace: Trace, disk: float) -> None:
        super().__init__(trace, disk, Keepscore(trace), MARKS)
        self.above_kubelet = self.above_full = 0.0
        self._weighed_at = 0.0

    def _weigh(self, at: float, change: float) -> None:
        span = at - max(self._weighed_at, self._trace.warm)
        if span > 0:
            self.above_kubelet += span * (self._used > KUBELET_ACTS * self._disk)
            self.above_full += span * (self._used > pulls_fail(int(self._disk)).kept_at)
        self._weighed_at = at
        super()._weigh(at, change)

    def _collect(self, at: float) -> None:
        if not self._pressed:
            return
        stop = self.rule(self._used, self._reach(at), self._disk)
        for victim in self._order.victims(self._candidates(at), at):
            if self._used <= stop:
                break
            self._remove(at, victim)
        self._pressed = self._used > self._low
        young = [since for since in map(self._since.__getitem__, self._idle) if at - since < AGE]
        if young:
            self._look(min(young) + AGE)

    def _reach(self, at: float) -> float:
        """Bytes that all candidates hold, each layer once."""
        layers = {layer for image in self._candidates(at) for layer in self._trace.layers[image]}
        return sum(map(self._trace.on_disk, layers))


def told(job: tuple[str, int]) -> dict[tuple[str, float], Told]:
    found = {}
    trace = workload(job[0], job[1], None, crio=False)
    disk, used = disk_for(trace, SHARES["medium"]), in_use(trace)
    for held in HELD:
        trace.other = max(0.0, held * disk - used)
        for name, rule in RULES.items():
            replay = Crowded(trace, disk)
            replay.rule = rule
            outcome, span = replay.run(), trace.end - trace.warm
            shares = replay.above_kubelet / span, replay.above_full / span
            found[name, held] = Told(outcome, *shares)
    return found


def table(found: Iterable[dict[tuple[str, float], Told]]) -> list[str]:
    found = list(found)
    rows = [
        "| held by others and in use | rule | above kubelet's line | above the last line "
        "| pulls that did not fit | delay |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for held in HELD:
        base = sum(one["nothing", held].outcome.delay for one in found)
        for name in RULES:
            cells = [one[name, held] for one in found]
            above = sum(cell.above_kubelet for cell in cells) / len(cells)
            last = sum(cell.above_full for cell in cells) / len(cells)
            misfits = sum(cell.outcome.emergencies for cell in cells)
            delay = sum(cell.outcome.delay for cell in cells) / base
            row = f"| {held:.0%} | {name} | {above:.1%} | {last:.1%} | {misfits} | {delay:.2f} |"
            rows.append(row)
    return rows


def main() -> None:
    with ProcessPoolExecutor(2) as pool:
        found = list(pool.map(told, [(name, seed) for name in NAMES for seed in SEEDS]))
    print("\n".join(table(found)))


if __name__ == "__main__":
    main()
