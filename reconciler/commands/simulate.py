"""`reconciler simulate`: a past replayed under other watermarks and other orders of removal."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..database import refused
from ..ledger import FILE, Ledger
from ..report import size_text, to_text
from ..settings import Settings
from ..simulation.budget import SHARES, disk_for
from ..simulation.orders import ORDERS
from ..simulation.plot import svg
from ..simulation.recorded import Node, RecordInvalid, document, read, trace_of
from ..simulation.replay import Marks, Outcome, Replay
from ..simulation.trace import Trace
from ..simulation.workloads import workload
from . import progress
from .record import node_of
from .tables import Table, emit, heading


@dataclass(frozen=True, slots=True)
class Question:
    """What the command line asks. Neither a file nor a workload: this node's own past."""

    marks: Sequence[Marks]
    orders: Sequence[str]
    source: Path | None = None
    workload: str | None = None
    seed: int = 1
    disk: int | None = None  # bytes
    traces: Path | None = None
    plot: Path | None = None
    output: str = "table"


@dataclass(frozen=True, slots=True)
class Row:
    marks: Marks
    order: str
    outcome: Outcome


async def simulate(settings: Settings, question: Question) -> int:
    """Prints the comparison; 1 for a past that can not be had, or has nothing in it."""
    try:
        trace, node = await _past(settings, question)
    except OSError as error:
        why = f"{error.filename} can not be read: {error.strerror}" if error.filename else error
        print(f"error: {why}", file=sys.stderr)
        return 1
    except (RecordInvalid, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if not trace.starts:
        print("error: no container was started in this past; nothing to replay", file=sys.stderr)
        return 1
    disk, why = _disk(trace, node, question)
    rows = _replayed(trace, disk, question)
    if question.output == "json":
        print(to_text(_document(trace, disk, rows)))
    else:
        _show(trace, disk, why, rows)
    if question.plot is not None:
        try:
            question.plot.write_text(_picture(trace, disk, rows))
        except OSError as error:
            print(f"error: {question.plot} can not be written: {error.strerror}", file=sys.stderr)
            return 1
    return 0


async def _past(settings: Settings, question: Question) -> tuple[Trace, Node]:
    if question.source is not None:
        return read(question.source)
    if question.workload is not None:
        return workload(question.workload, question.seed, question.traces), Node()
    log = Ledger.read_log(settings.state_dir)
    if log is None:
        text = f"no past of this node in {settings.state_dir}; the daemon keeps one while it runs"
        text = refused(settings.state_dir / FILE) or text
        raise ValueError(f"{text}. Give a file with --from, or --workload NAME")
    node = await node_of(settings)
    return trace_of(document(log, node, time.time(), anonymize=False)), node


def _disk(trace: Trace, node: Node, question: Question) -> tuple[float, str]:
    """Bytes for images, and where the figure is from."""
    if question.disk is not None:
        return float(question.disk), "as given"
    if node.capacity is not None:
        return float(node.capacity), "the node's own"
    progress.show("choosing a disk")
    disk = disk_for(trace, SHARES["medium"])
    progress.clear()
    return disk, "on which LRU lets 1 start in 20 wait needlessly; see --disk"


def _replayed(trace: Trace, disk: float, question: Question) -> list[Row]:
    rows: list[Row] = []
    total = len(question.marks) * len(question.orders)
    for marks in question.marks:
        for order in question.orders:
            progress.show(f"replaying {marks} {order} ({len(rows) + 1} of {total})")
            outcome = Replay(trace, disk, ORDERS[order](trace), marks).run()
            rows.append(Row(marks, order, outcome))
    progress.clear()
    return rows


def _show(trace: Trace, disk: float, why: str, rows: Sequence[Row]) -> None:
    days = (trace.end - trace.warm) / 86400
    starts = rows[0].outcome.starts
    heading(
        f"{trace.name}: {starts} starts in {days:.1f} days after the warm-up, "
        f"{len(trace.images)} images; disk {size_text(disk)} ({why})"
    )
    lines = tuple(
        (
            str(row.marks),
            row.order,
            str(row.outcome.cold),
            size_text(row.outcome.again),
            f"{row.outcome.delay:.0f} s",
            _against(row.outcome.delay, rows[0].outcome.delay),
            str(row.outcome.removals),
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
        "of the first",
        "removals",
        "mean use",
    )
    emit(Table("What an infinite disk would have spared", columns, lines))


def _against(value: float, first: float) -> str:
    return f"{value / first:.2f}" if first else "-"


def _document(trace: Trace, disk: float, rows: Sequence[Row]) -> dict[str, object]:
    return {
        "apiVersion": "reconciler/v1",
        "kind": "Simulation",
        "past": trace.name,
        "images": len(trace.images),
        "seconds": trace.end - trace.warm,
        "diskBytes": int(disk),
        "rows": [
            {
                "watermarks": str(row.marks),
                "order": row.order,
                "starts": row.outcome.starts,
                "coldStarts": row.outcome.cold,
                "bytesPulledAgain": int(row.outcome.again),
                "startDelaySeconds": round(row.outcome.delay, 1),
                "removals": row.outcome.removals,
                "pullsThatDidNotFit": row.outcome.emergencies,
                "meanUsedPercent": round(row.outcome.mean_use * 100, 2),
            }
            for row in rows
        ],
    }


def _picture(trace: Trace, disk: float, rows: Sequence[Row]) -> str:
    bars = [
        (
            f"{row.order} {row.marks}",
            row.order,
            row.outcome.delay,
            f"{row.outcome.delay:.0f} s, {row.outcome.cold} cold starts",
        )
        for row in rows
    ]
    title = f"{trace.name}: seconds that pods waited for images they had had"
    return svg(title, f"disk {size_text(disk)}; less is better", bars)
