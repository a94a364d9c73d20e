"""The fake runtime's event stream behaves as each real one was measured to: who receives what,
what is kept for whom, how a stream ends. Over a real socket, read by gRPC alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import grpc
import grpc.aio
import pytest

from reconciler.fake_runtime._pb import workload_pb2 as pb
from reconciler.fake_runtime.habits import (
    CONTAINERD_1_6,
    CONTAINERD_1_7,
    CONTAINERD_2,
    CRIO,
    CRIO_EVENTS_OFF,
    Habits,
)
from reconciler.fake_runtime.node import Node, layer
from reconciler.fake_runtime.server import FakeRuntimeServer
from reconciler.fake_runtime.wire import OPTIONS
from tests.builders import HANGS

from ..builders import T0

APP = "localhost:5000/app:v1"
CREATED, STARTED, STOPPED, DELETED = (
    "CONTAINER_CREATED_EVENT",
    "CONTAINER_STARTED_EVENT",
    "CONTAINER_STOPPED_EVENT",
    "CONTAINER_DELETED_EVENT",
)


class Subscriber:
    """Reads a stream in the background; keeps what it received, and the code it ended with."""

    def __init__(self, call: Any) -> None:
        self._call = call
        self.received: list[Any] = []
        self.ended: str | None = None
        self._task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            async for message in self._call:
                self.received.append(message)
            self.ended = "OK"
        except grpc.aio.AioRpcError as error:
            self.ended = error.code().name

    def leave(self) -> None:
        self._call.cancel()

    async def end(self) -> str | None:
        await asyncio.wait([self._task], timeout=10)
        return self.ended

    def kinds(self) -> list[str]:
        return [pb.ContainerEventType.Name(one.container_event_type) for one in self.received]


class World:
    """A node on a socket, its clock, and those who listen to it."""

    def __init__(self, node: Node, path: str) -> None:
        self.node, self.now = node, T0
        self.runtime = FakeRuntimeServer(node, path, lambda: self.now)
        self.channel = grpc.aio.insecure_channel(f"unix:{path}", options=OPTIONS)
        self._subscribe = self.channel.unary_stream(
            "/runtime.v1.RuntimeService/GetContainerEvents",
            pb.GetEventsRequest.SerializeToString,
            pb.ContainerEventResponse.FromString,
        )

    async def subscribe(self) -> Subscriber:
        """Waits until the runtime has it: real ones do not show it."""
        before = self.runtime.subscribers
        made = Subscriber(self._subscribe(pb.GetEventsRequest(), wait_for_ready=True))
        await until(lambda: self.runtime.subscribers > before or made.ended is not None)
        return made

    async def depart(self, subscriber: Subscriber) -> None:
        before = self.runtime.subscribers
        subscriber.leave()
        await until(lambda: self.runtime.subscribers < before)


async def until(holds: Callable[[], bool]) -> None:
    """Lets everybody else run until it holds; fails after seconds rather than hang."""
    with anyio.fail_after(HANGS):
        while not holds():
            await anyio.lowlevel.checkpoint()


@asynccontextmanager
async def a_world(habits: Habits, path: Path) -> AsyncIterator[World]:
    """A node with one image and one pod."""
    node = Node(habits)
    node.publish(APP, [layer("app", 1)])
    node.pull(APP, T0)
    world = World(node, str(path / "cri.sock"))
    node.run_pod("web", T0)
    async with world.runtime:
        yield world
        await world.channel.close(None)


def live(node: Node, labels: dict[str, str] | None = None) -> str:
    """A container's whole life in the node's pod."""
    made = node.create(next(iter(node.sandboxes)), APP, T0, labels=labels)
    node.start(made.id, T0)
    node.exit(made.id, T0)
    node.remove(made.id, T0)
    return made.id


async def test_containerd_1_6_has_no_events(tmp_path: Path) -> None:
    """At once, with the code that says so."""
    async with a_world(CONTAINERD_1_6, tmp_path) as world:
        assert await (await world.subscribe()).end() == "UNIMPLEMENTED"


async def test_cri_o_with_events_off_ends_the_stream_at_once(tmp_path: Path) -> None:
    """Cleanly, its default: it differs from a good end only in that it never was a stream."""
    async with a_world(CRIO_EVENTS_OFF, tmp_path) as world:
        subscriber = await world.subscribe()
        assert await subscriber.end() == "OK"
        assert subscriber.received == []


@pytest.mark.parametrize("habits", [CONTAINERD_2, CRIO], ids=["containerd-2", "cri-o"])
async def test_all_subscribers_receive_all_in_one_order(habits: Habits, tmp_path: Path) -> None:
    """Kubelet and we."""
    async with a_world(habits, tmp_path) as world:
        both = [await world.subscribe(), await world.subscribe()]
        for _ in range(5):
            live(world.node)
        await until(lambda: all(len(one.received) >= 20 for one in both))
        assert both[0].kinds()[-20:] == [CREATED, STARTED, STOPPED, DELETED] * 5
        assert both[0].received[-20:] == both[1].received[-20:]


async def test_subscribers_of_containerd_1_7_take_events_from_each_other(tmp_path: Path) -> None:
    """Each event goes to one of them: each gets half."""
    async with a_world(CONTAINERD_1_7, tmp_path) as world:
        both = [await world.subscribe(), await world.subscribe()]
        for _ in range(5):
            live(world.node)
        await until(lambda: sum(len(one.received) for one in both) == 20)
        assert all(len(one.received) == 10 for one in both)


async def test_containerd_2_replays_five_minutes_to_the_first_to_come(tmp_path: Path) -> None:
    """Old events come first, older ones never, and a second subscriber gets none."""
    async with a_world(CONTAINERD_2, tmp_path) as world:
        node, pod = world.node, next(iter(world.node.sandboxes))
        node.create(pod, APP, T0)
        recent = node.create(pod, APP, T0 + 200)
        world.now = T0 + 400
        first, second = await world.subscribe(), await world.subscribe()
        live(node)
        await until(lambda: len(first.received) == 5 and len(second.received) == 4)
        assert first.received[0].container_id == recent.id


@pytest.mark.parametrize("habits", [CONTAINERD_1_7, CRIO], ids=["containerd-1.7", "cri-o"])
async def test_a_backlog_holds_the_first_thousand(habits: Habits, tmp_path: Path) -> None:
    """Since the process began; what comes beyond is dropped, the newest first."""
    async with a_world(habits, tmp_path) as world:
        ids = [live(world.node) for _ in range(251)]
        subscriber = await world.subscribe()
        await until(lambda: len(subscriber.received) == 1000)
        live(world.node)
        await until(lambda: len(subscriber.received) == 1004)
        assert {one.container_id for one in subscriber.received[:1000]} == set(ids[:250])


async def test_cri_o_keeps_nothing_once_it_has_had_a_subscriber(tmp_path: Path) -> None:
    """What happens while we reconnect is lost: only a listing shows it."""
    async with a_world(CRIO, tmp_path) as world:
        await world.depart(await world.subscribe())
        live(world.node)
        again = await world.subscribe()
        after = live(world.node)
        await until(lambda: len(again.received) == 4)
        assert {one.container_id for one in again.received} == {after}


@pytest.mark.parametrize("habits", [CONTAINERD_1_7, CONTAINERD_2], ids=["1.7", "2"])
async def test_containerd_loses_an_event_with_a_subscriber_that_left(
    habits: Habits, tmp_path: Path
) -> None:
    """It notices only by the next event, which goes with it; the ones after are kept."""
    async with a_world(habits, tmp_path) as world:
        await world.depart(await world.subscribe())
        live(world.node)
        again = await world.subscribe()
        await until(lambda: len(again.received) == 3)
        assert again.kinds() == [STARTED, STOPPED, DELETED]


# --- what is sent --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("habits", "kinds", "with_pod"),
    [
        (CONTAINERD_1_7, [CREATED, STARTED, STOPPED, DELETED], False),
        (CONTAINERD_2, [CREATED, STARTED, STOPPED, DELETED], True),
        (CRIO, [STARTED, STOPPED], True),
    ],
    ids=["containerd-1.7", "containerd-2", "cri-o"],
)
async def test_a_pods_own_events_are_each_runtimes(
    habits: Habits, kinds: list[str], with_pod: bool, tmp_path: Path
) -> None:
    """CRI-O reports neither its creation nor its end; containerd 1.7 its end without the pod."""
    async with a_world(habits, tmp_path) as world:
        pod = world.node.run_pod("db", T0 + 1)
        subscriber = await world.subscribe()
        world.node.remove_pod(pod.id, T0 + 2)

        def own() -> list[Any]:
            return [one for one in subscriber.received if one.container_id == pod.id]

        await until(lambda: len(own()) == len(kinds))
        names = [pb.ContainerEventType.Name(one.container_event_type) for one in own()]
        assert names == kinds
        assert own()[-1].HasField("pod_sandbox_status") == with_pod


@pytest.mark.parametrize("habits", [CONTAINERD_2, CRIO], ids=["containerd-2", "cri-o"])
async def test_a_removed_pods_containers_are_reported_by_containerd_alone(
    habits: Habits, tmp_path: Path
) -> None:
    """On CRI-O the last word on such a container is that it stopped."""
    async with a_world(habits, tmp_path) as world:
        node, pod = world.node, next(iter(world.node.sandboxes))
        made = node.create(pod, APP, T0, labels={"io.kubernetes.pod.uid": "u"})
        subscriber = await world.subscribe()
        node.remove_pod(pod, T0)
        marker = node.run_pod("marker", T0)
        await until(lambda: any(one.container_id == marker.id for one in subscriber.received))
        own = [one for one in subscriber.received if one.container_id == made.id]
        kinds = [pb.ContainerEventType.Name(one.container_event_type) for one in own]
        assert kinds == [CREATED, STOPPED] + ([] if habits.crio else [DELETED])


async def test_an_event_shows_the_whole_pod_and_not_what_was_deleted(tmp_path: Path) -> None:
    """The deleted container's image must be remembered by those who need it."""
    async with a_world(CONTAINERD_2, tmp_path) as world:
        other = world.node.create(next(iter(world.node.sandboxes)), APP, T0)
        gone = live(world.node)
        subscriber = await world.subscribe()
        await until(lambda: bool(subscriber.received) and subscriber.kinds()[-1] == DELETED)
        created = next(one for one in subscriber.received if one.container_id == gone)
        assert {one.id for one in created.containers_statuses} == {other.id, gone}
        last = subscriber.received[-1]
        assert {one.id for one in last.containers_statuses} == {other.id}


