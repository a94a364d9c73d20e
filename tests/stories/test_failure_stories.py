"""Fifteen ways in which nodes lost the wrong image, or hurt, under other collectors, as their users
reported them. Each is set up here as it happened, on a disk over its high mark where the image of
the story would be the first to go, and must not happen."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
import structlog

from reconciler.domain import facts
from reconciler.domain.decision import HoldReason
from reconciler.domain.inventory import (
    ContainerEvent,
    ContainerState,
    EventKind,
    Image,
    InvisibleFilesystem,
    Sandbox,
    UsageSample,
)
from reconciler.domain.pattern import parse_pattern
from reconciler.domain.plan import Command
from reconciler.domain.policy import Place, Policy, Required
from reconciler.domain.runtime import RuntimeTooLate
from reconciler.domain.state import State
from reconciler.domain.watermark import Pressure
from reconciler.engine.reconcile import Reconciler
from tests.builders import (
    DAY,
    GIB,
    MIB,
    T0,
    container,
    digest,
    exclusion,
    expendable,
    image,
    policy,
)
from tests.engine.test_reclaim import LINE, NAMES, full_world, hold, logged
from tests.engine.world import World, box_of

VICTIM = image("victim:v1", 3 * GIB)


def named(*tags: str, digests: Iterable[str] = (), pinned: bool = False) -> Image:
    """An image of 3 GiB that is called so, whatever the registry."""
    return Image(f"sha256:{digest(tags[0])}", tags, tuple(digests), 3 * GIB, pinned)


def pulled(name: str) -> Image:
    """The same, with a digest name, as a pull leaves it."""
    repository = name.rpartition(":")[0]
    return named(name, digests=[f"{repository}@sha256:{digest('m' + name)}"])


async def crowded(*first: Image, **fields: Any) -> World:
    """A disk over its high mark; the images given are the first in line, eight others follow."""
    return await full_world(*first, *LINE, base=60 * GIB, **fields)


def greedy(world: World) -> None:
    """From now on every image goes at once that is not in use, or of a sandbox: no age, no size
    and no worth protects it any more."""
    world.edits.save(
        policy(minimum_age=0.0, minimum_size=0, come_back_for=0.0, expendable=(expendable(),))
    )


def assert_reclaimed(world: World) -> None:
    """The disk has room again, and at no moment did anything go that something used."""
    assert world.state.disks.pressure is Pressure.CALM
    assert world.runtime.removed
    assert not world.runtime.wrong


def is_there(world: World, image: Image) -> bool:
    return image.id in world.runtime.images


def gauge(world: World, name: str, **labels: str) -> float | None:
    """A metric as it is scraped."""
    return world.journal.metrics.registry.get_sample_value(f"reconciler_{name}", labels)


async def pruned(world: World, *, all_unused: bool = True) -> None:
    """The operator's own command, on the same node."""
    await Reconciler(world.loop.deps, world.state, Command(all_unused)).prune()


def required(pattern: str) -> Required:
    return Required(parse_pattern(pattern), Place("policy.yaml", 20, 5))


@pytest.mark.parametrize("told_by", ["name", "sandbox"])
async def test_story_1_a_fleet_that_can_start_no_pod_for_want_of_its_pause_image(
    told_by: str,
) -> None:
    """Not pinned, larger than the smallest size, in a private registry from which no runtime can
    pull it again: one way to know it is enough."""
    private = "reg.example/602401143452/eks"
    pause = pulled(f"{private}/pause:3.5" if told_by == "name" else f"{private}/infra:3.5")
    world = await crowded(pause)
    greedy(world)
    if told_by == "sandbox":
        box = Sandbox(box_of("web"), "default/web", world.clock(), (pause.tags[0],))
        world.runtime.sandboxes[box.id] = box
    await world.turns(60)
    assert_reclaimed(world)
    assert is_there(world, pause)


async def test_story_1_no_image_goes_where_nothing_names_the_pause_image() -> None:
    """Pods run, and no answer, pin or name says what their sandboxes are made of."""
    world = await crowded(VICTIM)
    world.runtime.sandboxes[box_of("web")] = Sandbox(box_of("web"), "default/web", T0, ())
    world.runtime.during["pause_of"] = lambda: None

    async def tells_nothing(sandbox_id: str) -> tuple[str, ...]:
        return ()

    world.runtime.pause_of = tells_nothing  # type: ignore[method-assign] # a runtime of few words
    await world.turns(60)
    assert hold(world) is HoldReason.SANDBOX_IMAGE_UNKNOWN
    assert not world.runtime.removed


