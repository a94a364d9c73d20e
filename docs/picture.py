"""Draws docs/demo.svg: one picture of `reconciler demo`, in the middle of a reclaim.

make picture
"""

import asyncio
import io
import re
import sys
from collections.abc import Callable
from pathlib import Path

import anyio
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.terminal_theme import MONOKAI

from reconciler.commands.demo import show
from reconciler.commands.demo_lines import Seen
from reconciler.commands.demo_screen import picture
from reconciler.domain.watermark import Pressure

COLUMNS, ROWS = 112, 34
AT_MOST = 120.0  # seconds
ENOUGH = 45.0  # seconds of life before the picture is taken, so that the curve has a shape
# rich's format loads its font from elsewhere; a picture in a repository stands alone.
FORMAT = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)


async def draw() -> str:
    """Runs the demo until it shows all there is to see, and takes the picture."""
    console = Console(
        record=True,
        width=COLUMNS,
        file=io.StringIO(),
        force_terminal=True,
        color_system="truecolor",
    )

    async def until_interesting(look: Callable[[], Seen]) -> None:
        while True:
            seen = look()
            reclaiming = seen.filesystem and seen.filesystem.pressure is Pressure.RECLAIMING
            waiting = len(seen.plan.candidates) if seen.plan else 0
            if seen.elapsed > ENOUGH and reclaiming and waiting >= 3 and seen.edit:
                console.print(picture(seen, console, ROWS))
                return
            await anyio.sleep(0.02)

    _, wrong = await show(until_interesting, AT_MOST, seed=1)
    assert not wrong
    svg = console.export_svg(title="reconciler demo", theme=MONOKAI, code_format=FORMAT)
    assert "url(" not in svg.replace("url(#", "")  # nothing is loaded from anywhere
    return svg


if __name__ == "__main__":
    Path(sys.argv[1] if len(sys.argv) > 1 else "docs/demo.svg").write_text(asyncio.run(draw()))
