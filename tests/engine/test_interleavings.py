"""What comes in between: every step of a removal has a moment in which the world may change, and in
each of them it does. The image that just came into use stays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from reconciler.domain.decision import HoldReason
from reconciler.domain.facts import ContainerChanged, UsageSampled
from reconciler.domain.inventory import Container, ContainerEvent, EventKind, Image
from reconciler.domain.ledger import RemovalRecord
from reconciler.domain.policy import Mode
from reconciler.domain.runtime import RuntimeUnavailable
from tests.builders import (
    CONTAINERD_2,
    GIB,
    container,
    digest,
    exclusion,
    image,
    marks,
    policy,
    volume,
)
from tests.engine.test_reclaim import LINE, NAMES, full_world, hold
from tests.engine.world import Step, World


def starts(world: World, one: Container) -> None:
    """A container is created, and its event is read from the stream in the same moment. Events
    name the image by digest where the list gives its id."""
    world.runtime.run(one)
    of = next(i for i in world.runtime.images.values() if i.id == one.image_ref)
    as_told = replace(one, image_ref=of.digests[0])
    event = ContainerEvent(one.id, EventKind.CREATED, world.clock(), None, (as_told,))
    put(world, event)


def put(world: World, event: ContainerEvent) -> None:
    key = ("event", event.subject_id, event.kind)
    world.mailbox.put(key, ContainerChanged(event, world.clock()))


def once(step: Callable[[], None]) -> Step:
    """The step, the first time only."""
    steps = [step]

    def run() -> None:
        if steps:
            steps.pop()()

    return run


def between(world: World, where: str, step: Callable[[], None]) -> None:
    """Runs a step once, in the middle of the next removal."""
    if where == "saving":
        world.saving = once(step)
    else:
        world.runtime.during[where] = once(step)


MOMENTS = ("list_all", "between lists", "saving")


@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_container_that_starts_between_two_steps_keeps_its_image(moment: str) -> None:
    """Before the lists, between them, and between the decision and the call."""
    world = await full_world()
    between(world, moment, lambda: starts(world, container("late", LINE[0])))
    await world.turns(5)
    assert NAMES[0] in world.left()
    assert world.runtime.removed == NAMES[1:3]
    assert not world.runtime.wrong


@pytest.mark.parametrize("moment", MOMENTS[:2])
async def test_a_container_that_starts_without_an_event_is_seen_by_the_listing(moment: str) -> None:
    """containerd 1.6 has no events: containers are listed after images, so it is seen."""
    world = await full_world()
    between(world, moment, lambda: world.runtime.run(container("late", LINE[0])))
    await world.turns(5)
    assert world.runtime.removed == NAMES[1:3]
    assert not world.runtime.wrong


async def test_an_image_pulled_between_the_lists_is_no_candidate() -> None:
    """Its container is listed, the image is not yet: a use of an image that is not there."""
    world = await full_world()
    new = image("new:v1", 3 * GIB)

    def pulled() -> None:
        world.runtime.have(new)
        world.runtime.run(container("late", new))

    between(world, "between lists", pulled)
    await world.turns(5)
    assert "new:v1" in world.left()
    assert not world.runtime.wrong


async def test_an_exclusion_saved_between_the_decision_and_the_call_spares_the_image() -> None:
    """In force for the very next removal."""
    world = await full_world()
    rules = policy(exclusions=(exclusion("reg.example/app0:*"),))
    between(world, "saving", lambda: world.edits.save(rules))
    await world.turn()
    assert world.runtime.removed == NAMES[1:3]


async def test_observe_saved_between_the_decision_and_the_call_ends_all_removal() -> None:
    """The operator's brake works at once."""
    world = await full_world()
    between(world, "saving", lambda: world.edits.save(policy(mode=Mode.OBSERVE)))
    await world.turns(60)
    assert world.left() == NAMES


async def test_marks_raised_between_the_decision_and_the_call_spare_the_image() -> None:
    """It is not needed any more."""
    world = await full_world()
    between(world, "saving", lambda: world.edits.save(policy(watermarks=marks(90, 88))))
    await world.turns(60)
    assert world.left() == NAMES


