"""Renders results as the JSON that others build on, and as text for people.

The shapes are the operator's contract (docs/commands.md): fields are added. One that is renamed
is a breaking change, and in the changelog.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable
from typing import Any

from .domain.decision import Hold, explanation_line, why
from .domain.humanize import size_text
from .domain.inventory import Image
from .domain.lookup import user_names
from .domain.marks import explained
from .domain.plan import Candidate, Plan
from .domain.policy import Exclusion, Importance, Mode
from .domain.protections.protection import Verdict
from .domain.ranking.explanation import Explanation
from .domain.ranking.keepscore import Score
from .domain.state import State
from .domain.unmatched import AnyRule
from .domain.watermark import FilesystemState
from .store.history import Entry

API_VERSION = "reconciler/v1"
USERS_SHOWN = 8  # users named in a list's row, next to their number
Json = dict[str, Any]


def to_text(document: Json) -> str:
    """Indented JSON in plain ASCII: names are untrusted, so whatever could confuse a terminal is
    escaped."""
    return json.dumps(document, indent=2)


def document(kind: str, now: float) -> Json:
    """The head of every document."""
    return {"apiVersion": API_VERSION, "kind": kind, "at": timestamp(now)}


def plan_json(plan: Plan, state: State, mode: Mode | None, now: float) -> Json:
    """A plan as the contract defines it; every image is in exactly one list."""
    return document("Plan", now) | {
        "mode": (mode or Mode.OBSERVE).value,
        "hold": hold_json(plan.hold),
        "filesystems": filesystems_json(state),
        "candidates": [candidate_json(one, state, now) for one in plan.candidates],
        "kept": [
            image_json(kept.image) | {"protections": [protection_json(p) for p in kept.protections]}
            for kept in plan.kept
        ],
    }


def hold_json(hold: Hold | None) -> Json | None:
    return None if hold is None else {"reason": hold.reason.value, "detail": hold.detail}


def filesystems_json(state: State) -> list[Json]:
    """The image filesystems that are measured."""
    return [_filesystem(fs, state) for fs in state.disks.filesystems.values()]


def _filesystem(fs: FilesystemState, state: State) -> Json:
    inodes = fs.inodes_percent
    return {
        "mountpoint": fs.usage.mountpoint,
        "capacityBytes": fs.usage.capacity,
        "usedBytes": fs.usage.used,
        "usedPercent": round(fs.used_percent, 2),
        "dfPercent": round(fs.usage.df_percent, 2),
        "owedBytes": state.disks.bytes_owed(fs.usage.mountpoint),
        "highBytes": fs.high,
        "lowBytes": fs.low,
        "marginBytes": fs.margin,
        "highFrom": explained(fs, state),
        "inodesUsedPercent": None if inodes is None else round(inodes, 2),
        "pressure": fs.pressure.value,
    }


def image_json(image: Image) -> Json:
    return {"id": image.id, "names": list(image.names), "sizeBytes": image.size}


def candidate_json(candidate: Candidate, state: State, now: float) -> Json:
    return (
        {"rank": candidate.rank}
        | image_json(candidate.image)
        | {
            "goes": candidate.goes,
            "cause": candidate.cause.value if candidate.cause else None,
            "firstSeen": moment(candidate.record.first_seen, state),
            "lastUsed": moment(candidate.record.last_used, state),
            "score": score_json(candidate.score, state.wall_ahead),
            "why": why(candidate, now),
            "account": explanation_line(candidate, state, now),
        }
    )


def score_json(score: Score, ahead: float = 0.0) -> Json:
    """The factors of a score; `keep` is the product of tierWeight, standing, usesPerHour and
    sizeFactor. The wall clock is `ahead` seconds ahead of the score's times."""
    rule, newer = score.rule, score.newer
    return {
        "keep": score.keep,
        "tier": score.tier.value,
        "tierWeight": score.tier.weight,
        "tierRule": None if rule is None else rule_json(rule),
        "standing": score.standing,
        "supersededBy": None
        if newer is None
        else {"name": newer.name, "firstSeen": timestamp(newer.at + ahead)},
        "usesPerHour": score.rate,
        "sizeFactor": score.bulk,
        "pullBytes": int(score.pull),
        "ownShare": 1.0,  # images count whole; part of the contract
    }


