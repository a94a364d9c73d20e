"""How often an image is used: by the containers made from it, however often each is reported."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.aiokit import Mailbox
from reconciler.domain.absorb import absorb
from reconciler.domain.facts import ContainerChanged, Fact
from reconciler.domain.inventory import ContainerEvent, EventKind
from reconciler.domain.state import State
from tests.builders import T0, container, image, listed, policy
from tests.engine.world import World

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
