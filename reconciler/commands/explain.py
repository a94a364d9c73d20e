"""`reconciler explain IMAGE`: every protection's verdict on one image."""

from __future__ import annotations

import sys

from ..domain.decision import decide
from ..domain.decision import explain as verdicts_on
from ..domain.graph import ImageGraph
from ..domain.inventory import Image
from ..domain.policy import Policy
from ..domain.protection import Protection
from ..domain.reference import InvalidReference, parse_reference
from ..report import explanation_json, size_text, to_text
from ..settings import Settings
from .survey import Survey, connect, look
from .tables import Table, emit, heading


async def explain(settings: Settings, query: str, output: str) -> int:
    """Prints the explanation; 1 for an unknown image, 2 for an ambiguous one."""
    async with connect(settings) as client:
        survey = await look(client, settings)
    found = find(survey.state.graph, query)
    if len(found) != 1:
        return _not_one(found, query)
    image = found[0]
    protections = verdicts_on(image, survey.state, survey.policy or Policy(), survey.now)
    verdict = _verdict(image, protections, survey)
    if output == "json":
        print(to_text(explanation_json(query, image, verdict, protections)))
    else:
        _show(image, verdict, protections)
    return 0


def find(graph: ImageGraph, query: str) -> list[Image]:
    """The images that a name, tag, digest, id or id prefix (3 digits or more) can mean. A name
    without a tag means `latest` if there is one, else every version here; the registry and the
    head of the path may be left out."""
    keys = graph.keys_named(query)
    if not keys:
        keys = frozenset(key for key, image in graph.images.items() if _answers(image, query))
    return [graph.images[key] for key in sorted(keys) if key in graph.images]


def _answers(image: Image, query: str) -> bool:
    plain = query.removeprefix("sha256:")
    if len(plain) >= 3 and image.key.startswith(plain):
        return True
    if query.startswith("sha256:") and len(plain) >= 12:
        return any(digest.partition("@")[2].startswith(query) for digest in image.digests)
    try:
        asked = parse_reference(query)
        names = [parse_reference(name) for name in image.names]
    except InvalidReference:
        return False
    if asked.tag:
        tail = "/" + query
        return any(f"/{name}".endswith(tail) for name in image.tags)
    if asked.digest:
        return False
    short = "/" + query.removeprefix("docker.io/").removeprefix("library/")
    return any(f"/{name.repository}".endswith(short) for name in names)


def _not_one(found: list[Image], query: str) -> int:
    if not found:
        print(f"error: no image here answers to {query!r}; see `reconciler plan`", file=sys.stderr)
        return 1
    lines = [f"  {image.id}  {' '.join(image.names)}" for image in found]
    text = f"error: {query!r} could be any of {len(found)} images; say which:\n" + "\n".join(lines)
    print(text, file=sys.stderr)
    return 2


def _verdict(image: Image, protections: tuple[Protection, ...], survey: Survey) -> str:
    if any(protection.holds for protection in protections):
        return "kept"
    plan = decide(survey.state, survey.policy, survey.now)
    goes = any(one.goes for one in plan.candidates if one.image.id == image.id)
    return "goes" if goes else "candidate"


def _show(image: Image, verdict: str, protections: tuple[Protection, ...]) -> None:
    name = image.names[0] if image.names else "without a name"
    heading(f"{name} ({image.id}, {size_text(image.size)}): {verdict}")
    for other in image.names[1:]:
        heading(f"  also {other}")
    rows = [(p.kind.value, "HOLDS" if p.holds else "-", p.detail) for p in protections]
    emit(Table("Every protection's verdict", ("protection", "verdict", "in words"), tuple(rows)))
