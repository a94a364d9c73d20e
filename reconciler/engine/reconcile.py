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
from typing import Protocol

from ..aiokit import Mailbox, backoff_delays
from ..domain.decision import Candidate, Command, Plan, decide, objection
from ..domain.facts import (
    EventsLost,
    EventsOpened,
    Fact,
    ListingFailed,
    PolicyLoaded,
    ReclaimAsked,
    Resumed,
    UsageSampled,
)
from ..domain.inventory import UsageSample
from ..domain.policy import Mode
from ..domain.runtime import ImageRuntime, RuntimeFailure
from ..domain.state import State, absorb
from ..domain.watermark import Pressure
from .observe import ask, observe
from .reclaim import Attempt, begin, send

PERIOD = 30.0  # seconds between listings while events come in
PERIOD_BLIND = 5.0  # and while there are none
CALM_SPACING = 1.0  # seconds between listings that events ask for, while calm
SAVE_EVERY = 5.0  # seconds between writes of the ledger
FRESH = 0.1  # seconds after its end that a listing may still be decided on
ASK_AGAIN = 5.0  # seconds after the runtime would not tell a detail
SLOW = 1.0  # seconds: after a removal that took longer, the disk gets as long a rest
LONGEST_REST = 30.0


class Journal(Protocol):
    """Who is told: the log and the metrics. Nothing it does changes what is decided."""

    def absorbed(self, fact: Fact, state: State, at: float) -> None: ...
    def decided(self, plan: Plan, state: State, at: float) -> None: ...
    def removing(self, candidate: Candidate, state: State, at: float) -> None: ...
    def spared(self, candidate: Candidate, why: str) -> None: ...


class Policies(Protocol):
    """The operator's files, looked at on demand; what is new is in the mailbox when it returns
    (`sources.policy_file`)."""

    async def refresh(self) -> None: ...


@dataclass(slots=True)
class Room:
    """What the loop works with, handed in by `app`."""

    runtime: ImageRuntime
    mailbox: Mailbox[Fact]
    policies: Policies
    sample: Callable[[], Awaitable[UsageSample]]
    save: Callable[[State], Awaitable[None]]
    journal: Journal
    clock: Callable[[], float]  # seconds since 1970, never stepping back
    monotonic: Callable[[], float]  # seconds, for spans only


