"""The one loop: take facts, absorb them, list when a listing is due, decide, remove one, again.

It owns the state and is the only one that edits it. Events make it quick, listings make it right:
while calm a listing is made on a period, after a reconnect, and at most once a second after events
that could not be applied whole. Its invariants:

- An image is removed only on a listing that was begun after the previous removal and after every
  event that raised doubt. An old listing or measurement is made again first.
- Every removal is decided separately, by `decide`; one candidate of a plan goes, the others wait.
- Between the last look (`objection`) and the call nothing is awaited. Right before it the policy's
  files are read again, so that an exclusion saved in mid-reclaim protects the very next image.
- That a removal begins is on disk before it is sent, and only a listing shows its result.
- At most one removal is in progress, and only while this process is the remover.
- Nothing is lost at the end: waiting facts are absorbed, and the ledger is written.

`schedule.py` says when things are due, `intake.py` takes facts, `listing.py` makes listings,
`observe.py` asks the runtime, `reclaim.py` sends the call; the domain decides which image and why.
"""

from __future__ import annotations

from collections.abc import Iterable

import anyio

from ..domain.decision import HoldReason, decide_steps, objection
from ..domain.facts import Fact, NothingRemovable, RemovalBegun, RemovalSpared
from ..domain.plan import Candidate, Command, Plan
from ..domain.policy import Mode
from ..domain.state import State
from ..domain.watermark import Pressure
from .dependencies import Dependencies
from .intake import Intake
from .listing import Lister
from .observe import Questions
from .reclaim import Attempt, planned, removal_of, send
from .schedule import CALM_SPACING, LAST_LISTING, Schedule

# Holds that end soon, for which the operator's command waits.
SHORT_HOLDS = {
    HoldReason.LISTING_DOUBTFUL,
    HoldReason.PODS_UNKNOWN,
    HoldReason.POD_STARTING,
    HoldReason.SPACE_PENDING,
}
LOOKS = 3  # listings before a removal, if each is old by the time the policy is read


