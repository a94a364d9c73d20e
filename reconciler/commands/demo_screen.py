"""The demo's screen: what `demo_lines` has seen, drawn for 80 to 126 columns (narrower terminals
get less of each line), and for as many rows as there are."""

from __future__ import annotations

import time
from collections.abc import Callable

import anyio
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from ..domain.decision import why
from ..domain.humanize import counted, size_text
from ..domain.watermark import Pressure
from .demo_lines import Seen, name_of, rivalry, staying

WIDEST = 126  # columns
FIXED_ROWS = 15  # rows outside of the tables
EVERY = 0.25  # seconds between drawings
STEPS = "▁▂▃▄▅▆▇█"

KINDS = {
    "in-use": "green",
    "sandbox": "cyan",
    "system": "cyan",
    "pinned": "cyan",
    "excluded": "magenta",
    "young": "yellow",
}


async def draw_live(look: Callable[[], Seen]) -> None:
    """Draws the screen several times a second, until cancelled."""
    console = Console()
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as screen:
        while True:
            screen.update(picture(look(), console), refresh=True)
            await anyio.sleep(EVERY)


def picture(seen: Seen, console: Console, rows: int | None = None) -> RenderableType:
    """The screen as a rich renderable; `rows`: the height, if not the terminal's own."""
    fs, plan = seen.filesystem, seen.plan
    if fs is None or plan is None:
        return Text("the daemon is starting ...")
    width = min(console.width, WIDEST)
    table_rows = max(6, (rows or console.height) - FIXED_ROWS)
    stays = staying(plan)[: max(2, table_rows // 2)]
    others = max(1, (table_rows - len(stays)) // 2)
    parts: list[RenderableType] = [
        *_usage(seen, width - 4),
        Text(f"on the node: {seen.happened}", style="dim", no_wrap=True, overflow="ellipsis"),
        Text(seen.edit, style="bold magenta", no_wrap=True, overflow="ellipsis"),
        _title("Next in line", f"{len(plan.candidates)} that nothing protects, lowest score first"),
        _next_in_line(seen, others),
        _title("Stays", f"{counted(len(plan.kept), 'image')}, and why"),
        _staying(stays),
        _title(
            "Gone",
            f"{counted(seen.count, 'image')}, {size_text(seen.freed)} freed; {rivalry(seen)}",
        ),
        _gone(seen, others),
    ]
    left = max(0.0, seen.seconds - seen.elapsed)
    return Panel(
        Group(*parts),
        title="reconciler demo",
        subtitle=f"{seen.page}  {left:.0f} s left, Ctrl-C ends".strip(),
        width=width,
    )


def _usage(seen: Seen, width: int) -> list[RenderableType]:
    """The bar with both marks under it, and the curve of recent usage."""
    fs = seen.filesystem
    assert fs is not None
    reclaiming = fs.pressure is Pressure.RECLAIMING
    colour = "red" if reclaiming else "green"
    full = int(width * fs.used_percent / 100)
    line = Text("█" * full, style=colour)
    line.append("░" * (width - full), style="dim")
    low, high = (width * mark // fs.usage.capacity for mark in (fs.low, fs.high))
    marks = Text(" " * low, no_wrap=True).append("▲low", style="bold")
    marks.append(" " * (high - low - 4)).append("▲high", style="bold")
    head = Text(f"image filesystem {size_text(fs.usage.capacity)}, ", no_wrap=True)
    head.append(f"{fs.used_percent:.1f}% used", style=f"bold {colour}")
    goal = f"reclaiming, down to {100 * fs.low / fs.usage.capacity:.0f}%"
    calm = f"calm, reclaims at {100 * fs.high / fs.usage.capacity:.0f}%"
    head.append("  ").append(goal if reclaiming else calm, style=colour)
    return [head, line, marks, _curve(seen, width), Text()]


def _curve(seen: Seen, width: int) -> Text:
    """Usage over time, one cell a sample, scaled from the lowest to the highest seen."""
    samples = list(seen.trail)[-width:]
    floor = min(percent for percent, _ in samples)
    span = max(8.0, max(percent for percent, _ in samples) - floor)
    drawn = Text()
    for percent, reclaiming in samples:
        step = STEPS[min(len(STEPS) - 1, int(len(STEPS) * (percent - floor) / span))]
        drawn.append(step, style="red" if reclaiming else "green")
    return drawn


def _title(name: str, detail: str) -> Text:
    return Text(no_wrap=True).append(name, style="bold").append("  ").append(detail, style="dim")


def _table(*ratios: int | None) -> Table:
    """Columns without a ratio are as wide as their widest cell; nothing wraps."""
    drawn = Table(box=None, padding=(0, 1, 0, 1), show_header=False, expand=True)
    for ratio in ratios:
        drawn.add_column(
            no_wrap=True, overflow="ellipsis", ratio=ratio, justify="left" if ratio else "right"
        )
    return drawn


def _next_in_line(seen: Seen, rows: int) -> Table:
    assert seen.plan is not None
    drawn, now = _table(1, 2), time.time()
    for one in seen.plan.candidates[:rows]:
        verdict = "goes now" if one.goes else "may go"
        style = "red" if one.goes else ""
        reason = f"{verdict}: {why(one, now)}"
        drawn.add_row(Text(name_of(one.image), style=style), Text(reason))
    return drawn


def _staying(rows: list[tuple[str, int, str]]) -> Table:
    drawn = _table(None, None, 1)
    for kind, count, example in rows:
        drawn.add_row(str(count), Text(kind, style=KINDS.get(kind, "")), Text(example))
    return drawn


def _gone(seen: Seen, rows: int) -> Table:
    drawn = _table(2, None, 3)
    for one in list(seen.gone)[-rows:]:
        drawn.add_row(Text(one.name), one.freed, Text(one.why))
    return drawn
