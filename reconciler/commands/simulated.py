"""The output of `simulate`: a table, JSON or a picture, and what limits their meaning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..domain.humanize import counted, size_text
from ..replay.budget import too_short
from ..replay.daemon import Marks
from ..replay.outcome import Outcome
from ..replay.plot import svg
from ..replay.trace import DAY, Trace
from .tables import Table, emit, heading

WITHOUT = "without reconciler"


@dataclass(frozen=True, slots=True)
class Row:
    """One answer. `order` is kubelet if there is no daemon; marks None: kubelet's own settings."""

    marks: Marks | None
    order: str
    outcome: Outcome

    @property
    def label(self) -> str:
        return WITHOUT if self.marks is None else str(self.marks)


def show(trace: Trace, disk: float, why: str, rows: Sequence[Row]) -> None:
    starts = rows[0].outcome.starts
    heading(
        f"{trace.name}: {starts} starts in {trace.counted / DAY:.1f} days after the warm-up, "
        f"{counted(len(trace.images), 'image')}; disk {size_text(disk)} ({why})"
    )
    without = rows[-1].outcome.delay
    lines = tuple(
        (
            row.label,
            row.order,
            str(row.outcome.cold),
            size_text(row.outcome.pulled_again),
            f"{row.outcome.delay:.0f} s",
            _against(row.outcome.delay, without),
            str(row.outcome.removals),
            f"{row.outcome.by_kubelet} ({_share_of_kubelet(row.outcome)})",
            str(row.outcome.acts),
            str(row.outcome.pods_evicted),
            f"{row.outcome.mean_use * 100:.1f}%",
        )
        for row in rows
    )
    columns = (
        "marks",
        "order",
        "cold starts",
        "pulled again",
        "start delay",
        "of kubelet's",
        "removals",
        "by kubelet",
        "kubelet acted",
        "pods evicted",
        "mean use",
    )
    emit(Table("What an infinite disk would have spared", columns, lines))
    for text in _doubts(trace, rows):
        heading(text)


def _doubts(trace: Trace, rows: Sequence[Row]) -> list[str]:
    """What limits the meaning of these figures."""
    found = [text for text in (too_short(trace),) if text]
    if not any(row.outcome.removals for row in rows):
        found.append("Nothing was removed in any row: on this disk this past comes near no mark.")
    return found


def _against(value: float, without: float) -> str:
    return f"{value / without:.2f}" if without else "-"


def _share_of_kubelet(outcome: Outcome) -> str:
    return f"{100 * outcome.by_kubelet / outcome.removals:.0f}%" if outcome.removals else "-"


def document(trace: Trace, disk: float, rows: Sequence[Row]) -> dict[str, object]:
    return {
        "apiVersion": "reconciler/v1",
        "kind": "Simulation",
        "past": trace.name,
        "images": len(trace.images),
        "seconds": trace.end - trace.warm,
        "diskBytes": int(disk),
        "otherBytes": int(trace.other),
        "doubts": _doubts(trace, rows),
        "rows": [
            {
                "watermarks": row.label,
                "order": row.order,
                "starts": row.outcome.starts,
                "coldStarts": row.outcome.cold,
                "bytesPulledAgain": int(row.outcome.pulled_again),
                "startDelaySeconds": round(row.outcome.delay, 1),
                "removals": row.outcome.removals,
                "removalsByKubelet": row.outcome.by_kubelet,
                "kubeletActed": row.outcome.acts,
                "podsEvicted": row.outcome.pods_evicted,
                "pullsThatDidNotFit": row.outcome.emergencies,
                "meanUsedPercent": round(row.outcome.mean_use * 100, 2),
            }
            for row in rows
        ],
    }


def picture(trace: Trace, disk: float, rows: Sequence[Row]) -> str:
    bars = [
        (
            row.label if row.marks is None else f"{row.order} {row.label}",
            row.order,
            row.outcome.delay,
            f"{row.outcome.delay:.0f} s, {row.outcome.cold} cold starts",
        )
        for row in rows
    ]
    title = f"{trace.name}: seconds that pods waited for images they had had"
    return svg(title, f"disk {size_text(disk)}; less is better", bars)
