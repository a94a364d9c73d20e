"""When the loop lists, asks, and looks again for something to remove. Times only: `reconcile` acts
on them. All are seconds of the clock, passed in."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from ..aiokit import backoff_delays
from ..domain.plan import Plan
from ..domain.state import State

PERIOD = 30.0  # seconds between listings while events come in
PERIOD_BLIND = 5.0  # and while there are none
CALM_SPACING = 1.0  # seconds between listings requested by events, while calm
SOON = 2.0  # seconds to another listing after a subscription, which no runtime acknowledges
FRESH = 0.1  # seconds that a listing may be decided on, or as long as it took if longer
SAMPLE_FRESH = 2.0  # seconds that a measurement may be decided on
ASK_AGAIN = 5.0  # seconds to the next question after one without an answer
ASK_NARROWED = 60.0  # seconds between a few such questions whose doubt has narrowed
CLAIM_EVERY = 1.0  # seconds between checks of who is the remover
SAVE_EVERY = 5.0  # seconds between writes of the ledger
SAVE_LINES = 1000  # lines of its log after which it is written sooner
SLOW = 1.0  # seconds: after a removal that took longer, the disk gets as long a pause
LONGEST_PAUSE = 30.0
LAST_LISTING = 5.0  # seconds that the end waits for a listing after a removal


@dataclass(slots=True)
class Schedule:
    """The loop's times, updated by what happens."""

    saved_at: float
    claimed_at: float = 0.0  # when it was last checked who is the remover
    listed_at: float = 0.0  # when the last listing was absorbed
    fresh_for: float = FRESH
    list_not_before: float = 0.0
    list_at: float | None = None  # one more listing, soon after a subscription
    version_due: bool = True  # another version than the known one may answer by now
    ask_not_before: float = 0.0
    ask_again_not_before: float = 0.0
    retry_at: float = 0.0  # under pressure with nothing to remove: when to look again
    retry_delay: float = CALM_SPACING
    disk_busy_until: float = 0.0
    delays: Iterator[float] = field(default_factory=backoff_delays)

    # --- what happened -------------------------------------------------------------------------

    def subscribed(self, now: float) -> None:
        self.list_at = now + SOON

    def took_over(self, now: float) -> None:
        """This is the remover from now on; a listing shows what the previous one did."""
        self.list_at = now
        self.look_at_once()

    def listed(self, began_at: float, now: float) -> None:
        self.delays, self.listed_at, self.list_not_before = backoff_delays(), now, 0.0
        self.fresh_for, self.version_due = max(FRESH, now - began_at), False
        if self.list_at is not None and began_at >= self.list_at:
            self.list_at = None

    def listing_failed(self, now: float) -> None:
        """Backs off, longer each time."""
        self.list_not_before, self.version_due = now + next(self.delays), True

    def removed(self, took: float, now: float) -> None:
        """A removal was answered after `took` seconds: a slow one means that the disk is busy."""
        if took >= SLOW:
            self.disk_busy_until = now + min(took, LONGEST_PAUSE)

    def found_nothing(self, plan: Plan, now: float) -> None:
        """Under pressure with nothing to remove: looks again later and later, at the latest when
        a protection that ends by itself does."""
        self.retry_at = now + self.retry_delay
        self.retry_delay = min(2 * self.retry_delay, LONGEST_PAUSE)
        if plan.look_again_at is not None:
            self.retry_at = min(self.retry_at, max(plan.look_again_at, now + CALM_SPACING))

    def look_at_once(self) -> None:
        """Something changed that may let an image go: a crossing, a policy, the operator's
        request."""
        self.retry_at, self.retry_delay = 0.0, CALM_SPACING

    # --- what is due ---------------------------------------------------------------------------

    def listing_due(self, state: State, now: float) -> bool:
        if now < self.list_not_before:
            return False
        never = state.runtime.listed_at is None or state.runtime.listing_trouble is not None
        if never or (self.list_at is not None and now >= self.list_at):
            return True
        age = now - self.listed_at
        return age >= _period(state) or (state.graph.needs_relist and age >= CALM_SPACING)

    def claim_due(self, now: float) -> bool:
        return now - self.claimed_at >= CLAIM_EVERY

    def saving_due(self, state: State, now: float) -> bool:
        return now - self.saved_at >= SAVE_EVERY or len(state.memory.log) >= SAVE_LINES

    def listing_is_old(self, now: float) -> bool:
        """Whether the last listing is too old to remove anything on it."""
        return now - self.listed_at > self.fresh_for

    def sample_is_old(self, state: State, now: float) -> bool:
        """Whether to measure again: the probe may hang, or the process was stopped for minutes."""
        return state.disks.sample is None or now - state.disks.sample.at > SAMPLE_FRESH

    def may_look(self, now: float) -> bool:
        return now >= max(self.retry_at, self.disk_busy_until, self.list_not_before)

    def patience(self, state: State, now: float) -> float:
        """Seconds until there is something to do, if no fact comes in."""
        if state.runtime.listed_at is None or state.runtime.listing_trouble:
            return max(0.0, self.list_not_before - now)
        due = min(self.listed_at + _period(state), self.list_at or math.inf, now + SAVE_EVERY)
        if state.pending(now):
            due = min(due, self.ask_not_before)
        if state.narrowed(now):
            due = min(due, self.ask_again_not_before)
        return max(0.0, due - now)


def _period(state: State) -> float:
    return PERIOD if state.runtime.events is None else PERIOD_BLIND
