"""Commands that ask a node: status, top, history, images; with a running daemon and without."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import anyio.to_thread
import pytest

from reconciler.cli.main import main
from reconciler.commands.status import lines
from reconciler.commands.top import bar, picture
from reconciler.domain.watermark import Pressure
from reconciler.fake_runtime.images import layer
from reconciler.store.history import FILE, History
from tests.builders import HANGS
from tests.test_history import ONE, rubbish
from tests.whole import Whole, whole

MIB = 1 << 20


async def command(node: Whole, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs one of our commands as a process, next to the daemon."""

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "reconciler", *arguments, *node.flags],
            capture_output=True,
            text=True,
            timeout=HANGS,
            check=False,
        )

    return await anyio.to_thread.run_sync(run)


def pull(node: Whole, name: str, size: int = 700 * MIB) -> str:
    """Pulls an image with layers of its own to the node; returns its id."""
    images = node.node.images
    node.node.publish(name, [layer(name, size)])
    node.node.pull(name, node.daemon.reconciler.deps.clock())
    assert len(node.node.images) >= len(images)
    return next(key for key, one in node.node.images.items() if name in one.tags)


async def test_status_says_what_a_running_daemon_does(tmp_path: Path) -> None:
    """Mode, usage, what is next: from the daemon itself; as JSON for scripts."""
    async with whole(tmp_path) as node:
        pull(node, "reg.example/app:v1")
        state = node.daemon.state
        await node.until(lambda: state.runtime.listed_at and state.disks.filesystems)
        for _ in range(20):  # a listing may be due at that very moment
            done = await command(node, "status")
            if "calm" in done.stdout and done.returncode == 0:
                break
        document = json.loads((await command(node, "status", "-o", "json")).stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "mode enforce" in done.stdout
    assert "calm: nothing needs to go" in done.stdout
    assert document["kind"] == "Status"


async def test_a_removal_is_found_in_the_history_with_what_brings_it_back(tmp_path: Path) -> None:
    """Why is this image gone? The answer has the reason, and the digest to pull it by again."""
    async with whole(tmp_path) as node:
        for number in range(5):
            pull(node, f"reg.example/app{number}:v1")
        await node.until(lambda: len(node.node.images) < 5)
        await node.until(lambda: node.daemon.state.disks.pressure is Pressure.CALM)
        gone = 5 - len(node.node.images)
        await node.until(lambda: len(node.daemon.history.newest(5)) == gone)
        table = await command(node, "history", "--since", "1h")
        document = json.loads((await command(node, "history", "-o", "json")).stdout)
        top = await command(node, "top", "--count", "1")
    (first, *_) = document["items"]
    assert first["outcome"] == "removed"
    assert any("@sha256:" in name for name in first["names"])
    assert first["names"][0] in table.stdout
    assert first["why"].startswith("never used here, first seen ")
    assert first["why"] in table.stdout
    assert "keep=" in first["account"]
    assert "keep=" not in table.stdout
    assert f"{first['names'][0]}, freed" in top.stdout


async def test_images_are_sorted_and_filtered_with_verdicts(tmp_path: Path) -> None:
    """Every image with its verdict; the biggest first; one of them alone."""
    async with whole(tmp_path) as node:
        small = pull(node, "reg.example/small:v1", 20 * MIB)
        big = pull(node, "reg.example/big:v1", 200 * MIB)
        kept = pull(node, "reg.example/keep/me:v1", 100 * MIB)
        by_size = json.loads((await command(node, "images", "--sort", "size", "-o", "json")).stdout)
        one = json.loads((await command(node, "images", "--filter", "big", "-o", "json")).stdout)
        free = json.loads(
            (await command(node, "images", "--verdict", "candidate", "-o", "json")).stdout
        )
        wide = await command(node, "images", "-o", "wide")
    ids = [row["id"].removeprefix("sha256:") for row in by_size["items"]]
    assert [key for key in ids if key in (small, big, kept)] == [big, kept, small]
    assert [row["names"][0] for row in one["items"]] == ["reg.example/big:v1"]
    assert {row["id"].removeprefix("sha256:") for row in free["items"]} == {small, big}
    assert "excluded" in wide.stdout
    assert big in wide.stdout


@pytest.mark.parametrize("name", ["status", "top"])
def test_without_a_daemon_the_error_says_which_address_was_tried(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No daemon: one line, exit 1, no traceback."""
    code = main([name, "--listen", "127.0.0.1:1", "--state-dir", str(tmp_path)])
    printed = capsys.readouterr()
    assert code == 1
    assert "127.0.0.1:1" in printed.err
    assert printed.out == ""


def test_history_needs_no_daemon(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The daemon is dead: what it did can still be read. An empty history says so."""
    assert main(["history", "--state-dir", str(tmp_path)]) == 0
    assert "nothing was removed here" in capsys.readouterr().out
    history = History(tmp_path)
    history.add([ONE])
    history.close()
    assert main(["history", "--state-dir", str(tmp_path), "--image", "app"]) == 0
    assert "reg.example/app:v1" in capsys.readouterr().out


@pytest.mark.parametrize("damage", [rubbish, Path.mkdir], ids=["rubbish", "a directory"])
def test_a_damaged_history_is_an_error_and_not_an_empty_one(
    damage: Callable[[Path], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Which file, why, and what to do; `top` shows the daemon all the same, with a warning."""
    damage(tmp_path / FILE)
    code = main(["history", "--state-dir", str(tmp_path)])
    printed = capsys.readouterr()
    assert (code, printed.out) == (1, "")
    (line,) = printed.err.splitlines()
    assert line.startswith(f"error: {tmp_path / FILE} cannot be read: ")
    assert "move it away" in line
    main(["top", "--listen", "127.0.0.1:1", "--state-dir", str(tmp_path)])
    assert f"warning: {tmp_path / FILE} cannot be read: " in capsys.readouterr().err


def _document() -> dict[str, object]:
    fs = {
        "mountpoint": "/images",
        "capacityBytes": 100,
        "usedBytes": 75,
        "usedPercent": 75.0,
        "highBytes": 80,
        "lowBytes": 70,
        "marginBytes": None,
        "highFrom": "given by the policy; kubelet acts above 84.0% (a setting)",
        "inodesUsedPercent": None,
        "pressure": "reclaiming",
    }
    counts = ("images", "containers", "sandboxes", "candidates", "kept", "unresolved")
    return {
        "version": "0",
        "startedAt": "2027-01-15T08:00:00Z",
        "mode": "enforce",
        "pressure": "reclaiming",
        "paused": None,
        "hold": None,
        "filesystems": [fs],
        "runtime": {"name": "containerd", "version": "2", "events": "open", "listedAt": None},
        "pods": {
            "source": None,
            "since": None,
            "count": 0,
            "trouble": "no socket\x1b[31m",
            "missing": ["pod shop/web\x1b[31m cannot start"],
        },
        "policy": {"source": "p.yaml", "problems": []},
        "notReady": [],
        "counts": dict.fromkeys(counts, 1),
        "next": [
            {"rank": n, "id": "x", "names": [f"reg.example/{'long' * 40}\x1b[31m"], "sizeBytes": 1}
            for n in range(1, 6)
        ],
        "requiredMissing": [],
    }


def test_status_says_where_a_mark_comes_from() -> None:
    """On a line of its own: a line feed within one is written as an escape."""
    found = lines(_document())
    at = next(number for number, line in enumerate(found) if line.startswith("/images: 75.0%"))
    assert found[at + 1] == "  high mark given by the policy; kubelet acts above 84.0% (a setting)"
    assert not any("\n" in line for line in found)


@pytest.mark.parametrize(("width", "height"), [(20, 5), (80, 24), (200, 60)])
def test_top_fits_the_terminal_and_shows_no_untrusted_escape(width: int, height: int) -> None:
    """Resized to anything, no line is too long and none too many; names cannot draw."""
    import io

    from rich.console import Console

    file = io.StringIO()
    console = Console(width=width, height=height, file=file, force_terminal=False)
    console.print(picture(_document(), (ONE,) * 20, width, height))
    lines = file.getvalue().splitlines()
    assert len(lines) <= height
    assert max(map(len, lines)) <= width
    assert "\x1b" not in file.getvalue()


def test_the_bar_has_usage_and_both_marks() -> None:
    """Full or empty, the marks are where they are."""
    fs = {"capacityBytes": 100, "usedBytes": 50, "lowBytes": 70, "highBytes": 90}
    assert re.fullmatch(r"\[#{5}\.\.L\.H\]", bar(fs, 10))
