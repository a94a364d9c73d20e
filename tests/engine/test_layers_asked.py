"""Layers are asked for beside the work: nothing waits for them, and nothing spins on them."""

from __future__ import annotations

from reconciler.domain.runtime import RuntimeRefused, RuntimeUnavailable
from reconciler.engine.observe import LAYERS_SLICE

from ..builders import GIB, image, policy
from .world import World

IMAGES = [image(f"app{number:03}:v1", GIB // 10) for number in range(LAYERS_SLICE + 10)]


async def asked() -> tuple[World, list[float]]:
    """A calm node of more images than one slice, and when its layers are asked for."""
    world = World(policy())
    world.runtime.have(*IMAGES)
    times: list[float] = []
    world.runtime.during["layers_of"] = lambda: times.append(world.clock())
    await world.settle()
    return world, times


async def test_every_image_is_asked_about_once_a_slice_at_a_time() -> None:
    """A big node's first minutes are not spent on questions that nothing waits for."""
    world, times = await asked()
    assert len(times) == LAYERS_SLICE
    await world.turns(3)
    assert len(times) == len(IMAGES)
    assert not world.state.memory.unasked
    await world.turns(100)
    assert len(times) == len(IMAGES)


async def test_a_runtime_that_will_not_tell_is_not_asked_again() -> None:
    """Refused is an answer: the size alone has to do."""
    world = World(policy())
    world.runtime.have(*IMAGES[:5])
    world.runtime.fails["layers_of"] = RuntimeRefused("no such thing", "UNIMPLEMENTED")
    await world.settle()
    assert not world.state.memory.unasked
    assert all(record.layers is None for record in world.state.ledger.values())


async def test_a_runtime_that_does_not_answer_holds_nothing_back() -> None:
    """The disk is full and ImageStatus hangs: images go all the same, and it is asked again only
    after a while."""
    world = World(policy())
    world.runtime.have(*(image(f"app{number}:v1", 3 * GIB) for number in range(8)))
    world.runtime.other_bytes = 60 * GIB
    tries: list[float] = []
    world.runtime.during["layers_of"] = lambda: tries.append(world.clock())
    world.runtime.fails["layers_of"] = RuntimeUnavailable("too late")
    await world.settle()
    assert len(tries) == 8
    await world.turn()
    assert len(world.runtime.removed) == 2
    assert len(tries) == 8 + 6  # a day later; and those that are left, not again soon
    await world.turns(30)
    assert len(tries) == 14
    del world.runtime.fails["layers_of"]
    await world.turns(60)
    assert not world.state.memory.unasked
