"""`reconciler diff FILE`: what an edited policy would change here, before it is rolled out."""

from __future__ import annotations

import sys
from dataclasses import fields, replace
from pathlib import Path

from ..domain.absorb import absorb
from ..domain.context import Context
from ..domain.decision import decide
from ..domain.facts import PolicyLoaded
from ..domain.humanize import counted, duration, size_text
from ..domain.inventory import Image
from ..domain.plan import Plan
from ..domain.policy import Place, Policy, Watermarks
from ..domain.protections import holding
from ..domain.protections.protection import Verdict
from ..domain.unmatched import all_unmatched, in_words
from ..policy import PolicyInvalid, load_policy
from ..report import API_VERSION, Json, image_json, protection_json, to_text, unmatched_json
from ..settings import Settings
from .status import name_of
from .survey import Survey, connect, look
from .tables import Table, emit, heading


async def diff(settings: Settings, file: Path, output: str) -> int:
    """Prints settings and images whose fate changes; 0 also with changes, 1 for an invalid file."""
    try:
        edited = load_policy(file)
    except PolicyInvalid as invalid:
        for problem in invalid.problems:
            print(problem, file=sys.stderr)
        return 1
    async with connect(settings) as client:
        survey = await look(client, settings)
    before = survey.policy or Policy()
    old = decide(survey.state, before, survey.now, thorough=True)
    absorb(PolicyLoaded(survey.now, edited), survey.state)
    new = decide(survey.state, edited, survey.now, thorough=True)
    document = _difference(str(file), (before, old), (edited, new), survey)
    unmatched = all_unmatched(edited, survey.state)
    if output == "json":
        print(to_text(document | unmatched_json(unmatched)))
    else:
        _show(document, before, edited)
        for rule in unmatched:
            heading(in_words(rule))
    return 0


def _difference(
    file: str, before: tuple[Policy, Plan], after: tuple[Policy, Plan], survey: Survey
) -> Json:
    fates_before, fates_after = _fates(before[1]), _fates(after[1])
    images = []
    for key, image in survey.state.graph.images.items():
        was, becomes = fates_before[key], fates_after[key]
        if was != becomes:
            policy = after[0] if becomes == "kept" else before[0]
            reasons = [protection_json(p) for p in _reasons(image, policy, survey)]
            change: Json = {"before": was, "after": becomes, "protections": reasons}
            images.append(image_json(image) | change)
    return {
        "apiVersion": API_VERSION,
        "kind": "Difference",
        "file": file,
        "settings": _changed_settings(before[0], after[0]),
        "images": images,
    }


def _fates(plan: Plan) -> dict[str, str]:
    """By image key: kept, candidate or goes."""
    fates = {kept.image.key: "kept" for kept in plan.kept}
    for one in plan.candidates:
        fates[one.image.key] = "goes" if one.goes else "candidate"
    return fates


def _reasons(image: Image, policy: Policy, survey: Survey) -> list[Verdict]:
    return list(holding(image, Context(survey.state, policy, survey.now)))


def _changed_settings(before: Policy, after: Policy) -> list[Json]:
    changed = []
    for name in (field.name for field in fields(Policy) if field.compare):
        was, becomes = getattr(before, name), getattr(after, name)
        if _without_place(was) != _without_place(becomes):
            changed.append({"setting": name, "before": _as_text(was), "after": _as_text(becomes)})
    return changed


def _without_place(value: object) -> object:
    """A setting without its place: rules of a copy of the file are the same rules."""
    if not isinstance(value, tuple):
        return value
    return tuple(replace(rule, place=Place("", 0, 0)) for rule in value)


def _as_text(value: object) -> str:
    if isinstance(value, tuple):
        return counted(len(value), "rule") if value else "none"
    return "none" if value is None else str(getattr(value, "value", value))


def _for_people(value: object) -> str:
    """A setting's value as it is written in a policy, for people."""
    match value:
        case Watermarks():
            high, low = value.high or "auto", value.low or "auto"
            inodes = f"inodes {value.inodes_high or 'auto'}/{value.inodes_low or 'auto'}"
            return f"high {high}, low {low}, {inodes}"
        case bool():
            return "on" if value else "off"
        case float():
            return duration(value)
        case int():
            return size_text(value)
    return _as_text(value)


def _show(document: Json, before: Policy, after: Policy) -> None:
    names = [changed["setting"] for changed in document["settings"]]
    settings = tuple(
        (name, *(_for_people(getattr(policy, name)) for policy in (before, after)))
        for name in names
    )
    emit(Table("Settings that change", ("setting", "now", "then"), settings))
    rows = []
    for image in document["images"]:
        name = name_of(image)
        why = image["protections"][0]["detail"] if image["protections"] else ""
        size = size_text(image["sizeBytes"])
        rows.append((name, size, image["before"], image["after"], why))
    columns = ("image", "size", "now", "then", "because")
    emit(Table("Images whose fate changes on this node", columns, tuple(rows)))
    if settings or rows:
        print()
    heading(_sentence(document["images"], changes=bool(settings)))


def _sentence(images: list[Json], *, changes: bool) -> str:
    """What the edit results in on this node."""
    if not images:
        if changes:
            return "The settings change, but every image here keeps its fate for now."
        return "nothing would change on this node"
    kept = sum(image["after"] == "kept" for image in images)
    going = [image for image in images if image["after"] == "goes"]
    open_now = sum(image["before"] == "kept" for image in images)
    size = size_text(sum(image["sizeBytes"] for image in going))
    return (
        f"On this node {_count(kept)} would be protected that nothing protects now, and "
        f"{_count(open_now)} would lose all protection. {_count(len(going)).capitalize()} that "
        f"would not go now would go in the next reclaim ({size} as listed)."
    )


def _count(number: int) -> str:
    return counted(number, "image") if number else "no image"
