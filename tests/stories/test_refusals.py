"""Images that would not go: whatever happens in between, they are left alone for a while."""

from __future__ import annotations

from reconciler.domain.absorb import absorb
from reconciler.domain.decision import decide, explain
from reconciler.domain.facts import RemovalBegun, RemovalFinished
from reconciler.domain.inventory import Image, UsageSample
from reconciler.domain.ledger import ImageRecord, RemovalRecord
from reconciler.domain.protections.protection import Kind
from reconciler.domain.runtime import RuntimeTooLate, RuntimeUnavailable
from reconciler.engine.reclaim import removal_of, send
from tests.builders import DAY, GIB, T0, begun, finished, image, listed, policy, state_of


def gone(what: Image, really: bool, at: float) -> RemovalFinished:
    """What became of a removal, as the loop reports it."""
    return finished(at, what, really)


class Late:
    """A runtime that does not answer a removal within its deadline."""

    def __init__(self, failure: RuntimeUnavailable) -> None:
        self._failure = failure

    async def remove_image(self, image_id: str) -> None:
        raise self._failure


async def removed_by(failure: RuntimeUnavailable) -> float:
    """Seconds for which an image is left alone after a removal that failed so."""
    app = image("app:v1", 10 * GIB)
    state = state_of([app], seen=T0 - DAY)
    candidate = decide(state, state.operator.policy, T0).eviction
    assert candidate is not None
    going = removal_of(candidate, state, T0)
    absorb(RemovalBegun(T0, going), state)
    attempt = await send(Late(failure), going, lambda: 0.0)  # type: ignore[arg-type] # as much of a runtime as is used
    absorb(listed([app], at=T0 + 1), state)
    absorb(attempt.finished(state, UsageSample(T0 + 1), T0 + 1), state)
    return state.removals.refusals[app.key].until - (T0 + 1)


async def test_a_removal_that_hangs_is_not_asked_for_again_at_once() -> None:
    """It may be under way still; two of them at a time is what must not be."""
    assert await removed_by(RuntimeTooLate("RemoveImage: DEADLINE_EXCEEDED")) == 300
    assert await removed_by(RuntimeUnavailable("RemoveImage: UNAVAILABLE")) == 10


def test_a_refused_image_is_left_alone_over_a_restart() -> None:
    """A daemon that is restarted again and again must not ask for the same image each time."""
    app = image("app:v1", 10 * GIB)
    state = state_of(in_force=policy(minimum_age=0.0))
    state.runtime.listed_at = None  # nothing listed in this life yet
    state.ledger[app.key] = ImageRecord(first_seen=T0 - DAY)
    state.removals.records[app.key] = RemovalRecord(begun_at=T0 - 10, names=app.names)
    absorb(listed([app], at=T0), state)
    assert decide(state, state.operator.policy, T0 + 340).eviction is None
    assert decide(state, state.operator.policy, T0 + 351).eviction is not None


def test_what_went_late_and_comes_back_is_wanted() -> None:
    """The list after its removal was a stale one, which still had it; the next one came while
    another image was being removed. Somebody who pulls it again then wants it all the same."""
    app, other = image("app:v1", 10 * GIB), image("other:v1", 10 * GIB)
    state = state_of([app, other], seen=T0 - DAY)
    absorb(begun(T0, app), state)
    absorb(listed([app, other], at=T0 + 1), state)
    absorb(gone(app, False, T0 + 1), state)
    absorb(begun(T0 + 2, other), state)
    absorb(listed([], at=T0 + 3), state)
    absorb(gone(other, True, T0 + 3), state)
    absorb(listed([app], at=T0 + 4), state)
    assert [one.kind for one in explain(app, state, policy(), T0 + 1000) if one.holds] == [
        Kind.CAME_BACK
    ]
