"""Several image filesystems, one of which others fill, and marks at their very edge."""

from __future__ import annotations

from reconciler.domain import facts
from reconciler.domain.absorbing import absorb
from reconciler.domain.decision import HoldReason, decide
from reconciler.domain.inventory import FilesystemUsage, UsageSample
from reconciler.domain.state import State
from reconciler.domain.watermark import Pressure
from tests.builders import DAY, GIB, T0, image, marks, policy, state_of, usage

LATER = T0 + DAY
APP = image("app:v1", 5 * GIB)


def measured(state: State, images: int, other: int) -> None:
    """Two filesystems of 100 GiB: that of the images, and one that is filled by others."""
    both = (
        FilesystemUsage("/images", 1, 100 * GIB, images * GIB),
        FilesystemUsage("/layers", 2, 100 * GIB, other * GIB),
    )
    absorb(facts.UsageSampled(UsageSample(LATER, both)), state)


def hold_reason(state: State) -> HoldReason | None:
    hold = decide(state, state.policy, LATER).hold
    return hold.reason if hold else None


def test_a_filesystem_that_no_image_can_help_does_not_leave_the_other_one_full() -> None:
    """One disk is full of somebody's data, beyond all images; the other needs a few of them."""
    small = image("small:v1", 1 * GIB)
    state = state_of([small])
    measured(state, images=81, other=99)
    assert hold_reason(state) is None
    assert decide(state, state.policy, LATER).eviction is not None
    measured(state, images=70, other=99)
    assert hold_reason(state) is HoldReason.EXHAUSTED


def test_nothing_goes_where_both_marks_are_one_and_usage_lies_on_it() -> None:
    """`prune --to 60%` at 60 %: there is nothing to bring down."""
    state = state_of([APP], full=50, in_force=policy(watermarks=marks(60, 60)))
    absorb(usage(60, at=LATER), state)
    assert state.pressure is Pressure.CALM
    assert decide(state, state.policy, LATER).eviction is None
    absorb(usage(60.1, at=LATER), state)
    assert decide(state, state.policy, LATER).eviction is not None


def test_a_filesystem_that_tells_no_size_is_not_full() -> None:
    """A tmpfs without a size has 0 blocks in all: that is no full disk."""
    state = state_of([APP], full=50)
    absorb(usage(0, at=LATER, capacity=0), state)
    assert state.pressure is Pressure.CALM
    assert decide(state, state.policy, LATER).eviction is None