async def test_a_longer_come_back_saved_after_the_decision_spares_the_image() -> None:
    """The intent that is written down for this removal hides nothing of the one before it."""
    world = await full_world()
    now, key = world.clock(), LINE[0].key
    came, went = now - 600, now - 900
    before = RemovalRecord(went, answered_at=went, came_back_at=came, gone_for=300.0)
    world.state.removals.records[key] = before
    world.edits.save(policy(come_back_for=60.0))
    between(world, "saving", lambda: world.edits.save(policy(come_back_for=3600.0)))
    await world.turn()
    assert NAMES[0] in world.left()
    assert world.runtime.removed


async def test_a_disk_that_takes_long_to_write_the_ledger_makes_no_old_listing_count() -> None:
    """Between the listing and the call are 20 s of a slow fsync: without events, only another
    listing shows the container that started in between."""
    world = await full_world()

    def slow() -> None:
        world.clock.advance(20)
        world.runtime.run(container("late", LINE[0]))

    between(world, "saving", slow)
    await world.turns(5)
    assert NAMES[0] in world.left()
    assert world.runtime.removed
    assert not world.runtime.wrong


async def test_a_process_that_was_stopped_for_minutes_decides_on_nothing_it_knew() -> None:
    """SIGSTOP: somebody else has made space, so nothing need go."""
    world = await full_world()
    await world.edits.refresh()
    world.mailbox.put("usage", UsageSampled(await world.sample()))
    facts = world.mailbox.drain()
    world.clock.advance(300)
    world.runtime.other_bytes = 0
    await world.loop.turn(facts)
    assert world.left() == NAMES


async def test_an_event_received_during_a_listing_waits_for_the_next_one() -> None:
    """The listing began before the event came, so it does not answer it: a pod without the label
    that CRI-O looks for names no image."""
    world = await full_world()
    listings: list[int] = []

    def silent() -> None:
        put(world, ContainerEvent(digest("who"), EventKind.CREATED, world.clock()))
        listings.append(world.runtime.listings)

    world.runtime.during["between lists"] = once(silent)
    world.runtime.during["remove_image"] = lambda: listings.append(world.runtime.listings)
    await world.turn()
    asked, removed = listings[:2]
    assert removed > asked
    assert world.runtime.removed == NAMES[:2]


def shown_hold(world: World) -> HoldReason | None:
    """What the loop said last of what holds all removal; the metrics and the page show it."""
    assert world.journal.latest is not None
    hold = world.journal.latest[1].hold
    return hold.reason if hold else None


async def test_a_storm_of_events_without_content_ends_no_caution() -> None:
    """Doubt is raised faster than listings settle it: nothing goes, until the storm is over."""
    world = await full_world()
    world.runtime.fails["list_all"] = RuntimeUnavailable("connection refused")

    def storm() -> None:
        put(world, ContainerEvent(digest("who"), EventKind.CREATED, world.clock()))

    await world.turn()
    world.runtime.fails.clear()
    world.runtime.during["between lists"] = storm
    await world.turns(20)
    assert world.left() == NAMES
    assert shown_hold(world) is HoldReason.LISTING_DUE  # and not what held before it, for ever
    world.runtime.during.clear()
    await world.turns(3)
    assert world.runtime.removed == NAMES[:2]


async def test_a_deleted_event_replayed_from_before_frees_nothing() -> None:
    """containerd 2.x replays five minutes: the DELETED of a container that is listed again, or of
    one never listed, is no permission."""
    world = await full_world()
    runs = container("c", LINE[0])
    world.runtime.run(runs)
    await world.turn(0)
    for subject in (runs.id, digest("never listed")):
        put(world, ContainerEvent(subject, EventKind.DELETED, world.clock() - 300))
    again = ContainerEvent(runs.id, EventKind.DELETED, world.clock())
    between(world, "saving", lambda: put(world, again))
    world.runtime.other_bytes += 30 * GIB
    await world.turns(120)
    assert NAMES[0] in world.left()
    assert not world.runtime.wrong


