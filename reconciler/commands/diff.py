"""`reconciler diff FILE`: what an edited policy would change here, before it is rolled out."""

from __future__ import annotations

import sys
from dataclasses import fields
from pathlib import Path

from ..domain.decision import Plan, decide
from ..domain.facts import PolicyLoaded
from ..domain.inventory import Image
from ..domain.policy import Policy
from ..domain.protection import Protection, Scene, holding
from ..domain.state import absorb
from ..policy import PolicyInvalid, load_policy
from ..report import API_VERSION, Json, image_json, protection_json, size_text, to_text
from ..settings import Settings
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
    if output == "json":
        print(to_text(document))
    else:
        _show(document)
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
    fates = {kept.image.key: "kept" for kept in plan.kept}
    for one in plan.candidates:
        fates[one.image.key] = "goes" if one.goes else "candidate"
    return fates


def _reasons(image: Image, policy: Policy, survey: Survey) -> list[Protection]:
    return list(holding(image, Scene(survey.state, policy, survey.now)))


def _changed_settings(before: Policy, after: Policy) -> list[Json]:
    changed = []
    for name in (field.name for field in fields(Policy) if field.compare):
        was, becomes = getattr(before, name), getattr(after, name)
        if was != becomes:
            changed.append({"setting": name, "before": _words(was), "after": _words(becomes)})
    return changed


def _words(value: object) -> str:
    if isinstance(value, tuple):
        return f"{len(value)} rules" if value else "none"
    return str(getattr(value, "value", value))


def _show(document: Json) -> None:
    settings = tuple((s["setting"], s["before"], s["after"]) for s in document["settings"])
    emit(Table("Settings that change", ("setting", "now", "then"), settings))
    rows = []
    for image in document["images"]:
        name = image["names"][0] if image["names"] else image["id"][:19]
        why = image["protections"][0]["detail"] if image["protections"] else ""
        size = size_text(image["sizeBytes"])
        rows.append((name, size, image["before"], image["after"], why))
    columns = ("image", "size", "now", "then", "because")
    emit(Table("Images whose fate changes on this node", columns, tuple(rows)))
    if not settings and not rows:
        heading("nothing would change on this node")