async def test_story_2_the_cleaner_itself_removes_the_pause_image() -> None:
    """`rmi --prune` looked at containers only; the operator's command for all that is unused looks
    at sandboxes, pins and names, too."""
    pinned = replace(image("infra:v1", 3 * GIB), pinned=True)
    bottlerocket = named("localhost/kubernetes/pause:0.1.0")
    world = await crowded(
        pinned, bottlerocket, minimum_size=0, minimum_age=0.0, protect_unpullable=False
    )
    world.runtime.run(container("web", LINE[0]))
    await world.turn()
    world.clock.advance(10)  # the pod has begun
    await pruned(world)
    assert not world.runtime.wrong
    assert world.left() == sorted([NAMES[0], "infra:v1", "localhost/kubernetes/pause:0.1.0"])


async def test_story_3_an_air_gapped_node_loses_its_imported_images() -> None:
    """What was imported has no digest name and cannot be pulled again: it stays, by no rule of
    the operator's."""
    imported = [image(f"imported{n}:v1", 3 * GIB, digests=False) for n in range(3)]
    world = await crowded(*imported)
    await world.turns(60)
    assert_reclaimed(world)
    assert all(is_there(world, one) for one in imported)


async def test_story_3_an_exclusion_with_a_typing_error_is_reported() -> None:
    """It protects nothing, and nobody notices before it is needed: said once of each policy, with
    its place, and not of the rules that match."""
    kept, slip = exclusion("reg.example/imported", 7), exclusion("reg.exmaple/imported", 8)
    imported = image("imported:v1", GIB, digests=False)
    with structlog.testing.capture_logs() as log:
        world = await full_world(imported, base=0, exclusions=(kept, slip))
        await world.turns(400)
    (line,) = logged(log, "rules-unmatched")
    assert (line["rules"], line["first"]) == (1, ["reg.exmaple/imported (policy.yaml:8:5)"])


async def test_story_3_an_image_that_somebody_else_removed_is_missed() -> None:
    """An import whose label was lost with a restart is gone for good: that is said at once, once,
    and a gauge shows it until it is back."""
    imported = image("imported:v1", GIB, digests=False)
    with structlog.testing.capture_logs() as log:
        world = await full_world(imported, base=0, required=(required("reg.example/imported"),))
        await world.turns(40)
        assert gauge(world, "required_images_missing") == 0
        del world.runtime.images[imported.id]
        await world.turns(400)
        assert gauge(world, "required_images_missing") == 1
        world.runtime.have(imported)
        await world.turns(40)
    assert len(logged(log, "required-image-missing")) == 1
    assert len(logged(log, "required-images-all-here")) == 1
    assert gauge(world, "required_images_missing") == 0


async def test_story_4_disk_pressure_empties_the_whole_cache() -> None:
    """After the reclaim not one image more is gone than it takes to the low mark."""
    world = await crowded()
    await world.turns(600)
    assert_reclaimed(world)
    low = world.state.disks.filesystems["/images"].low
    assert low - 3 * GIB < world.runtime.used() <= low


@pytest.mark.parametrize("state", list(ContainerState))
async def test_story_5_the_image_of_a_running_container_is_removed(state: ContainerState) -> None:
    """In any state of its container, and also if that came between the decision and the call."""
    world = await crowded(VICTIM)
    greedy(world)
    late = replace(container("late", VICTIM), state=state)

    def starts() -> None:
        world.runtime.run(late)
        event = ContainerEvent(late.id, EventKind.CREATED, world.clock(), None, (late,))
        world.mailbox.put("event", facts.ContainerChanged(event, world.clock()))
        world.saving = None

    world.saving = starts
    await world.turns(60)
    assert_reclaimed(world)
    assert is_there(world, VICTIM)


@pytest.mark.parametrize(("come_back_for", "removals"), [(3600.0, 1), (0.0, 13)])
async def test_story_6_an_image_is_removed_and_pulled_again_every_five_minutes(
    come_back_for: float, removals: int
) -> None:
    """A pod that never gets as far as a container pulls again what we removed, every time: with
    the guard on, as shipped, it is wanted from the first time on, though nothing ever uses it."""
    world = await full_world(VICTIM, base=77 * GIB, come_back_for=come_back_for, minimum_age=60.0)
    gone = 0
    for _ in range(13):  # every five minutes, for an hour and a little
        await world.turns(30, 10)
        gone += not is_there(world, VICTIM)
        world.runtime.have(VICTIM)
    assert gone == removals
    assert gauge(world, "came_back_total") == min(gone, 12)


