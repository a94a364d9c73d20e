"""The demo: drawn for any terminal, and ended cleanly in every way."""

from __future__ import annotations

import io
import signal
import subprocess
import sys

import pytest
from rich.console import Console

from reconciler.commands.demo_lines import Gone, Seen, bar, staying
from reconciler.commands.demo_screen import picture
from reconciler.domain.absorb import absorb
from reconciler.domain.decision import decide
from reconciler.domain.facts import UsageSampled
from reconciler.domain.inventory import FilesystemUsage, UsageSample
from reconciler.domain.state import State
from tests.builders import HANGS, marks, policy

GIBIBYTE = 1 << 30


def seen(used: int = 9, edit: str = "") -> Seen:
    """A picture of an empty node whose disk of 10 GiB has `used` GiB in use."""
    state = State(began_at=0.0)
    state.operator.policy = policy(watermarks=marks(80, 72))
    usage = FilesystemUsage("/images", 1, 10 * GIBIBYTE, used * GIBIBYTE, 0, 0)
    absorb(UsageSampled(UsageSample(1.0, (usage,))), state)
    made = Seen(60.0)
    made.plan = decide(state, state.operator.policy, 2.0)
    made.measured(state.disks.filesystems["/images"])
    made.edit = edit
    made.gone.extend(Gone(f"registry.example.com/{n}", "1 B", "x" * 90) for n in range(40))
    return made


def drawn(made: Seen, width: int, height: int) -> list[str]:
    """The picture's lines on such a terminal."""
    file = io.StringIO()
    console = Console(width=width, height=height, file=file, force_terminal=False)
    console.print(picture(made, console))
    return file.getvalue().splitlines()


@pytest.mark.parametrize("width", [30, 80, 112, 200])
@pytest.mark.parametrize("height", [24, 50])
def test_the_picture_fits_the_terminal(width: int, height: int) -> None:
    """No line is longer than the terminal is wide, nor are there more than it has rows."""
    lines = drawn(seen(edit="y" * 300), width, height)
    assert max(map(len, lines)) <= min(width, 126)
    assert len(lines) <= height


def test_a_full_disk_is_drawn_to_its_end() -> None:
    """100 percent, and both marks, have their place in the line."""
    fs = seen(used=10).filesystem
    assert fs is not None
    line = bar(fs, 10)
    assert line == "[#######LH#] 100.0%"


def test_a_node_without_images_has_nothing_that_stays() -> None:
    """Without images there is no line on what stays."""
    plan = seen().plan
    assert plan is not None
    assert staying(plan) == []


def start(*flags: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-u", "-m", "reconciler", "demo", "--plain", *flags]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True)


def test_ctrl_c_ends_with_the_summary() -> None:
    """Interrupted, the demo says what it did and ends 0, without a traceback."""
    with start("--seconds", "50") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=HANGS)
    assert "of those in use or pinned: 0" in out
    assert (process.returncode, err) == (0, "")


def test_a_pipe_that_closes_causes_no_traceback() -> None:
    """`reconciler demo | head -1` ends by itself, and quietly."""
    with start("--seconds", "600") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        try:
            process.wait(50)  # far from the end of its time
        finally:
            process.kill()
        err = process.stderr.read()
    assert (process.returncode, err) == (0, "")
