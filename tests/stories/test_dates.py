"""Dates in a policy are what the calendar says: the wall clock was wrong at the start, and is set
right while the daemon runs, as the network's time does it on every boot of some machines."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from reconciler.domain.decision import explain
from reconciler.domain.protections.protection import Kind
from tests.builders import DAY, GIB, T0, exclusion, policy
from tests.engine.test_reclaim import LINE, NAMES, full_world
from tests.engine.world import Clock, FakeRuntime, World
from tests.faults.machine import POLICY, Machine

YEAR = 365 * DAY


def day_of(seconds: float) -> dt.date:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).date()


async def crowded_world(until: dt.date) -> World:
    """All images are excluded through a day, on a disk over its high mark."""
    return await full_world(exclusions=(exclusion("reg.example/**", until=until),))


async def test_a_date_that_is_past_by_the_clock_that_was_set_right_ends_its_exclusion() -> None:
    """The machine came up a year behind, and has been right since: no restart is needed."""
    world = await crowded_world(until=day_of(T0 + 30 * DAY))
    await world.turns(5)
    assert not world.runtime.removed
    world.clock.ahead = YEAR
    await world.turns(5)
    assert world.left() == NAMES[2:]


async def test_a_date_not_past_by_the_clock_that_was_set_right_protects_again() -> None:
    """It came up a year ahead, so that the operator's date seemed to be over."""
    world = await crowded_world(until=day_of(T0 - 30 * DAY))
    world.clock.ahead = -YEAR
    await world.turns(60)
    assert world.left() == NAMES


async def test_a_clock_set_right_between_decision_and_call_protects_the_very_image() -> None:
    """The last look goes by the clock as it is then."""
    world = await crowded_world(until=day_of(T0 - 30 * DAY))

    def set_right() -> None:
        world.clock.ahead = -YEAR

    world.saving = set_right  # the ledger is written right before the call
    await world.turns(60)
    assert world.left() == NAMES


@pytest.mark.parametrize("ahead", [YEAR, -YEAR])
async def test_ages_do_not_follow_the_clock_that_dates_follow(ahead: float) -> None:
    """An image of a minute is one of a minute, whatever the calendar says by now."""
    rules = policy(minimum_age=3600.0)
    world = World(rules)
    world.runtime.have(*LINE)
    world.runtime.other_bytes = 60 * GIB
    await world.turns(60)
    world.clock.ahead = ahead
    await world.turns(60)
    assert world.left() == NAMES
    why = explain(LINE[0], world.state, rules, world.clock())
    assert Kind.YOUNG in {one.kind for one in why if one.holds}


async def test_a_removal_is_noted_at_the_time_that_people_have() -> None:
    """`history --since 1h` asks by the clock on the wall."""
    world = await full_world()
    world.clock.ahead = YEAR
    await world.turns(5)
    entry = world.journal.evidence.take()[0]
    assert world.clock.wall() - 60 < entry.at <= world.clock.wall()
    assert DAY - 60 < entry.at - entry.first_seen < DAY + 60


async def test_times_and_dates_that_are_shown_are_by_the_wall_clock(tmp_path: Path) -> None:
    """An alert compares the time of the last listing with the clock of the machine that asks; and
    the policy is read again on what is another day, to see which of its rules are over."""
    last = day_of(T0 + 30 * DAY)
    rule = f'exclusions:\n  - images: ["reg.example/**"]\n    until: {last}\n'
    (tmp_path / "policy.yaml").write_text(POLICY + rule)
    machine = Machine(tmp_path, FakeRuntime(Clock()))
    await machine.turns(3)
    assert machine.gauge("policy_valid") == 1
    machine.clock.ahead = YEAR
    await machine.turns(40)
    wall = machine.clock.wall()
    assert wall - 60 < (machine.gauge("last_listing_timestamp_seconds") or 0) <= wall
    assert wall - 60 < (machine.gauge("policy_loaded_timestamp_seconds") or 0) <= wall
    machine.close()
