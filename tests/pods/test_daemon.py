"""The whole daemon, with a kubelet that reports its pods."""

from __future__ import annotations

from pathlib import Path

from reconciler.fake_runtime.images import layer
from tests.whole import GIB, Whole, whole

from .standins import PodsApi, pod


def fill(running: Whole) -> None:
    """Nine unused images that fill nine tenths of the disk."""
    for number in range(9):
        name = f"reg.example/app{number}:1"
        running.node.publish(name, [layer(name, GIB // 3)])
        running.node.pull(name, 1_700_000_000.0 + number)


def here(running: Whole) -> set[str]:
    return {tag for image in running.node.images.values() for tag in image.tags}


def low(running: Whole) -> bool:
    recent = running.daemon.journal.recent
    return any(one.fields["event"] == "reached-low" for one in recent.after(0))


async def test_what_a_bound_pod_needs_outlives_a_reclaim(tmp_path: Path) -> None:
    """A pod that waits for a Secret has neither container nor sandbox: only kubelet knows what it
    needs. Here all is needed but just enough to come down to the low mark."""
    (tmp_path / "images").mkdir()
    async with PodsApi(tmp_path / "p.sock") as kubelet:
        needed = {f"reg.example/app{number}:1" for number in range(5)}
        kubelet.pods = {"a": pod("waits", *sorted(needed)[1:])}
        async with whole(tmp_path, pods=kubelet.path) as running:
            await running.until(lambda: running.daemon.state.pods.awaited.source == "socket")
            kubelet.send("added", pod("waits-too", sorted(needed)[0]))
            await running.until(lambda: len(running.daemon.state.pods.awaited.pods) == 2)
            fill(running)
            await running.until(lambda: low(running))
            assert needed <= here(running)
            assert len(here(running)) < 9


async def test_without_a_source_of_pods_a_reclaim_is_as_ever(tmp_path: Path) -> None:
    """The daemon did its work before it knew of pods, and says once that no source reports them."""
    (tmp_path / "images").mkdir()
    async with whole(tmp_path, pods=tmp_path / "none.sock") as running:
        fill(running)
        await running.until(lambda: low(running))
        told = [one.fields for one in running.daemon.journal.recent.after(0)]
        (lost,) = [one for one in told if one["event"] == "pods-untold"]
        assert "none.sock" in lost["detail"]
        assert len(here(running)) < 9
