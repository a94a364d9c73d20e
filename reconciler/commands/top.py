"""`reconciler top`: the daemon, live; in a pipe as plain text, once or `--count` times."""

from __future__ import annotations

import contextlib
import select
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..domain.humanize import image_name, size_text
from ..domain.neutral import neutralised
from ..report import Json, freed_text
from ..settings import Settings
from ..store.database import CannotRead
from ..store.history import Entry, read
from .daemon import NoDaemon, ask_daemon
from .status import lines, name_of
from .tables import heading

if TYPE_CHECKING:
    from rich.console import RenderableType

LAST = 10  # removals shown
BAR = 40  # characters

Look = Callable[[], tuple[Json, tuple[Entry, ...]]]


def top(settings: Settings, every: float, count: int | None) -> int:
    """Shows the daemon until `q` or Ctrl-C, every `every` seconds; returns 1 if none answers."""

    def look() -> tuple[Json, tuple[Entry, ...]]:
        return ask_daemon(settings, "status"), _last(settings.state_dir)

    try:
        read(settings.state_dir, LAST)
    except CannotRead as trouble:
        print(f"warning: {trouble}", file=sys.stderr)
    live = sys.stdout.isatty() and sys.stdin.isatty()
    try:
        if live:
            _live(look, every, count)
        else:
            _plain(look, every, count or 1)
    except NoDaemon as trouble:
        print(f"error: {trouble}", file=sys.stderr)
        return 1
    return 0


def _last(folder: Path) -> tuple[Entry, ...]:
    """The last removals; none where they cannot be read, which was said at the start."""
    try:
        return read(folder, LAST)
    except CannotRead:
        return ()


def _plain(look: Look, every: float, count: int) -> None:
    for number in range(count):
        if number:
            time.sleep(every)
        document, removed = look()
        for line in [*lines(document), *_removed(removed)]:
            heading(line)


def _removed(removed: tuple[Entry, ...]) -> list[str]:
    return [f"removed: {_removal(entry)}" for entry in removed]


def _removal(entry: Entry) -> str:
    name = image_name(entry.names, entry.image_id)
    freed = "" if entry.freed is None else f", freed {freed_text(entry.freed, entry.about)}"
    when = time.strftime("%H:%M:%S", time.localtime(entry.at))
    return f"{when} {name}{freed}; {entry.why}"


def _live(look: Look, every: float, count: int | None) -> None:
    from rich.console import Console
    from rich.live import Live

    console = Console()
    with _keys() as pressed, Live(console=console, screen=True, auto_refresh=False) as screen:
        shown = 0
        while count is None or shown < count:
            screen.update(picture(*look(), console.width, console.height), refresh=True)
            shown += 1
            if pressed(every) == "q":
                return


@contextlib.contextmanager
def _keys() -> Iterator[Callable[[float], str]]:
    """Yields a function that waits for a key, without Enter; restores the terminal in the end."""
    handle = sys.stdin.fileno()
    before = termios.tcgetattr(handle)

    def pressed(seconds: float) -> str:
        ready, _, _ = select.select([handle], [], [], seconds)
        return sys.stdin.read(1) if ready else ""

    tty.setcbreak(handle)
    try:
        yield pressed
    finally:
        termios.tcsetattr(handle, termios.TCSADRAIN, before)


def picture(document: Json, removed: tuple[Entry, ...], width: int, height: int) -> RenderableType:
    """The screen, as many lines as fit."""
    from rich.console import Group
    from rich.text import Text

    styled: list[tuple[str, str]] = []
    for fs in document["filesystems"]:
        style = "bold red" if fs["pressure"] == "reclaiming" else "bold green"
        styled.append(
            (f"{bar(fs, min(BAR, max(10, width - 12)))} {fs['usedPercent']:5.1f}%", style)
        )
    styled += [(line, "") for line in lines(document)]
    styled += [("", ""), ("Next in line", "bold")]
    styled += [
        (f"{one['rank']:>3} {name_of(one)}  {size_text(one['sizeBytes'])}", "")
        for one in document["next"]
    ]
    styled += [("", ""), ("Last removed", "bold"), *((_removal(one), "") for one in removed)]
    shown = [*styled[: max(1, height - 1)], ("q quits", "dim")]
    return Group(
        *(
            Text(neutralised(text), style, no_wrap=True, overflow="ellipsis")
            for text, style in shown
        )
    )


def bar(fs: Json, width: int) -> str:
    """`[#####....L..H....]`: usage, and where the two marks are."""
    capacity = max(1, fs["capacityBytes"])
    cells = ["#" if n < width * fs["usedBytes"] / capacity else "." for n in range(width)]
    for mark, letter in ((fs["lowBytes"], "L"), (fs["highBytes"], "H")):
        cells[min(width - 1, width * mark // capacity)] = letter
    return f"[{''.join(cells)}]"
