"""`reconciler explain IMAGE`: every protection's verdict on one image."""

from __future__ import annotations

import sys

from ..domain.decision import decide, explanation_line, score_of
from ..domain.decision import explain as verdicts_on
from ..domain.humanize import size_text
from ..domain.inventory import Image
from ..domain.lookup import images_meant
from ..domain.neutral import neutralised
from ..domain.policy import Policy
from ..domain.protections import BY_KIND
from ..domain.protections.protection import Verdict
from ..domain.ranking.explanation import Explanation
from ..report import explanation_json, to_text
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
    verdict, explanation, line = _verdict(image, protections, survey)
    if output == "json":
        print(to_text(explanation_json(query, image, verdict, protections, explanation, line)))
    else:
        _show(image, verdict, protections, line if output == "wide" else str(explanation))
        print()
        heading(conclusion(verdict, protections))
        if survey.remover is not None:
            heading(f"{survey.remover} removes images here.")
    return 0


def _not_one(found: list[Image], query: str) -> int:
    if not found:
        print(f"error: no image here matches {query!r}; see `reconciler plan`", file=sys.stderr)
        return 1
    lines = [f"  {image.id}  {neutralised(' '.join(image.names))}" for image in found]
    text = f"error: {query!r} could be any of {len(found)} images; say which:\n" + "\n".join(lines)
    print(text, file=sys.stderr)
    return 2


def _verdict(
    image: Image, protections: tuple[Verdict, ...], survey: Survey
) -> tuple[str, Explanation, str]:
    """Kept, candidate or goes; the score explained, and a line with every factor of it."""
    state, now = survey.state, survey.now
    if not any(protection.holds for protection in protections):
        for one in decide(state, survey.policy, now).candidates:
            if one.image.id == image.id:
                verdict = "goes" if one.goes else "candidate"
                explanation = Explanation(image, one.record, one.score, now)
                return verdict, explanation, explanation_line(one, state, now)
    score = score_of(image, state, survey.policy or Policy(), now)
    explanation = Explanation(image, state.record(image.key, now), score, now)
    return "kept", explanation, explanation.line(goes=False)


def _show(image: Image, verdict: str, protections: tuple[Verdict, ...], line: str) -> None:
    name = image.names[0] if image.names else "without a name"
    heading(f"{name} ({image.id}, {size_text(image.size)}): {verdict}")
    for other in image.names[1:]:
        heading(f"  also {other}")
    heading(line)
    rows = [(p.kind.value, "HOLDS" if p.holds else "-", p.detail) for p in protections]
    emit(Table("Every protection's verdict", ("protection", "verdict", "in words"), tuple(rows)))


def conclusion(verdict: str, protections: tuple[Verdict, ...]) -> str:
    """Why the image stays or goes, and what would change that, in one or two sentences."""
    holding = [one for one in protections if one.holds]
    if verdict == "goes":
        return "It goes in the next reclaim. To keep it: an exclusion in the policy."
    if not holding:
        return (
            "Nothing protects it; it stays only while there is room. To keep it: an exclusion in "
            "the policy. To let it go now: `reconciler prune` with a lower --to."
        )
    because = "; and because ".join(_because(one) for one in holding)
    steps = "; then ".join(BY_KIND[one.kind].let_go for one in holding)
    return f"It stays because {because}. To let it go: {steps}."


def _because(verdict: Verdict) -> str:
    """The end of a sentence: `it is in use (container web runs it)`."""
    return f"it is {BY_KIND[verdict.kind].because} ({verdict.detail})"
