"""Take facts into the loop: each is absorbed, passed to the journal, and updates the schedule.

- A fact is absorbed before it is passed to the journal, and passed once.
- Facts are taken in the order in which they came: a measurement of our own is taken in after all
  that wait (`measured`), except for quick ones during a listing: what waits then came later than
  the listing's beginning.
- Many are absorbed in steps: a storm of events does not keep its own reader waiting.

Nothing is decided here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import anyio

from ..aiokit import run_in_steps
from ..domain.absorb import absorb
from ..domain.facts import (
    EventsLost,
    EventsOpened,
    Fact,
    PolicyLoaded,
    ReclaimAsked,
    Resumed,
    UsageSampled,
    WallClockRead,
)
from ..domain.inventory import UsageSample
from ..domain.state import State
from ..domain.steps import STEP, Steps
from ..domain.watermark import Pressure
from .dependencies import Dependencies
from .schedule import Schedule

T = TypeVar("T")


class Intake:
    """The only way in which the loop changes its state, except for listings and answers, which are
    absorbed where they are requested."""

    def __init__(self, deps: Dependencies, state: State, schedule: Schedule) -> None:
        self._deps, self._state, self._schedule = deps, state, schedule

    def take(self, facts: Iterable[Fact]) -> None:
        """Absorbs facts at once."""
        for fact in facts:
            self._take(fact)

    def take_waiting(self) -> None:
        """Absorbs at once what is in the mailbox."""
        self.take(self._deps.mailbox.drain())

    async def take_many(self, facts: Iterable[Fact]) -> None:
        """Absorbs facts in steps: a storm leaves thousands at once."""
        await self.run_to_the_end(self._taking(facts))

    async def run_in_steps(self, steps: Steps[T]) -> T:
        """Runs long work, with turns for other tasks in between, longer ones while facts come
        in."""
        return await run_in_steps(steps, lambda: self._deps.mailbox.received)

    async def run_to_the_end(self, steps: Steps[None]) -> None:
        """The same, also through a cancellation: what was reported once is not reported again."""
        with anyio.CancelScope(shield=True):
            await self.run_in_steps(steps)

    async def measure_now(self) -> UsageSample:
        """Measures during a listing and takes the sample in at once: the low mark may be reached
        for a moment only, and the listing may fail. The facts in the mailbox stay there: they are
        later than the beginning of that listing."""
        sample = await self._deps.sample()
        self.take([UsageSampled(sample)])
        return sample

    def measured(self, sample: UsageSample) -> None:
        """Takes in a measurement of our own, after the facts that came before it: one of them may
        be a measurement at the low mark."""
        self.take([*self._deps.mailbox.drain(), UsageSampled(sample)])

    def read_wall_clock(self) -> None:
        """Reads the wall clock, right before anything that depends on a date: it may just have been
        set."""
        if self._deps.wall is not None:
            now = self._deps.clock()
            absorb(WallClockRead(now, self._deps.wall() - now), self._state)

    def _taking(self, facts: Iterable[Fact]) -> Steps[None]:
        for number, fact in enumerate(facts, 1):
            self._take(fact)
            if number % STEP == 0:
                yield

    def _take(self, fact: Fact) -> None:
        state, schedule, clock = self._state, self._schedule, self._deps.clock
        before, removed = state.disks.pressure, state.removes
        absorb(fact, state)
        self._deps.journal.absorbed(fact, state, clock())
        if isinstance(fact, EventsOpened | EventsLost):
            schedule.version_due = True  # another version may answer on the same socket
        if isinstance(fact, EventsOpened):
            schedule.subscribed(clock())
        if state.removes and not removed:
            schedule.took_over(clock())
        crossed = before is Pressure.CALM and state.disks.pressure is Pressure.RECLAIMING
        by_operator = isinstance(fact, PolicyLoaded | ReclaimAsked | Resumed)
        shows = isinstance(fact, UsageSampled) and bool(state.disks.shown)
        if crossed or by_operator or shows:
            schedule.look_at_once()
