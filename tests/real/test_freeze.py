"""A daemon that is frozen stops containerd 2.x for every client, since its events are not read any
more (docs/runtimes.md). The promise of the files in config/ is tested here: it is killed
and started again within 30 s, and pods are created again. What is slow is not frozen."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import anyio
import anyio.to_thread
import grpc
import pytest

from reconciler.fake_runtime.habits import CONTAINERD_2
from reconciler.fake_runtime.node import Layer, Node
from reconciler.fake_runtime.server import FakeRuntimeServer
from reconciler.http.health import SILENCE

from .containerd import Containerd
from .daemon import Daemon
from .images import MEBIBYTE, Registry, until
from .liveness import Kubelet, Systemd, Warden

FREEZE = 30.0  # seconds from a freeze to a new daemon: the promise
STALL = 2.0  # seconds without an answer after which CreateContainer counts as stalled
# How that ends: by our deadline, or by the runtime's own, which is sent with the call and by
# which it may reset the stream a moment earlier.
UNANSWERED = {grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED}
LARGE = 100_000 * "x"  # an annotation: kubelet takes up to 256 KiB of them
MOST = 3000  # events: far more than any client and containerd buffer between them

on_2 = pytest.mark.parametrize("running", ["2.x"], indirect=True)


def kubelet(daemon: Daemon, folder: Path) -> Warden:
    return Kubelet(daemon)


def systemd(daemon: Daemon, folder: Path) -> Warden:
    return Systemd(daemon, folder)


class Creator:
    """Creates containers, as kubelet does, in one pod."""

    def __init__(self, node: Containerd, registry: Registry) -> None:
        self._work = node.workload
        self._image = registry.app("made:v1", MEBIBYTE)
        self._work.pull(self._image)
        self._pod = self._work.run_pod()

    def works(self) -> bool:
        """Creates a container and removes it again: two events, large ones, so that fewer of them
        fill the buffers between the runtime and its subscriber."""
        try:
            made = self._work.create(self._pod, self._image, annotation=LARGE, deadline=STALL)
            self._work.remove(made, STALL)
        except grpc.RpcError as error:
            if error.code() not in UNANSWERED:
                raise
            return False
        return True

    def until_subscribed(self, daemon: Daemon) -> None:
        """Waits until the daemon has received an event: only a subscriber can stall anything."""
        metric = 'reconciler_events_total{kind="created"}'
        until(lambda: self.works() and daemon.metric(metric) > 0, 10, daemon.tail)

    def until_stalled(self) -> int:
        """Makes events until containers can no longer be created; returns how many it took."""
        for count in range(0, MOST, 2):
            if not self.works():
                return count
        raise AssertionError(f"{MOST} unread events stalled nothing")


@on_2
@pytest.mark.parametrize("warden", [kubelet, systemd])
def test_a_frozen_daemon_is_killed_and_pods_are_created_again(
    node: Containerd,
    daemon: Daemon,
    registry: Registry,
    tmp_path: Path,
    warden: Callable[[Daemon, Path], Warden],
) -> None:
    """The daemon under SIGSTOP stops pod creation; the shipped probe and the shipped watchdog have
    it killed and started again in time, and pods are created again."""
    creator = Creator(node, registry)
    daemon.write_policy("90%", "89%")
    watching = warden(daemon, tmp_path)
    daemon.start()
    creator.until_subscribed(daemon)
    daemon.send(signal.SIGSTOP)
    creator.until_stalled()
    began = time.monotonic()
    with watching:  # as if it froze now: the wait of the probe or watchdog begins
        until(creator.works, FREEZE, node.log)
        until(lambda: len(daemon.lines("runtime")) == 2, FREEZE, daemon.tail)
        assert time.monotonic() - began < FREEZE
    assert watching.killed_after is not None
    assert creator.works()


@on_2
def test_kubelet_can_stop_a_container_while_the_runtime_creates_none(
    node: Containerd, daemon: Daemon, registry: Registry
) -> None:
    """The DaemonSet's probe ends in StopContainer: that it works on a runtime that a frozen
    subscriber has stalled is what makes the probe worth having."""
    creator = Creator(node, registry)
    name = registry.app("stops:v1", MEBIBYTE)
    node.workload.pull(name)
    _, container = node.workload.run(name)
    process = node.workload.process(container)
    daemon.write_policy("90%", "89%")
    with daemon:
        creator.until_subscribed(daemon)
        with daemon.paused():
            creator.until_stalled()
            with suppress(grpc.RpcError):  # it may stay without an answer; the process must end
                node.workload.stop(container, deadline=10)
            until(lambda: not Path(f"/proc/{process}").exists(), 5, "the container lives on")
            assert not creator.works()
        until(creator.works, 10, node.log)


async def test_a_removal_that_takes_long_is_healthy_and_has_its_time_at_the_end(
    tmp_path: Path,
) -> None:
    """A RemoveImage without an answer for longer than any silence that counts as a freeze:
    /healthz says 200 all the time, and SIGTERM waits for the answer."""
    world = Node(CONTAINERD_2, capacity=10 << 30, base=1 << 30, mountpoint=str(tmp_path))
    layer = Layer("sha256:" + "a" * 64, 200 * MEBIBYTE, 600 * MEBIBYTE)
    world.publish("registry.example.com/slow:v1", [layer])
    world.pull("registry.example.com/slow:v1", time.time())
    asked, go_on = anyio.Event(), anyio.Event()

    async def slow(request: object) -> None:
        asked.set()
        await go_on.wait()

    daemon = Daemon(f"unix://{tmp_path}/cri.sock", tmp_path / "daemon")
    daemon.write_policy("99%", "98%", more="maximumUnusedAge: 1s")
    async with FakeRuntimeServer(world, str(tmp_path / "cri.sock")) as runtime:
        runtime.faults["RemoveImage"] = slow
        await anyio.to_thread.run_sync(daemon.start)
        with anyio.fail_after(30):
            await asked.wait()
        for _ in range(int(SILENCE) + 3):
            await anyio.sleep(1)
            status, text = await anyio.to_thread.run_sync(daemon.get, "/healthz")
            assert status == 200, text
        daemon.send(signal.SIGTERM)
        await anyio.to_thread.run_sync(daemon.wait_for, "ending")
        await anyio.sleep(3)
        assert daemon.alive, f"it did not wait for the removal: {daemon.tail()}"
        assert world.images
        go_on.set()
        await anyio.to_thread.run_sync(daemon.stop)  # it ends by itself, with 0
    assert not world.images
