"""The daemon's state as JSON documents. Big ones are built in steps, so that 5,000 images do not
hold up the loop; what changes in between is shown as it is when its turn comes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from operator import attrgetter

from ..domain.context import Context
from ..domain.decision import explain
from ..domain.inventory import Image
from ..domain.plan import Kept
from ..domain.policy import Exclusion, Expendable, Importance, Policy, Required
from ..domain.protections import holding
from ..domain.state import State
from ..domain.steps import Steps
from ..domain.unmatched import AnyRule
from ..report import (
    Json,
    candidate_json,
    document,
    entry_json,
    filesystems_json,
    hold_json,
    image_json,
    image_row_json,
    protection_json,
)
from ..store.history import Entry
from ..telemetry.recent import Line, Point
from .document_cache import Document
from .status import plan_now, policy_health
from .view import View

ROWS = 32  # images in a step: a few milliseconds of work


def images(view: View) -> Steps[Document]:
    """Every image with its verdict, its users and what keeps it, in the order of their ids."""
    state, now = view.state, view.clock()
    context = Context(state, state.operator.policy or Policy(), now)
    found = sorted(state.graph.images.values(), key=attrgetter("id"))
    rows = yield from encoded(
        image_row_json(image, tuple(holding(image, context)), state, now) for image in found
    )
    ids = [image.id for image in found]
    return Document(
        document("ImageList", state.wall(now)) | {"metadata": {"continue": ""}},
        {"items": rows},
        ids,
    )


def encoded(rows: Iterable[Json]) -> Steps[list[bytes]]:
    """Each row as the bytes of its JSON."""
    found = []
    for number, row in enumerate(rows, 1):
        found.append(json.dumps(row).encode())
        if number % ROWS == 0:
            yield
    return found


def image(view: View, one: Image) -> Json:
    """One image in detail: every protection's verdict and every user."""
    state, now = view.state, view.clock()
    verdicts = explain(one, state, state.operator.policy or Policy(), now)
    row = image_row_json(one, tuple(v for v in verdicts if v.holds), state, now)
    row["protections"] = [protection_json(verdict) for verdict in verdicts]
    return document("Image", state.wall(now)) | {"image": row, "usedBy": _users(one, state)}


def _users(one: Image, state: State) -> list[Json]:
    users = []
    for user in sorted(state.graph.users_of(one.key)):
        container = state.graph.containers.get(user)
        sandbox = state.graph.sandboxes.get(container.sandbox_id if container else user)
        users.append(
            {
                "id": user,
                "kind": "sandbox" if user in state.graph.sandboxes else "container",
                "name": container.name if container else None,
                "sandbox": sandbox.name if sandbox else None,
                "state": container.state.name.lower() if container else None,
            }
        )
    return users


def plan(view: View) -> Steps[Document]:
    """The plan as `reconciler plan -o json` prints it."""
    state, now = view.state, view.clock()
    made = plan_now(view, now)
    context = Context(state, state.operator.policy or Policy(), now)
    candidates = yield from encoded(candidate_json(one, state, now) for one in made.candidates)
    kept = yield from encoded(_kept(one, context) for one in made.kept)
    head = document("Plan", state.wall(now)) | {
        "mode": state.operator.policy.mode.value if state.operator.policy else "observe",
        "hold": hold_json(made.hold),
        "filesystems": filesystems_json(state),
    }
    return Document(head, {"candidates": candidates, "kept": kept})


def _kept(one: Kept, context: Context) -> Json:
    found = tuple(holding(one.image, context)) or one.protections
    return image_json(one.image) | {"protections": [protection_json(kept) for kept in found]}


def policy(view: View) -> Json:
    """The policy in force: every value, and every rule with its place in a file."""
    state, now = view.state, view.clock()
    found = state.operator.policy
    rules = [_rule(kind, rule, state.wall(now)) for kind, rule in _rules(found)]
    values = {} if found is None else _values(found)
    return (
        document("Policy", state.wall(now))
        | policy_health(state)
        | {"values": values, "rules": rules}
    )


def _rules(policy: Policy | None) -> Iterator[tuple[str, AnyRule]]:
    """All rules, by kind, each kind in the order of the files."""
    if policy is not None:
        yield from (("exclusion", rule) for rule in policy.exclusions)
        yield from (("importance", rule) for rule in policy.importance)
        yield from (("expendable", rule) for rule in policy.expendable)
        yield from (("required", rule) for rule in policy.required)


def _rule(kind: str, rule: AnyRule, now: float) -> Json:
    excludes = rule if isinstance(rule, Exclusion) else None
    return {
        "kind": kind,
        "pattern": str(rule.pattern),
        "file": rule.place.file,
        "line": rule.place.line,
        "column": rule.place.column,
        "reason": None if isinstance(rule, Required) else rule.reason,
        "until": excludes.until.isoformat() if excludes and excludes.until else None,
        "inForce": excludes is None or excludes.in_force(now),
        "tier": rule.tier.value if isinstance(rule, Importance) else None,
        "unusedForSeconds": rule.unused_for if isinstance(rule, Expendable) else None,
    }


def _values(policy: Policy) -> Json:
    marks = policy.watermarks
    return {
        "mode": policy.mode.value,
        "watermarks": {
            "high": str(marks.high or "auto"),
            "low": str(marks.low or "auto"),
            "inodes": {
                "high": str(marks.inodes_high or "auto"),
                "low": str(marks.inodes_low or "auto"),
            },
        },
        "minimumAgeSeconds": policy.minimum_age,
        "maximumUnusedAgeSeconds": policy.maximum_unused_age,
        "minimumSizeBytes": policy.minimum_size,
        "comeBackForSeconds": policy.come_back_for,
        "protectUnpullable": policy.protect_unpullable,
        "system": {"enabled": policy.system_enabled, "keepForSeconds": policy.system_keep_for},
    }


def history(entries: Iterable[Entry], now: float) -> Json:
    """Removals, newest first, with what would bring each image back."""
    return document("History", now) | {"items": [entry_json(entry) for entry in entries]}


def events(lines: Iterable[Line], now: float) -> Json:
    """The newest log lines, oldest first; `number` is the value for `after`."""
    items = [{"number": line.number} | dict(line.fields) for line in lines]
    return document("EventList", now) | {"items": items}


def usage(view: View) -> Json:
    """Usage over time, for each filesystem: [seconds since 1970, used, high, low, inodes]."""
    series = {
        mountpoint: [_point(one, view.state.wall_ahead) for one in seen]
        for mountpoint, seen in view.recent.usage.items()
    }
    return document("Usage", view.state.wall(view.clock())) | {"filesystems": series}


def _point(point: Point, ahead: float) -> list[float]:
    return [round(point.at + ahead, 1), point.used, point.high, point.low, point.used_inodes]