@pytest.mark.parametrize(
    ("labels", "statuses"),
    [(None, 0), ({"io.kubernetes.pod.uid": "u"}, 1)],
    ids=["bare", "labelled"],
)
async def test_cri_o_finds_a_pods_containers_by_a_label(
    labels: dict[str, str] | None, statuses: int, tmp_path: Path
) -> None:
    """Without the pod's uid on the container the payload is empty, as with crictl's bare pods."""
    async with a_world(CRIO, tmp_path) as world:
        subscriber = await world.subscribe()
        made = world.node.create(next(iter(world.node.sandboxes)), APP, T0, labels=labels)
        await until(lambda: len(subscriber.received) == 1)
        assert subscriber.received[0].container_id == made.id
        assert len(subscriber.received[0].containers_statuses) == statuses


# --- how it ends ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("habits", "killed", "code"),
    [
        (CONTAINERD_2, False, "UNAVAILABLE"),
        (CONTAINERD_2, True, "UNAVAILABLE"),
        (CRIO, False, "OK"),
        (CRIO, True, "UNAVAILABLE"),
    ],
    ids=["containerd", "containerd, killed", "cri-o", "cri-o, killed"],
)
async def test_a_shutdown_ends_the_stream_in_the_runtimes_way(
    habits: Habits, killed: bool, code: str, tmp_path: Path
) -> None:
    """CRI-O's is clean: only its delay distinguishes it from events switched off."""
    async with a_world(habits, tmp_path) as world:
        subscriber = await world.subscribe()
        live(world.node)
        await until(lambda: len(subscriber.received) >= 4)
        await world.runtime.stop(killed=killed)
        assert await subscriber.end() == code


@pytest.mark.parametrize(
    "habits", [CONTAINERD_1_7, CONTAINERD_2, CRIO], ids=["containerd-1.7", "containerd-2", "cri-o"]
)
async def test_a_restart_loses_undelivered_events_and_those_during_it(
    habits: Habits, tmp_path: Path
) -> None:
    """Pods and images are there as before; no event reports what ended while it was down."""
    async with a_world(habits, tmp_path) as world:
        live(world.node)
        await world.runtime.stop()
        live(world.node)
        pods = set(world.node.sandboxes)
        await world.runtime.start()
        subscriber = await world.subscribe()
        after = live(world.node)
        await until(lambda: len(subscriber.received) == 4)
        assert {one.container_id for one in subscriber.received} == {after}
        assert set(world.node.sandboxes) == pods