class Reconciler:
    """The loop. Its mutable state is `state` and the fields below; nothing else edits them."""

    def __init__(self, deps: Dependencies, state: State, command: Command | None = None) -> None:
        self.deps, self.state, self._command = deps, state, command
        self._schedule = Schedule(saved_at=deps.clock())
        self._intake = Intake(deps, state, self._schedule)
        self._lister = Lister(deps, state, self._schedule, self._intake)
        self._questions = Questions(deps, state, self._schedule)
        self._attempt: Attempt | None = None
        self._held: HoldReason | None = None  # the hold of the last decision

    async def run(self) -> None:
        """Runs until cancelled; waits for a removal in flight."""
        while True:
            patience = self._schedule.patience(self.state, self.deps.clock())
            await self.turn(await self.deps.mailbox.take(patience))

    async def turn(self, facts: Iterable[Fact]) -> None:
        """One turn of the loop: everything but the waiting."""
        self._intake.read_wall_clock()
        await self._intake.take_many(facts)
        stood_by = self.state.stands_by
        if self._schedule.claim_due(self.deps.clock()):
            await self._removes_here()
        now = self.deps.clock()
        due = self._attempt is not None or self._schedule.listing_due(self.state, now)
        listed = due and await self._list()
        self._intake.take_waiting()
        await self._questions.ask()
        if self._wants_removal(now):
            await self._reclaim()
        elif listed or self.state.stands_by != stood_by:
            await self._decide()
        await self._questions.ask_again()
        if self._schedule.saving_due(self.state, self.deps.clock()):
            await self.save()

    async def prune(self) -> None:
        """One pass for the operator's own command: removes until nothing more goes. Waits for what
        ends within seconds: the pause of a busy disk, short holds, and freed space that has just
        begun to show."""
        try:
            await self._reclaim()
            while self._held in SHORT_HOLDS or self._space_arrives():
                self._intake.take(await self.deps.mailbox.take(CALM_SPACING))
                await self._reclaim()
        finally:
            await self.save()

    def _space_arrives(self) -> bool:
        return any(space.is_arriving for space in self.state.disks.delayed.values())

    async def end(self) -> None:
        """Ends the loop: takes the facts that still wait, lists once more if something needs it
        (the result of a removal, the image of a use) and the runtime answers soon, and writes the
        ledger. A use that is lost here would make its image look old after the next start."""
        self._intake.take_waiting()
        if self._attempt is not None or self.state.runtime.unplaced:
            with anyio.move_on_after(LAST_LISTING):
                await self._list()
        await self.save()

    async def save(self) -> None:
        """Writes the ledger."""
        self._schedule.saved_at = self.deps.clock()
        await self.deps.save(self.state)

    # --- listing and deciding ------------------------------------------------------------------

    async def _list(self) -> bool:
        """Lists again, which also shows the result of a removal; returns whether that worked."""
        if await self._lister.list_again(self._attempt):
            self._attempt = None
            return True
        await self._decide()  # for the journal: all removal is held, and why
        return False

    async def _decide(self) -> Plan:
        self._intake.read_wall_clock()
        now = self.deps.clock()
        steps = decide_steps(self.state, self.state.operator.policy, now, command=self._command)
        plan = await self._intake.run_in_steps(steps)
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
        policy = state.operator.policy  # some of its rules remove though nothing is short
        return policy is not None and bool(policy.maximum_unused_age or policy.expendable)

    async def _reclaim(self) -> None:
        """Removes one image after the other until nothing more goes; each on its own listing, begun
        after the previous removal."""
        while True:
            if not await self._fresh():
                self._intake.take([NothingRemovable(self.deps.clock())])
                return
            plan = await self._decide()
            candidate = plan.eviction
            if candidate is None or not self._enforcing():
                self._look_later(plan)
                return
            self._schedule.look_at_once()
            if not await self._removes_here():
                self._look_later(await self._decide())
                return
            if self.state.runtime.listing_stale or not await self._evict(candidate):
                continue
            if not await self._list() or not await self._disk_ready():
                return

    def _look_later(self, plan: Plan) -> None:
        """Looks again later. Except while freed space does not show yet, how usage moves until then
        says nothing about the speed of removal."""
        now = self.deps.clock()
        self._schedule.found_nothing(plan, now)
        if plan.hold is None or plan.hold.reason is not HoldReason.SPACE_PENDING:
            self._intake.take([NothingRemovable(now)])

    async def _removes_here(self) -> bool:
        """Whether this is the one process that may remove, asked for now. With that right comes
        what the one before it wrote: it is read before anything is decided."""
        if self.deps.claim is None:
            return True
        self._schedule.claimed_at, removed = self.deps.clock(), self.state.removes
        under_way = self._attempt is not None or self.state.removals.under_way is not None
        self._intake.take([await self.deps.claim(self._enforcing() or under_way)])
        if self.state.removes and not removed:
            await self.save()
        return self.state.removes

    async def _disk_ready(self) -> bool:
        """Whether the disk has had its rest after a slow removal: the daemon comes back to it, the
        operator's command waits."""
        while (left := self._schedule.disk_busy_until - self.deps.clock()) > 0:
            if self._command is None:
                return False
            self._intake.take(await self.deps.mailbox.take(left))
        return True

    def _enforcing(self) -> bool:
        policy, asked = self.state.operator.policy, self._command is not None
        return policy is not None and (asked or policy.mode is Mode.ENFORCE)

    async def _fresh(self) -> bool:
        """Makes sure of a listing that may be decided on, and of answers to open questions. False:
        not now (the runtime fails, or events raise doubt faster than listings settle it)."""
        for _ in range(8):
            await self._intake.take_many(self.deps.mailbox.drain())
            state, now = self.state, self.deps.clock()
            stale = state.runtime.listing_stale or state.graph.needs_relist
            if stale or self._schedule.listing_is_old(now):
                if not await self._list():
                    return False
            elif self._questions.open(now):
                await self._questions.ask()
            elif self._schedule.sample_is_old(state, now):
                self._intake.measured(await self.deps.sample())
            else:
                return True
        self._schedule.retry_at = self.deps.clock() + CALM_SPACING
        self._intake.take_waiting()
        await self._decide()  # for the journal: what holds all removal now
        return False

    async def _evict(self, candidate: Candidate) -> bool:
        """Removes one image; returns False if the last look found a reason against it."""
        deps, state = self.deps, self.state
        self._intake.take([planned(candidate, deps.clock())])
        await deps.save(state)  # on disk before the call: we may be killed during it
        await self._intake.take_many(deps.mailbox.drain())
        await deps.policies.refresh()
        for _ in range(LOOKS):  # a slow disk must not make the last look an old one
            if not self._schedule.listing_is_old(deps.clock()) or not await self._list():
                break
            await deps.policies.refresh()  # last of all: what is saved now protects this image
        self._intake.take_waiting()  # from here on nothing is awaited
        self._intake.read_wall_clock()
        policy = state.operator.policy
        against = objection(candidate.image, state, policy, deps.clock(), self._command)
        if against is not None or not self._enforcing():
            text = against or "the mode is not enforce any more"
            self._intake.take([RemovalSpared(deps.clock(), candidate.image.id, text)])
            return False
        removal = removal_of(candidate, state, deps.clock())
        self._intake.take([RemovalBegun(deps.clock(), removal)])
        self._attempt = await send(deps.runtime, removal, deps.monotonic)
        return True
