"""From a crossing to the low mark: which images are left, and what the loop does when the runtime
refuses, is wrong, is slow or is not there."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from dataclasses import replace

import anyio
import pytest
import structlog
from structlog.typing import EventDict

from reconciler.aiokit import Mailbox
from reconciler.domain import facts
from reconciler.domain.decision import HoldReason, decide
from reconciler.domain.inventory import FilesystemUsage, Image, UsageSample
from reconciler.domain.plan import Command
from reconciler.domain.policy import Mode
from reconciler.domain.runtime import RuntimeRefused, RuntimeUnavailable, RuntimeVersion
from reconciler.domain.watermark import Pressure
from reconciler.engine.reconcile import Reconciler
from tests.builders import CONTAINERD_2, DAY, GIB, container, image, policy, volume
from tests.engine.world import Clock, World

LINE = [image(f"app{number}:v1", 3 * GIB) for number in range(8)]
NAMES = [f"app{number}:v1" for number in range(8)]


async def full_world(*images: Image, base: int = 60 * GIB, **fields: object) -> World:
    """A disk filled above the high mark (80 of 100 GiB; the low one is 78) with images that have
    been there for a day, the first one longest."""
    world = World(policy(**fields))
    world.runtime.other_bytes = base
    world.runtime.have(*(images or LINE))
    await world.settle()
    for age, one in enumerate(images or LINE):
        seen = world.clock() - DAY + age
        world.state.ledger[one.key] = replace(world.state.ledger[one.key], first_seen=seen)
    return world


def hold(world: World) -> HoldReason | None:
    found = decide(world.state, world.state.operator.policy, world.clock()).hold
    return found.reason if found else None


def logged(log: list[EventDict], event: str) -> list[EventDict]:
    return [line for line in log if line["event"] == event]


class QuickMailbox(Mailbox[facts.Fact]):
    """Nothing comes, and the wait for it takes the world's time alone."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    async def take(self, timeout: float) -> list[facts.Fact]:
        self._clock.advance(timeout)
        return self.drain()


async def test_a_crossing_of_the_high_mark_ends_at_the_low_one() -> None:
    """The oldest go, one by one, and no more of them than it takes."""
    world = await full_world()
    await world.turn()
    assert world.runtime.removed == NAMES[:2]
    assert world.state.disks.pressure is Pressure.CALM
    await world.turns(60)
    assert world.left() == NAMES[2:]


async def test_a_low_mark_that_was_measured_ends_the_reclaim_though_more_came_since() -> None:
    """It was reached, and in the same moment somebody pulled an image: that is no crossing."""
    world = await full_world(base=57 * GIB)

    async def pulled_again() -> None:
        del world.runtime.during["removed"]
        world.mailbox.put("usage", facts.UsageSampled(await world.sample()))
        world.clock.advance(0.2)
        world.runtime.have(image("fresh:v1", GIB))

    world.runtime.during["removed"] = pulled_again
    await world.turn()
    assert world.runtime.used() == 79 * GIB
    assert world.state.disks.pressure is Pressure.CALM
    assert world.runtime.removed == NAMES[:1]


async def test_a_measurement_from_before_a_removal_asks_for_no_second_one() -> None:
    """Taken while an image goes and received when it is gone, it shows a disk that was full:
    one image made enough room, so one goes."""
    world = await full_world(base=56 * GIB)

    async def measured_meanwhile() -> None:
        world.mailbox.put("usage", facts.UsageSampled(await world.sample()))
        world.clock.advance(0.5)

    world.runtime.during["remove_image"] = measured_meanwhile
    await world.turns(3)
    assert world.left() == NAMES[1:]


async def test_a_low_mark_between_two_looks_after_a_removal_ends_the_reclaim() -> None:
    """The first look was at it, the second counted what somebody pulled in that moment, and the
    second alone was taken in: another image went."""
    world = await full_world(base=57 * GIB)
    looks = 0

    async def pulled_between_two_looks() -> UsageSample:
        nonlocal looks
        looks += bool(world.runtime.removed)
        if looks == 2:
            world.runtime.have(image("fresh:v1", GIB))
        return await world.sample()

    world.loop.deps.sample = pulled_between_two_looks
    await world.turns(3)
    assert world.runtime.used() == 79 * GIB
    assert world.runtime.removed == NAMES[:1]


