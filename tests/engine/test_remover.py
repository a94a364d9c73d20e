"""One remover per runtime: what the loop does while another removes, and when that one ends."""

from __future__ import annotations

from dataclasses import replace

import structlog

from reconciler.domain.absorb import absorb
from reconciler.domain.decision import HoldReason
from reconciler.domain.facts import RemoverReported
from reconciler.domain.ledger import Remembered, RemovalRecord
from reconciler.domain.policy import Mode
from reconciler.domain.runtime import RuntimeUnavailable
from reconciler.domain.state import State
from reconciler.http.health import missing
from tests.builders import policy
from tests.engine.test_reclaim import LINE, NAMES, full_world, hold, logged
from tests.engine.world import World

OTHER = "another reconciler (pid 7: reconciler run)"


class Right:
    """The right to remove, as the kernel gives it: `other` has it, or it is free."""

    def __init__(self, world: World, other: str | None = None) -> None:
        self.world, self.other = world, other
        self.trouble: str | None = None
        self.held = False
        self.inherits: Remembered | None = None  # what the other one wrote
        world.loop.deps.claim = self.renew
        self._save, world.loop.deps.save = world.loop.deps.save, self.save

    async def renew(self, wanted: bool) -> RemoverReported:
        self.held = wanted and self.other is None and self.trouble is None
        other = self.other if wanted else None
        return RemoverReported(self.world.clock(), self.held, other, self.trouble)

    async def save(self, state: State) -> None:
        await self._save(state)
        if self.held and self.inherits is not None:
            state.inherit(self.inherits, self.world.clock())
            self.inherits = None


def remembered(state: State) -> Remembered:
    memory = state.memory
    return Remembered(dict(memory.images), {}, dict(state.removals.records), {}, {})


async def test_while_another_removes_this_one_says_so_and_takes_over_when_it_ends() -> None:
    """Two removers would each decide on a view that the other has changed. It is no trouble: the
    one that stands by is ready, and says once who removes."""
    world = await full_world()
    right = Right(world, OTHER)
    with structlog.testing.capture_logs() as log:
        await world.turns(60)
        assert world.runtime.removed == []
        assert hold(world) is HoldReason.ANOTHER_REMOVER
        assert missing(world.state) == []
        assert world.journal.metrics.registry.get_sample_value("reconciler_remover") == 0
        assert [line["detail"] for line in logged(log, "standing-by")] == [
            f"{OTHER} removes images here"
        ]
        assert OTHER in logged(log, "hold")[0]["detail"]
        right.other = None
        await world.turns(2)
    assert world.runtime.removed == NAMES[:2]
    assert world.journal.metrics.registry.get_sample_value("reconciler_remover") == 1
    assert len(logged(log, "took-over")) == 1


async def test_a_right_that_is_lost_in_mid_reclaim_ends_it() -> None:
    """Another process was faster on a new directory: the loop goes back to standing by."""
    world = await full_world()
    right = Right(world)
    world.runtime.during["removed"] = lambda: setattr(right, "other", OTHER)
    await world.turn()
    assert world.runtime.removed == NAMES[:1]
    assert hold(world) is HoldReason.ANOTHER_REMOVER
    await world.turns(30)
    assert world.runtime.removed == NAMES[:1]


async def test_where_the_remover_is_unknown_nothing_goes() -> None:
    """A directory that can't be locked is no proof that nobody else has it."""
    world = await full_world()
    right = Right(world)
    right.trouble = "/images can't be locked (No locks available)"
    with structlog.testing.capture_logs() as log:
        await world.turns(30)
        assert world.runtime.removed == []
        assert hold(world) is HoldReason.REMOVER_UNKNOWN
        assert logged(log, "remover-unknown")[0]["detail"] == right.trouble
        right.trouble = None
        await world.turns(2)
    assert world.runtime.removed == NAMES[:2]
    assert len(logged(log, "remover-known")) == 1


async def test_an_observer_keeps_nobody_from_removing() -> None:
    """In mode observe the right is not taken; a policy that enforces asks for it, and one that
    observes again gives it back."""
    world = World(policy(mode=Mode.OBSERVE))
    right = Right(world)
    await world.turns(3)
    assert not right.held
    world.edits.save(policy())
    await world.turns(3)
    assert right.held
    world.edits.save(policy(mode=Mode.OBSERVE))
    await world.turns(3)
    assert not right.held
    assert hold(world) is None


async def test_the_right_is_kept_until_it_is_known_what_became_of_a_removal() -> None:
    """The runtime went away under it, and the policy observes from now on: another remover must
    not begin while the runtime may still be at it."""
    world = await full_world()
    right = Right(world)

    def away() -> None:
        world.runtime.fails["list_all"] = RuntimeUnavailable("it restarts")
        world.edits.save(policy(mode=Mode.OBSERVE))

    world.runtime.during["removed"] = away
    await world.turns(3)
    assert world.state.operator.policy is not None
    assert world.state.operator.policy.mode is Mode.OBSERVE
    assert right.held
    world.runtime.fails.clear()
    await world.turns(10)
    assert not right.held
    assert world.runtime.removed == NAMES[:1]


async def test_what_the_other_one_removed_is_looked_for_before_anything_goes() -> None:
    """It may have removed until the very moment it ended: a listing from before is no base."""
    world = await full_world()
    Right(world, OTHER)
    await world.turns(3)
    ours = RemoverReported(world.clock(), ours=True)
    absorb(ours, world.state)
    assert hold(world) is HoldReason.LISTING_DUE
    await world.loop._list()
    absorb(ours, world.state)
    assert hold(world) is None


async def test_an_image_whose_removal_the_other_one_was_killed_in_is_left_alone() -> None:
    """Nobody knows what the runtime answered: as after a restart, the image counts as refused."""
    world = await full_world()
    right = Right(world, OTHER)
    await world.turns(3)
    begun = RemovalRecord(world.clock(), LINE[0].names)
    right.inherits = replace(remembered(world.state), removals={LINE[0].key: begun})
    right.other = None
    await world.turns(5)
    assert world.runtime.removed == NAMES[1:3]
    assert LINE[0].key in world.state.removals.refusals