class Reconciler:
    """The loop. The mutable state is `state` and the few times below; nobody else edits them."""

    def __init__(self, room: Room, state: State, command: Command | None = None) -> None:
        self.room, self.state, self._command = room, state, command
        self._listed_at = 0.0  # when the last listing ended
        self._list_not_before = 0.0
        self._asking_version = True
        self._delays = backoff_delays()
        self._attempt: Attempt | None = None
        self._saved_at = room.clock()
        self._retry_at = 0.0  # under pressure with nothing to remove: when to look again
        self._retry_delay = 1.0
        self._look_again_at: float | None = None
        self._asked_all = False
        self._ask_not_before = 0.0

    async def run(self) -> None:
        """Turns until cancelled; a removal in flight is waited for."""
        while True:
            await self.turn(await self.room.mailbox.take(self._patience()))

    async def turn(self, facts: Iterable[Fact]) -> None:
        """One turn of the loop: everything but the waiting."""
        self._absorb(facts)
        now = self.room.clock()
        listed = self._listing_due(now) and await self._list()
        await self._ask()
        if self._wants_removal(now):
            await self._reclaim()
        elif listed:
            self._decide()
        if self.room.clock() - self._saved_at >= SAVE_EVERY:
            await self.save()

    async def prune(self) -> None:
        """One pass for the operator's own command: removes until nothing more goes."""
        try:
            await self._reclaim()
        finally:
            await self.save()

    async def save(self) -> None:
        """Writes the ledger; also the last thing before the end."""
        self._saved_at = self.room.clock()
        await self.room.save(self.state)

    # --- absorbing and listing -----------------------------------------------------------------

    def _absorb(self, facts: Iterable[Fact]) -> None:
        for fact in facts:
            absorb(fact, self.state)
            self.room.journal.absorbed(fact, self.state, self.room.clock())
            if isinstance(fact, EventsOpened | EventsLost):
                self._asking_version = True  # another version may answer on the same socket
            if isinstance(fact, PolicyLoaded | ReclaimAsked | Resumed):
                self._retry_at, self._retry_delay = 0.0, 1.0

    def _listing_due(self, now: float) -> bool:
        if now < self._list_not_before:
            return False
        state = self.state
        if state.listed_at is None or state.listing_trouble or self._attempt is not None:
            return True
        age = now - self._listed_at
        period = PERIOD if state.events is None else PERIOD_BLIND
        return age >= period or (state.graph.ambiguous and age >= CALM_SPACING)

    async def _list(self) -> bool:
        """Lists anew and absorbs it; a failure is a fact too, and backs off."""
        state, room = self.state, self.room
        version = None if self._asking_version else state.version
        try:
            listed = await observe(room.runtime, version, state.configured_pause)
        except RuntimeFailure as failure:
            self._list_not_before = room.clock() + next(self._delays)
            self._asking_version = True
            self._absorb([ListingFailed(room.clock(), str(failure))])
            return False
        self._delays, self._asking_version = backoff_delays(), False
        self._listed_at = room.clock()
        self._absorb([listed])
        await self._confirm()
        return True

    async def _confirm(self) -> None:
        """Now that a listing tells: what became of the image we asked to be removed."""
        attempt, self._attempt = self._attempt, None
        if attempt is None:
            return
        sample = await self.room.sample()
        self._absorb([UsageSampled(sample)])
        finished = attempt.finished(self.state, sample, self.room.clock())
        if attempt.took >= SLOW:
            self._retry_at = self.room.clock() + min(attempt.took, LONGEST_REST)
        self._absorb([finished])

    async def _ask(self) -> None:
        now = self.room.clock()
        if now >= self._ask_not_before:
            self._asked_all = not await ask(self.room.runtime, self.state, self.room.clock)
            if self.state.ask_trouble is not None:
                self._ask_not_before = now + ASK_AGAIN

    def _decide(self) -> Plan:
        now = self.room.clock()
        plan = decide(self.state, self.state.policy, now, command=self._command)
        self.room.journal.decided(plan, self.state, now)
        self._look_again_at = plan.look_again_at
        return plan

    # --- removing ------------------------------------------------------------------------------

    def _wants_removal(self, now: float) -> bool:
        state = self.state
        if state.listed_at is None or now < max(self._retry_at, self._list_not_before):
            return False
        longest = state.policy.maximum_unused_age if state.policy else 0.0
        return state.pressure is Pressure.RECLAIMING or longest > 0

    async def _reclaim(self) -> None:
        """Removes one image after the other until nothing more goes; each on a listing of its
        own, begun after the removal before it."""
        while await self._fresh():
            plan = self._decide()
            candidate = plan.eviction
            if candidate is None or not self._enforcing():
                self._rest(plan)
                return
            self._retry_delay = 1.0
            if not await self._evict(candidate):
                continue
            if not await self._list() or self.room.clock() < self._retry_at:
                return

    def _enforcing(self) -> bool:
        if self._command is not None:
            return self.state.policy is not None
        return self.state.policy is not None and self.state.policy.mode is Mode.ENFORCE

    async def _fresh(self) -> bool:
        """Sees to a listing that may be decided on, and to answers for what no listing tells.
        False: not now (the runtime fails, or events raise doubt faster than listings settle it)."""
        for _ in range(8):
            self._absorb(self.room.mailbox.drain())
            stale = self.state.listing_spent or self.state.graph.ambiguous
            if not stale and self.room.clock() - self._listed_at <= FRESH:
                return True
            if not await self._list():
                return False
            await self._ask()
        self._retry_at = self.room.clock() + CALM_SPACING
        return False

    async def _evict(self, candidate: Candidate) -> bool:
        """Has one image removed; False if a last look found a reason against it."""
        room, state = self.room, self.state
        begun = begin(candidate, room.clock())
        before = state.note_removal(begun)
        await room.save(state)  # on disk before the call: we may be killed during it
        await room.policies.refresh()
        self._absorb(room.mailbox.drain())
        against = objection(candidate.image, state, state.policy, room.clock(), self._command)
        if against is not None or not self._enforcing():
            state.forget_removal(begun.image_id, before)
            room.journal.spared(candidate, against or "the mode is not enforce any more")
            return False
        absorb(begun, state)
        room.journal.removing(candidate, state, room.clock())
        self._attempt = await send(room.runtime, candidate, begun, state, room.monotonic)
        return True

    def _rest(self, plan: Plan) -> None:
        """Under pressure with nothing to remove: looks again later and later, at the latest when
        an image outgrows the minimum age."""
        now = self.room.clock()
        self._retry_at = now + self._retry_delay
        self._retry_delay = min(2 * self._retry_delay, LONGEST_REST)
        if plan.look_again_at is not None:
            self._retry_at = min(self._retry_at, max(plan.look_again_at, now + CALM_SPACING))

    def _patience(self) -> float:
        """Seconds until there is something to do, if no fact comes in."""
        now = self.room.clock()
        if self.state.listed_at is None or self.state.listing_trouble:
            return max(0.0, self._list_not_before - now)
        if not self._asked_all:
            return max(0.0, self._ask_not_before - now)
        period = PERIOD if self.state.events is None else PERIOD_BLIND
        return max(0.0, min(self._listed_at + period - now, SAVE_EVERY))
