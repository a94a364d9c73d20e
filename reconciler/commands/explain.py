"""`reconciler explain IMAGE`: every protection's verdict on one image."""

from __future__ import annotations

import sys

from ..domain.account import Account
from ..domain.decision import account, decide, score_of
from ..domain.decision import explain as verdicts_on
from ..domain.inventory import Image
from ..domain.keepscore import Score
from ..domain.lookup import images_meant
from ..domain.policy import Policy
from ..domain.protection import Protection
from ..logs import neutralised
from ..report import explanation_json, size_text, to_text
from ..settings import Settings
from .survey import Survey, connect, look
from .tables import Table, emit, heading


async def explain(settings: Settings, query: str, output: str) -> int:
    """Prints the explanation; 1 for an unknown image, 2 for an ambiguous one."""
    async with connect(settings) as client:
        survey = await look(client, settings)
    found = images_meant(survey.state.graph, query)
    if len(found) != 1:
        return _not_one(found, query)
    image = found[0]
    protections = verdicts_on(image, survey.state, survey.policy or Policy(), survey.now)
    verdict, score, line = _verdict(image, protections, survey)
    if output == "json":
        print(to_text(explanation_json(query, image, verdict, protections, score, line)))
    else:
        _show(image, verdict, protections, line)
    return 0


def _not_one(found: list[Image], query: str) -> int:
    if not found:
        print(f"error: no image here answers to {query!r}; see `reconciler plan`", file=sys.stderr)
        return 1
    lines = [f"  {image.id}  {neutralised(' '.join(image.names))}" for image in found]
    text = f"error: {query!r} could be any of {len(found)} images; say which:\n" + "\n".join(lines)
    print(text, file=sys.stderr)
    return 2


def _verdict(
    image: Image, protections: tuple[Protection, ...], survey: Survey
) -> tuple[str, Score, str]:
    """Kept, candidate or goes; its score, and that in a line."""
    state, now = survey.state, survey.now
    if not any(protection.holds for protection in protections):
        for one in decide(state, survey.policy, now).candidates:
            if one.image.id == image.id:
                verdict = "goes" if one.goes else "candidate"
                return verdict, one.score, account(one, state, now)
    score = score_of(image, state, survey.policy or Policy(), now)
    line = Account(image, state.record(image.key, now), score, now).line(goes=False)
    return "kept", score, line


def _show(image: Image, verdict: str, protections: tuple[Protection, ...], line: str) -> None:
    name = image.names[0] if image.names else "without a name"
    heading(f"{name} ({image.id}, {size_text(image.size)}): {verdict}")
    for other in image.names[1:]:
        heading(f"  also {other}")
    heading(line)
    rows = [(p.kind.value, "HOLDS" if p.holds else "-", p.detail) for p in protections]
    emit(Table("Every protection's verdict", ("protection", "verdict", "in words"), tuple(rows)))
