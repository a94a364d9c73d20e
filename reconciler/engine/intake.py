"""How facts come into the loop: each is absorbed, told to the journal, and moves the times of what
is due.

- A fact is absorbed before it is told, and told once.
- Facts are taken in the order in which they came: a measurement of our own is taken in after all
  that waits (`measured`), but for the glances beside a listing, which what waits is later than.
- Many are absorbed in steps: a storm of events does not keep its own reader waiting.

Nothing is decided here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

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
    """The one way by which the loop changes its state, but for listings and answers, which are
    absorbed where they are asked for."""

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
        await self.run_in_steps(self._taking(facts))

    async def run_in_steps(self, steps: Steps[T]) -> T:
        """Long work, with turns for everything else; longer ones while facts come in."""
        return await run_in_steps(steps, lambda: self._deps.mailbox.received)

    async def glance(self) -> UsageSample:
        """Measures, and takes that in at once: the low mark may be reached for a moment, and the
        listing beside it may fail. What waits in the mailbox waits on: it is later than that
        listing's beginning."""
        sample = await self._deps.sample()
        self.take([UsageSampled(sample)])
        return sample

    def measured(self, sample: UsageSample) -> None:
        """Takes in a measurement of our own, after those that came before it and wait: one of them
        may have been at the low mark."""
        self.take([*self._deps.mailbox.drain(), UsageSampled(sample)])

    def read_wall_clock(self) -> None:
        """Right before whatever goes by a date: somebody may just have set it."""
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
        told = isinstance(fact, PolicyLoaded | ReclaimAsked | Resumed)
        shows = isinstance(fact, UsageSampled) and bool(state.disks.shown)
        if crossed or told or shows:
            schedule.look_at_once()
