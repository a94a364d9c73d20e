"""What the runtime lists and does not describe: for a while it holds all removal, and then what it
may concern. No one container or sandbox keeps a disk full for ever."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import pytest

from reconciler.domain import facts
from reconciler.domain.decision import HoldReason
from reconciler.domain.inventory import Image, Sandbox, Volume
from reconciler.domain.pods import MAIN, VOLUME, Need, Pod
from reconciler.domain.runtime import NoSuchObject, RuntimeFailure, RuntimeRefused, RuntimeTooLate
from reconciler.domain.watermark import Pressure
from tests.builders import CONTAINERD_2, GIB, MIB, T0, container, digest, image
from tests.engine.test_reclaim import LINE, NAMES, full_world, hold
from tests.engine.world import World, box_of

UNKNOWN = "odd"  # the pod whose image the runtime does not report
FAILS = RuntimeRefused("PodSandboxStatus at c.sock: task not found", "UNKNOWN")
HOLDER = "reg.example/custom/holder"  # a pause image that nothing gives away


def holder(size: int) -> Image:
    """Custom, not pinned, and by no name that pause images have."""
    return Image(
        f"sha256:{digest('holder')}", (f"{HOLDER}:1",), (f"{HOLDER}@sha256:{digest('m')}",), size
    )


async def crowded(*first: Image) -> World:
    """A disk over its high mark, whose images containers were made from before; those given are
    the first in line, and no container was made from them."""
    base = 59 * GIB - sum(one.size for one in first)
    world = await full_world(*first, *LINE, base=base, minimum_size=0)
    world.runtime.answers = CONTAINERD_2
    world.mailbox.put("stream", facts.EventsOpened(world.clock()))
    for one in LINE:
        world.state.ledger[one.key] = replace(world.state.ledger[one.key], uses=3)
    return world


def box(name: str, world: World, **fields: object) -> Sandbox:
    one = Sandbox(box_of(name), f"shop/{name}", world.clock(), **fields)  # type: ignore[arg-type] # fields of Sandbox
    world.runtime.sandboxes[one.id] = one
    return one


def refuses(world: World, call: str, failure: RuntimeFailure, only: Collection[str]) -> None:
    """From now on a question about these ends so."""
    answers = getattr(world.runtime, call)

    async def asked(subject: str) -> object:
        if subject not in only:
            return await answers(subject)
        await world.runtime._step(f"refused {call}")
        raise failure

    setattr(world.runtime, call, asked)


def is_there(world: World, one: Image) -> bool:
    return one.id in world.runtime.images


@pytest.mark.parametrize("size", [300_000, 3 * GIB], ids=["small", "big, and never run"])
@pytest.mark.parametrize("failure", [FAILS, NoSuchObject("not found")], ids=["fails", "denied"])
async def test_one_sandbox_whose_status_always_fails_holds_ten_minutes(
    failure: RuntimeFailure, size: int
) -> None:
    """Its pause image may be any that a pause image can be, for as long as it is there."""
    pause = holder(size)
    world = await crowded(pause)
    unknown = box(UNKNOWN, world)
    box("web", world)  # as the others are: its status says
    refuses(world, "pause_of", failure, {unknown.id})
    await world.turns(115, 5)
    assert hold(world) in {HoldReason.DETAILS_PENDING, HoldReason.LISTING_DUE}
    assert not world.runtime.removed
    await world.turns(60, 5)
    assert world.left() == sorted(["custom/holder:1", *NAMES[2:]])
    world.runtime.other_bytes += 40 * GIB
    await world.turns(120, 60)
    assert world.left() == ["custom/holder:1"]


async def test_a_status_that_hangs_for_ever_does_not_stand_in_the_way() -> None:
    """Every try takes its whole deadline: what nothing waits for is asked seldom."""
    world = await crowded(holder(MIB))
    unknown = box(UNKNOWN, world)
    refuses(world, "pause_of", RuntimeTooLate("PodSandboxStatus: no answer in 10 s"), {unknown.id})
    asked = 0

    def hang() -> None:
        nonlocal asked
        asked += 1
        world.clock.advance(10)

    world.runtime.during["refused pause_of"] = hang
    while world.clock() < T0 + 86400 + 700:
        await world.turn(5)
    assert world.left() == sorted(["custom/holder:1", *NAMES[2:]])
    before = asked, world.clock()
    await world.turns(120, 5)
    assert asked - before[0] <= (world.clock() - before[1]) / 60 + 1


async def test_a_sandbox_that_is_answered_after_all_is_no_doubt_any_more() -> None:
    """The question stays open, so that the answer comes in as soon as there is one."""
    world = await crowded(holder(20 * GIB))
    unknown = box(UNKNOWN, world)
    reported = world.runtime.pause_of
    refuses(world, "pause_of", FAILS, {unknown.id})
    await world.turns(180, 5)
    assert is_there(world, holder(20 * GIB))
    world.runtime.pause_of = reported  # type: ignore[method-assign] # the runtime is well again
    world.runtime.other_bytes += 40 * GIB
    await world.turns(120, 60)
    assert world.left() == []


async def test_the_end_of_a_sandbox_never_answered_makes_its_images_young() -> None:
    """Nobody knows which one was in use until just now."""
    world = await crowded(holder(20 * GIB))
    unknown = box(UNKNOWN, world)
    refuses(world, "pause_of", FAILS, {unknown.id})
    await world.turns(180, 5)
    del world.runtime.sandboxes[unknown.id]
    world.runtime.other_bytes += 40 * GIB
    await world.turns(20, 5)
    assert is_there(world, holder(20 * GIB))
    await world.turns(20, 5)
    assert not is_there(world, holder(20 * GIB))


async def test_a_container_whose_mounts_stay_unknown_keeps_what_it_may_mount() -> None:
    """Whatever was here when it was made; what came later is nothing of its."""
    world = await crowded()
    web = container("web", image("web:v1"), volumes=(Volume(LINE[0].tags[0]),))
    world.runtime.have(image("web:v1"))
    world.runtime.run(web)
    refuses(world, "volumes_of", FAILS, {web.id})
    await world.turns(60, 5)
    later = [image(f"later{number}:v1", 3 * GIB) for number in range(3)]
    world.runtime.have(*later)
    await world.turns(180, 5)
    assert not world.runtime.wrong
    assert sorted(world.runtime.removed) == ["later0:v1", "later1:v1", "later2:v1"]
    assert hold(world) is HoldReason.EXHAUSTED


@pytest.mark.parametrize("mounts", [False, True])
async def test_a_pod_that_a_source_reports_narrows_it_to_what_its_spec_mounts(
    mounts: bool,
) -> None:
    """Whatever tag it moved to since: all of that repository is kept, and nothing else."""
    world = await crowded()
    web = container("web", image("web:v1"))
    world.runtime.have(image("web:v1"))
    world.runtime.run(web)
    world.runtime.sandboxes[web.sandbox_id] = box("box", world, uid="u")
    needs = [Need("reg.example/web:v1", MAIN, "web")]
    needs += [Need("reg.example/app0:v0", VOLUME, "data")] if mounts else []
    reported = facts.PodsReported(world.clock(), "socket", (Pod("u", "shop/web", tuple(needs)),))
    world.mailbox.put("pods", reported)
    refuses(world, "volumes_of", FAILS, {web.id})
    await world.turns(180, 5)
    assert world.runtime.removed == (NAMES[1:3] if mounts else NAMES[:2])
    assert world.state.disks.pressure is Pressure.CALM


async def test_a_runtime_that_was_away_is_asked_before_anything_narrows() -> None:
    """It answered nothing for half an hour: what it did not answer then it answers now."""
    holder_in_use = replace(LINE[0], tags=(f"{HOLDER}:1", *LINE[0].tags))
    world = await crowded()
    world.runtime.images[LINE[0].id] = holder_in_use  # containers were made from it, too
    box(UNKNOWN, world, pause=(f"{HOLDER}:1",))
    away = RuntimeTooLate("no answer")
    world.runtime.fails["pause_of"] = away
    await world.turns(3, 5)
    world.runtime.fails["list_all"] = away
    await world.turns(360, 5)
    world.runtime.fails.clear()
    await world.turns(60, 5)
    assert world.left() == sorted(["custom/holder:1", *NAMES[3:]])


async def test_sandboxes_that_run_on_no_image_hold_nothing() -> None:
    """VMs and the like: nothing names a pause image, because there is none."""
    world = await crowded()
    box(UNKNOWN, world)

    async def has_none(sandbox_id: str) -> None:
        return None

    world.runtime.pause_of = has_none  # type: ignore[method-assign, assignment] # as such a runtime answers
    await world.turns(20)
    assert world.left() == NAMES[2:]
