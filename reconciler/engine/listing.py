"""Make and absorb a listing for the loop, and find the result of the removal before it.

- A listing is complete, or there is none: a failure is a fact too, and backs off.
- The result of a removal is known from the first listing after it and a measurement made during
  that listing: from neither alone, and never from the runtime's answer.
- What was measured during the removal is absorbed before what is measured now.

`domain/absorb_listing.py` applies a listing to the state; `observe.py` asks the runtime for one.
"""

from __future__ import annotations

from functools import partial

from ..aiokit import both
from ..domain.absorb_listing import absorb_listing
from ..domain.facts import Listed, ListingFailed
from ..domain.inventory import UsageSample
from ..domain.runtime import RuntimeFailure
from ..domain.space import FREE_IN_THE_CALL
from ..domain.state import State
from .dependencies import Dependencies
from .intake import Intake
from .observe import observe
from .reclaim import Attempt, is_less
from .schedule import Schedule

PAUSES = (0.002, 0.01, 0.05)  # seconds between the first measurements after a removal
LAST_PAUSE = 0.2  # seconds, the last of them where space is freed in the background
CALM = 0.05  # seconds in which nothing more showed there, after which no more is waited for


class Lister:
    """Lists again whenever the loop says so."""

    def __init__(
        self, deps: Dependencies, state: State, schedule: Schedule, intake: Intake
    ) -> None:
        self._deps, self._state, self._schedule, self._intake = deps, state, schedule, intake

    async def list_again(self, attempt: Attempt | None) -> bool:
        """Returns whether a listing was made. `attempt`: a removal that was sent since the last
        one; its result is absorbed too. A listing that is complete is absorbed also if this is
        cancelled before the measurement is: what it shows may be gone by the next one."""
        found: list[Listed] = []
        try:
            sample = await self._look(attempt, found)
        except RuntimeFailure as failure:
            self._schedule.listing_failed(self._deps.clock())
            self._intake.take([ListingFailed(self._deps.clock(), str(failure))])
            return False
        finally:
            for listed in found:
                await self._absorb(listed)
        if attempt is not None and sample is not None:
            self._confirm(attempt, sample)
        return True

    async def _absorb(self, listed: Listed) -> None:
        await self._intake.run_to_the_end(absorb_listing(listed, self._state))
        self._deps.journal.absorbed(listed, self._state, self._deps.clock())
        self._schedule.listed(listed.listing.began_at, self._deps.clock())

    async def _look(self, attempt: Attempt | None, found: list[Listed]) -> UsageSample | None:
        """Appends the listing to `found` as soon as it is complete, and returns what was measured
        meanwhile, after an attempt."""
        runtime = self._state.runtime
        # Without a stream that would break, nothing shows that another version answers by now.
        asking = self._schedule.version_due or runtime.events is not None
        version = None if asking else runtime.version

        async def look() -> None:
            found.append(await observe(self._deps.runtime, version, runtime.configured_pause))

        if attempt is None:
            await look()
            return None
        await self._intake.take_many(self._deps.mailbox.drain())
        _, sample = await both(look, partial(self._measure_after, attempt))
        return sample

    async def _measure_after(self, attempt: Attempt) -> UsageSample:
        """Measures until what a removal freed shows: XFS shows it in parts, on busy processors
        far apart, btrfs later than is worth waiting for here."""
        sample = await self._intake.measure_now()
        in_the_call = all(one.kind in FREE_IN_THE_CALL for one in sample.filesystems)
        pauses, calm = (PAUSES, 0.0) if in_the_call else ((*PAUSES, LAST_PAUSE), CALM)
        for pause in pauses:
            await self._deps.sleep(pause)
            before, sample = sample, await self._intake.measure_now()
            if pause >= calm and attempt.shows_in(sample) and not is_less(sample, before):
                break
        return sample

    def _confirm(self, attempt: Attempt, sample: UsageSample) -> None:
        """Absorbs the result of a removal, after the listing that shows it."""
        self._intake.measured(sample)
        finished = attempt.finished(self._state, sample, self._deps.clock())
        self._schedule.removed(attempt.took, self._deps.clock())
        self._intake.take([finished])
