"""`make bench-eviction`: what the order of removal is worth on ten workloads; docs/eviction.md.

    python -m tests.bench.eviction [--traces DIR] [--seeds 21-25] [--write docs/eviction.md]

Constants were chosen on seeds 1-4 alone; what is reported is on others. Without `--traces` the two
workloads that are rebuilt from real traces are left out, and the figures say so.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from reconciler.simulation.budget import SHARES, disk_for
from reconciler.simulation.orders import Keepscore, Kubelet, Lru, Order
from reconciler.simulation.replay import Marks, Outcome, Replay
from reconciler.simulation.trace import Trace
from reconciler.simulation.workloads import NAMES, PARTS, workload

from .figures import median

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
WORKERS = 2
# Delay of pods against kubelet's LRU at the same marks: what is to be reached.
LINES = {
    "svc": 0.75,
    "batch": 0.80,
    "cron3": 0.75,
    "cron1": 0.65,
    "ci": 0.52,
    "ml": 0.95,
    "mixed": 0.68,
    "mono": 1.02,
    "azure": 1.02,
    "prow": 0.88,
}
MEAN_LINE, BYTES_LINE = 0.76, 0.80


ORDERS: dict[str, Callable[[Trace], Order]] = {
    "kubelet": Kubelet,
    "lru": Lru,
    "keepscore": Keepscore,
}
SAME, STOCK, OURS = Marks(0.85, 0.83), Marks(0.85, 0.80), Marks(0.80, 0.78)


@dataclass(frozen=True, slots=True)
class Run:
    """One replay: on which disk, by which order, at which marks, on which kind of runtime."""

    disk: str
    order: str
    marks: Marks
    crio: bool = False

    def __str__(self) -> str:
        return f"{self.order} {self.marks}"


RUNS = (
    *(Run("medium", order, SAME) for order in ORDERS),
    Run("medium", "kubelet", STOCK),
    Run("medium", "keepscore", STOCK),
    Run("medium", "keepscore", OURS),
    *(Run(disk, order, STOCK) for disk in ("tight", "loose") for order in ("kubelet", "keepscore")),
    Run("medium", "kubelet", STOCK, crio=True),
    Run("medium", "keepscore", SAME, crio=True),
)
Found = dict[tuple[str, int], dict[Run, Outcome]]  # by workload and seed
Job = tuple[str, int, Path | None]
Measure = Callable[[Outcome], float]


def outcomes(job: Job) -> dict[Run, Outcome]:
    """All replays of one workload and seed."""
    name, seed, traces = job
    found: dict[Run, Outcome] = {}
    for crio in (False, True):
        trace = workload(name, seed, traces, crio=crio)
        disks: dict[str, float] = {}
        for run in RUNS:
            if run.crio is crio:
                if run.disk not in disks:
                    disks[run.disk] = disk_for(trace, SHARES[run.disk])
                order = ORDERS[run.order](trace)
                found[run] = Replay(trace, disks[run.disk], order, run.marks).run()
    return found


def all_outcomes(names: Iterable[str], seeds: Iterable[int], traces: Path | None) -> Found:
    """Everything, on two processors that give way to others; progress on a terminal only."""
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


# --- tables ----------------------------------------------------------------------------------


def delay(outcome: Outcome) -> float:
    return outcome.delay


def again(outcome: Outcome) -> float:
    return outcome.again


def cold(outcome: Outcome) -> float:
    return outcome.cold


def removals(outcome: Outcome) -> float:
    return outcome.removals


class Figures:
    """Ratios of one run to another, by workload: the median over the seeds and its spread."""

    def __init__(self, found: Found) -> None:
        self._found = found
        self.names = [name for name in NAMES if any(key[0] == name for key in found)]
        self.seeds = sorted({seed for _, seed in found})

    def ratios(self, run: Run, base: Run, measure: Measure, name: str) -> list[float]:
        pairs = [one for key, one in self._found.items() if key[0] == name]
        values = [(measure(one[run]), measure(one[base])) for one in pairs]
        return [value / other if other else 1.0 for value, other in values]

    def row(self, run: Run, base: Run, measure: Measure) -> list[float]:
        return [median(self.ratios(run, base, measure, name)) for name in self.names]

    def mean(self, run: Run, base: Run, measure: Measure) -> float:
        return geometric(self.row(run, base, measure))

    def table(self, base: Run, rows: Iterable[tuple[str, Run]], measure: Measure) -> list[str]:
        lines = [
            "| | " + " | ".join(self.names) + " | mean |",
            "|---" * (len(self.names) + 2) + "|",
        ]
        for label, run in rows:
            cells = []
            for name in self.names:
                ratios = self.ratios(run, base, measure, name)
                cells.append(f"{median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})")
            mean = self.mean(run, base, measure)
            lines.append(f"| {label} | " + " | ".join(cells) + f" | **{mean:.2f}** |")
        return lines

    def use(self, run: Run) -> float:
        """The mean share of the disk in use, over all workloads."""
        return median([one[run].mean_use for one in self._found.values()])


def geometric(values: list[float]) -> float:
    return math.exp(sum(map(math.log, values)) / len(values))


def lines_of(figures: Figures) -> tuple[list[str], bool]:
    """Each line to reach, what was reached, and whether all were."""
    run, base = Run("medium", "keepscore", SAME), Run("medium", "kubelet", SAME)
    wanted = [
        (name, median(figures.ratios(run, base, delay, name)), LINES[name])
        for name in figures.names
    ]
    wanted.append(("mean of delays", figures.mean(run, base, delay), MEAN_LINE))
    wanted.append(("mean of bytes", figures.mean(run, base, again), BYTES_LINE))
    told = ["| line | reached | at most | |", "|---|---|---|---|"]
    for name, reached, most in wanted:
        told.append(
            f"| {name} | {reached:.3f} | {most:.2f} | {'met' if reached <= most else 'MISSED'} |"
        )
    return told, all(reached <= most for _, reached, most in wanted)


def report(figures: Figures) -> tuple[str, bool]:
    """The generated part of the page, and whether all lines were reached."""
    kubelet, lru, ours = (Run("medium", order, SAME) for order in ORDERS)
    stock, wide = (Run("medium", order, STOCK) for order in ("kubelet", "keepscore"))
    low = Run("medium", "keepscore", OURS)
    same = [("LRU, measured", lru), ("keepscore", ours)]
    shipped = [(str(run), run) for run in (kubelet, lru, wide, ours, low)]
    crio_stock = Run("medium", "kubelet", STOCK, crio=True)
    crio_ours = Run("medium", "keepscore", SAME, crio=True)
    told, met = lines_of(figures)
    left_out = [name for name in NAMES if name not in figures.names]
    parts = [
        f"Seeds {', '.join(map(str, figures.seeds))}; median (least-most) of the ratios, less is "
        "better; the mean is geometric, over the workloads' medians."
        + (f" Left out for want of their traces: {', '.join(left_out)}." if left_out else ""),
        "### The lines, at equal marks 85/83 against kubelet's own order",
        *told,
    ]
    for what, measure in (
        ("Start delay", delay),
        ("Bytes pulled again", again),
        ("Cold starts", cold),
        ("Removals", removals),
    ):
        parts += [f"### {what}, equal marks 85/83, kubelet = 1"]
        parts += figures.table(kubelet, same, measure)
    for what, measure in (("Start delay", delay), ("Bytes pulled again", again)):
        parts += [f"### {what} as shipped, against stock kubelet 85/80 = 1"]
        parts += figures.table(stock, shipped, measure)
    use = ", ".join(f"{run} {figures.use(run):.3f}" for run in (stock, kubelet, wide, ours, low))
    parts += [f"Median of the mean use of the disk: {use}."]
    for disk in ("tight", "loose"):
        base = Run(disk, "kubelet", STOCK)
        parts += [f"### Start delay on a {disk} disk, equal marks 85/80, kubelet = 1"]
        parts += figures.table(base, [("keepscore", Run(disk, "keepscore", STOCK))], delay)
    parts += ["### Start delay on CRI-O, against its stock kubelet 85/80 = 1"]
    parts += figures.table(crio_stock, [("keepscore 85/83", crio_ours)], delay)
    return _spaced(parts), met


def _spaced(parts: list[str]) -> str:
    """Paragraphs apart, rows of one table together."""
    text = ""
    for part in parts:
        apart = not (part.startswith("|") and text.endswith("|\n"))
        text += ("\n" if apart and text else "") + part + "\n"
    return text


def write(path: Path, text: str) -> None:
    """Puts the figures between the page's two marks."""
    page = path.read_text()
    head, _, rest = page.partition(BEGIN)
    _, _, tail = rest.partition(END)
    path.write_text(f"{head}{BEGIN}\n{text}{END}{tail}")


def _seeds(text: str) -> list[int]:
    first, dash, last = text.partition("-")
    return list(range(int(first), int(last) + 1)) if dash else [int(n) for n in text.split(",")]


def main() -> int:
    """0 if all lines were reached."""
    parser = argparse.ArgumentParser(prog="make bench-eviction", description=__doc__)
    parser.add_argument("--traces", type=Path, metavar="DIR")
    parser.add_argument("--seeds", type=_seeds, default=_seeds("21-25"), metavar="21-25")
    parser.add_argument("--workloads", default=None, metavar="NAME,...")
    parser.add_argument("--write", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    names = NAMES if arguments.traces else tuple(PARTS)
    if arguments.workloads:
        names = tuple(arguments.workloads.split(","))
    text, met = report(Figures(all_outcomes(names, arguments.seeds, arguments.traces)))
    print(text)
    if arguments.write:
        write(arguments.write, text)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
