"""Every removal's line holds what it was decided on."""

from __future__ import annotations

from dataclasses import replace

from reconciler.domain import facts
from reconciler.domain.absorb import absorb
from reconciler.domain.decision import decide
from reconciler.domain.inventory import ContainerEvent, EventKind
from reconciler.domain.state import State
from reconciler.engine.reclaim import removal_of
from reconciler.store.history import Entry
from reconciler.telemetry.evidence import Evidence
from tests.builders import (
    DAY,
    GIB,
    T0,
    container,
    gains_of,
    image,
    listed,
    sandbox,
    state_of,
    usage,
)

NOW = T0 + DAY
APP, OTHER = image("app:v1", 5 * GIB), image("other:v1", pinned=True)


def receive(evidence: Evidence, state: State, fact: facts.Fact) -> None:
    absorb(fact, state)
    evidence.last_users.absorbed(fact, state)


def removed(evidence: Evidence, state: State) -> Entry:
    """The one candidate's removal, from the decision to the end."""
    absorb(usage(90), state)
    plan = decide(state, state.operator.policy, NOW)
    assert plan.eviction is not None
    removal = removal_of(plan.eviction, state, NOW)
    absorb(facts.RemovalBegun(NOW, removal), state)
    absorb(usage(84), state)
    done = facts.RemovalFinished(NOW, removal, True, None, 0.1, gains_of(6 * GIB))
    return evidence.finished(done, state)


def test_the_last_user_is_known_also_of_a_pod_that_lived_between_two_listings() -> None:
    """Only events saw the job; its name is in the evidence when its image goes days later."""
    state, evidence = state_of([APP], [], [sandbox(pause=())]), Evidence()
    receive(evidence, state, listed([APP], [container("web", APP)], [sandbox(pause=())]))
    job = container("job", APP)
    event = ContainerEvent(job.id, EventKind.CREATED, T0 + 1, sandbox(pause=()), (job,))
    receive(evidence, state, facts.ContainerChanged(event, T0 + 1))
    other, done = container("other", OTHER), sandbox(pause=(), ready=False)
    receive(evidence, state, listed([APP, OTHER], [other], [done], at=T0 + 2))
    entry = removed(evidence, state)
    assert entry.last_user == "job of default/box"
    assert entry.listed_at == T0 + 2


def test_marks_and_bytes_before_and_after_are_logged() -> None:
    """What the disk was, what it is, and where the marks stood."""
    state, evidence = state_of([APP]), Evidence()
    entry = removed(evidence, state)
    assert (entry.used_before, entry.used_after) == (90 * GIB, 84 * GIB)
    assert (entry.high, entry.low) == (80 * GIB, 78 * GIB)
    assert entry.last_user == ""


def test_an_image_that_is_gone_leaves_nothing_behind() -> None:
    """Years of images and containers cost no memory, and a returned image has no old user."""
    state, evidence = state_of([APP]), Evidence()
    receive(evidence, state, listed([APP], [container("c", APP)]))
    receive(evidence, state, listed([], []))
    receive(evidence, state, listed([replace(APP, pinned=False)], []))
    assert evidence.last_users.of(APP.key) == ""