async def test_an_image_that_is_back_when_a_slow_listing_begins_came_back_then() -> None:
    """Its images were answered at once and its containers a minute later. By the end of it the
    image had been away for too long to be wanted, and went again."""
    world = await full_world(VICTIM, base=77 * GIB, come_back_for=60.0, minimum_age=1.0)
    while is_there(world, VICTIM):
        await world.turn()
    world.runtime.have(VICTIM)
    world.runtime.during["between lists"] = lambda: world.clock.advance(60)
    await world.turn()
    del world.runtime.during["between lists"]
    await world.turns(30)
    assert is_there(world, VICTIM)
    await world.turns(60)
    assert not is_there(world, VICTIM)


@pytest.mark.parametrize("remembered", [True, False])
async def test_story_7_a_restart_of_the_collector_wipes_the_cache(remembered: bool) -> None:
    """With its ledger the daemon goes on where it was, and stops at the low mark; without it every
    image counts as seen just now, and none goes before the minimum age."""
    world = await crowded(minimum_age=3600.0)
    ledger = world.state.ledger
    world.state = State(began_at=world.clock())
    if remembered:
        world.state.ledger = ledger
    world.loop = world.restarted()
    world.edits.save(policy(minimum_age=3600.0))
    await world.turns(60)
    assert world.runtime.removed == (NAMES[:2] if remembered else [])
    await world.turns(400, 10)
    assert_reclaimed(world)
    assert len(world.runtime.removed) == 2


async def test_story_8_images_go_for_weeks_though_the_space_is_not_theirs() -> None:
    """Logs and volumes fill the disk: the cache is kept, the numbers are logged once, and a gauge
    shows it all the time."""
    small = [image(f"small{n}:v1", 10 * MIB) for n in range(20)]
    with structlog.testing.capture_logs() as log:
        world = await full_world(*small, base=95 * GIB)
        await world.turns(500)
    assert len(world.left()) == 20
    assert [line["reason"] for line in logged(log, "hold")] == ["exhausted"]
    assert gauge(world, "hold", reason="exhausted") == 1


async def test_story_9_the_wrong_disk_is_watched() -> None:
    """The filesystem that the runtime names is not mounted where we are: there is no measure,
    nothing goes, and the log names the path."""
    with structlog.testing.capture_logs() as log:
        world = await crowded(VICTIM)
        lost = InvisibleFilesystem("/images", "No such file or directory")

        async def nothing() -> UsageSample:
            return UsageSample(world.clock(), (), (lost,))

        world.sample = nothing  # type: ignore[method-assign] # what the probe would say
        world.loop = world.restarted()
        await world.turns(300)
    assert not world.runtime.removed
    assert hold(world) is HoldReason.FILESYSTEM_UNMEASURED
    (line,) = logged(log, "filesystem-invisible")
    assert "/images" in line["detail"]


async def test_story_10_a_removal_cut_short_leaves_a_record_that_nobody_can_remove() -> None:
    """What is left of it has no name: it shows in a gauge, and is asked for again by its id."""
    world = await crowded(VICTIM)

    def cut_short() -> None:
        if world.runtime.removed:
            return
        world.runtime.images[VICTIM.id] = Image(VICTIM.id, size=VICTIM.size)
        world.clock.advance(600)
        raise RuntimeTooLate("RemoveImage: DEADLINE_EXCEEDED")

    world.runtime.during["remove_image"] = cut_short
    await world.turn()
    assert gauge(world, "anonymous_images") == 1
    world.runtime.during.clear()
    sent: list[str] = []

    async def remove(image_id: str) -> None:
        sent.append(image_id)
        world.runtime.images.pop(image_id)

    world.runtime.remove_image = remove  # type: ignore[method-assign] # it has no name to note
    world.runtime.other_bytes = 95 * GIB
    await world.turns(120, 10)
    assert VICTIM.id in sent
    await world.turn(31)
    assert gauge(world, "anonymous_images") == 0


async def test_story_11_an_image_that_should_be_pinned_is_not() -> None:
    """The label was never written, or lost: the name alone keeps a pause image, and a rule with
    its reason keeps any other."""
    pause, tool = named("localhost/kubernetes/pause:latest"), pulled("reg.example/base/tool:v1")
    world = await crowded(
        pause,
        tool,
        minimum_size=0,
        protect_unpullable=False,
        exclusions=(exclusion("reg.example/base/**"),),
    )
    await world.turns(60)
    assert_reclaimed(world)
    assert is_there(world, pause)
    assert is_there(world, tool)


