"""What a removal frees, on filesystems that show it at once, or up to half a minute later.

Here one image is always enough: removing because nothing shows yet removes too many.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.store import history

from .containerd import Containerd
from .daemon import Daemon
from .disk import KINDS, write_out
from .images import MEBIBYTE, Registry, until

COUNT, SIZE = 14, 10 * MEBIBYTE  # images, and the bytes of each one's own layer
BOTH_FORMS = 2 * SIZE  # bytes: containerd keeps the layer packed and unpacked
NOISE = 2 * MEBIBYTE  # bytes of containerd's own records and the filesystem's
PATIENCE = 75.0  # seconds; btrfs commits every 30


class Disk:
    """A node full of unused images on a filesystem of one kind, with the marks right below."""

    def __init__(self, kind: str, node: Containerd, daemon: Daemon, state: Path) -> None:
        self.kind, self.node, self.daemon, self._state = kind, node, daemon, state
        write_out(node.disk)
        self.before = node.used_bytes()
        self.high, self.low = self._percent(SIZE // 4), self._percent(SIZE)
        daemon.write_policy(self.high, self.low)

    def is_under_low(self) -> bool:
        return self.node.used_bytes() <= float(self.low[:-1]) / 100 * self.node.capacity()

    def images_left(self) -> int:
        names = (tag for one in self.node.workload.images().values() for tag in one.repo_tags)
        return sum("/stock-" in name for name in names)

    def check_the_history(self) -> dict[str, int | None]:
        """Checks that it says what every removal freed; returns the bytes by image."""
        came = self.before - self.node.used_bytes()
        entries = history.read(self._state, COUNT)
        freed = [entry.freed for entry in entries]
        assert all(one is not None and one > 0 for one in freed), freed
        assert abs(sum(filter(None, freed)) - came) <= NOISE, (freed, came)
        assert came >= BOTH_FORMS - NOISE
        return {entry.image_id: entry.freed for entry in entries}

    def _percent(self, less: int) -> str:
        return f"{100 * (self.before - less) / self.node.capacity():.2f}%"


@pytest.fixture(params=KINDS)
def disk(request: pytest.FixtureRequest, registry: Registry, tmp_path: Path) -> Iterator[Disk]:
    """One node for each kind of filesystem."""
    kind: str = request.param
    with Containerd("2.x", registry, 640 * MEBIBYTE, kind=kind) as node:
        for name in registry.stock(COUNT, SIZE):
            node.workload.pull(name)
        daemon = Daemon(node.endpoint, tmp_path / "daemon")
        yield Disk(kind, node, daemon, tmp_path / "daemon" / "state")
        if daemon.running:
            daemon.kill()


def test_the_daemon_waits_for_space_that_shows_late(disk: Disk) -> None:
    """One image more than needed at the most, whenever the filesystem shows it."""
    daemon = disk.daemon
    daemon.start()
    daemon.wait_for("removed")
    began = time.monotonic()
    until(disk.is_under_low, PATIENCE, daemon.tail)
    showed = time.monotonic() - began
    daemon.wait_for("reached-low")
    until(lambda: None not in freed_by_image(daemon).values(), PATIENCE, daemon.tail)
    daemon.stop()
    assert disk.is_under_low()
    freed = disk.check_the_history()
    assert freed_by_image(daemon) == freed
    assert COUNT - disk.images_left() == len(freed) <= 2, daemon.tail()
    late = [line["after_seconds"] for line in daemon.lines("space-shown")]
    print(f"{disk.kind}: {len(freed)} removed, shown after {showed:.1f} s, logged after {late}")


def test_prune_stops_at_its_mark(disk: Disk) -> None:
    """The operator's own command waits too, and ends with 0."""
    began = time.monotonic()
    done = disk.daemon.command("prune", "--to", disk.low, timeout=2 * PATIENCE)
    took = time.monotonic() - began
    assert done.returncode == 0, done.stdout + done.stderr
    assert disk.is_under_low()
    freed = disk.check_the_history()
    assert COUNT - disk.images_left() == len(freed) <= 2, done.stdout
    print(f"{disk.kind}: prune removed {len(freed)} in {took:.1f} s\n{done.stdout}")


def freed_by_image(daemon: Daemon) -> dict[str, int | None]:
    """The bytes that each removal freed, by the log; None: not known yet."""
    lines = [*daemon.lines("removed"), *daemon.lines("space-shown")]
    return {line["image"]: line["freed_bytes"] for line in lines}
