"""Progress of long work, shown on a terminal and not in a pipe."""

from __future__ import annotations

import io

import anyio.lowlevel
import pytest

from reconciler.commands import progress
from tests.builders import HANGS


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def on_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """From here on stderr is a terminal; called in the test itself, since pytest sets its own."""
    made = Terminal()
    monkeypatch.setattr("sys.stderr", made)
    return made


def test_a_line_is_overwritten_and_erased_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of it stays between the output of the command; no name moves the cursor."""
    terminal = on_terminal(monkeypatch)
    progress.show("3 removed, 1.2 GiB to go; removing evil\x1b[2J" + "x" * 200)
    progress.clear()
    _, shown, after = terminal.getvalue().split(progress.ERASE)
    assert shown.startswith("3 removed, 1.2 GiB to go; removing evil\\x1b[2J")
    assert len(shown) == progress.WIDEST
    assert after == ""


def test_a_pipe_gets_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """The log of a cron job is not full of half lines."""
    progress.show("3 removed")
    progress.clear()
    assert capsys.readouterr().err == ""


async def test_only_long_work_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quick answer causes no flicker."""
    terminal = on_terminal(monkeypatch)
    with progress.waiting("asking", after=60):
        await anyio.lowlevel.checkpoint()
    assert "asking" not in terminal.getvalue()
    with progress.waiting("asking", after=0):
        with anyio.fail_after(HANGS):
            while "asking" not in terminal.getvalue():
                await anyio.lowlevel.checkpoint()
    assert terminal.getvalue().endswith(progress.ERASE)
