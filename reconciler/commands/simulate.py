"""`reconciler simulate`: replays a past with other marks, on another disk or without reconciler."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..domain.humanize import size_text
from ..domain.policy import Policy
from ..policy import PolicyInvalid
from ..replay.budget import SHARES, disk_for, in_use, too_short
from ..replay.daemon import AUTO, Marks
from ..replay.kubelet import KubeletSettings, gc_at
from ..replay.orders import KUBELET, ORDERS
from ..replay.recorded import Node, RecordInvalid, read, trace_of
from ..replay.recorded import document as record_of
from ..replay.replay import Replay
from ..replay.trace import Trace
from ..replay.workloads import workload
from ..report import to_text
from ..settings import Settings
from ..store.database import CannotRead
from ..store.ledger import Ledger
from . import progress
from .record import node_of
from .simulated import WITHOUT, Row, document, picture, show
from .survey import the_policy

ROOM = 1.25  # times what is in use: the disk for a past too short to choose one from


@dataclass(frozen=True, slots=True)
class Question:
    """What the command line asks. Neither a file nor a workload: this node's own past. No marks:
    auto, and the policy's own if it has any."""

    marks: Sequence[Marks] | None
    orders: Sequence[str]
    source: Path | None = None
    workload: str | None = None
    seed: int = 1
    disk: int | None = None  # bytes
    traces: Path | None = None
    plot: Path | None = None
    output: str = "table"


async def simulate(settings: Settings, question: Question) -> int:
    """Prints the comparison; returns 1 for a past that cannot be read, is empty, or can't have
    happened on such a disk. A past too short to say much is replayed with a note."""
    try:
        trace, node = await _past(settings, question)
        disk, why = _disk(trace, node, question)
    except OSError as error:
        text = f"{error.filename} cannot be read: {error.strerror}" if error.filename else error
        print(f"error: {text}", file=sys.stderr)
        return 1
    except (RecordInvalid, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    rows = _replayed(trace, disk, question, _policy(settings))
    if question.output == "json":
        print(to_text(document(trace, disk, rows)))
    else:
        show(trace, disk, why, rows)
    if question.plot is not None:
        try:
            question.plot.write_text(picture(trace, disk, rows))
        except OSError as error:
            print(f"error: {question.plot} cannot be written: {error.strerror}", file=sys.stderr)
            return 1
    return 0


def _policy(settings: Settings) -> Policy:
    """The policy in force here, for its marks and its kubelet settings; a bad one is left out."""
    found = the_policy(settings)
    if isinstance(found, PolicyInvalid):
        text = f"{found.problems[0]}; replayed without the policy" if found.problems else found
        print(f"warning: {text}", file=sys.stderr)
        return Policy()
    return found


async def _past(settings: Settings, question: Question) -> tuple[Trace, Node]:
    if question.source is not None:
        trace, node = read(question.source)
    elif question.workload is not None:
        trace, node = workload(question.workload, question.seed, question.traces), Node()
    else:
        trace, node = await _own_past(settings)
    if not trace.starts:
        raise ValueError("no container was started in this past; nothing to replay")
    return trace, node


async def _own_past(settings: Settings) -> tuple[Trace, Node]:
    text = f"no past of this node in {settings.state_dir}; the daemon keeps one while it runs"
    try:
        log = Ledger.read_log(settings.state_dir)
    except CannotRead as trouble:
        log, text = None, str(trouble)
    if log is None:
        raise ValueError(f"{text}. Give a file with --from, or --workload NAME")
    node = await node_of(settings)
    return trace_of(record_of(log, node, time.time(), anonymize=False)), node


def _disk(trace: Trace, node: Node, question: Question) -> tuple[float, str]:
    """Bytes of the disk, and the source of that figure. Raises ValueError."""
    least = trace.other + in_use(trace)
    if question.disk is not None or node.capacity is not None:
        disk = float(question.disk or node.capacity or 0)
        if disk <= least:
            raise ValueError(
                f"a disk of {size_text(disk)} is too small for this past: {size_text(least)} were "
                "in use on it at once. Give a larger one with --disk"
            )
        return disk, "as given" if question.disk is not None else "the node's own"
    if too_short(trace):
        return least * ROOM, "a quarter more than was in use at once; see --disk"
    progress.show("choosing a disk")
    disk = disk_for(trace, SHARES["medium"])
    progress.clear()
    return disk, "on which LRU lets 1 start in 20 wait needlessly; see --disk"


def _replayed(trace: Trace, disk: float, question: Question, policy: Policy) -> list[Row]:
    asked: list[tuple[Marks | None, str]] = [
        (marks, order)
        for marks in question.marks or _marks(policy, int(disk))
        for order in question.orders
        if order != KUBELET or None not in (marks.high, marks.low)
    ]
    asked.append((None, KUBELET))
    kubelet = KubeletSettings(policy.kubelet) if policy.kubelet else KubeletSettings()
    rows: list[Row] = []
    for marks, order in asked:
        progress.show(f"replaying {marks or WITHOUT} {order} ({len(rows) + 1} of {len(asked)})")
        rows.append(Row(marks, order, _replay(trace, disk, marks, order, kubelet).run()))
    progress.clear()
    return rows


def _replay(
    trace: Trace, disk: float, marks: Marks | None, order: str, kubelet: KubeletSettings
) -> Replay:
    if marks is None:
        return Replay(trace, disk, None, kubelet=kubelet)
    if order == KUBELET and marks.high is not None and marks.low is not None:
        return Replay(trace, disk, None, kubelet=gc_at(marks.high, marks.low))
    return Replay(trace, disk, ORDERS[order](trace), marks, kubelet)


def _marks(policy: Policy, disk: int) -> list[Marks]:
    """Auto, and the policy's own marks if it has any."""
    given = policy.watermarks
    own = Marks(
        None if given.high is None else given.high.of(disk) / disk,
        None if given.low is None else given.low.of(disk) / disk,
    )
    return [AUTO] if own == AUTO else [AUTO, own]
