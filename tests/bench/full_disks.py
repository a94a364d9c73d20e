"""`python -m tests.bench.full_disks`: what removal is worth where images alone can't reach the low
mark, because others hold most of the disk; docs/eviction.md.

Rules on the same traces: remove nothing then; remove all that may go; go as far as the next line
that can be reached, by what the candidates really hold; and the same by the daemon's own estimate
of that, which is the most that they may hold. Shown are the shares of time above the line where
kubelet acts and above the one where pulls begin to fail, pulls that did not fit, and pods' delay.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from reconciler.domain.kubelet_lines import KubeletConfig, byte_lines, pulls_fail
from reconciler.domain.shortage import aim
from reconciler.replay.budget import SHARES, disk_for, in_use
from reconciler.replay.daemon import Marks, StopsAt
from reconciler.replay.disk import Disk
from reconciler.replay.orders import Keepscore
from reconciler.replay.outcome import Outcome
from reconciler.replay.replay import Replay
from reconciler.replay.trace import Trace
from reconciler.replay.workloads import workload

MARKS = Marks(0.80, 0.78)
NAMES, SEEDS = ("cron1", "mono"), (21, 22)
HELD = (0.76, 0.82, 0.88, 0.94)  # of the disk, by others and by images in use


def nothing(used: int, most: float | None, low: int, lines: list[int]) -> int:
    return low if most is None or used - most <= low else used


def everything(used: int, most: float | None, low: int, lines: list[int]) -> int:
    return low


ESTIMATED = "lines, as estimated"
RULES: dict[str, StopsAt] = {
    "nothing": nothing,
    "everything": everything,
    "lines": aim,
    ESTIMATED: aim,
}


def by_what_they_hold(rule: StopsAt, disk: Disk) -> StopsAt:
    """The rule, given what all candidates hold, each layer once."""

    def stops_at(used: int, most: float | None, low: int, lines: list[int]) -> int:
        return rule(used, disk.held_by(disk.candidates(disk.at)), low, lines)

    return stops_at


@dataclass(slots=True)
class Result:
    outcome: Outcome
    above_kubelet: float  # share of the time
    above_full: float


def replayed(trace: Trace, disk: float, name: str) -> Result:
    """Replays without kubelet: what it would have removed there is not the question."""
    replay = Replay(trace, disk, Keepscore(trace), MARKS, None)
    assert replay.daemon is not None
    if name != ESTIMATED:
        replay.daemon.stops_at = by_what_they_hold(RULES[name], replay.disk)
    kubelet = float(byte_lines(KubeletConfig(), int(disk), is_nodefs=True)[0].kept_at)
    full = float(pulls_fail(int(disk)).kept_at)
    replay.disk.above = {kubelet: 0.0, full: 0.0}
    outcome, span = replay.run(), trace.end - trace.warm
    return Result(outcome, replay.disk.above[kubelet] / span, replay.disk.above[full] / span)


def results(job: tuple[str, int]) -> dict[tuple[str, float], Result]:
    found = {}
    trace = workload(job[0], job[1], None, crio=False)
    disk, used = disk_for(trace, SHARES["medium"]), in_use(trace)
    for held in HELD:
        trace.other = max(0.0, held * disk - used)
        for name in RULES:
            found[name, held] = replayed(trace, disk, name)
    return found


def table(found: Iterable[dict[tuple[str, float], Result]]) -> list[str]:
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
        found = list(pool.map(results, [(name, seed) for name in NAMES for seed in SEEDS]))
    print("\n".join(table(found)))


if __name__ == "__main__":
    main()
