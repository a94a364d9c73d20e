"""What the operator asks of a running daemon: pause, resume, space now."""

from __future__ import annotations

from dataclasses import replace

from reconciler.domain import facts
from reconciler.domain.absorb import absorb
from reconciler.domain.decision import HoldReason, decide
from reconciler.domain.state import State
from reconciler.domain.watermark import Pressure
from tests.builders import DAY, GIB, T0, container, image, policy, state_of, usage

LATER = T0 + DAY
APP = image("app:v1", 5 * GIB)


def goes(state: State) -> bool:
    return decide(state, state.operator.policy, LATER).eviction is not None


def test_a_paused_daemon_removes_nothing_until_it_is_resumed() -> None:
    """The operator looks into an incident: nothing goes until then, however full the disk is."""
    state = state_of([APP], full=95)
    assert goes(state)
    absorb(facts.Paused(LATER), state)
    hold = decide(state, state.operator.policy, LATER).hold
    assert hold is not None
    assert hold.reason is HoldReason.PAUSED
    absorb(facts.Resumed(LATER), state)
    assert goes(state)


def test_space_asked_for_goes_to_the_low_mark_and_no_further() -> None:
    """Between the marks nothing goes by itself; asked for, it goes until the low mark."""
    state = state_of([APP], full=79)
    assert not goes(state)
    absorb(facts.ReclaimAsked(LATER), state)
    assert goes(state)
    absorb(usage(77), state)
    assert state.disks.pressure is Pressure.CALM
    assert not goes(state)


def test_space_asked_for_below_the_low_mark_removes_nothing() -> None:
    """There is space already: nothing needs to go."""
    state = state_of([APP], full=50)
    absorb(facts.ReclaimAsked(LATER), state)
    assert not goes(state)


def test_space_asked_for_overrides_no_protection() -> None:
    """An image in use stays, whoever asks."""
    state = state_of([APP], [container("c", APP)], full=79)
    absorb(facts.ReclaimAsked(LATER), state)
    assert not goes(state)


def test_space_asked_for_comes_back_by_inodes_too() -> None:
    """Short of inodes alone between the marks: the operator's word starts it as well."""
    state = state_of([APP], full=10, in_force=policy())
    sample = state.disks.sample
    assert sample is not None
    (fs,) = sample.filesystems
    full = replace(sample, filesystems=(replace(fs, total_inodes=1000, used_inodes=840),))
    absorb(facts.UsageSampled(full), state)
    assert not goes(state)
    absorb(facts.ReclaimAsked(LATER), state)
    assert goes(state)
