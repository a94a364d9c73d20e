"""Asking the runtime anew: one complete listing, and what no listing tells.

Images are listed before containers (in `ImageRuntime.list_all`), so that a container made between
the two calls is seen as a user of an image that is no candidate yet; the other order misses it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

from ..domain.absorbing import absorb
from ..domain.facts import AskFailed, Fact, LayersTold, Listed, ListingDue, PauseTold, VolumesTold
from ..domain.runtime import (
    ImageRuntime,
    NoSuchObject,
    RuntimeFailure,
    RuntimeUnavailable,
    RuntimeVersion,
)
from ..domain.state import State

AT_ONCE = 16  # questions in flight
SLICE = 256  # questions before the loop looks at its mailbox again
LAYERS_SLICE = 64  # fewer of those that nothing waits for


async def observe(
    runtime: ImageRuntime, version: RuntimeVersion | None, pause: str | None = None
) -> Listed:
    """Lists everything. Who answers and what it is configured with is asked where not given.
    Raises RuntimeUnavailable or RuntimeRefused: a listing is complete, or there is none."""
    if version is None:
        version = await runtime.version()
        pause = await runtime.configured_pause()
    return Listed(await runtime.list_all(), version, pause)


async def ask(runtime: ImageRuntime, state: State, clock: Callable[[], float]) -> bool:
    """Asks for image volumes and pause images not known yet, a slice of them, straight into the
    state; whether any are left. A question that fails stays open, and so does the hold on it."""
    containers = sorted(state.asks_volumes)[:SLICE]
    sandboxes = sorted(state.graph.unasked_sandboxes)[: SLICE - len(containers)]
    if not containers and not sandboxes:
        return False
    limit = anyio.CapacityLimiter(AT_ONCE)

    async def volumes(container_id: str) -> Fact:
        return VolumesTold(clock(), container_id, await runtime.volumes_of(container_id))

    async def pause(sandbox_id: str) -> Fact:
        return PauseTold(clock(), sandbox_id, await runtime.pause_of(sandbox_id))

    async with anyio.create_task_group() as group:
        for container_id in containers:
            group.start_soon(_tell, state, volumes, container_id, clock, limit)
        for sandbox_id in sandboxes:
            group.start_soon(_tell, state, pause, sandbox_id, clock, limit)
    return bool(state.asks_volumes or state.graph.unasked_sandboxes)


async def ask_layers(runtime: ImageRuntime, state: State, clock: Callable[[], float]) -> bool:
    """Asks for the layers of images not known yet, a slice of them, straight into the state.
    Nothing is held back for want of them. False: the runtime does not answer, try later."""
    limit, answers = anyio.CapacityLimiter(AT_ONCE), True

    async def one(key: str) -> None:
        nonlocal answers
        image = state.graph.images[key]
        layers: tuple[str, ...] | None = None
        async with limit:
            try:
                layers = await runtime.layers_of(image.id)
            except RuntimeUnavailable:
                answers = False
                return
            except RuntimeFailure:
                pass  # gone meanwhile, or it will not tell: its size alone has to do
        absorb(LayersTold(clock(), image.id, layers), state)

    async with anyio.create_task_group() as group:
        for key in sorted(state.memory.unasked & state.graph.images.keys())[:LAYERS_SLICE]:
            group.start_soon(one, key)
    return answers


async def _tell(
    state: State,
    question: Callable[[str], Awaitable[Fact]],
    subject: str,
    clock: Callable[[], float],
    limit: anyio.CapacityLimiter,
) -> None:
    async with limit:
        try:
            fact = await question(subject)
        except NoSuchObject:
            fact = ListingDue(clock())  # it went away meanwhile; a new listing will not have it
        except RuntimeFailure as failure:
            fact = AskFailed(clock(), subject, str(failure))
    absorb(fact, state)
