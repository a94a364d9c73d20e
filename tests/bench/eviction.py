"""`make bench-eviction`: what we are worth on ten workloads next to kubelet; docs/eviction.md.

    python -m tests.bench.eviction [--traces DIR] [--seeds 21-25] [--write docs/eviction.md]

Constants were chosen on seeds 1-4 alone; what is reported is on others. Without `--traces` the two
workloads that are rebuilt from real traces are left out, and the figures say so.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from reconciler.replay.outcome import Outcome
from reconciler.replay.workloads import NAMES, PARTS

from .eviction_runs import (
    BIG,
    COLLECTOR,
    CRIO_KUBELET,
    CRIO_OURS,
    DISKS,
    EQUAL_KUBELET,
    EQUAL_LRU,
    EQUAL_OURS,
    KUBELET,
    OURS,
    STRETCHED,
    Found,
    Run,
    all_outcomes,
)
from .figures import median, quantile

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
# As shipped, delay of pods against a kubelet as shipped that is alone: the targets.
MEAN_LINE, WORST_LINE, SINGLE_LINE = 0.70, 0.95, 2
# The order alone, at the same marks.
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
EQUAL_MEAN_LINE, EQUAL_BYTES_LINE = 0.76, 0.80
Measure = Callable[[Outcome], float]


def delay(outcome: Outcome) -> float:
    return outcome.delay


def again(outcome: Outcome) -> float:
    return outcome.pulled_again


def cold(outcome: Outcome) -> float:
    return outcome.cold


def removals(outcome: Outcome) -> float:
    return outcome.removals


class Figures:
    """Ratios of one run to another, by workload: the median over the seeds and its spread."""

    def __init__(self, found: Found) -> None:
        self.found = {key: one for key, one in found.items() if key[0] != BIG}
        self.big = {key: one for key, one in found.items() if key[0] == BIG}
        self.names = [name for name in NAMES if any(key[0] == name for key in found)]
        self.seeds = sorted({seed for _, seed in found})

    def ratios(self, run: Run, base: Run, measure: Measure, name: str) -> list[float]:
        found = self.big if name == BIG else self.found
        return [
            max(1.0, measure(one[run])) / max(1.0, measure(one[base]))
            for key, one in found.items()
            if key[0] == name
        ]

    def row(self, run: Run, base: Run, measure: Measure) -> list[float]:
        return [median(self.ratios(run, base, measure, name)) for name in self.names]

    def mean(self, run: Run, base: Run, measure: Measure) -> float:
        return geometric(self.row(run, base, measure))

    def above_one(self, run: Run, base: Run) -> list[str]:
        """Which workloads and seeds are worse off."""
        return [
            f"{name} {seed}"
            for name in self.names
            for seed, ratio in zip(self.seeds, self.ratios(run, base, delay, name), strict=True)
            if ratio > 1.0
        ]

    def table(self, rows: Iterable[tuple[str, Run, Run, Measure]]) -> list[str]:
        lines = [
            "| | " + " | ".join(self.names) + " | mean |",
            "|---" * (len(self.names) + 2) + "|",
        ]
        for label, run, base, measure in rows:
            cells = [spread(self.ratios(run, base, measure, name)) for name in self.names]
            mean = self.mean(run, base, measure)
            lines.append(f"| {label} | " + " | ".join(cells) + f" | **{mean:.2f}** |")
        return lines

    def outcomes(self, run: Run) -> list[Outcome]:
        return [one[run] for one in self.found.values()]


def spread(values: list[float]) -> str:
    return f"{median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def geometric(values: list[float]) -> float:
    return math.exp(sum(map(math.log, values)) / len(values))


Line = tuple[str, float, float]  # what, reached, at most


def shipped_lines(figures: Figures) -> list[Line]:
    wanted: list[Line] = []
    for disk in DISKS:
        run, base = OURS[disk], KUBELET[disk]
        worst = max(figures.row(run, base, delay))
        single = len(figures.above_one(run, base))
        wanted += [
            (f"{disk} disk: mean of delays", figures.mean(run, base, delay), MEAN_LINE),
            (f"{disk} disk: worst workload's median", worst, WORST_LINE),
            (f"{disk} disk: single seeds above 1", single, SINGLE_LINE),
        ]
    runs = [one for disk in DISKS for one in figures.outcomes(OURS[disk])]
    runs += [one[OURS["medium"]] for one in figures.big.values()]
    name = f"of {len(runs)} runs, those with an act of kubelet that could be helped"
    return [*wanted, (name, sum(one.preventable > 0 for one in runs), 0)]


def equal_lines(figures: Figures) -> list[Line]:
    run, base = EQUAL_OURS, EQUAL_KUBELET
    wanted = [
        (name, median(figures.ratios(run, base, delay, name)), LINES[name])
        for name in figures.names
    ]
    wanted.append(("mean of delays", figures.mean(run, base, delay), EQUAL_MEAN_LINE))
    wanted.append(("mean of bytes", figures.mean(run, base, again), EQUAL_BYTES_LINE))
    return wanted


def lines_table(lines: Iterable[Line]) -> list[str]:
    rows = ["| line | reached | at most | |", "|---|---|---|---|"]
    for name, reached, most in lines:
        verdict = "met" if reached <= most else "MISSED"
        rows.append(f"| {name} | {reached:.3g} | {most:g} | {verdict} |")
    return rows


def kubelets_acts(figures: Figures) -> list[str]:
    """What kubelet did in all runs, alone and next to us."""
    rows = [
        "| disk | | runs in which kubelet acted | image GC | evictions | pods evicted | pulls that "
        "failed | kubelet's share of removals | mean use |",
        "|---" * 9 + "|",
    ]
    for disk in DISKS:
        for label, runs in (
            ("kubelet as shipped", KUBELET),
            ("its image GC alone", COLLECTOR),
            ("beside us", OURS),
        ):
            found = figures.outcomes(runs[disk])
            by_kubelet, gone = sum(o.by_kubelet for o in found), sum(o.removals for o in found)
            cells = (
                disk,
                label,
                f"{sum(o.acts > 0 for o in found)} of {len(found)}",
                str(sum(o.collections for o in found)),
                str(sum(o.evictions for o in found)),
                str(sum(o.pods_evicted for o in found)),
                str(sum(o.emergencies for o in found)),
                f"{by_kubelet / max(1, gone):.1%}",
                f"{median([o.mean_use for o in found]):.1%}",
            )
            rows.append(f"| {' | '.join(cells)} |")
    return rows


def not_helped(figures: Figures) -> list[str]:
    """Where kubelet acted next to us, and why we could not help it."""
    rows = ["| disk | workload | runs | could be helped | why not |", "|---|---|---|---|---|"]
    for disk in DISKS:
        for name in figures.names:
            found = [one[OURS[disk]] for key, one in figures.found.items() if key[0] == name]
            helped = sum(one.preventable for one in found)
            why = sum((one.unpreventable for one in found), Counter[str]())
            if helped or why:
                runs = sum(bool(one.preventable or one.unpreventable) for one in found)
                reasons = ", ".join(f"{count}x {text}" for text, count in why.most_common())
                rows.append(f"| {disk} | {name} | {runs} of {len(found)} | {helped} | {reasons} |")
    return rows if len(rows) > 2 else ["kubelet did not act in any run."]


def overshoots(figures: Figures) -> list[str]:
    """How far usage ran past the high mark, over all disks and seeds, in percent of the disk."""
    rows = ["| | " + " | ".join(figures.names) + " |", "|---" * (len(figures.names) + 1) + "|"]
    far = {
        name: [
            100 * share
            for (which, _), one in figures.found.items()
            for disk in DISKS
            for share in one[OURS[disk]].overshoots
            if which == name
        ]
        or [0.0]
        for name in figures.names
    }
    rows.append("| crossings | " + " | ".join(str(len(far[name])) for name in figures.names) + " |")
    for label, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0)):
        cells = " | ".join(f"{quantile(far[name], share):.2f}%" for name in figures.names)
        rows.append(f"| {label} | {cells} |")
    return rows


def big_node(figures: Figures) -> list[str]:
    ours, kubelet = OURS["medium"], KUBELET["medium"]
    found = [one[ours] for one in figures.big.values()]
    why: Counter[str] = sum((one.unpreventable for one in found), Counter())
    far = [100 * share for one in found for share in one.overshoots] or [0.0]
    rows = [
        "| | against kubelet as shipped | against its image GC alone |",
        "|---|---|---|",
    ]
    for label, measure in (("start delay", delay), ("bytes again", again), ("cold starts", cold)):
        cells = [
            spread(figures.ratios(ours, base, measure, BIG))
            for base in (kubelet, COLLECTOR["medium"])
        ]
        rows.append(f"| {label} | {' | '.join(cells)} |")
    reasons = ", ".join(f"{count}x {text}" for text, count in why.items()) or "never"
    preventable = sum(one.preventable for one in found)
    rows.append(
        f"kubelet acted beside us where it could be helped: {preventable} "
        f"times; where not: {reasons}. Overshoot p50 {quantile(far, 0.5):.2f}%, "
        f"p99 {quantile(far, 0.99):.2f}%, max {max(far):.2f}%."
    )
    return rows


def report(figures: Figures) -> tuple[str, bool]:
    """The generated part of the page, and whether all lines were reached."""
    shipped, equal = shipped_lines(figures), equal_lines(figures)
    left_out = [name for name in NAMES if name not in figures.names]
    against = [
        *((f"{disk}, kubelet as shipped = 1", OURS[disk], KUBELET[disk], delay) for disk in DISKS),
        *((f"{disk}, its GC alone = 1", OURS[disk], COLLECTOR[disk], delay) for disk in DISKS),
        ("medium, CRI-O", CRIO_OURS, CRIO_KUBELET, delay),
    ]
    ours, kubelet = OURS["medium"], KUBELET["medium"]
    medium = [
        (label, ours, kubelet, measure)
        for label, measure in (
            ("bytes pulled again", again),
            ("cold starts", cold),
            ("removals", removals),
        )
    ]
    same = [
        ("keepscore: delay", EQUAL_OURS, EQUAL_KUBELET, delay),
        ("keepscore: bytes", EQUAL_OURS, EQUAL_KUBELET, again),
        ("keepscore: cold starts", EQUAL_OURS, EQUAL_KUBELET, cold),
        ("LRU, measured: delay", EQUAL_LRU, EQUAL_KUBELET, delay),
    ]
    worse = {disk: figures.above_one(OURS[disk], KUBELET[disk]) for disk in DISKS}
    parts = [
        f"Seeds {', '.join(map(str, figures.seeds))}; median (least-most) of the ratios, less is "
        "better; the mean is geometric, over the workloads' medians."
        + (f" Left out for want of their traces: {', '.join(left_out)}." if left_out else ""),
        "### The lines, as shipped beside kubelet against kubelet alone",
        *lines_table(shipped),
        "Worse off than with kubelet alone: "
        + "; ".join(f"{disk}: {', '.join(found) or 'none'}" for disk, found in worse.items())
        + ".",
        "### Start delay as shipped",
        *figures.table(against),
        "### As shipped on the medium disk, kubelet as shipped = 1",
        *figures.table(medium),
        "### What kubelet did, after the warm-up",
        *kubelets_acts(figures),
        "### Where kubelet acted beside us, the warm-up among it",
        *not_helped(figures),
        "### How far usage ran past the high mark, while something could be removed",
        *overshoots(figures),
    ]
    if figures.big:
        parts += [
            f"### One node with big images: {STRETCHED}, its sizes drawn apart until the largest "
            "takes a tenth of the disk",
            *big_node(figures),
        ]
    parts += [
        "### The order alone: at equal marks 85/83, kubelet's image GC at the same = 1",
        *lines_table(equal),
        "",
        *figures.table(same),
    ]
    return _spaced(parts), all(reached <= most for _, reached, most in (*shipped, *equal))


def _spaced(parts: list[str]) -> str:
    """Paragraphs apart, rows of one table together; an empty part ends a table."""
    text = ""
    for before, part in zip(["", *parts], parts, strict=False):
        together = not before or (before.startswith("|") and part.startswith("|"))
        text += ("" if together or not part else "\n") + part + "\n"
    return text.strip("\n") + "\n"


def write(path: Path, text: str) -> None:
    """Puts the figures between the page's two marks."""
    page = path.read_text()
    head, _, generated = page.partition(BEGIN)
    _, _, tail = generated.partition(END)
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
    names = (*names, BIG)
    if arguments.workloads:
        names = tuple(arguments.workloads.split(","))
    text, met = report(Figures(all_outcomes(names, arguments.seeds, arguments.traces)))
    print(text)
    if arguments.write:
        write(arguments.write, text)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
