"""The daemon as it is put together, over a real socket, on every runtime's habits: from a full disk
to the low mark, and a storm of events while it is busy."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from reconciler.aiokit import Mailbox
from reconciler.app import live
from reconciler.assembly import assemble
from reconciler.cri.client import open_client
from reconciler.domain.facts import ContainerChanged, Fact, RemovalFinished
from reconciler.domain.state import State
from reconciler.domain.watermark import Pressure
from reconciler.fake_runtime.habits import ALL, CONTAINERD_2, Habits
from reconciler.fake_runtime.node import Node, layer
from reconciler.fake_runtime.server import FakeRuntimeServer
from reconciler.settings import Settings
from reconciler.sources.container_events import EventWatch
from reconciler.telemetry.journal import LogAndMetrics
from reconciler.telemetry.metrics import Metrics
from tests.builders import GIB, HANGS, MIB

POLICY = """\
apiVersion: reconciler/v1
kind: ImagePolicy
mode: enforce
minimumAge: 0s
exclusions: [{images: ["reg.example/keep:*"]}]
"""
STAYS = {"reg.example/keep:v1", "reg.example/moved:v1", "reg.example/used:v1"}


class UntilCalm(LogAndMetrics):
    """A journal that shows when something went and the pressure is over."""

    def __init__(self) -> None:
        super().__init__(Metrics())
        self.calm = anyio.Event()

    def absorbed(self, fact: Fact, state: State, at: float) -> None:
        super().absorbed(fact, state, at)
        if isinstance(fact, RemovalFinished) and state.disks.pressure is Pressure.CALM:
            self.calm.set()


def full_node(habits: Habits, folder: str) -> tuple[Node, str]:
    """A disk at 90 percent or more, its images of long ago: one in use, one excluded, one whose
    tag has moved while its container lives (its id is given back), eight that nobody uses."""
    node = Node(habits, 10 * GIB, 0, mountpoint=folder)
    long_ago = time.time() - 86400
    names = [f"app{number}:v1" for number in range(8)] + ["used:v1", "keep:v1", "moved:v1"]
    for name in names:
        node.publish(f"reg.example/{name}", [layer(name, 100 * MIB)])
        node.pull(f"reg.example/{name}", long_ago)
    old = next(i.hex_id for i in node.images.values() if "reg.example/moved:v1" in i.tags)
    for name in ("used:v1", "moved:v1"):
        pod = node.run_pod(name.partition(":")[0], long_ago)
        node.start(node.create(pod.id, f"reg.example/{name}", long_ago).id, long_ago)
    node.publish("reg.example/moved:v1", [layer("moved anew", 100 * MIB)])
    node.pull("reg.example/moved:v1", long_ago)
    node.base = int(0.9 * node.capacity) - node.used()
    return node, old


@pytest.mark.parametrize("habits", ALL.values(), ids=ALL)
async def test_a_full_disk_ends_at_the_low_mark_on_every_runtime(habits: Habits) -> None:
    """With events or without, whatever ids and references look like: what is used, pinned,
    excluded or still running under a tag that moved stays, and the disk has room again."""
    with tempfile.TemporaryDirectory(prefix="live-") as folder:
        home = Path(folder)
        (home / "policy.yaml").write_text(POLICY)
        node, old = full_node(habits, folder)
        socket, journal = str(home / "cri.sock"), UntilCalm()
        async with FakeRuntimeServer(node, socket) as runtime, open_client(socket) as client:
            settings = Settings(socket, "a test", policy=home / "policy.yaml", state_dir=home / "s")
            daemon = assemble(settings, client, time.time, node.usage, journal)
            with anyio.fail_after(HANGS):
                async with anyio.create_task_group() as group:
                    group.start_soon(live, daemon)
                    await journal.calm.wait()
                    daemon.policies.stop()
                    group.cancel_scope.cancel()
            daemon.close()
    assert node.used() <= 0.805 * node.capacity  # kubelet's 84 %, less the margin of a new node
    left = {tag for image in node.images.values() for tag in image.tags}
    assert left >= STAYS
    assert any(name.startswith("reg.example/app") for name in left), "more went than it took"
    assert old in node.images
    assert any("pause" in name for name in left)
    assert not [one for one in runtime.calls.removals if one.users or one.pinned]


async def test_a_storm_of_events_is_drained_while_nobody_takes_them() -> None:
    """The loop awaits a removal of minutes: what happens in that time is read at once, and the
    latest of everything waits in the mailbox."""
    with tempfile.TemporaryDirectory(prefix="live-") as folder:
        node = Node(CONTAINERD_2, mountpoint=folder)
        node.publish("reg.example/app:v1", [layer("app", MIB)])
        now = time.time()
        node.pull("reg.example/app:v1", now)
        socket = f"{folder}/cri.sock"
        mailbox: Mailbox[Fact] = Mailbox()
        async with FakeRuntimeServer(node, socket), open_client(socket) as client:
            watch = EventWatch(client, mailbox, time.time)
            with anyio.fail_after(HANGS):
                async with anyio.create_task_group() as group:
                    group.start_soon(watch.run)
                    pod, made = node.run_pod("storm", now), set[str]()
                    while len(mailbox) < 3:  # the subscription, and the sandbox's two
                        await anyio.lowlevel.checkpoint()
                    while len(made) < 1000:
                        one = node.create(pod.id, "reg.example/app:v1", now)
                        made.add(one.id)
                        node.start(one.id, now)
                        node.remove(one.id, now)
                        await anyio.lowlevel.checkpoint()
                    while len(mailbox) < 4 * len(made) + 3:
                        await anyio.lowlevel.checkpoint()
                    group.cancel_scope.cancel()
    events = [fact for fact in mailbox.drain() if isinstance(fact, ContainerChanged)]
    assert {fact.event.subject_id for fact in events} == {*made, pod.id}
