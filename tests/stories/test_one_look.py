"""The look that a command takes once, at a node that changes or fails while it looks."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import cast

import anyio
import pytest

from reconciler.commands import survey
from reconciler.domain.decision import decide
from reconciler.domain.hold import HoldReason
from reconciler.domain.inventory import Container, Listing, Volume
from reconciler.domain.runtime import ImageRuntime, NoSuchObject, RuntimeVersion
from reconciler.domain.state import State
from reconciler.host.clock import SteadyClock
from reconciler.settings import Settings
from tests.builders import CONTAINERD_2, DAY, HANGS, T0, container, image, policy, sandbox

APP = image("app:v1")
GONE = NoSuchObject("ContainerStatus: not found")


@dataclass
class Node:
    """A runtime by its answers: `gone` containers are listed and not found when asked about; the
    ghosts among them stay listed, the others go then."""

    containers: list[Container]
    gone: set[str] = field(default_factory=set)
    ghosts: set[str] = field(default_factory=set)

    async def version(self) -> RuntimeVersion:
        return CONTAINERD_2

    async def configured_pause(self) -> str | None:
        return None

    async def list_all(self) -> Listing:
        return Listing(T0, T0, (APP,), tuple(self.containers), (sandbox("box"),))

    async def volumes_of(self, container_id: str) -> tuple[Volume, ...]:
        if container_id not in self.gone:
            return ()
        if container_id not in self.ghosts:
            self.containers = [one for one in self.containers if one.id != container_id]
        raise GONE

    async def pause_of(self, sandbox_id: str) -> tuple[str, ...]:
        return ()


def unasked(name: str) -> Container:
    return replace(container(name, APP), volumes=None)


async def looked(node: Node) -> State:
    state = State(began_at=T0)
    state.operator.policy = policy()
    with anyio.fail_after(HANGS):
        await survey.relist(cast(ImageRuntime, node), state, lambda: T0)
    return state


async def test_a_container_that_goes_while_it_is_asked_about_ends_no_command() -> None:
    """It was listed and is not found: a new listing shows that it is gone, and who is left."""
    going, staying = unasked("a"), unasked("b")
    state = await looked(Node([going, staying], gone={going.id}))
    assert set(state.graph.containers) == {staying.id}
    assert not state.asks_volumes
    assert not state.graph.needs_relist


async def test_a_container_that_is_listed_and_never_found_holds_and_does_not_hang() -> None:
    """A runtime at odds with itself: what that container mounts stays unknown, so nothing goes."""
    ghost, other = unasked("a"), unasked("b")
    state = await looked(Node([ghost, other], gone={ghost.id}, ghosts={ghost.id}))
    assert state.asks_volumes == {ghost.id}
    hold = decide(state, state.operator.policy, T0 + 599).hold
    assert hold is not None
    assert hold.reason is HoldReason.DETAILS_PENDING


async def test_a_wall_clock_set_forward_during_a_command_ages_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What a command lists, decides and removes by is a clock that does not step."""
    endpoint = "unix:///nowhere/cri.sock"
    settings = Settings(endpoint, "--runtime-endpoint")
    async with survey.connect(settings) as client:
        assert isinstance(client.clock, SteadyClock)
        before, real = client.clock(), time.time()
        monkeypatch.setattr(time, "time", lambda: real + DAY)
        assert client.clock() - before < DAY / 2
