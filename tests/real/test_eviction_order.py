"""The order of removal on a real containerd, over days, kill -9 and a ledger that survives it.

Least recently used would be wrong at every step here: what goes was used last.
"""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from reconciler.store.ledger import Ledger

from .containerd import Containerd
from .daemon import Daemon
from .images import MEBIBYTE, Registry, until

APP, BIG = 16 * MEBIBYTE, 64 * MEBIBYTE  # bytes of an image's own layer
DAY = 86400.0
CALM = ("99%", "98%")
MORE = """comeBackFor: 0s
importance:
  - images: ["{address}/ml/**"]
    tier: high
    reason: takes long to load
"""
EXPENDABLE = """expendable:
  - images: ["{address}/ci/**"]
    unusedFor: 1s
"""


class Story:
    """One node, its daemon, its registry, and what happens on them."""

    def __init__(self, node: Containerd, daemon: Daemon, registry: Registry, state: Path) -> None:
        self.node, self.daemon, self.registry, self._state = node, daemon, registry, state
        self.more = MORE.format(address=registry.address)

    def publish(self, name: str, size: int = APP) -> str:
        return self.registry.app(name, size)

    def use(self, image: str, times: int = 1) -> None:
        """Runs a pod of it and removes the pod; returns once the ledger on disk shows it."""
        work = self.node.workload
        work.pull(image)
        pod, _ = work.run(image)
        until(lambda: self._uses_on_disk(image) == times, 30, self.daemon.tail)
        work.remove_pod(pod)

    def _uses_on_disk(self, image: str) -> int:
        records = Ledger.read(self._state, time.time()).images.values()
        return max((record.uses for record in records if image in record.names), default=0)

    def account(self, image: str) -> str:
        """The line that explains its score."""
        done = self.daemon.command("explain", image, "-o", "json")
        assert done.returncode == 0, done.stderr
        return str(json.loads(done.stdout)["account"])

    def is_here(self, image: str) -> bool:
        tags = (tag for one in self.node.workload.images().values() for tag in one.repo_tags)
        return image in tags

    def make_room(self, exclusions: list[str] | None = None) -> None:
        """Sets marks right below what is in use now: one image is enough."""
        full = 100 * self.node.used_bytes() / self.node.capacity()
        before = len(self.daemon.lines("removed"))
        high, low = f"{full - 0.05:.2f}%", f"{full - 0.5:.2f}%"
        self.daemon.write_policy(high, low, exclusions, more=self.more)
        self.daemon.wait_for("removed", before + 1)
        self.calm()

    def calm(self, more: str = "") -> None:
        loaded = len(self.daemon.lines("policy-in-force"))
        self.daemon.write_policy(*CALM, more=self.more + more)
        self.daemon.wait_for("policy-in-force", loaded + 1)

    def a_day_passes(self) -> None:
        """While the daemon is dead: all that the ledger remembers is a day older."""
        with closing(sqlite3.connect(self._state / "ledger.db")) as ledger, ledger:
            for table, columns in (
                ("images", "first_seen last_used last_started counted_at gone_at"),
                ("removals", "begun_at answered_at came_back_at"),
                ("arrivals", "at"),
            ):
                older = ", ".join(f"{name} = {name} - {DAY}" for name in columns.split())
                ledger.execute(f"UPDATE {table} SET {older}")


@pytest.fixture
def story(node: Containerd, daemon: Daemon, registry: Registry, tmp_path: Path) -> Story:
    return Story(node, daemon, registry, tmp_path / "daemon" / "state")


@pytest.mark.parametrize("running", ["2.x"], indirect=True)
def test_what_will_be_needed_again_stays(story: Story, tmp_path: Path) -> None:
    """Superseded before daily use, large and new before important, expendable below the mark; what
    had to be pulled again is kept longer the next time. kill -9 forgets none of it, and all of it
    can be replayed."""
    daemon = story.daemon
    daily, model = story.publish("daily:v1"), story.publish("ml/model:v1")
    old, new = story.publish("shop/cart:v1.0.1"), story.publish("shop/cart:v1.0.2")
    big, commit = story.publish("report:v1", BIG), story.publish("ci/build:1a2b3c4d")
    daemon.write_policy(*CALM, more=story.more)
    daemon.start()
    for image in (daily, model, old, new, big):
        story.use(image)
    daemon.kill()
    daemon.start()

    assert f"superseded by {new}" in story.account(old)
    story.make_room()
    assert [story.is_here(one) for one in (daily, model, old, new, big)] == [
        True, True, False, True, True,
    ], daemon.tail()  # fmt: skip
    removed = daemon.lines("removing")[-1]
    assert f"superseded by {new.rpartition('/')[2]}" in removed["why"]

    assert "tier high" in story.account(model)
    story.make_room()
    assert not story.is_here(big), daemon.tail()
    assert story.is_here(model)

    story.use(commit)
    story.calm(EXPENDABLE.format(address=story.registry.address))
    until(lambda: not story.is_here(commit), 60, daemon.tail)
    assert daemon.lines("removing")[-1]["cause"] == "expendable"
    assert all(story.is_here(one) for one in (daily, model, new))

    until(lambda: len(daemon.lines("removed")) == 3, 30, daemon.tail)
    story.calm()
    daemon.kill()
    story.a_day_passes()
    daemon.start()
    fresh = story.publish("fresh:v1", BIG)
    story.use(big, times=2)
    story.use(fresh)
    others = [f"{story.registry.address}/{name}" for name in ("daily", "ml/**", "shop/**")]
    story.make_room(others)
    assert story.is_here(big), daemon.tail()
    assert not story.is_here(fresh), daemon.tail()

    past = str(tmp_path / "past.json")
    recorded = daemon.command("record", "--out", past, "--anonymize")
    assert "8 starts" in recorded.stdout, recorded.stderr
    replayed = daemon.command("simulate", "--from", past, "--watermarks", "20/10")
    assert replayed.returncode == 0, replayed.stderr
    assert "keepscore" in replayed.stdout
