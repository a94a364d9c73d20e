"""What is not certain keeps: lists that lack too much, tags that moved before we looked, removals
whose end nobody saw, marks that were never crossed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.domain import facts
from reconciler.domain.absorb import absorb
from reconciler.domain.context import Context
from reconciler.domain.decision import HoldReason, decide
from reconciler.domain.inventory import ContainerEvent, EventKind, Image, Sandbox
from reconciler.domain.ledger import ImageRecord, RemovalRecord
from reconciler.domain.plan import Command
from reconciler.domain.protections import holding
from reconciler.domain.protections.protection import Kind
from reconciler.domain.removals import Refusal
from reconciler.domain.state import State
from reconciler.domain.watermark import Pressure
from tests.builders import (
    CONTAINERD_2,
    DAY,
    GIB,
    T0,
    begun,
    container,
    digest,
    finished,
    image,
    listed,
    marks,
    policy,
    sandbox,
    state_of,
    usage,
    volume,
)

BIG = 5 * GIB
APP, OTHER = image("app:v1", BIG), image("other:v1", BIG)
USED = container("c", APP)
LATER = T0 + DAY


def goes(state: State, now: float) -> str | None:
    """The first name of the image that would go now."""
    eviction = decide(state, state.operator.policy, now, command=Command(all_unused=True)).eviction
    return eviction.image.names[0] if eviction else None


def hold(state: State, now: float) -> HoldReason | None:
    found = decide(state, state.operator.policy, now).hold
    return found.reason if found else None


def test_a_page_that_is_built_while_the_node_changes_does_not_fail() -> None:
    """The list of images goes through a node in slices, and remembers what it began with: a
    container of unknown image, and which system images there were. Both change before its end."""
    state = state_of(
        [APP], [container("c", "reg.example/app:old")], in_force=policy(system_enabled=True)
    )
    context = Context(state, state.operator.policy or policy(), LATER)
    assert [one.kind for one in holding(APP, context)] == [Kind.UNCERTAIN]
    proxy = replace(APP, tags=("registry.k8s.io/kube-proxy:v1",))
    absorb(listed([proxy], at=LATER), state)
    assert Kind.SYSTEM in [one.kind for one in holding(proxy, context)]
    assert Kind.UNCERTAIN not in [
        one.kind for one in holding(proxy, Context(state, policy(), LATER))
    ]


@pytest.mark.parametrize("left", [(), (sandbox(),)], ids=["no sandboxes either", "sandboxes"])
def test_lists_that_lost_every_container_are_not_believed_at_once(left: tuple[Sandbox]) -> None:
    """A runtime that answers before it has recovered its containers would free every image."""
    state = state_of([APP, OTHER], [USED], [sandbox()], in_force=policy(minimum_age=0))
    absorb(listed([APP, OTHER], [], left, at=LATER), state)
    assert hold(state, LATER) is HoldReason.LISTING_DOUBTFUL
    absorb(listed([APP, OTHER], [USED], [sandbox()], at=LATER + 4), state)
    assert goes(state, LATER + 4) == OTHER.names[0]


def test_lists_without_containers_are_believed_when_later_ones_agree() -> None:
    """All pods may really have gone, or wait for a pull that needs the space: no hold for ever.
    What the pod that is still there used is kept for it."""
    state = state_of([APP, OTHER], [USED], [sandbox()], in_force=policy(minimum_age=0))
    for after in (0, 2, 4):
        absorb(listed([APP, OTHER], [], [sandbox()], at=LATER + after), state)
        assert goes(state, LATER + after) is None
    absorb(listed([APP, OTHER], [], [sandbox()], at=LATER + 6), state)
    assert goes(state, LATER + 6) == OTHER.names[0]


def test_an_empty_node_is_no_doubt() -> None:
    """Where nothing ran there is nothing to miss."""
    assert goes(state_of([APP]), LATER) == APP.names[0]


def test_the_end_of_every_container_reported_by_events_is_no_doubt() -> None:
    """What the runtime reported and then lists is certain."""
    state = state_of([APP], [USED], in_force=policy(minimum_age=0))
    state.graph.apply(ContainerEvent(USED.id, EventKind.DELETED, T0), T0)
    absorb(listed([APP], at=LATER), state)
    assert goes(state, LATER) == APP.names[0]


def test_a_list_without_images_makes_them_young_and_not_forgotten_refusals() -> None:
    """A moment without images restarts their ages, and ends no refusal."""
    state = state_of([APP])
    state.removals.refusals[APP.key] = Refusal(LATER + 300, 1, "in use")
    absorb(listed([], at=LATER), state)
    absorb(listed([APP], at=LATER + 1), state)
    assert _kept(state, APP, LATER + 2) is Kind.YOUNG
    assert _kept(state, APP, LATER + 200) is Kind.REFUSED


def _kept(state: State, one: Image, now: float) -> Kind | None:
    plan = decide(state, state.operator.policy, now)
    found = [kept for kept in plan.kept if kept.image.key == one.key]
    return found[0].protections[0].kind if found else None


@pytest.mark.parametrize("lost", [False, True], ids=["answered OK", "not answered"])
def test_an_image_pulled_again_before_we_looked_is_as_young_as_it_is(lost: bool) -> None:
    """Still listed after a removal that may have been done: pulled again, for all that is known."""
    error = "UNAVAILABLE" if lost else None
    state = state_of([APP], in_force=policy(minimum_age=3600.0))
    absorb(begun(LATER, APP), state)
    absorb(listed([APP], at=LATER + 1), state)
    absorb(replace(finished(LATER + 1, APP, False, error), lost=lost), state)
    assert _kept(state, APP, LATER + 400) is Kind.YOUNG


def test_an_image_whose_removal_nobody_saw_end_counts_as_seen_just_now() -> None:
    """Killed in a removal and started again: the image may have gone and come back in between."""
    state = State(began_at=LATER)
    state.ledger[APP.key] = ImageRecord(first_seen=T0)
    state.removals.records[APP.key] = RemovalRecord(begun_at=LATER - 60, names=APP.names)
    absorb(facts.PolicyLoaded(LATER, policy()), state)
    absorb(listed([APP], at=LATER), state)
    absorb(usage(90), state)
    assert _kept(state, APP, LATER + 1) is Kind.YOUNG
    absorb(listed([APP], at=LATER + 119), state)
    assert _kept(state, APP, LATER + 121) is Kind.REFUSED  # asked for only three minutes ago
    assert _kept(state, APP, LATER + 299) is Kind.REFUSED
    assert _kept(state, APP, LATER + 301) is None


def test_a_mounted_tag_that_moved_before_we_first_looked_keeps_what_it_may_have_meant() -> None:
    """No digest shows which image is mounted: doubt, and later all images of that repository."""
    old = Image(f"sha256:{digest('old')}", (), APP.digests, BIG)
    new = replace(image("new:v1", BIG), tags=APP.tags)
    mounts = replace(container("c", OTHER), volumes=(volume(APP.tags[0]),))
    state = state_of([old, new, OTHER], [mounts], version=CONTAINERD_2)
    assert hold(state, T0 + 300) is HoldReason.CONTAINER_UNRESOLVED
    assert _kept(state, old, LATER) is Kind.UNCERTAIN
    assert _kept(state, new, LATER) is Kind.IN_USE


def test_an_imported_image_that_is_mounted_and_lost_the_name_it_was_mounted_by_stays() -> None:
    """It is listed under no digest, so nothing shows that the volume is this one, whatever it is
    called by now and however long that lasts."""
    imported = image("other-name:v1", BIG, digests=False)
    mounts = replace(container("c", OTHER), volumes=(volume("reg.example/moved:v1", "sha256:0"),))
    lax = policy(protect_unpullable=False)
    state = state_of([imported, APP, OTHER], [mounts], version=CONTAINERD_2, in_force=lax)
    assert hold(state, T0 + 300) is HoldReason.CONTAINER_UNRESOLVED
    assert _kept(state, imported, LATER) is Kind.UNCERTAIN
    assert goes(state, LATER) == APP.names[0]


@pytest.mark.parametrize("told_by_event", [True, False], ids=["an event", "a listing"])
def test_what_a_container_of_unknown_image_may_have_used_is_young_when_it_is_gone(
    told_by_event: bool,
) -> None:
    """What it mounted was unknown, and so is which image was in use until just now."""
    mounts = replace(container("c", OTHER), volumes=(volume("reg.example/moved:v1"),))
    state = state_of([APP, OTHER], [mounts], version=CONTAINERD_2)
    absorb(listed([APP, OTHER], [mounts], at=LATER, version=CONTAINERD_2), state)
    if told_by_event:
        gone = ContainerEvent(mounts.id, EventKind.DELETED, LATER + 1, None, ())
        absorb(facts.ContainerChanged(gone, LATER + 1), state)
        assert hold(state, LATER + 1) is HoldReason.LISTING_DUE
    absorb(listed([APP, OTHER], [], at=LATER + 1, version=CONTAINERD_2), state)
    absorb(listed([APP, OTHER], [], at=LATER + 100, version=CONTAINERD_2), state)
    assert _kept(state, APP, LATER + 100) is Kind.YOUNG
    assert _kept(state, APP, LATER + 122) is None


def test_a_container_of_unknown_image_makes_no_image_older_than_it_is() -> None:
    """It went long before the next listing, and what that shows for the first time is new."""
    mounts = replace(container("c", OTHER), volumes=(volume("reg.example/moved:v1"),))
    state = state_of([OTHER], [mounts], version=CONTAINERD_2)
    gone = ContainerEvent(mounts.id, EventKind.DELETED, T0 + 1, None, ())
    absorb(facts.ContainerChanged(gone, T0 + 1), state)
    absorb(listed([APP, OTHER], [], at=LATER, version=CONTAINERD_2), state)
    assert state.ledger[APP.key].first_seen == LATER


def test_a_pause_tag_that_moved_before_we_first_looked_keeps_the_old_pause_image() -> None:
    """Pods run on the old one; their sandboxes report no more than a name, which means the new."""
    old = Image(f"sha256:{digest('old')}", (), (f"corp.example/holder@sha256:{'1' * 64}",), BIG)
    new = Image(f"sha256:{digest('new')}", ("corp.example/holder:1",), OTHER.digests, BIG)
    box = sandbox(pause=("corp.example/holder:1",))
    state = state_of([old, new, OTHER], [container("c", OTHER)], [box])
    assert _kept(state, old, LATER) is Kind.SANDBOX
    assert _kept(state, new, LATER) is Kind.SANDBOX


def test_a_sample_before_the_first_policy_does_not_count_against_its_marks() -> None:
    """The built-in marks were crossed, the operator's were not: nothing is needed."""
    state = State(began_at=T0)
    absorb(listed([APP]), state)
    absorb(usage(86), state)
    absorb(facts.PolicyLoaded(T0, policy(watermarks=marks(90, 84))), state)
    assert decide(state, state.operator.policy, LATER).eviction is None
    absorb(usage(91), state)
    assert decide(state, state.operator.policy, LATER).eviction is not None


