"""The loop waits when there is nothing to do: a daemon that spins takes a core from the node."""

from __future__ import annotations

from reconciler.domain.absorb import absorb
from reconciler.domain.facts import ListingFailed
from reconciler.engine.schedule import Schedule
from tests.builders import T0, image, listed, state_of


def test_a_listing_that_works_ends_the_backoff_of_those_that_failed() -> None:
    """What became of a removal is looked up at once, however often listing failed before it. Then
    the loop waits for the next listing, and does not turn until the old backoff is over."""
    state, pace = state_of([image("app:v1")]), Schedule(saved_at=T0)
    absorb(ListingFailed(T0, "UNAVAILABLE"), state)
    for _ in range(8):
        pace.listing_failed(T0)
    assert pace.patience(state, T0) > 20
    absorb(listed([image("app:v1")], at=T0 + 1), state)
    pace.listed(T0 + 1, T0 + 1)
    state.runtime.events = "the stream broke"
    assert pace.patience(state, T0 + 1) > 0
    assert pace.listing_due(state, T0 + 6 + 1e-6)
