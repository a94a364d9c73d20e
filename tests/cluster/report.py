"""What was measured, as a table for people."""

from __future__ import annotations

from collections.abc import Sequence

from .lab import Figure

HEAD = ("scenario", "--pods", "what", "measured", "target", "")


def table(figures: Sequence[Figure]) -> str:
    """Columns as wide as they have to be."""
    signs = {True: "ok", False: "MISSED", None: ""}
    rows = [
        HEAD,
        *((f.scenario, f.mode, f.name, f.value, f.target, signs[f.good]) for f in figures),
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return "\n".join(["", lines[0], "-" * len(lines[0]), *lines[1:]])