async def test_a_low_mark_measured_during_a_listing_that_fails_ends_the_reclaim() -> None:
    """It was reached when the runtime could not answer, and what was measured was forgotten with
    the listing: an image went that was not needed."""
    world = await full_world(base=57 * GIB)

    def fails_once() -> None:
        if world.runtime.removed:
            del world.runtime.during["list_all"]
            world.runtime.have(image("fresh:v1", GIB))
            raise RuntimeUnavailable("restarts")

    world.runtime.during["list_all"] = fails_once
    await world.turns(30)
    assert world.runtime.used() == 79 * GIB
    assert world.runtime.removed == NAMES[:1]


async def test_how_far_usage_ran_during_a_removal_is_learned() -> None:
    """Whatever makes it slow fills the disk as well; when it is over usage has come down again."""
    world = await full_world(base=55 * GIB)
    await world.turn()
    world.runtime.other_bytes = 57 * GIB

    async def pulls_meanwhile() -> None:
        for more in (5 * GIB, -5 * GIB):
            world.runtime.other_bytes += more
            world.clock.advance(1.0)
            world.mailbox.put(("usage", world.clock()), facts.UsageSampled(await world.sample()))

    world.runtime.during["remove_image"] = pulls_meanwhile
    await world.turn()
    assert world.runtime.removed == NAMES[:1]
    assert world.state.disks.overshoot("/images").recent == (6 * GIB,)


@pytest.mark.parametrize("apart", [0.0015, 0.04, 0.18])
async def test_space_that_shows_in_parts_is_all_counted(apart: float) -> None:
    """XFS: the first look found half of what one image freed, so half was credited to it, and
    another image went for the other half. On busy processors the parts show far apart."""
    world = await full_world(base=57 * GIB)
    shows = [(apart / 4, GIB), (apart, GIB)]  # seconds after the removal, and bytes
    slept = 0.0

    async def pause(seconds: float) -> None:
        nonlocal slept
        slept += seconds if world.runtime.removed else 0.0

    async def in_parts() -> UsageSample:
        sample = await world.sample()
        (usage,) = sample.filesystems
        more = sum(size for at, size in shows if slept < at) if world.runtime.removed else 0
        shown = replace(usage, used=usage.used + more, kind="xfs")
        return replace(sample, filesystems=(shown,))

    world.loop.deps.sleep, world.loop.deps.sample = pause, in_parts
    with structlog.testing.capture_logs() as log:
        await world.turn()
    assert world.left() == NAMES[1:]
    assert [line["freed_bytes"] for line in logged(log, "removed")] == [3 * GIB]


async def test_prune_shows_what_came_though_it_came_late() -> None:
    """btrfs: it ended as soon as the mark was reached, with "freed 0", and so said the history."""
    world = await full_world(base=57 * GIB)
    commit = world.clock() + 31

    async def late() -> UsageSample:
        sample = await world.sample()
        (usage,) = sample.filesystems
        shown = usage.used if world.clock() >= commit else 81 * GIB
        return replace(sample, filesystems=(replace(usage, used=shown),))

    room = replace(world.loop.deps, sample=late, mailbox=QuickMailbox(world.clock))
    with structlog.testing.capture_logs() as log:
        await Reconciler(room, world.state, Command()).prune()
    assert world.left() == NAMES[1:]
    assert [line["freed_bytes"] for line in logged(log, "space-shown")] == [3 * GIB]


async def test_every_removal_has_a_listing_of_its_own() -> None:
    """What is remembered from before a removal is not believed after it: the pod that started
    meanwhile keeps its image."""
    world = await full_world()

    def starts() -> None:
        if world.runtime.removed == NAMES[:1]:
            world.runtime.run(container("late", LINE[1]))

    world.runtime.during["removed"] = starts
    await world.turns(5)
    assert world.runtime.removed == [NAMES[0], NAMES[2]]
    assert not world.runtime.wrong


async def test_only_one_removal_is_under_way() -> None:
    """Nothing else is asked of a runtime that is busy with one."""
    world = await full_world()
    busy = 0

    async def slow() -> None:
        nonlocal busy
        busy += 1
        assert busy == 1
        await asyncio.sleep(0)
        busy -= 1

    world.runtime.during["remove_image"] = slow
    await world.turn()
    assert len(world.runtime.removed) == 2


async def test_observe_mode_removes_nothing_and_says_what_would_go() -> None:
    """The shipped default, on a full disk, for ten minutes."""
    with structlog.testing.capture_logs() as log:
        world = await full_world(mode=Mode.OBSERVE)
        await world.turns(600)
    assert world.left() == NAMES
    assert [line["images"] for line in logged(log, "would-remove")] == [1]


async def test_what_was_unused_for_the_maximum_age_goes_below_the_mark_too() -> None:
    """The mark is not asked, the protections are."""
    world = await full_world(base=0, maximum_unused_age=2 * DAY)
    world.runtime.run(container("c", LINE[3]))
    await world.turns(5)
    assert world.left() == NAMES
    world.clock.advance(DAY)
    await world.turns(60)
    assert world.left() == [NAMES[3]]


