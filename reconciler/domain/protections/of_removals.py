"""Protections by the results of earlier removals."""

from __future__ import annotations

from ..context import Context
from ..humanize import duration
from ..inventory import Image
from .protection import Kind, Protection


def _refused(image: Image, context: Context) -> str | None:
    refusal = context.state.removals.refusals.get(image.key)
    if refusal is None or context.now >= refusal.until:
        return None
    times = "once" if refusal.count <= 1 else f"{refusal.count} times"
    wait = duration(refusal.until - context.now)
    return f"not removed when asked {times}, next try in {wait}: {refusal.reason}"


def _asked_again(image: Image, context: Context) -> float:
    return context.state.removals.refusals[image.key].until


REFUSED = Protection(
    Kind.REFUSED,
    promise="S9",
    keeps="the runtime would not remove it a short while ago",
    check=_refused,
    otherwise="the runtime did not refuse it lately",
    because="refused",
    let_go="look at why the runtime refused; it is tried again by itself",
    applies=lambda context: bool(context.state.removals.refusals),
    ends_at=_asked_again,
)


def _came_back(image: Image, context: Context) -> str | None:
    removal = context.state.removals.records.get(image.key)
    keep = context.policy.come_back_for
    if removal is None or removal.came_back_at is None or removal.gone_for is None:
        return None
    gap = removal.gone_for
    if gap > keep or context.now - removal.came_back_at >= keep:
        return None
    left = duration(keep - (context.now - removal.came_back_at))
    return f"pulled again {duration(gap)} after its removal; kept for {left} more"


CAME_BACK = Protection(
    Kind.CAME_BACK,
    promise="S9",
    keeps="somebody pulled it again soon after we removed it",
    check=_came_back,
    otherwise="it did not come back after a removal",
    because="wanted again",
    let_go="wait, or set a lower comeBackFor in the policy",
    applies=lambda context: bool(context.state.removals.records),
)