def rule_json(rule: Exclusion | Importance) -> Json:
    """Where a rule of the policy is, and what it says."""
    return {
        "file": rule.place.file,
        "line": rule.place.line,
        "column": rule.place.column,
        "pattern": str(rule.pattern),
        "reason": rule.reason,
    }


def unmatched_json(rules: Iterable[AnyRule]) -> Json:
    """The rules that match no image here."""
    return {
        "unmatchedRules": [
            {"pattern": str(rule.pattern), "place": str(rule.place)} for rule in rules
        ]
    }


def protection_json(protection: Verdict) -> Json:
    return {
        "kind": protection.kind.value,
        "holds": protection.holds,
        "detail": protection.detail,
        "rule": None if protection.rule is None else rule_json(protection.rule),
    }


def image_row_json(
    image: Image, protections: tuple[Verdict, ...], state: State, now: float
) -> Json:
    """One image of a list: its verdict, what keeps it, and what is known of its use."""
    record = state.record(image.key, now)
    return image_json(image) | {
        "pinned": image.pinned,
        "verdict": "kept" if protections else "candidate",
        "protections": [protection_json(one) for one in protections],
        "users": len(state.graph.users_of(image.key)),
        "usedBy": user_names(image.key, state)[:USERS_SHOWN],
        "firstSeen": moment(record.first_seen, state),
        "lastUsed": moment(record.last_used, state),
        "uses": record.uses,
    }


def entry_json(entry: Entry) -> Json:
    """One removal of the history."""
    return {
        "at": timestamp(entry.at),
        "id": entry.image_id,
        "names": list(entry.names),
        "outcome": entry.outcome,
        "cause": entry.cause,
        "why": entry.why,
        "account": entry.account,
        "error": entry.error,
        "sizeBytes": entry.size,
        "expectedBytes": entry.expected,
        "freedBytes": entry.freed,
        "freedAbout": entry.about,
        "tookSeconds": round(entry.took, 4),
        "firstSeen": timestamp(entry.first_seen),
        "lastUsed": None if entry.last_used is None else timestamp(entry.last_used),
        "lastUser": entry.last_user or None,
        "uses": entry.uses,
        "listedAt": None if entry.listed_at is None else timestamp(entry.listed_at),
        "mountpoint": entry.mountpoint,
        "usedBeforeBytes": entry.used_before,
        "usedAfterBytes": entry.used_after,
        "highBytes": entry.high,
        "lowBytes": entry.low,
    }


def explanation_json(
    query: str,
    image: Image,
    verdict: str,
    protections: tuple[Verdict, ...],
    explanation: Explanation,
    line: str,
) -> Json:
    """One image's explanation, with every kind of protection, including those that do not hold."""
    return {
        "apiVersion": API_VERSION,
        "kind": "Explanation",
        "query": query,
        "image": image_json(image),
        "verdict": verdict,
        "protections": [protection_json(protection) for protection in protections],
        "score": score_json(explanation.score),
        "why": str(explanation),
        "account": line,
    }


def moment(at: float | None, state: State) -> str | None:
    """A time in the state as wall clock time; the wall clock may have been set since."""
    return None if at is None else timestamp(state.wall(at))


def timestamp(seconds: float) -> str:
    """RFC 3339 in UTC, to the second."""
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def used_text(used_percent: float, df_percent: float) -> str:
    """How full a filesystem is in percent, as kubelet counts, and what `df` says if it differs."""
    text = f"{used_percent:.1f}%"
    if abs(used_percent - df_percent) < 0.5:
        return text
    return f"{text} (df: {df_percent:.0f}%, which leaves root's reserve out)"


def unmeasured_json(state: State) -> list[Json]:
    """The image filesystems that cannot be measured, and why."""
    return [{"mountpoint": one.mountpoint, "why": one.error} for one in state.disks.invisible]


def freed_text(freed: int | None, about: bool) -> str:
    """What a removal freed, for people: "about" if others wrote or freed at the same time."""
    if freed is None:
        return "unknown"
    return f"about {size_text(freed)}" if about else size_text(freed)