@pytest.mark.parametrize("tag_moved", [False, True])
async def test_story_12_an_image_in_use_looks_unused_because_its_reference_is_no_id(
    tag_moved: bool,
) -> None:
    """The container gives a digest name, and its tag may mean another image by now."""
    user = replace(container("web", VICTIM), image_ref=VICTIM.digests[0])
    world = await crowded(VICTIM)
    greedy(world)
    world.runtime.run(user)
    if tag_moved:
        newer = replace(image("newer:v1", 3 * GIB), tags=VICTIM.tags)
        world.runtime.have(replace(VICTIM, tags=()), newer)
    world.runtime.users_of = lambda image: [user.id] * (image.id == VICTIM.id)  # type: ignore[method-assign] # the truth
    await world.turns(60)
    assert_reclaimed(world)
    assert is_there(world, VICTIM)


@pytest.mark.parametrize("known", [None, policy(exclusions=(exclusion("reg.example/victim"),))])
async def test_story_13_a_failed_answer_is_taken_for_permission(known: Policy | None) -> None:
    """Others removed what their scanner could not judge. A policy that can't be read is none: the
    last good one stays in force, and before there was one nothing goes at all."""
    with structlog.testing.capture_logs() as log:
        world = await crowded(VICTIM)
        world.state.operator.policy = known
        refused = facts.PolicyRejected(world.clock(), ("policy.yaml:3:1: no such key",))
        world.mailbox.put("policy", refused)
        await world.turns(60)
    assert is_there(world, VICTIM)
    assert bool(world.runtime.removed) == (known is not None)
    assert len(logged(log, "policy-refused")) == 1
    assert gauge(world, "policy_valid") == 0


async def test_story_14_an_idle_image_that_is_never_pulled_disappears_silently() -> None:
    """A runner's image with `imagePullPolicy: Never`, built on the node and idle for days, stays
    without a rule; one that was pulled by hand stays by a rule."""
    runner = image("ci/runner:v1", 3 * GIB, digests=False)
    tool = image("tool:v1", 3 * GIB)
    world = await crowded(
        runner, tool, maximum_unused_age=DAY, exclusions=(exclusion("reg.example/tool"),)
    )
    await world.turns(300, 3600)
    assert_reclaimed(world)
    assert world.left() == sorted(["ci/runner:v1", "tool:v1"])


async def test_story_15_removal_takes_the_node_down_by_input_and_output() -> None:
    """Where each removal takes 20 s, the disk is at rest for at least as long as it works, and
    never has two removals at a time."""
    world = await crowded(*[image(f"more{n}:v1", GIB) for n in range(8)])
    spans: list[tuple[float, float]] = []

    def slow() -> None:
        began = world.clock()
        world.clock.advance(20)
        spans.append((began, world.clock()))

    world.runtime.during["remove_image"] = slow
    await world.turns(600)
    assert_reclaimed(world)
    assert len(spans) > 3
    rests = [later[0] - before[1] for before, later in itertools.pairwise(spans)]
    assert all(rest >= 20 for rest in rests), rests


# --- what the source of the runtimes warns of ----------------------------------------------------


async def test_hazard_a_deleted_event_that_never_comes_keeps_an_image_for_ever() -> None:
    """CRI-O removes a pod's containers without a word: the next listing ends their uses."""
    world = await crowded(VICTIM)
    greedy(world)
    world.mailbox.put("stream", facts.EventsOpened(world.clock()))
    world.runtime.run(container("web", VICTIM), container("other", LINE[0]))
    await world.turns(60)
    assert is_there(world, VICTIM)
    web = container("web", VICTIM)
    del world.runtime.containers[web.id]
    world.runtime.other_bytes += 30 * GIB
    await world.turns(200)
    assert not is_there(world, VICTIM)
    assert not world.runtime.wrong


async def test_hazard_an_event_is_taken_for_the_truth() -> None:
    """A stream that says DELETED of everything, while all of it runs, frees nothing: the listing
    before each removal decides."""
    users = [container(f"user{n}", one) for n, one in enumerate([VICTIM, *LINE[:6]])]
    world = await crowded(VICTIM)
    greedy(world)
    world.runtime.run(*users)
    await world.turn()
    for _ in range(60):
        for one in users:
            wrong = ContainerEvent(one.id, EventKind.DELETED, world.clock())
            world.mailbox.put(("event", one.id), facts.ContainerChanged(wrong, world.clock()))
        await world.turn()
    await world.turns(60)
    assert world.runtime.removed == NAMES[6:]
    assert not world.runtime.wrong


async def test_hazard_images_pulled_and_tagged_without_an_event_are_not_known() -> None:
    """No runtime reports image events: a tag that moved onto an image, and an exclusion that names
    it, count for the very next removal."""
    world = await crowded(VICTIM, exclusions=(exclusion("reg.example/keep"),))
    world.runtime.during["list_all"] = lambda: world.runtime.have(
        replace(VICTIM, tags=("reg.example/keep:v1",))
    )
    await world.turns(60)
    assert_reclaimed(world)
    assert is_there(world, VICTIM)
