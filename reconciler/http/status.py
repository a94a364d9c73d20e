"""The daemon's status as JSON: usage, what it does, what holds it, what it depends on."""

from __future__ import annotations

from .. import __version__
from ..domain.decision import decide
from ..domain.lookup import missing_required
from ..domain.missing import missing_awaited
from ..domain.plan import Plan
from ..domain.policy import Policy
from ..domain.state import State
from ..report import (
    Json,
    candidate_json,
    document,
    filesystems_json,
    hold_json,
    moment,
    unmeasured_json,
)
from .health import missing
from .view import View

BIG = 500  # images; planning for that many takes about 5 ms
FRESH = 1.0  # seconds for which a plan is reused


def plan_now(view: View, now: float) -> Plan:
    """The loop's own plan while it is fresh and not older than the last listing, otherwise a new
    one; on a big node always the loop's, since planning would hold up the event loop."""
    latest, listed_at = view.latest(), view.state.runtime.listed_at
    if latest is not None:
        fresh = now - latest[0] < FRESH and (listed_at is None or latest[0] >= listed_at)
        if fresh or len(view.state.graph.images) > BIG:
            return latest[1]
    return decide(view.state, view.state.operator.policy, now)


def status(view: View) -> Json:
    """The status document."""
    state, now = view.state, view.clock()
    plan = plan_now(view, now)
    policy = state.operator.policy
    return document("Status", state.wall(now)) | {
        "version": __version__,
        "node": view.node or None,
        "startedAt": moment(view.began_at, state),
        "mode": policy.mode.value if policy else None,
        "pressure": state.disks.pressure.value,
        "paused": None
        if state.operator.paused_at is None
        else {"since": moment(state.operator.paused_at, state)},
        "hold": hold_json(plan.hold),
        "remover": _remover(state),
        "filesystems": filesystems_json(state),
        "unmeasured": unmeasured_json(state),
        "runtime": _runtime(state),
        "pods": _pods(state, now),
        "policy": policy_health(state),
        "notReady": missing(state),
        "counts": _counts(state, plan),
        "next": [_named(candidate_json(one, state, now)) for one in plan.candidates[:5]],
        "requiredMissing": _required_missing(state, policy),
        "control": view.token_file is not None,
    }


def _remover(state: State) -> Json:
    """Whether this process may remove images here, or else who does; false and null if it does not
    try to remove."""
    remover = state.remover
    return {
        "this": state.removes,
        "other": remover.other if remover else None,
        "trouble": remover.trouble if remover else None,
    }


def _runtime(state: State) -> Json:
    version = state.runtime.version
    return {
        "name": version.name if version else None,
        "version": version.version if version else None,
        "events": "open" if state.runtime.events is None else state.runtime.events,
        "listedAt": moment(state.runtime.listed_at, state),
        "trouble": state.runtime.listing_trouble,
    }


def _pods(state: State, now: float) -> Json:
    """The source that reports the pods bound here, since when, and how many are not finished."""
    awaited = state.pods.awaited
    return {
        "source": awaited.source,
        "since": moment(awaited.since, state),
        "count": sum(1 for _ in awaited.starting(now)),
        "trouble": awaited.trouble,
        "missing": missing_awaited(state, now)[:20],
    }


def policy_health(state: State) -> Json:
    """The source of the policy in force, and what is wrong with the one on disk."""
    return {
        "source": state.operator.policy.source if state.operator.policy else None,
        "valid": not state.operator.problems,
        "problems": list(state.operator.problems[:20]),
    }


def _counts(state: State, plan: Plan) -> Json:
    return {
        "images": len(state.graph.images),
        "containers": len(state.graph.containers),
        "sandboxes": len(state.graph.sandboxes),
        "candidates": len(plan.candidates),
        "kept": len(plan.kept),
        "unresolved": len(state.graph.unresolved),
    }


def _required_missing(state: State, policy: Policy | None) -> list[Json]:
    if policy is None or state.runtime.listed_at is None:
        return []
    found = missing_required(policy, state.graph)
    return [{"pattern": str(one.pattern), "place": str(one.place)} for one in found]


def _named(candidate: Json) -> Json:
    """A candidate for a short list: at most three of its names, which may be dozens."""
    return candidate | {"names": candidate["names"][:3]}
