"""The comparison as a picture: plain SVG, a bar for each row, nothing needed to draw it."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape

WIDTH, BAR, GAP, LEFT, TOP = 760, 18, 8, 190, 58
COLOURS = {"keepscore": "#2a7f62", "lru": "#8a8f98", "kubelet": "#c0603a"}
Row = tuple[str, str, float, str]  # label, order, value, text at the bar's end


def svg(title: str, unit: str, rows: Sequence[Row]) -> str:
    """Bars of non-negative values, in the order given."""
    most = max((value for _, _, value, _ in rows), default=0.0) or 1.0
    height = TOP + len(rows) * (BAR + GAP) + 20
    room = WIDTH - LEFT - 170
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        f'<text x="12" y="22" font-size="15">{escape(title)}</text>',
        f'<text x="12" y="42" fill="#555">{escape(unit)}</text>',
    ]
    for number, (label, order, value, text) in enumerate(rows):
        y = TOP + number * (BAR + GAP)
        width = room * value / most
        middle = y + BAR - 5
        parts += [
            f'<text x="{LEFT - 8}" y="{middle}" text-anchor="end">{escape(label)}</text>',
            f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR}" '
            f'fill="{COLOURS.get(order, "#555")}"/>',
            f'<text x="{LEFT + width + 6:.1f}" y="{middle}">{escape(text)}</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])
