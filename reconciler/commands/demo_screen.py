"""What `demo` shows: usage against the marks, who goes and why, who stays and why."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio

from ..domain.decision import Candidate, Plan
from ..domain.facts import RemovalFinished
from ..domain.protection import duration
from ..domain.watermark import FilesystemState, Pressure
from ..report import size_text

if TYPE_CHECKING:
    from rich.console import RenderableType

WIDTH = 50  # characters of the usage bar
SHOWN = 6  # rows of a table


@dataclass(slots=True)
class Seen:
    """The picture that is drawn."""

    last: deque[str]
    filesystem: FilesystemState | None = None
    plan: Plan | None = None
    happened: str = ""
    count: int = 0
    freed: int = 0  # bytes
    told: int = 0  # removals that a plain line was printed for
    reason: str = ""

    def why(self, candidate: Candidate, at: float) -> None:
        """Remembers why the image that is being removed goes."""
        used = candidate.record.last_used
        last = "never used" if used is None else f"last used {duration(at - used)} ago"
        self.reason = f"{last}, nothing refers to it"

    def removed(self, fact: RemovalFinished) -> None:
        self.count += 1
        self.freed += fact.freed or 0
        name = fact.names[0] if fact.names else fact.image_id[:19]
        self.last.append(f"{name}  {self.reason}, freed {size_text(fact.freed or 0)}")

    def summary(self, wrong: int) -> None:
        """The last lines."""
        print(
            f"removed {self.count} images, freed {size_text(self.freed)}; of those in use: {wrong}"
        )


def bar(fs: FilesystemState) -> str:
    """`[#####....L..H....] 74.1%`: usage, and where the two marks are."""
    cells = ["#" if n < WIDTH * fs.used_percent / 100 else "." for n in range(WIDTH)]
    for mark, letter in ((fs.low, "L"), (fs.high, "H")):
        cells[min(WIDTH - 1, WIDTH * mark // fs.usage.capacity)] = letter
    return f"[{''.join(cells)}] {fs.used_percent:5.1f}%"


def next_in_line(plan: Plan) -> list[tuple[str, str, str]]:
    """Name, size, why: those that would go first."""
    rows = []
    for one in plan.candidates[:SHOWN]:
        name = (one.image.names or (one.image.id[:19],))[0]
        rows.append((name, size_text(one.image.size), "goes" if one.goes else "may go"))
    return rows


def staying(plan: Plan) -> list[tuple[str, str, str]]:
    """Kind, how many, one of them in words."""
    counts = Counter(kept.protections[0].kind.value for kept in plan.kept)
    example = {kept.protections[0].kind.value: kept.protections[0].detail for kept in plan.kept}
    return [(kind, str(count), example[kind]) for kind, count in counts.most_common()]


async def draw_plain(look: Callable[[], Seen], deadline: float) -> None:
    """A line a second, and one for each removal: for pipes and logs."""
    while time.monotonic() < deadline:
        seen = look()
        fresh = list(seen.last)[-(seen.count - seen.told) :] if seen.count > seen.told else []
        for line in fresh:
            print(f"  removed {line}", flush=True)
        seen.told = seen.count
        if seen.filesystem is not None and seen.plan is not None:
            pressure = seen.filesystem.pressure.value
            kept = ", ".join(f"{count} {kind}" for kind, count, _ in staying(seen.plan))
            print(f"{bar(seen.filesystem)} {pressure:<10} kept: {kept}", flush=True)
        await anyio.sleep(1)


async def draw_live(look: Callable[[], Seen], deadline: float) -> None:
    """The screen, drawn anew a few times a second."""
    from rich.live import Live

    with Live(auto_refresh=False) as screen:
        while time.monotonic() < deadline:
            screen.update(picture(look()), refresh=True)
            await anyio.sleep(0.25)


def picture(seen: Seen) -> RenderableType:
    """The screen as something rich can draw."""
    from rich.console import Group
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    def table(title: str, rows: list[tuple[str, str, str]]) -> Table:
        drawn = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
        for number in range(3):
            drawn.add_column(no_wrap=True, overflow="ellipsis", max_width=(48, 9, 64)[number])
        for row in rows:
            drawn.add_row(*(Text(cell) for cell in row))
        drawn.show_header = False
        return drawn

    fs, plan = seen.filesystem, seen.plan
    if fs is None or plan is None:
        return Text("the daemon is starting ...")
    reclaiming = fs.pressure is Pressure.RECLAIMING
    usage = Text(bar(fs), style="bold red" if reclaiming else "bold green")
    usage.append(f"  {fs.pressure.value}   L low, H high mark", style="default")
    parts: list[RenderableType] = [
        usage,
        Text(f"on the node: {seen.happened}", style="dim"),
        Text(),
    ]
    parts += [table("Next in line", next_in_line(plan)), Text()]
    parts += [table("Stays, and why", staying(plan)), Text()]
    parts.append(Text(f"Gone: {seen.count} images, {size_text(seen.freed)} freed", style="bold"))
    parts += [Text(f"  {line}", no_wrap=True, overflow="ellipsis") for line in seen.last]
    return Panel(Group(*parts), title="reconciler demo", width=126)
