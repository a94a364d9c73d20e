"""The same judge in real time: a real unix socket, the real file watcher, real threads and clocks.

Smaller than the model, and less strict where real time blurs what came first: events are not held
against the daemon (they may be on the wire), and nothing is judged in the blink after an edit.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import anyio
import pytest

from reconciler.app import live
from reconciler.assembly import assemble
from reconciler.cri.client import open_client
from reconciler.domain.inventory import FilesystemUsage, UsageSample
from reconciler.fake_runtime._pb import workload_pb2 as pb
from reconciler.fake_runtime.calls import Calls
from reconciler.fake_runtime.habits import CONTAINERD_2, CRIO, Habits
from reconciler.fake_runtime.node import Node
from reconciler.fake_runtime.server import FakeRuntimeServer
from reconciler.settings import Settings

from .container_moves import (
    add_container,
    exit_container,
    remove_container,
    remove_pod,
    run_pod,
)
from .image_moves import (
    move_tag,
    pin,
    publish,
    pull,
    pull_by_digest,
    retag,
    untag,
    vanish,
)
from .moves import fill
from .oracle import Oracle
from .pod_moves import Dice
from .policies import Book, Version
from .policy_moves import a_rule, break_policy, fix_policy
from .soak import Random
from .world import CAPACITY, World

SECONDS = 10.0
ENOUGH = 3  # removals
BLINK = 0.3  # seconds after an edit


def exclude(world: World, dice: Dice) -> None:
    """Other exclusions, saved in place or renamed over the old ones."""
    rules = tuple(a_rule(world, dice) for _ in range(dice.number(0, 2)))
    world.book.change(in_place=dice.number(0, 1) > 0, rules=rules)
    world.note("rules:", [rule.text for rule in rules])


def fill_up(world: World, dice: Dice) -> None:
    """The disk is just above its high mark."""
    images = world.node.used() - world.node.base
    percent = world.book.wanted.high + dice.number(1, 3)
    world.node.base = max(0, CAPACITY * percent // 100 - images)


def switch(world: World, dice: Dice) -> None:
    """The mode is observe for a moment."""
    world.book.change(enforce=dice.number(0, 2) > 0)


MOVES = (
    *(run_pod, add_container, exit_container, remove_container, remove_pod, remove_pod),
    *(publish, pull, pull, pull, pull_by_digest, move_tag, retag, untag, vanish, pin),
    *(fill_up, fill_up, fill_up, fill, remove_container, break_policy, fix_policy),
    *(exclude, exclude, switch),
)


class Blinking(Oracle):
    """Judges but in the blink after an edit of the policy."""

    edited_at = 0.0

    def sent(self, text: str, deadline: float | None) -> None:
        count = len(self.violations)
        super().sent(text, deadline)
        if self.clock() - self.edited_at < BLINK:
            del self.violations[count:]


class Reporting(Calls):
    """The runtime's calls, each reported to the oracle as it is answered. The client turns to unary
    lists, since streamed ones are not there."""

    def __init__(self, node: Node, oracle: Oracle, clock: Callable[[], float]) -> None:
        super().__init__(node, clock)
        self._oracle, self._now = oracle, clock

    def list_images(self, request: Any) -> pb.ListImagesResponse:
        answer, knows, now = super().list_images(request), self._oracle.knows, self._now()
        knows.images(list(answer.images), now, knows.next_order(), now)
        return answer

    def list_containers(self, request: Any) -> pb.ListContainersResponse:
        answer = super().list_containers(request)
        self._oracle.knows.containers(list(answer.containers), self._now())
        return answer

    def list_pod_sandbox(self, request: Any) -> pb.ListPodSandboxResponse:
        answer = super().list_pod_sandbox(request)
        self._oracle.knows.sandboxes(list(answer.items), self._now())
        return answer

    def container_status(self, request: Any) -> pb.ContainerStatusResponse:
        self._oracle.knows.status(request.container_id, self._now())
        return super().container_status(request)

    def pod_sandbox_status(self, request: Any) -> pb.PodSandboxStatusResponse:
        self._oracle.knows.pause(request.pod_sandbox_id)
        return super().pod_sandbox_status(request)

    def remove_image(self, request: pb.RemoveImageRequest) -> pb.RemoveImageResponse:
        text = request.image.image
        self._oracle.sent(text, None)
        self._oracle.arrived(text)
        try:
            return super().remove_image(request)
        finally:
            self._oracle.answered(text, False)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("habits", [CONTAINERD_2, CRIO], ids=["containerd", "cri-o"])
async def test_no_promise_is_broken_in_real_time(
    habits: Habits, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """What virtual time leaves out: sockets, the file watcher, threads."""
    folder = tmp_path_factory.mktemp("r")
    node = Node(replace(habits, streams=False), CAPACITY, mountpoint="/images")
    book = Book(folder / "policy.yaml")
    oracle = Blinking(node, book, time.time, lambda image: None)
    oracle.process_begins(ledger=False)
    book.write(Version(minimum_age=0, come_back_for=1, keep_for=1))
    book.looked()
    socket = str(folder / "cri.sock")
    runtime = FakeRuntimeServer(node, socket)
    runtime.calls = Reporting(node, oracle, time.time)

    def measure(mountpoint: str) -> FilesystemUsage:
        # Others write all the time, so that no removal shows: each would be waited for on a disk
        # that may show later.
        found = replace(node.usage(mountpoint), kind="ext4")
        oracle.measured(UsageSample(time.time(), (found,)))
        oracle.weigh(book.read)
        return found

    settings = Settings(f"unix://{socket}", "", policy=book.path, state_dir=folder / "state")
    async with runtime, open_client(socket) as client:
        daemon = assemble(settings, client, time.time, measure)
        async with anyio.create_task_group() as group:
            group.start_soon(live, daemon)
            await _lively(node, book, oracle)
            daemon.policies.stop()
            group.cancel_scope.cancel()
        daemon.close()
    print(f"{oracle.removals} removals, unknowable: {dict(oracle.unknowable)}")
    assert not oracle.violations, f"{oracle.violations}\n{oracle.history}"
    assert oracle.removals > ENOUGH, f"so few removals prove nothing\n{oracle.history}"


async def _lively(node: Node, book: Book, oracle: Blinking) -> None:
    """Some fifty moves a second."""
    streams = SimpleNamespace(next_is_unresolved=False, unresolved=set[str]())
    stage = cast(
        World,
        SimpleNamespace(
            node=node,
            book=book,
            clock=time.time,
            wall=time.time,
            nudge=lambda: None,
            note=oracle.history.note,
            service=SimpleNamespace(streams=streams),
            kubelet=SimpleNamespace(pods={}),
        ),
    )
    dice, chooser, began = Random(11), random.Random(12), time.monotonic()
    latest = began + 5 * SECONDS  # on a busy machine it takes longer to prove something
    while time.monotonic() < (latest if oracle.removals <= ENOUGH else began + SECONDS):
        before = book.on_disk
        chooser.choice(MOVES)(stage, dice)
        if book.on_disk is not before:
            oracle.edited_at = time.time()
        elif time.time() - oracle.edited_at > BLINK:
            book.looked()
        await anyio.sleep(0.02)
