"""The fake runtime is faithful: asked the same things in the same order, the real containerd of
each major and the fake one with its habits give the same answers."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

from reconciler.fake_runtime.habits import CONTAINERD_1_6, CONTAINERD_1_7, CONTAINERD_2, Habits
from reconciler.fake_runtime.node import Node, layer
from reconciler.fake_runtime.server import FakeRuntimeServer
from tests.workload import Workload

from .containerd import Containerd
from .images import Registry, until
from .subscriber import Subscriber
from .transcript import transcript

HABITS = {"1.6": CONTAINERD_1_6, "1.7": CONTAINERD_1_7, "2.x": CONTAINERD_2}


@contextlib.contextmanager
def faked(habits: Habits, pause: str, folder: Path) -> Iterator[tuple[Node, Workload]]:
    """The fake runtime in a thread of its own, since the driver waits for its answers."""
    node = Node(habits)
    node.registry[pause] = node.registry.pop(node.pause_name)
    node.pause_name = pause
    path = str(folder / "cri.sock")
    ready, loop = threading.Event(), asyncio.new_event_loop()
    ending = asyncio.Event()

    async def serve() -> None:
        async with FakeRuntimeServer(node, path):
            ready.set()
            await ending.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        assert ready.wait(10)
        workload = Workload(path)
        yield node, workload
        workload.close()
    finally:
        loop.call_soon_threadsafe(ending.set)
        thread.join(10)
        loop.close()


def test_the_fake_runtime_answers_as_the_real_one(
    node: Containerd, registry: Registry, tmp_path: Path
) -> None:
    """A fake that is wrong makes every test on it worthless: names, ids, references, removals,
    volumes, errors, verbose answers, step by step."""
    pause = f"{registry.address}/pause:3.10"

    def push_really(name: str) -> None:
        registry.app(name.removeprefix(f"{registry.address}/"))

    real = transcript(node.workload, registry.address, push_really, registry.tag, pause)
    with faked(HABITS[node.major], pause, tmp_path) as (fake, workload):

        def push(name: str) -> None:
            pushed.append(name)
            fake.publish(name, [layer(f"push {len(pushed)}", 1000)])

        def alias(name: str, other: str) -> None:
            fake.registry[other] = fake.registry[name]

        pushed: list[str] = []
        faked_answers = transcript(workload, registry.address, push, alias, pause)
    assert faked_answers == real


def life_events(workload: Workload, socket: str) -> list[tuple[str, int]]:
    """The events of a pod and two containers, one removed before it and one with it;
    nothing where there are no events."""
    with Subscriber(socket) as events:
        events.begin_to_receive(workload)
        if events.unsupported:
            return []
        words: dict[str, str] = {}

        def received(count: int) -> list[tuple[str, int]]:
            """Our events, once there are `count`; waiting for each keeps them in order."""

            def ours() -> list[tuple[str, int]]:
                return [(words[one], kind) for one, kind in list(events.received) if one in words]

            until(lambda: len(ours()) >= count, 20, lambda: f"only {ours()} was received")
            return ours()

        image = next(iter(workload.images()))
        pod = workload.run_pod()
        words[pod] = "pod"
        received(2)
        for number, (what, ends) in enumerate((("first", True), ("second", False))):
            made = workload.create(pod, image)
            words[made] = what
            workload.start(made)
            received(4 + 4 * number)
            if ends:
                workload.stop(made)
                received(5)
                workload.remove(made)
                received(6)
        workload.remove_pod(pod)
        return received(12)


def test_the_fake_runtime_sends_the_events_of_the_real_one(
    node: Containerd, registry: Registry, tmp_path: Path
) -> None:
    """Of pods as of containers, in the same order: what the daemon lives on between listings."""
    pause, app = f"{registry.address}/pause:3.10", registry.app("lives:v1")
    node.workload.pull(app)
    real = life_events(node.workload, str(node.socket))
    with faked(HABITS[node.major], pause, tmp_path) as (fake, workload):
        fake.publish(app, [layer("lives", 1000)])
        workload.pull(app)
        faked_events = life_events(workload, str(tmp_path / "cri.sock"))
    assert faked_events == real
    assert bool(real) == node.has_events