async def test_an_ok_that_removed_nothing_backs_off_from_5_minutes_to_an_hour() -> None:
    """CRI-O answers OK for an artifact and keeps it: it is not asked again on every turn."""
    world = await full_world(LINE[0], base=80 * GIB)
    asked: list[float] = []

    async def pretends() -> None:
        asked.append(world.clock())
        world.runtime.images[LINE[0].id] = LINE[0]

    world.runtime.during["removed"] = pretends
    for _ in range(4 * 3600 // 10):
        await world.turn(10)
    gaps = [round(later - before, -1) for before, later in itertools.pairwise(asked)]
    expected = [300, 600, 1200, 2400, 3600, 3600]
    assert len(gaps) >= 5
    assert all(0 <= gap - e <= 40 for gap, e in zip(gaps, expected, strict=False)), gaps


async def test_an_error_after_the_image_went_counts_as_removed() -> None:
    """containerd answers DEADLINE_EXCEEDED and the image is gone: the listing shows it."""
    world = await full_world()
    world.runtime.fails["removed"] = RuntimeUnavailable("DEADLINE_EXCEEDED")
    with structlog.testing.capture_logs() as log:
        await world.turn()
    assert world.runtime.removed == NAMES[:2]
    assert len(logged(log, "removed")) == 2
    assert not world.state.removals.refusals


async def test_a_refused_image_is_left_and_the_next_in_line_goes() -> None:
    """CRI-O refuses what podman uses: one refusal is not the end of the reclaim."""
    world = await full_world()

    def refuse() -> None:
        going = world.state.removals.under_way
        assert going is not None
        if going.image.id == LINE[0].id:
            raise RuntimeRefused("image is in use by a container")

    world.runtime.during["remove_image"] = refuse
    await world.turn()
    assert world.runtime.removed == NAMES[1:3]


async def test_a_failing_listing_holds_until_one_succeeds() -> None:
    """Logged once, not with every try; the job goes on by itself."""
    world = await full_world()
    world.runtime.fails["list_all"] = RuntimeUnavailable("connection refused")
    with structlog.testing.capture_logs() as log:
        await world.turns(120)
        assert hold(world) is HoldReason.RUNTIME_UNAVAILABLE
        assert world.left() == NAMES
        del world.runtime.fails["list_all"]
        await world.turns(60)
    assert world.left() == NAMES[2:]
    assert len(logged(log, "listing-failed")) == 1
    assert len(logged(log, "listing-works-again")) == 1


async def test_a_listing_that_fails_after_a_removal_holds_the_next_one() -> None:
    """The first image went, then the runtime did: nothing else goes on what was known before."""
    world = await full_world()

    def dies() -> None:
        world.runtime.fails["list_all"] = RuntimeUnavailable("gone")

    world.runtime.during["removed"] = dies
    await world.turns(20)
    assert world.runtime.removed == NAMES[:1]
    world.runtime.fails.clear()
    world.runtime.during.clear()
    await world.turns(40)
    assert world.runtime.removed == NAMES[:2]


async def test_exhausted_is_said_once_with_the_numbers_and_the_cache_is_kept() -> None:
    """When the space is not the images', an empty cache would help nobody."""
    small = [image(f"small{n}:v1", 10 << 20) for n in range(3)]
    with structlog.testing.capture_logs() as log:
        world = await full_world(*small, base=95 * GIB)
        await world.turns(500)
    assert len(world.left()) == 3
    lines = logged(log, "hold")
    assert [line["reason"] for line in lines] == ["exhausted"]
    assert "3 candidates" in lines[0]["detail"]
    assert str(95 * GIB + 3 * (10 << 20)) in lines[0]["detail"]


async def test_removals_that_free_nothing_come_to_a_rest_that_is_said_once() -> None:
    """The bytes are held by something else: some tries, each of which is given its time to show,
    then a rest, not an empty cache."""
    many = [image(f"shared{n:02}:v1", 2 * GIB) for n in range(30)]
    with structlog.testing.capture_logs() as log:
        world = await full_world(*many, base=30 * GIB)

        def holds_the_bytes() -> None:
            world.runtime.other_bytes += 2 * GIB

        world.runtime.during["removed"] = holds_the_bytes
        await world.turns(210)
    assert len(world.runtime.removed) == 3
    assert {line["reason"] for line in logged(log, "hold")} == {"space-pending", "resting"}


async def test_removals_that_free_another_disk_than_the_full_one_come_to_a_rest() -> None:
    """Images are on one filesystem, others fill the second: three tries, then a rest, though
    every one of them freed bytes."""
    many = [image(f"app{n:02}:v1", 2 * GIB) for n in range(30)]
    world = await full_world(*many, base=0)

    async def both() -> UsageSample:
        usages = (
            FilesystemUsage("/images", 1, 200 * GIB, world.runtime.used(), kind="ext4"),
            FilesystemUsage("/layers", 2, 100 * GIB, 81 * GIB, kind="ext4"),
        )
        return UsageSample(world.clock(), usages)

    world.sample = both  # type: ignore[method-assign] # what the probe would say
    world.loop = world.restarted()
    await world.turns(30)
    assert len(world.runtime.removed) == 3
    assert hold(world) is HoldReason.RESTING


async def test_a_slow_removal_gets_the_disk_a_rest_as_long() -> None:
    """A removal of 20 s says that the disk is the bottleneck: the next waits 20 s more."""
    world = await full_world()
    world.runtime.during["remove_image"] = lambda: world.clock.advance(20)
    await world.turn()
    assert world.runtime.removed == NAMES[:1]
    await world.turns(19)
    assert world.runtime.removed == NAMES[:1]
    await world.turns(2)
    assert world.runtime.removed == NAMES[:2]


async def test_a_removal_that_hangs_until_its_deadline_is_tried_again_later() -> None:
    """Ten minutes without an answer: the loop goes on, and leaves that image alone for a while."""
    world = await full_world()

    def hangs() -> None:
        world.clock.advance(600)
        raise RuntimeUnavailable("DEADLINE_EXCEEDED after 600 s")

    world.runtime.during["remove_image"] = hangs
    await world.turn()
    world.runtime.during.clear()
    assert world.left() == NAMES
    await world.turns(40)
    assert world.runtime.removed == NAMES[1:3]


async def test_a_daemon_that_is_ended_in_a_removal_waits_for_it() -> None:
    """SIGTERM cancels the loop; a RemoveImage cut short would leave records behind."""
    world = await full_world()
    under_way, answer = asyncio.Event(), asyncio.Event()

    async def waits() -> None:
        under_way.set()
        await answer.wait()

    world.runtime.during["remove_image"] = waits
    turned = False

    async def live() -> None:
        nonlocal turned
        await world.turn()
        turned = True

    async with anyio.create_task_group() as group:
        group.start_soon(live)
        await under_way.wait()
        group.cancel_scope.cancel()
        assert world.left() == NAMES
        answer.set()
    assert not turned
    assert world.runtime.removed == NAMES[:1]


async def test_a_daemon_killed_before_the_call_starts_again_and_finishes() -> None:
    """Remembered as begun, never sent: the image is still there, and nothing else is lost."""
    world = await full_world()

    class Killed(BaseException):
        pass

    def kill() -> None:
        raise Killed

    world.runtime.during["remove_image"] = kill
    with contextlib.suppress(Killed):
        await world.turn()
    assert world.left() == NAMES
    remembered, removals = world.state.ledger, world.state.removals.records
    world.runtime.during.clear()
    world.state = type(world.state)(began_at=world.clock())
    world.state.ledger, world.state.removals.records = remembered, removals
    world.edits.save(policy())
    world.loop = world.restarted()
    await world.turns(3)
    assert world.runtime.removed == NAMES[1:3]
    assert not world.runtime.wrong


async def test_another_version_on_the_same_socket_is_noticed_without_a_stream() -> None:
    """containerd 1.7 becomes 2.1 between two listings: its containers can mount images now, so
    they are asked before anything goes."""
    world = await full_world()
    world.mailbox.put("stream", facts.EventsAbsent(world.clock(), "switched off"))
    await world.turns(2)
    world.runtime.other_bytes += 20 * GIB
    world.runtime.answers = CONTAINERD_2
    mounted = volume(f"{LINE[2].digests[0]}")
    world.runtime.run(replace(container("mounts", LINE[7]), volumes=(mounted,)))
    world.runtime.during["volumes_of"] = lambda: None
    await world.turns(30)
    assert NAMES[2] in world.left()
    assert not world.runtime.wrong
    assert world.state.runtime.version == RuntimeVersion("containerd", "2.1.9", (2, 1, 9))


async def test_a_crossing_ends_a_wait_for_something_to_remove() -> None:
    """After hours without a candidate the loop looks rarely; a crossing is not left for later."""
    world = await full_world(base=0, maximum_unused_age=30 * DAY)
    await world.turns(200)
    world.runtime.other_bytes = 60 * GIB
    await world.turn()
    assert world.runtime.removed == NAMES[:2]
