"""Faults of the runtime: for each what holds, that it is logged once, which metric shows it,
and that work goes on by itself. On the loop, in virtual time; what the wire makes of each fault is
in tests/cri."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import grpc
import pytest
import structlog
from structlog.typing import EventDict

from reconciler.cri.failures import failure
from reconciler.domain import facts
from reconciler.domain.decision import HoldReason
from reconciler.domain.inventory import Container, ContainerEvent, EventKind, Sandbox
from reconciler.domain.runtime import RuntimeFailure, RuntimeTooLate
from reconciler.domain.watermark import Pressure
from tests.builders import CONTAINERD_2, GIB, container, digest, image
from tests.engine.test_reclaim import LINE, NAMES, full_world, hold, logged
from tests.engine.world import World, box_of
from tests.stories.test_failure_stories import greedy

CODES = [code for code in grpc.StatusCode if code.name != "OK"]
each_code = pytest.mark.parametrize("code", CODES, ids=lambda code: code.name)
VICTIM = image("victim:v1", 3 * GIB)


def answer(call: str, code: grpc.StatusCode) -> RuntimeFailure:
    """What the client makes of such an answer."""
    return failure(call, "/run/cri.sock", code, "because")


def gauge(world: World, name: str, **labels: str) -> float | None:
    """A metric as it is scraped."""
    return world.journal.metrics.registry.get_sample_value(f"reconciler_{name}", labels)


@pytest.fixture
def log() -> Iterator[list[EventDict]]:
    with structlog.testing.capture_logs() as lines:
        yield lines


def assert_reclaimed(world: World) -> None:
    assert world.state.disks.pressure is Pressure.CALM
    assert not world.runtime.wrong


# --- calls that fail -----------------------------------------------------------------------------


@each_code
@pytest.mark.parametrize("call", ["list_all", "version"])
async def test_a_runtime_that_lists_nothing_but_errors_loses_no_image(
    call: str, code: grpc.StatusCode, log: list[EventDict]
) -> None:
    """Five minutes of any error: nothing goes on what was known before."""
    world = await full_world()
    world.mailbox.put("stream", facts.EventsLost(world.clock(), "broken off"))
    world.runtime.fails[call] = answer("ListImages", code)
    await world.turns(60, 5)
    assert world.left() == NAMES
    assert hold(world) is HoldReason.RUNTIME_UNAVAILABLE
    assert gauge(world, "hold", reason="runtime-unavailable") == 1
    assert (gauge(world, "listings_total", result="failed") or 0) > 5
    assert len(logged(log, "listing-failed")) == 1
    assert [line["reason"] for line in logged(log, "hold")] == ["runtime-unavailable"]
    world.runtime.fails.clear()
    await world.turns(40)
    assert world.left() == NAMES[2:]
    assert gauge(world, "hold", reason="runtime-unavailable") == 0
    assert len(logged(log, "listing-works-again")) == 1


@each_code
@pytest.mark.parametrize("call", ["volumes_of", "pause_of"])
async def test_a_runtime_that_refuses_details_loses_no_image(
    call: str, code: grpc.StatusCode, log: list[EventDict]
) -> None:
    """What a container mounts and what a sandbox is made of is not known: anything may be it."""
    world = await full_world()
    world.runtime.answers = CONTAINERD_2
    world.mailbox.put("stream", facts.EventsOpened(world.clock()))
    world.runtime.run(container("web", LINE[7]))
    world.runtime.fails[call] = answer("ContainerStatus", code)
    await world.turns(60, 5)
    assert world.left() == NAMES
    assert hold(world) in {HoldReason.DETAILS_PENDING, HoldReason.LISTING_DUE}
    held = [line["reason"] for line in logged(log, "hold")]
    assert len(held) == len(set(held)) <= 2
    world.runtime.fails.clear()
    await world.turns(60)
    assert world.left() == NAMES[2:]
    assert gauge(world, "hold", reason="details-pending") == 0


@each_code
async def test_a_runtime_that_refuses_every_removal_is_left_in_peace(
    code: grpc.StatusCode, log: list[EventDict]
) -> None:
    """Each image is asked for again after five minutes, then ten: not on every turn, for ever."""
    world = await full_world()
    world.runtime.fails["remove_image"] = answer("RemoveImage", code)
    await world.turns(60, 60)
    refused = logged(log, "not-removed")
    assert world.left() == NAMES
    assert len(refused) <= len(NAMES) * 6
    assert gauge(world, "removals_total", outcome="refused", cause="watermark") == len(refused)
    world.runtime.fails.clear()
    await world.turns(90, 60)
    assert_reclaimed(world)


@each_code
async def test_an_error_after_the_image_went_is_a_removal_whatever_its_code(
    code: grpc.StatusCode, log: list[EventDict]
) -> None:
    """The listing decides, not the answer."""
    world = await full_world()
    world.runtime.fails["removed"] = answer("RemoveImage", code)
    await world.turns(60)
    assert world.left() == NAMES[2:]
    assert len(logged(log, "removed")) == 2
    assert not logged(log, "not-removed")


async def test_lists_that_hang_past_their_deadline_lose_no_image(log: list[EventDict]) -> None:
    """Two minutes each, again and again: logged once, and over when they are answered."""
    world = await full_world()

    def hangs() -> None:
        world.clock.advance(120)
        raise RuntimeTooLate("ListContainers: DEADLINE_EXCEEDED after 120 s")

    world.runtime.during["between lists"] = hangs
    await world.turns(5)
    assert world.left() == NAMES
    assert len(logged(log, "listing-failed")) <= 2  # and a reminder after ten minutes
    world.runtime.during.clear()
    await world.turns(60)
    assert_reclaimed(world)


async def test_answers_that_come_late_are_used_and_not_trusted_for_longer() -> None:
    """Every list takes 45 s, and a pod starts during each, without an event: what it uses stays,
    and the reclaim still ends."""
    world = await full_world()
    greedy(world)
    started: list[str] = []

    def slow() -> None:
        world.clock.advance(45)
        unused = [i for i in world.runtime.images.values() if not world.runtime.users_of(i)]
        if len(started) < 4:
            world.runtime.run(container(f"late{len(started)}", unused[0]))
            started.append(unused[0].id)

    world.runtime.during["list_all"] = slow
    await world.turns(60)
    assert_reclaimed(world)
    assert len(world.runtime.removed) == 4
    assert set(started) <= set(world.runtime.images)


# --- lists that lie ------------------------------------------------------------------------------


@pytest.mark.parametrize("lack", ["images", "containers", "sandboxes", "everything"])
async def test_a_list_that_lacks_what_is_there_for_a_moment_loses_no_image(lack: str) -> None:
    """OK and empty, for one listing in three, for minutes: what was in use a moment ago is young,
    and lists without any container are not believed at once."""
    world = await full_world()
    users = [container(f"user{n}", one) for n, one in enumerate(LINE[:4])]
    world.runtime.run(*users)
    whole, count = world.runtime.list_all, 0

    async def lacking() -> Any:
        nonlocal count
        count += 1
        listing = await whole()
        if count % 3:
            return listing
        kinds = ["images", "containers", "sandboxes"] if lack == "everything" else [lack]
        nothing: dict[str, Any] = dict.fromkeys(kinds, ())
        return replace(listing, **nothing)

    world.runtime.list_all = lacking  # type: ignore[method-assign] # it lists half
    await world.turns(400)
    assert not world.runtime.wrong
    world.runtime.list_all = whole  # type: ignore[method-assign] # and the whole again
    await world.turns(400)
    assert_reclaimed(world)
    assert set(NAMES[:4]) <= set(world.left())


async def test_a_list_that_lacks_one_container_for_a_moment_loses_no_image() -> None:
    """The one that runs on the image that is first in line: unused for a moment is not unused for
    the minimum age."""
    world = await full_world(VICTIM, *LINE)
    world.runtime.run(container("web", VICTIM), container("other", LINE[0]))
    await world.turns(60)
    world.runtime.other_bytes += 6 * GIB
    away: dict[str, Container] = {}
    for turn in range(60):
        if turn % 10 == 3:
            away = {digest("container web"): world.runtime.containers.pop(digest("container web"))}
        elif away:
            world.runtime.containers |= away
            away = {}
        await world.turn()
    assert_reclaimed(world)
    assert VICTIM.id in world.runtime.images


async def test_a_stale_list_of_images_removes_nothing_twice() -> None:
    """It still shows what we removed: for a while that counts as not removed, and nothing else
    happens to it."""
    world = await full_world()
    whole, before = world.runtime.list_all, dict(world.runtime.images)
    stale = True

    async def as_it_was() -> Any:
        listing = await whole()
        return replace(listing, images=tuple(before.values())) if stale else listing

    world.runtime.list_all = as_it_was  # type: ignore[method-assign] # a cache
    await world.turns(60)
    assert len(world.runtime.removed) == len(set(world.runtime.removed))
    stale = False
    await world.turns(60)
    assert_reclaimed(world)


# --- events that lie -----------------------------------------------------------------------------

Distortion = Callable[[random.Random, list[ContainerEvent]], list[ContainerEvent]]


def lost(chance: random.Random, events: list[ContainerEvent]) -> list[ContainerEvent]:
    return [one for one in events if chance.random() < 0.5]


def doubled(chance: random.Random, events: list[ContainerEvent]) -> list[ContainerEvent]:
    return [one for one in events for _ in range(2)]


def reordered(chance: random.Random, events: list[ContainerEvent]) -> list[ContainerEvent]:
    return chance.sample(events, len(events))


def strangers(chance: random.Random, events: list[ContainerEvent]) -> list[ContainerEvent]:
    """Of containers that no list ever shows."""
    found = []
    for one in events:
        name = f"stranger {chance.random()}"
        of = tuple(replace(c, id=digest(name)) for c in one.containers)
        found += [one, replace(one, subject_id=digest(name), containers=of)]
    return found


def as_sent(chance: random.Random, events: list[ContainerEvent]) -> list[ContainerEvent]:
    return events


DISTORTIONS = [as_sent, lost, doubled, reordered, strangers]


@pytest.mark.parametrize("late", [0, 20, 300], ids=["at once", "late", "5 minutes later"])
@pytest.mark.parametrize("distortion", DISTORTIONS, ids=lambda one: one.__name__)
async def test_wrong_events_cost_no_image(distortion: Distortion, late: int) -> None:
    """Pods come and go under pressure for ten minutes while the stream loses, doubles, delays,
    reorders, replays and invents: nothing in use goes, and the disk has room in the end."""
    chance = random.Random(f"{distortion.__name__} {late}")
    world = await full_world()
    greedy(world)
    world.mailbox.put("stream", facts.EventsOpened(world.clock()))
    keeper = container("keeper", LINE[7])
    world.runtime.run(keeper)
    to_come: defaultdict[int, list[ContainerEvent]] = defaultdict(list)
    for now in range(600):
        events = [] if now > 450 else happened(chance, world, keeper)
        to_come[now + late] += distortion(chance, events)
        for event in to_come[now]:
            key = ("event", event.subject_id, event.kind)
            world.mailbox.put(key, facts.ContainerChanged(event, world.clock()))
        if now % 50 == 0:
            world.runtime.have(*chance.sample(LINE, 2))  # pulled again
        await world.turn()
    assert not world.runtime.wrong
    assert world.runtime.removed
    world.runtime.containers = {keeper.id: keeper}
    await world.turns(200, 5)
    assert_reclaimed(world)


def happened(chance: random.Random, world: World, keeper: Container) -> list[ContainerEvent]:
    """A container may come, another go; the truth changes at once, and events report it."""
    events, runtime = [], world.runtime
    if runtime.images and chance.random() < 0.4:
        of = chance.choice(list(runtime.images.values()))
        one = container(f"pod{chance.random()}", of, sandbox=f"box{chance.random()}")
        runtime.run(one)
        events += [event(world, one, EventKind.CREATED), event(world, one, EventKind.STARTED)]
    others = [one for one in runtime.containers.values() if one.id != keeper.id]
    if others and chance.random() < 0.5:
        one = chance.choice(others)
        del runtime.containers[one.id]
        del runtime.sandboxes[one.sandbox_id]
        events += [event(world, one, EventKind.STOPPED), event(world, one, EventKind.DELETED)]
    return events


def event(world: World, of: Container, kind: EventKind) -> ContainerEvent:
    payload = () if kind is EventKind.DELETED else (of,)
    box = Sandbox(of.sandbox_id, f"default/{of.name}", world.clock())
    return ContainerEvent(of.id, kind, world.clock(), box, payload)


async def test_a_stream_that_breaks_every_second_is_logged_a_few_times(
    log: list[EventDict],
) -> None:
    """Ten minutes of broken subscriptions: a line, not six hundred, and listings do the work."""
    world = await full_world()
    for _ in range(600):
        world.mailbox.put("opened", facts.EventsOpened(world.clock()))
        world.mailbox.put("lost", facts.EventsLost(world.clock(), "UNAVAILABLE: broken off"))
        await world.turn()
    assert_reclaimed(world)
    assert len(logged(log, "events-lost")) <= 2
    assert gauge(world, "event_stream_up") == 0
    assert gauge(world, "event_stream_losses_total") == 600
    world.mailbox.put("opened", facts.EventsOpened(world.clock()))
    await world.turn()
    assert gauge(world, "event_stream_up") == 1


async def test_a_stream_that_stalls_silently_frees_no_image() -> None:
    """It looks healthy and sends nothing: each removal still has a listing of its own."""
    world = await full_world(VICTIM, *LINE)
    greedy(world)
    world.mailbox.put("opened", facts.EventsOpened(world.clock()))
    world.runtime.run(container("other", LINE[7]))
    world.runtime.during["list_all"] = lambda: world.runtime.run(container("web", VICTIM))
    await world.turns(60)
    assert_reclaimed(world)
    assert VICTIM.id in world.runtime.images
    assert box_of("box") in world.runtime.sandboxes
