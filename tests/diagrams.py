"""The diagrams of docs/architecture.md that are drawn from the code's own tables.
`python -m tests.diagrams` draws them; a test fails when one is out of date."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

import reconciler
from reconciler.domain.watermark import Level, Occasion, Pressure, moved

FILE = Path(reconciler.__file__).parents[1] / "docs/architecture.md"
PLACE = re.compile(r"(?<=<!-- drawn: pressure -->\n).*?(?=\n<!-- end -->)", re.DOTALL)


def pressure() -> str:
    """How the pressure of a filesystem moves, as a Mermaid diagram; what stays is left out."""
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {Pressure.CALM.value}"]
    for before, occasion in product(Pressure, Occasion):
        levels: dict[Pressure, list[str]] = {}
        for at in Level:
            levels.setdefault(moved(before, occasion, at), []).append(at.value)
        levels.pop(before, None)
        for after, found in levels.items():
            text = f"{occasion.value}, {' or '.join(found)}"
            lines.append(f"    {before.value} --> {after.value}: {text}")
    return "\n".join([*lines, "```"])


def document() -> str:
    """The whole of docs/architecture.md, with its diagrams as they should be."""
    return PLACE.sub(lambda _: pressure(), FILE.read_text())


if __name__ == "__main__":
    FILE.write_text(document())