def test_a_measurement_reported_late_ends_a_reclaim_and_begins_none() -> None:
    """Two are under way at once, and the older comes last: that the low mark was reached is true
    whenever it was; that the disk was over the high one may be what a removal has mended since."""
    state = state_of([APP], full=90)
    found = []
    for percent, second in ((79, 10), (77, 5), (90, 7)):
        absorb(usage(percent, at=T0 + second), state)
        found.append(state.disks.pressure)
    assert found == [Pressure.RECLAIMING, Pressure.CALM, Pressure.CALM]
    assert state.disks.sample is not None
    assert state.disks.sample.at == T0 + 10


def test_marks_raised_in_mid_reclaim_end_it() -> None:
    """Between the new marks usage has not crossed the high one; the old crossing is over."""
    state = state_of([APP], full=85)
    assert decide(state, state.operator.policy, LATER).eviction is not None
    absorb(facts.PolicyLoaded(LATER, policy(watermarks=marks(90, 80))), state)
    assert decide(state, state.operator.policy, LATER).eviction is None


def test_a_refusal_is_remembered_over_a_restart_from_its_answer_on() -> None:
    """RemoveImage hung for minutes before it was refused: restarted a moment later, the daemon
    leaves the image alone for as long as if it had never ended."""
    app = image("app:v1", 5 * GIB)
    state = state_of([app])
    absorb(begun(LATER, app), state)
    answered = LATER + 500
    absorb(listed([app], at=answered), state)
    absorb(finished(answered, app, False, "no", 500.0), state)
    again = State(began_at=answered + 1)
    again.removals.records = dict(state.removals.records)
    absorb(facts.PolicyLoaded(answered + 1, policy()), again)
    absorb(listed([app], at=answered + 1), again)
    assert again.removals.refusals[app.key].until >= answered + 300


def test_a_doubt_narrows_to_what_cri_o_lists_under_a_cut_name_as_well() -> None:
    """An image whose tag moved on CRI-O is listed under that tag, cut at its first colon. A
    container that asked for the tag, and whose image is unknown, may well run on it."""
    asked = "localhost:5000/keep/app:v1"
    cut = replace(image("cut:v1", BIG), tags=(), digests=(f"localhost@sha256:{digest('cut')}",))
    state = state_of([cut, OTHER], [container("odd", asked)])
    plan = decide(state, state.operator.policy, T0 + 601, command=Command(all_unused=True))
    assert [one.image.names[0] for one in plan.candidates] == [OTHER.names[0]]
