"""How often an image is used: by the containers made from it, however often each is reported."""

from __future__ import annotations

from dataclasses import replace

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.aiokit import Mailbox
from reconciler.domain.absorb import absorb
from reconciler.domain.facts import ContainerChanged, Fact
from reconciler.domain.inventory import ContainerEvent, EventKind
from reconciler.domain.state import State
from reconciler.domain.steps import STEP
from tests.builders import GIB, T0, container, exclusion, image, listed, policy
from tests.engine.world import World, moment

APP = image("app:v1")
OTHER = image("other:v1")
CONTAINERS = [container(f"c{number}", APP if number < 4 else OTHER) for number in range(6)]
NUMBERS = st.integers(0, len(CONTAINERS) - 1)
# An event of one container, a listing of some, or (None) the loop's look into its mailbox.
STEPS = st.lists(
    st.one_of(st.tuples(NUMBERS, st.sampled_from(EventKind)), st.sets(NUMBERS), st.none()),
    max_size=30,
)


@given(STEPS)
def test_a_use_is_counted_once_for_each_container(
    steps: list[tuple[int, EventKind] | set[int] | None],
) -> None:
    """Doubled, late and replayed events, coalesced in the mailbox, between any listings: each
    container that was ever reported counts for one."""
    state, mailbox = State(began_at=T0 - 10), Mailbox[Fact]()
    absorb(listed([APP, OTHER], at=T0), state)
    reported: set[int] = set()
    for step in [*steps, None]:
        if isinstance(step, tuple):
            number, kind = step
            one = CONTAINERS[number]
            inside = () if kind is EventKind.DELETED else (one,)
            event = ContainerEvent(one.id, kind, T0, None, inside)
            mailbox.put(("event", one.id, kind), ContainerChanged(event, T0))
            reported |= {number} if inside else set()
        elif step is None:
            for fact in mailbox.drain():
                absorb(fact, state)
        else:
            absorb(listed([APP, OTHER], [CONTAINERS[n] for n in step], at=T0), state)
            reported |= step
    uses = {one.key: state.ledger[one.key].uses for one in (APP, OTHER)}
    assert uses[APP.key] == len([number for number in reported if number < 4])
    assert uses[OTHER.key] == len([number for number in reported if number >= 4])


async def ended_after_a_job(*, listed_before: bool) -> tuple[World, float]:
    """A job came and went; its events were read, and the daemon was asked to end before its loop
    turned once more. The world, and when the job's last event came."""
    world = World(policy())
    world.runtime.have(OTHER, *([APP] if listed_before else []))
    await world.turns(3)
    world.runtime.have(APP)  # where it was not there before: pulled for the job
    world.clock.advance(60)
    job = replace(container("job", APP), image_ref=APP.digests[0])
    for kind, inside in ((EventKind.CREATED, (job,)), (EventKind.DELETED, ())):
        event = ContainerEvent(job.id, kind, world.clock(), None, inside)
        reported = ContainerChanged(event, world.clock())
        world.mailbox.put(("event", job.id, kind), reported)
    at = world.clock()
    world.clock.advance(1)
    await world.loop.end()
    return world, at


@pytest.mark.parametrize("listed_before", [True, False])
async def test_a_job_whose_events_wait_when_the_daemon_ends_was_a_use(listed_before: bool) -> None:
    """Stopped a second after the job, the daemon wrote down that its image was unused for long:
    started again, it let the image go before its minimum age."""
    world, at = await ended_after_a_job(listed_before=listed_before)
    used = world.state.ledger[APP.key].last_used
    assert used is not None
    assert used >= at


async def test_a_job_that_only_an_event_showed_was_used_until_a_listing_lacked_it() -> None:
    """The daemon had read that the job started, and was stopped for an hour before its first
    listing. The image looked unused since the start, though the job may have run for that hour."""
    world = World(policy())
    world.runtime.have(APP)
    job = replace(container("job", APP), image_ref=APP.digests[0])
    event = ContainerEvent(job.id, EventKind.STARTED, world.clock(), None, (job,))
    world.mailbox.put(("event", job.id), ContainerChanged(event, world.clock()))
    world.runtime.during["list_all"] = lambda: world.clock.advance(3600)
    await world.turn()
    assert world.state.ledger[APP.key].last_used == world.clock()


async def test_a_job_in_a_whole_listing_was_a_use_though_the_daemon_was_ending() -> None:
    """Told to end while it still measured what a removal had freed, the daemon dropped the listing
    that it had. The next one no longer showed the job, and its image went after the next start."""
    world = World(policy(exclusions=(exclusion("reg.example/app"),)))
    world.runtime.have(APP, image("goes:v1", 5 * GIB))
    await world.settle()
    world.runtime.other_bytes = 90 * GIB
    world.runtime.during["removed"] = lambda: world.runtime.run(container("job", APP))
    world.loop.deps.sleep = lambda seconds: anyio.sleep_forever()
    async with anyio.create_task_group() as group:
        group.start_soon(world.turn)
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    at = world.clock()
    world.runtime.containers.clear()
    world.loop.deps.sleep = moment
    await world.loop.end()
    assert world.left() == ["app:v1"]
    assert world.state.ledger[APP.key].last_used == at


async def test_a_storm_of_events_that_was_half_taken_when_the_daemon_ends_is_taken() -> None:
    """The rest had left the mailbox, and was lost."""
    world = World(policy())
    world.runtime.have(APP)
    await world.turns(3)
    at = world.clock()
    made = [container(f"job-{number}", APP) for number in range(5 * STEP)]
    jobs = [replace(job, created_at=at + number) for number, job in enumerate(made)]
    for job in jobs:
        event = ContainerEvent(job.id, EventKind.CREATED, at, None, (job,))
        world.mailbox.put(("event", job.id), ContainerChanged(event, at))
    async with anyio.create_task_group() as group:
        group.start_soon(world.loop.turn, world.mailbox.drain())
        await anyio.lowlevel.checkpoint()
        group.cancel_scope.cancel()
    await world.loop.end()
    assert world.state.ledger[APP.key].uses == len(jobs)
