"""`reconciler images`: every image here with its verdict, sorted and filtered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..domain.context import Context
from ..domain.humanize import ago, counted, size_text
from ..domain.policy import Policy
from ..domain.protections import holding
from ..report import Json, document, image_row_json, to_text
from ..settings import Settings
from .status import name_of
from .survey import Survey, connect, look
from .tables import Table, emit, heading

SORTS: dict[str, Callable[[Json], Any]] = {
    "name": lambda row: (row["names"] or [row["id"]])[0],
    "size": lambda row: -row["sizeBytes"],
    "used": lambda row: row["lastUsed"] or "",  # the least recently used first
    "seen": lambda row: row["firstSeen"],
    "uses": lambda row: -row["uses"],
    "verdict": lambda row: (row["verdict"], [p["kind"] for p in row["protections"]]),
}


async def images(
    settings: Settings, output: str, sort: str, filter_text: str, verdict: str | None
) -> int:
    """Prints the images; always 0. Raises RuntimeFailure."""
    async with connect(settings) as client:
        survey = await look(client, settings)
    rows = [
        row
        for row in _rows(survey)
        if verdict in (None, row["verdict"]) and _matches(row, filter_text)
    ]
    rows.sort(key=SORTS[sort])
    if output == "json":
        print(to_text(document("ImageList", survey.now) | {"items": rows}))
    else:
        _show(rows, survey, wide=output == "wide")
    return 0


def _rows(survey: Survey) -> list[Json]:
    context = Context(survey.state, survey.policy or Policy(), survey.now)
    return [
        image_row_json(image, tuple(holding(image, context)), survey.state, survey.now)
        for image in survey.state.graph.images.values()
    ]


def _matches(row: Json, text: str) -> bool:
    plain = text.removeprefix("sha256:")
    return any(text in name for name in row["names"]) or (
        row["id"].removeprefix("sha256:").startswith(plain)
    )


def _show(rows: list[Json], survey: Survey, *, wide: bool) -> None:
    columns = ["image", "size", "used by", "verdict", "because"]
    if wide:
        columns += ["first seen", "last used", "uses", "id", "other names"]
    table = [tuple(_cells(row, survey, wide)) for row in rows]
    images = counted(len(rows), "image")
    emit(Table(images, tuple(columns), tuple(table)))
    size = sum(row["sizeBytes"] for row in rows)
    free = sum(row["verdict"] == "candidate" for row in rows)
    heading(f"{images}, {size_text(size)} as listed; {free} that nothing protects")


def _cells(row: Json, survey: Survey, wide: bool) -> list[str]:
    kinds = ", ".join(protection["kind"] for protection in row["protections"])
    cells = [name_of(row), size_text(row["sizeBytes"]), str(row["users"]), row["verdict"], kinds]
    if not wide:
        return cells
    key = row["id"].removeprefix("sha256:")
    record, now = survey.state.record(key, survey.now), survey.now
    used = record.last_used
    return [
        *cells,
        ago(now - record.first_seen),
        "never" if used is None else ago(now - used),
        str(row["uses"]),
        row["id"],
        " ".join(row["names"][1:]),
    ]
