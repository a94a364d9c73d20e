"""The one loop: take facts, absorb them, list when a listing is due, decide, remove one, again.

It owns the state and is the only one that edits it. Events make it quick, listings make it right:
while calm a listing is made on a period, after a reconnect, and at most once a second after events
that could not be applied whole; under pressure one is made before every removal. The policy's
files are looked at again right before a removal, so that an exclusion saved in the middle of a
reclaim protects the very next image.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

import anyio

from ..aiokit import Mailbox, both, in_slices
from ..domain.absorbing import absorb
from ..domain.decision import Candidate, Command, HoldReason, Plan, deciding, objection
from ..domain.facts import (
    EventsLost,
    EventsOpened,
    Fact,
    ListingFailed,
    NothingGoes,
    PolicyLoaded,
    ReclaimAsked,
    RemovalBegun,
    RemovalSpared,
    RemoverTold,
    Resumed,
    UsageSampled,
    WallClockRead,
)
from ..domain.inventory import UsageSample
from ..domain.listed import absorbing
from ..domain.policy import Mode
from ..domain.runtime import ImageRuntime, RuntimeFailure
from ..domain.slices import SLICE, Slices
from ..domain.state import State
from ..domain.watermark import Pressure
from .observe import ask, ask_again, observe
from .reclaim import Attempt, is_less, planned, removal_of, send
from .schedule import ASK_AGAIN, ASK_NARROWED, CALM_SPACING, LAST_WORD, Schedule

T = TypeVar("T")
# What the operator's command waits for.
SOON_OVER = {
    HoldReason.LISTING_DOUBTFUL,
    HoldReason.PODS_UNKNOWN,
    HoldReason.POD_STARTING,
    HoldReason.SPACE_PENDING,
}
GLANCES = (0.002, 0.01, 0.05)  # seconds between the first measurements after a removal
LOOKS = 3  # listings before a removal, where each is old by the time the policy was looked at


class Journal(Protocol):
    """Who is told: the log and the metrics. Nothing it does changes what is decided."""

    def absorbed(self, fact: Fact, state: State, at: float) -> None: ...
    def decided(self, plan: Plan, state: State, at: float) -> None: ...


class Policies(Protocol):
    """The operator's files, looked at on demand; what is new is in the mailbox when it returns
    (`sources.policy_file`)."""

    async def refresh(self) -> None: ...


@dataclass(slots=True)
class Dependencies:
    """What the loop works with, handed in by `app`."""

    runtime: ImageRuntime
    mailbox: Mailbox[Fact]
    policies: Policies
    sample: Callable[[], Awaitable[UsageSample]]
    save: Callable[[State], Awaitable[None]]
    journal: Journal
    clock: Callable[[], float]  # seconds since 1970, never stepping back
    monotonic: Callable[[], float]  # seconds, for spans only
    # Takes the right to remove, makes sure of it, or, where it is not wanted, gives it back. None:
    # nobody else could have it.
    claim: Callable[[bool], Awaitable[RemoverTold]] | None = None
    wall: Callable[[], float] | None = None  # the wall clock, which steps; None: `clock` is it
    sleep: Callable[[float], Awaitable[None]] = anyio.sleep


class Reconciler:
    """The loop. The mutable state is `state` and the few times below; nobody else edits them."""

    def __init__(self, deps: Dependencies, state: State, command: Command | None = None) -> None:
        self.deps, self.state, self._command = deps, state, command
        self._schedule = Schedule(saved_at=deps.clock())
        self._asking_version = True
        self._attempt: Attempt | None = None
        self._held: HoldReason | None = None  # by the last decision

    async def run(self) -> None:
        """Turns until cancelled; a removal in flight is waited for."""
        while True:
            patience = self._schedule.patience(self.state, self.deps.clock())
            await self.turn(await self.deps.mailbox.take(patience))

    async def turn(self, facts: Iterable[Fact]) -> None:
        """One turn of the loop: everything but the waiting."""
        self._read_wall_clock()
        await self._in_slices(self._absorbing(facts))
        stood_by = self.state.stands_by
        if self._schedule.claim_due(self.deps.clock()):
            await self._removes_here()
        now = self.deps.clock()
        due = self._attempt is not None or self._schedule.listing_due(self.state, now)
        listed = due and await self._list()
        self._absorb(self.deps.mailbox.drain())
        await self._ask()
        if self._wants_removal(now):
            await self._reclaim()
        elif listed or self.state.stands_by != stood_by:
            await self._decide()
        await self._ask_again()
        if self._schedule.saving_due(self.state, self.deps.clock()):
            await self.save()

    async def prune(self) -> None:
        """One pass for the operator's own command: removes until nothing more goes. Waits for what
        a few seconds will tell: the disk's rest, the doubts that end so soon, and how much there
        is of space that just began to show."""
        try:
            await self._reclaim()
            while self._held in SOON_OVER or self._space_arrives():
                self._absorb(await self.deps.mailbox.take(CALM_SPACING))
                await self._reclaim()
        finally:
            await self.save()

    def _space_arrives(self) -> bool:
        return any(account.is_arriving for account in self.state.disks.accounts.values())

    async def end(self) -> None:
        """The last thing: takes what still waits, lists once more if the runtime answers soon and
        something waits for it (what became of a removal, whose image a use was), and writes the
        ledger. A use that is forgotten here would make its image look old after the start."""
        self._absorb(self.deps.mailbox.drain())
        if self._attempt is not None or self.state.runtime.unplaced:
            with anyio.move_on_after(LAST_WORD):
                await self._list()
        await self.save()

    async def save(self) -> None:
        """Writes the ledger."""
        self._schedule.saved_at = self.deps.clock()
        await self.deps.save(self.state)

    # --- absorbing and listing -----------------------------------------------------------------

    def _absorb(self, facts: Iterable[Fact]) -> None:
        for fact in facts:
            before, removed = self.state.disks.pressure, self.state.removes
            absorb(fact, self.state)
            self.deps.journal.absorbed(fact, self.state, self.deps.clock())
            if isinstance(fact, EventsOpened | EventsLost):
                self._asking_version = True  # another version may answer on the same socket
            if isinstance(fact, EventsOpened):
                self._schedule.subscribed(self.deps.clock())
            crossed = before is Pressure.CALM and self.state.disks.pressure is Pressure.RECLAIMING
            if self.state.removes and not removed:
                self._schedule.took_over(self.deps.clock())
            told = isinstance(fact, PolicyLoaded | ReclaimAsked | Resumed)
            shows = isinstance(fact, UsageSampled) and bool(self.state.disks.shown)
            if crossed or told or shows:
                self._schedule.look_at_once()

    def _absorbing(self, facts: Iterable[Fact]) -> Slices[None]:
        """Absorbs facts in slices: a storm leaves thousands at once."""
        for number, fact in enumerate(facts, 1):
            self._absorb([fact])
            if number % SLICE == 0:
                yield

    async def _in_slices(self, steps: Slices[T]) -> T:
        """Long work, with turns for everything else; longer ones while facts come in."""
        return await in_slices(steps, self._arrived)

    def _arrived(self) -> int:
        return self.deps.mailbox.received

    async def _list(self) -> bool:
        """Lists anew and absorbs it; a failure is a fact too, and backs off."""
        state, deps = self.state, self.deps
        # Without a stream that breaks, nothing tells that another version answers by now.
        asking = self._asking_version or state.runtime.events is not None
        version = None if asking else state.runtime.version
        look = partial(observe, deps.runtime, version, state.runtime.configured_pause)
        sample: UsageSample | None = None
        try:
            if self._attempt is None:
                listed = await look()
            else:
                # What was measured while it went on comes before what is measured now.
                await self._in_slices(self._absorbing(deps.mailbox.drain()))
                listed, sample = await both(look, partial(self._measure_after, self._attempt))
        except RuntimeFailure as failure:
            self._schedule.listing_failed(deps.clock())
            self._asking_version = True
            self._absorb([ListingFailed(deps.clock(), str(failure))])
            await self._decide()  # for those who are told: that all removal is held, and why
            return False
        self._asking_version = False
        await self._in_slices(absorbing(listed, state))
        deps.journal.absorbed(listed, state, deps.clock())
        self._schedule.listed(listed.listing.began_at, deps.clock())
        if self._attempt is not None and sample is not None:
            self._confirm(self._attempt, sample)
        return True

    async def _measure_after(self, attempt: Attempt) -> UsageSample:
        """What a removal freed is free by now; XFS shows it at the second look, or a part of it
        at the first, btrfs later than anybody should wait for here."""
        sample = await self._glance()
        for pause in GLANCES:
            await self.deps.sleep(pause)
            before, sample = sample, await self._glance()
            if attempt.shows_in(sample) and not is_less(sample, before):
                break
        return sample

    async def _glance(self) -> UsageSample:
        """Measures, and takes that in at once: the low mark may be reached for a moment, and the
        listing beside it may fail. What waits in the mailbox waits on: it is later than that
        listing's beginning."""
        sample = await self.deps.sample()
        self._absorb([UsageSampled(sample)])
        return sample

    def _confirm(self, attempt: Attempt, sample: UsageSample) -> None:
        """Now that a listing tells: what became of the image we asked to be removed."""
        self._attempt = None
        self._measured(sample)
        finished = attempt.finished(self.state, sample, self.deps.clock())
        self._schedule.removed(attempt.took, self.deps.clock())
        self._absorb([finished])

    def _measured(self, sample: UsageSample) -> None:
        """Takes in a measurement of our own, after those that came before it and wait: one of them
        may have been at the low mark."""
        self._absorb([*self.deps.mailbox.drain(), UsageSampled(sample)])

    async def _ask(self) -> None:
        now = self.deps.clock()
        if now < self._schedule.ask_not_before:
            return
        before = len(self.state.pending(now))
        await ask(self.deps.runtime, self.state, self.deps.clock, self._arrived)
        now = self.deps.clock()  # answers may take their whole deadline to fail
        if self.state.runtime.ask_trouble is not None:
            self._schedule.ask_not_before = now + ASK_AGAIN
        elif len(self.state.pending(now)) >= before > 0:
            # All are gone meanwhile, says the runtime: a listing settles it, asking does not.
            self._schedule.ask_not_before = now + CALM_SPACING

    async def _ask_again(self) -> None:
        """What nothing waits for any more."""
        now = self.deps.clock()
        if self.state.narrowed(now) and now >= self._schedule.ask_again_not_before:
            await ask_again(self.deps.runtime, self.state, self.deps.clock, self._arrived)
            self._schedule.ask_again_not_before = self.deps.clock() + ASK_NARROWED

    def _read_wall_clock(self) -> None:
        """Right before whatever goes by a date: somebody may just have set it."""
        if self.deps.wall is not None:
            now = self.deps.clock()
            absorb(WallClockRead(now, self.deps.wall() - now), self.state)

    async def _decide(self) -> Plan:
        self._read_wall_clock()
        now = self.deps.clock()
        steps = deciding(self.state, self.state.operator.policy, now, command=self._command)
        plan = await self._in_slices(steps)
        self.deps.journal.decided(plan, self.state, now)
        self._held = plan.hold.reason if plan.hold else None
        return plan

    # --- removing ------------------------------------------------------------------------------

    def _wants_removal(self, now: float) -> bool:
        state = self.state
        if state.runtime.listed_at is None or not self._schedule.may_look(now):
            return False
        if state.disks.pressure is Pressure.RECLAIMING:
            return True
        policy = state.operator.policy  # some of its rules remove though there is room
        return policy is not None and bool(policy.maximum_unused_age or policy.expendable)

    async def _reclaim(self) -> None:
        """Removes one image after the other until nothing more goes; each on a listing of its
        own, begun after the removal before it."""
        while True:
            if not await self._fresh():
                self._absorb([NothingGoes(self.deps.clock())])
                return
            plan = await self._decide()
            candidate = plan.eviction
            if candidate is None or not self._enforcing():
                self._nothing_goes(plan)
                return
            self._schedule.look_at_once()
            if not await self._removes_here():
                self._nothing_goes(await self._decide())
                return
            if self.state.runtime.listing_stale or not await self._evict(candidate):
                continue
            if not await self._list() or not await self._rested():
                return

    def _nothing_goes(self, plan: Plan) -> None:
        """Looks again later. Unless what was removed is only to show yet, whatever usage does until
        then says nothing of how fast removal is."""
        now = self.deps.clock()
        self._schedule.found_nothing(plan, now)
        if plan.hold is None or plan.hold.reason is not HoldReason.SPACE_PENDING:
            self._absorb([NothingGoes(now)])

    async def _removes_here(self) -> bool:
        """Whether this is the one process that may remove, asked for now. With that right comes
        what the one before it wrote: it is read before anything is decided."""
        if self.deps.claim is None:
            return True
        self._schedule.claimed_at, removed = self.deps.clock(), self.state.removes
        under_way = self._attempt is not None or self.state.removals.under_way is not None
        self._absorb([await self.deps.claim(self._enforcing() or under_way)])
        if self.state.removes and not removed:
            await self.save()
        return self.state.removes

    async def _rested(self) -> bool:
        """Whether the disk has had its rest after a slow removal: the daemon comes back to it, the
        operator's command waits."""
        while (left := self._schedule.disk_rests_until - self.deps.clock()) > 0:
            if self._command is None:
                return False
            self._absorb(await self.deps.mailbox.take(left))
        return True

    def _enforcing(self) -> bool:
        policy, asked = self.state.operator.policy, self._command is not None
        return policy is not None and (asked or policy.mode is Mode.ENFORCE)

    async def _fresh(self) -> bool:
        """Sees to a listing that may be decided on, and to answers for what no listing tells.
        False: not now (the runtime fails, or events raise doubt faster than listings settle it)."""
        for _ in range(8):
            await self._in_slices(self._absorbing(self.deps.mailbox.drain()))
            state, now = self.state, self.deps.clock()
            stale = state.runtime.listing_stale or state.graph.ambiguous
            if stale or self._schedule.listing_is_old(now):
                if not await self._list():
                    return False
            elif self._has_questions(now):
                await self._ask()
            elif self._schedule.sample_is_old(state, now):
                self._measured(await self.deps.sample())
            else:
                return True
        self._schedule.retry_at = self.deps.clock() + CALM_SPACING
        self._absorb(self.deps.mailbox.drain())
        await self._decide()  # for those who are told: what holds all removal now
        return False

    def _has_questions(self, now: float) -> bool:
        return now >= self._schedule.ask_not_before and bool(self.state.pending(now))

    async def _evict(self, candidate: Candidate) -> bool:
        """Has one image removed; False if a last look found a reason against it."""
        deps, state = self.deps, self.state
        self._absorb([planned(candidate, deps.clock())])
        await deps.save(state)  # on disk before the call: we may be killed during it
        await self._in_slices(self._absorbing(deps.mailbox.drain()))
        await deps.policies.refresh()
        for _ in range(LOOKS):  # a slow disk must not make the last look an old one
            if not self._schedule.listing_is_old(deps.clock()) or not await self._list():
                break
            await deps.policies.refresh()  # last of all: what is saved now protects this image
        self._absorb(deps.mailbox.drain())  # the rest; from here on nothing is awaited
        self._read_wall_clock()
        policy = state.operator.policy
        against = objection(candidate.image, state, policy, deps.clock(), self._command)
        if against is not None or not self._enforcing():
            text = against or "the mode is not enforce any more"
            self._absorb([RemovalSpared(deps.clock(), candidate.image.id, text)])
            return False
        removal = removal_of(candidate, state, deps.clock())
        self._absorb([RemovalBegun(deps.clock(), removal)])
        self._attempt = await send(deps.runtime, removal, deps.monotonic)
        return True