async def test_an_old_event_that_names_an_image_protects_until_the_next_listing() -> None:
    """A container that is long gone starts in a replay: no harm, and no use for ever."""
    world = await full_world()
    gone = replace(container("gone", LINE[0]), image_ref=LINE[0].digests[0])
    old = ContainerEvent(gone.id, EventKind.STARTED, world.clock() - 290, None, (gone,))
    between(world, "saving", lambda: put(world, old))
    await world.turn()
    assert NAMES[0] in world.left()
    world.clock.advance(200)
    world.runtime.other_bytes += 16 * GIB
    await world.turns(10)
    assert not world.left()


async def test_a_container_known_by_a_tag_alone_holds_and_then_narrows() -> None:
    """Its tag means another image by now: for ten minutes nothing goes at all, then everything
    goes but what any of its names could mean."""
    old = replace(LINE[0], tags=(), id=f"sha256:{digest('old app0')}")
    world = await full_world(*LINE, old, base=57 * GIB)
    world.runtime.run(replace(container("odd", LINE[0]), image_ref=LINE[0].tags[0]))
    await world.turns(60)
    assert hold(world) is HoldReason.CONTAINER_UNRESOLVED
    assert not world.runtime.removed
    await world.turns(62, 10)
    assert world.runtime.removed == NAMES[1:3]
    assert {LINE[0].id, old.id} <= world.runtime.images.keys()


async def test_a_digest_listed_under_two_images_keeps_both() -> None:
    """Which of them the container was made from is unknown: either may be it."""
    twin = replace(LINE[1], digests=(*LINE[1].digests, *LINE[0].digests))
    world = await full_world(LINE[0], twin, *LINE[2:])
    world.runtime.run(replace(container("c", LINE[0]), image_ref=LINE[0].digests[0]))
    await world.turns(5)
    assert world.runtime.removed == NAMES[2:4]


async def test_an_image_mounted_by_a_container_that_an_event_reported_stays() -> None:
    """Image volumes are in no list: until they were asked for, nothing goes."""
    world = await full_world()
    world.runtime.answers = CONTAINERD_2
    world.loop = world.restarted()
    mounts = replace(container("c", LINE[7]), volumes=(volume(LINE[0].digests[0]),))

    def appears() -> None:
        world.runtime.run(mounts)
        in_event = replace(mounts, image_ref=LINE[7].digests[0], volumes=None)
        put(world, ContainerEvent(mounts.id, EventKind.CREATED, world.clock(), None, (in_event,)))

    between(world, "saving", appears)
    await world.turns(10)
    assert NAMES[0] in world.left()
    assert world.runtime.removed == NAMES[1:3]
    assert not world.runtime.wrong


async def test_a_runtime_that_lists_no_containers_for_a_moment_loses_no_image() -> None:
    """It answers before it has recovered them: with the minimum age off, nothing else protects."""
    world = await full_world(minimum_age=0.0)
    world.runtime.run(*(container(f"c{n}", one) for n, one in enumerate(LINE[:4])))
    await world.turn(0)
    running, boxes = world.runtime.containers, world.runtime.sandboxes
    world.runtime.other_bytes += 30 * GIB
    world.runtime.containers, world.runtime.sandboxes = {}, {}
    before = list(world.runtime.removed)
    await world.turns(4)
    assert world.runtime.removed == before
    world.runtime.containers, world.runtime.sandboxes = running, boxes
    await world.turns(10)
    assert set(NAMES[:4]) <= set(world.left())
    assert not world.runtime.wrong


async def test_a_runtime_that_lists_no_images_for_a_moment_loses_none() -> None:
    """An empty list is not "no images": when they are back they are young again."""
    world = await full_world()
    images: dict[str, Image] = dict(world.runtime.images)
    world.runtime.images.clear()
    await world.turns(3)
    world.runtime.images.update(images)
    await world.turns(60)
    assert world.left() == NAMES
