"""Which image goes, and above all which does not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.domain import facts
from reconciler.domain.absorb import absorb
from reconciler.domain.decision import HoldReason, decide, explain, objection
from reconciler.domain.inventory import (
    Container,
    ContainerEvent,
    EventKind,
    FilesystemUsage,
    Image,
    InvisibleFilesystem,
    UsageSample,
)
from reconciler.domain.ledger import RemovalRecord
from reconciler.domain.plan import Cause, Command, Plan
from reconciler.domain.policy import Policy
from reconciler.domain.protections.protection import Kind
from reconciler.domain.state import State
from reconciler.domain.watermark import Pressure
from tests.builders import (
    CONTAINERD_2,
    DAY,
    GIB,
    MIB,
    T0,
    begun,
    container,
    digest,
    exclusion,
    finished,
    gains_of,
    image,
    listed,
    marks,
    policy,
    removal,
    sandbox,
    state_of,
    usage,
    volume,
)

LATER = T0 + DAY
BIG = 5 * GIB


def kind_that_keeps(state: State, one: Image, now: float = LATER) -> Kind | None:
    """The first protection that a plan gives for keeping an image; None: it is a candidate."""
    plan = decide(state, state.operator.policy, now)
    kept = [k for k in plan.kept if k.image.key == one.key]
    return kept[0].protections[0].kind if kept else None


def test_the_least_recently_used_goes_first() -> None:
    """Order is last used, then first seen, then id; one image goes at a time."""
    old, mid, new = (image(n, BIG) for n in ("old:v1", "mid:v1", "new:v1"))
    state = state_of([new, old, mid])
    for one, used in ((old, T0 + 1), (mid, T0 + 2), (new, T0 + 3)):
        state.ledger[one.key] = replace(state.ledger[one.key], last_used=used)
    plan = decide(state, state.operator.policy, LATER)
    assert [c.image for c in plan.candidates] == [old, mid, new]
    assert plan.eviction is not None
    assert plan.eviction.image == old
    assert plan.eviction.cause is Cause.WATERMARK


def test_nothing_goes_below_the_mark() -> None:
    """A calm disk keeps its cache."""
    plan = decide(state_of([image("a:v1", BIG)], full=50), policy(), LATER)
    assert plan.eviction is None
    assert plan.pressure is Pressure.CALM


def test_reclaiming_goes_on_between_the_marks_until_the_low_one() -> None:
    """Started at high it does not stop before low, and does not start again between them."""
    state = state_of([image("a:v1", BIG)], full=81)
    absorb(usage(79), state)
    assert decide(state, state.operator.policy, LATER).eviction is not None
    absorb(usage(78), state)
    assert decide(state, state.operator.policy, LATER).eviction is None
    absorb(usage(79), state)
    assert decide(state, state.operator.policy, LATER).eviction is None


def test_in_use_images_stay() -> None:
    """S1: any container in any state keeps its image."""
    app = image("app:v1")
    assert kind_that_keeps(state_of([app], [container("c", app)]), app) is Kind.IN_USE


@pytest.mark.parametrize("short", [False, True])
def test_the_image_that_a_container_asked_for_by_name_stays_when_the_tag_has_moved(
    short: bool,
) -> None:
    """Restarted, the container would be made from what its name means now: both images stay."""
    old, new = replace(image("app:v1", BIG), tags=()), image("app:v1-rebuilt", BIG)
    new = replace(new, tags=("reg.example/app:v1",))
    asked = new.key[:12] if short else "reg.example/app:v1"
    runs = replace(container("c", old), image=asked)
    state = state_of([old, new], [runs])
    assert kind_that_keeps(state, old) is Kind.IN_USE
    assert kind_that_keeps(state, new) is Kind.IN_USE
    absorb(listed([old, new], [], at=LATER), state)
    assert kind_that_keeps(state, new, LATER + DAY) is None


def test_pinned_images_stay() -> None:
    """S2: what the runtime reports pinned stays."""
    app = image("app:v1", pinned=True)
    assert kind_that_keeps(state_of([app]), app) is Kind.PINNED


def test_a_sandbox_image_stays_by_each_way_to_know_it() -> None:
    """S3: by its name, by a sandbox's own status, by the runtime's configuration."""
    named = Image(
        f"sha256:{digest('p')}", ("mirror.corp/x/pause:3.9",), ("a@sha256:" + "1" * 64,), BIG
    )
    holder = image("holder:1", BIG)
    by_status = state_of([holder], sandboxes=[sandbox(pause=holder.tags)])
    by_config = state_of([holder])
    by_config.runtime.configured_pause = holder.tags[0]
    assert kind_that_keeps(state_of([named]), named) is Kind.SANDBOX
    assert kind_that_keeps(by_status, holder) is Kind.SANDBOX
    assert kind_that_keeps(by_config, holder) is Kind.SANDBOX


def test_only_the_current_version_of_a_system_image_stays() -> None:
    """S3: kube-proxy's last version stays, the one before it goes after `keepFor`."""
    old, new = (
        Image(
            f"sha256:{digest(v)}",
            (f"registry.k8s.io/kube-proxy:{v}",),
            ("a@sha256:" + "1" * 64,),
            BIG,
        )
        for v in ("v1", "v2")
    )
    with_system = policy(system_enabled=True)
    state = state_of([old, new], in_force=with_system)
    for one, at in ((old, T0 + 1), (new, T0 + 2)):
        ran = replace(state.ledger[one.key], last_started=at, last_used=at)
        state.ledger[one.key] = ran
    soon, late = T0 + 29 * DAY, T0 + 31 * DAY
    assert kind_that_keeps(state, old, soon) is Kind.SYSTEM
    assert kind_that_keeps(state, old, late) is None
    assert kind_that_keeps(state, new, late) is Kind.SYSTEM


def test_a_pause_name_that_means_a_system_image_by_now_ends_nobodys_being_current() -> None:
    """Somebody tagged a kube-proxy that never ran as the pause image: sandboxes seem to use it.
    The version that containers were made from stays all the same, also when the sandboxes go."""
    ran, never = (
        Image(f"sha256:{digest(v)}", (f"registry.k8s.io/kube-proxy:{v}",), (f"a@sha256:{n * 64}",))
        for v, n in (("v1", "1"), ("v2", "2"))
    )
    ran, never = replace(ran, size=BIG), replace(never, size=BIG)
    state = state_of([ran, never], [container("c", ran)], in_force=policy(system_enabled=True))
    tagged = replace(never, tags=(*never.tags, "reg.example/pause:3.10"))
    late = T0 + 40 * DAY
    absorb(listed([ran, tagged], [], [sandbox()], at=late), state)
    assert kind_that_keeps(state, ran, late + DAY) is Kind.SYSTEM
    absorb(listed([ran, never], [container("d", image("x:v1"))], at=late + 1), state)
    assert kind_that_keeps(state, ran, late + 40 * DAY) is Kind.SYSTEM


def test_a_pause_name_ends_no_system_images_being_current_that_was_only_mounted() -> None:
    """A kube-proxy that pods mount makes no container. Sandboxes seem to use another one, which
    somebody tagged as the pause image: by name alone, which takes no protection away."""
    mounted, never = (
        Image(f"sha256:{digest(v)}", (f"registry.k8s.io/kube-proxy:{v}",), (f"a@sha256:{n * 64}",))
        for v, n in (("v1", "1"), ("v2", "2"))
    )
    mounted, never = replace(mounted, size=BIG), replace(never, size=BIG)
    app = image("app:v1")
    mounting = container("c", app, volumes=(volume(mounted.id),))
    state = state_of(
        [app, mounted, never],
        [mounting],
        in_force=policy(system_enabled=True),
        version=CONTAINERD_2,
    )
    tagged = replace(never, tags=(*never.tags, "reg.example/pause:3.10"))
    late = T0 + 40 * DAY
    absorb(listed([app, mounted, tagged], [], [sandbox()], at=late), state)
    assert kind_that_keeps(state, mounted, late + 40 * DAY) is Kind.SYSTEM
    absorb(listed([app, mounted, never], [container("d", app)], at=late + DAY), state)
    assert kind_that_keeps(state, mounted, late + 80 * DAY) is Kind.SYSTEM


def test_of_system_images_that_ran_the_one_before_goes() -> None:
    """Keeping what was used by name alone must not keep every version there ever was."""
    versions = [
        Image(f"sha256:{digest(v)}", (f"registry.k8s.io/kube-proxy:{v}",), (f"a@sha256:{n * 64}",))
        for v, n in (("v1", "1"), ("v2", "2"), ("v3", "3"))
    ]
    first, second, third = (replace(one, size=BIG) for one in versions)
    state = state_of(
        [first, second, third], [container("a", first)], in_force=policy(system_enabled=True)
    )
    for day, ran in ((1, second), (2, third)):
        one = replace(container(f"of {day}", ran), created_at=T0 + day * DAY)
        absorb(listed([first, second, third], [one], at=T0 + day * DAY + 1), state)
    late = T0 + 60 * DAY
    absorb(listed([first, second, third], [container("d", image("x:v1"))], at=late), state)
    kept = {one: kind_that_keeps(state, one, late + 40 * DAY) for one in (first, second, third)}
    assert kept == {first: None, second: None, third: Kind.SYSTEM}


def test_inodes_back_at_their_low_mark_are_short_no_more() -> None:
    """Once short is not short for ever: at the low mark removal ends, and does not begin again
    until the high one is reached."""
    state = state_of([image("app:v1", BIG)], full=50)
    reclaiming = []
    for number, used in enumerate((84, 85, 84, 83, 84, 85)):
        sample = usage(50, T0 + number).sample
        disk = replace(sample.filesystems[0], total_inodes=100, used_inodes=used)
        absorb(facts.UsageSampled(replace(sample, filesystems=(disk,))), state)
        reclaiming.append(state.disks.pressure is Pressure.RECLAIMING)
    assert reclaiming == [False, True, True, False, False, True]


def test_excluded_images_stay_by_any_of_their_names() -> None:
    """S4: one excluded name among many protects the image, and the rule is named."""
    app = replace(image("app:v1"), tags=("reg.example/app:v1", "keep.example/app:v1"))
    rules = policy(exclusions=(exclusion("keep.example/**", reason="ours"),))
    state = state_of([app], in_force=rules)
    kept = decide(state, state.operator.policy, LATER).kept[0].protections[0]
    assert kept.kind is Kind.EXCLUDED
    assert kept.rule is not None
    assert str(kept.rule.place) == "policy.yaml:8:5"
    assert "ours" in kept.detail


def test_young_images_stay_and_the_plan_says_when_to_look_again() -> None:
    """S5: counted from the later of first seen and last used."""
    app = image("app:v1", BIG)
    state = state_of([app])
    state.ledger[app.key] = replace(state.ledger[app.key], last_used=T0 + 60)
    plan = decide(state, state.operator.policy, T0 + 179)
    assert plan.kept[0].protections[0].kind is Kind.YOUNG
    assert plan.look_again_at == T0 + 180
    assert kind_that_keeps(state, app, T0 + 180) is None


def test_small_images_stay() -> None:
    """The floor alone would have saved every Linux pause image whose loss was reported."""
    tiny = image("tiny:v1", MIB - 1)
    assert kind_that_keeps(state_of([tiny]), tiny) is Kind.TOO_SMALL


def test_unpullable_images_stay_but_not_the_rest_of_our_own_removal() -> None:
    """An imported image stays; a nameless record that a removal of ours left behind does not."""
    imported = image("imported:v1", BIG, digests=False)
    rest = replace(imported, id=f"sha256:{digest('rest')}", tags=())
    state = state_of([imported, rest])
    assert kind_that_keeps(state, imported) is Kind.UNPULLABLE
    assert kind_that_keeps(state, rest) is Kind.UNPULLABLE
    state.removals.records[rest.key] = RemovalRecord(begun_at=T0)
    assert kind_that_keeps(state, rest) is None


def test_a_refused_image_is_left_alone_for_longer_and_longer() -> None:
    """S9: 5 minutes after the first refusal, doubling to an hour; no retry on every turn."""
    app = image("app:v1", BIG)
    state = state_of([app])
    now = T0
    for wait in (300, 600, 1200, 2400, 3600, 3600):
        _attempt(state, app, now, gone=False, error="image is in use by a container")
        absorb(listed([app], at=now), state)
        assert kind_that_keeps(state, app, now + wait - 1) in (Kind.REFUSED, Kind.YOUNG)
        now += wait + 200
        assert kind_that_keeps(state, app, now) is None


def test_an_image_whose_removal_was_cut_off_by_the_runtimes_restart_is_tried_again_soon() -> None:
    """A runtime that went away refused nothing; when it goes away again, this may be why."""
    app = image("app:v1", BIG)
    state = state_of([app], in_force=policy(minimum_age=0.0))
    _attempt(state, app, LATER, gone=False, error="UNAVAILABLE", lost=True)
    absorb(listed([app], at=LATER), state)
    plan = decide(state, state.operator.policy, LATER + 9)
    assert plan.kept[0].protections[0].kind is Kind.REFUSED
    assert plan.look_again_at == LATER + 10
    assert kind_that_keeps(state, app, LATER + 11) is None
    _attempt(state, app, LATER + 20, gone=False, error="UNAVAILABLE", lost=True)
    absorb(listed([app], at=LATER + 20), state)
    assert kind_that_keeps(state, app, LATER + 20 + 299) is Kind.REFUSED


def test_what_comes_back_soon_is_wanted() -> None:
    """S9: pulled again within an hour of our removing it, it stays for an hour."""
    app = image("app:v1", BIG)
    state = state_of([app])
    _attempt(state, app, T0 + 200, gone=True)
    absorb(listed([app], at=T0 + 600), state)
    assert kind_that_keeps(state, app, T0 + 600 + 3599) is Kind.CAME_BACK
    assert kind_that_keeps(state, app, T0 + 600 + 3601) is None


def test_what_comes_back_late_is_an_image_like_any_other() -> None:
    """A day later it is no answer to our removal any more."""
    app = image("app:v1", BIG)
    state = state_of([app])
    _attempt(state, app, T0 + 200, gone=True)
    absorb(listed([app], at=T0 + 2 * DAY), state)
    assert kind_that_keeps(state, app, T0 + 2 * DAY + 121) is None


def _attempt(
    state: State,
    one: Image,
    now: float,
    gone: bool,
    error: str | None = None,
    lost: bool = False,
) -> None:
    """A removal that was sent, and what a listing showed of it."""
    absorb(begun(now, one), state)
    absorb(listed([] if gone else [one], at=now), state)
    absorb(replace(finished(now, one, gone, error), lost=lost), state)


def _decided(state: State, now: float) -> Plan:
    return decide(state, state.operator.policy, now)


def test_no_policy_ever_read_removes_nothing() -> None:
    """S6: without a valid policy there is a hold, whatever the disk says."""
    plan = decide(state_of([image("a:v1", BIG)]), None, LATER)
    assert plan.eviction is None
    assert plan.hold is not None
    assert plan.hold.reason is HoldReason.POLICY_UNKNOWN


def test_no_removal_on_a_listing_that_another_removal_followed() -> None:
    """Every removal asks for a listing of its own."""
    app = image("a:v1", BIG)
    state = state_of([app, image("b:v1", BIG)])
    absorb(begun(LATER, app), state)
    plan = decide(state, state.operator.policy, LATER)
    assert plan.hold is not None
    assert plan.hold.reason is HoldReason.LISTING_DUE


@pytest.mark.parametrize(
    "doubt",
    [
        facts.EventsLost(LATER, "gone"),
        facts.ListingDue(LATER),
        facts.ListingFailed(LATER, "UNAVAILABLE"),
        facts.EventsOpened(LATER),
    ],
)
def test_doubt_since_the_last_listing_holds(doubt: facts.Fact) -> None:
    """A lost stream, a failed listing, an event not understood: nothing goes before a new one."""
    state = state_of([image("a:v1", BIG)])
    absorb(doubt, state)
    assert decide(state, state.operator.policy, LATER).eviction is None
    absorb(listed([image("a:v1", BIG)], at=LATER), state)
    assert decide(state, state.operator.policy, LATER).eviction is not None


def test_one_unresolved_container_holds_all_and_after_10_minutes_what_it_could_mean() -> None:
    """S6: a container whose image is unknown holds everything, then its own names only."""
    mine, other = image("mine:v1", BIG), image("other:v1", BIG)
    unresolved = container("odd", "reg.example/mine:v0")
    state = state_of([mine, other], [unresolved])
    plan = decide(state, state.operator.policy, T0 + 599)
    assert plan.hold is not None
    assert plan.hold.reason is HoldReason.CONTAINER_UNRESOLVED
    plan = decide(state, state.operator.policy, T0 + 601)
    assert plan.hold is None
    assert plan.eviction is not None
    assert plan.eviction.image == other
    assert kind_that_keeps(state, mine, T0 + 601) is Kind.UNCERTAIN


def test_a_filesystem_out_of_sight_holds() -> None:
    """Usage that cannot be measured is no reason to remove; another that can is."""
    state = state_of([image("a:v1", BIG)])
    lost = InvisibleFilesystem("/var/lib/x", "no such directory")
    sample = UsageSample(T0 + 1, invisible=(lost,))
    absorb(facts.UsageSampled(sample), state)
    plan = decide(state, state.operator.policy, LATER)
    assert plan.hold is not None
    assert plan.hold.reason is HoldReason.FILESYSTEM_UNMEASURED
    assert "/var/lib/x" in plan.hold.detail
    full = FilesystemUsage("/images", 1, 100 * GIB, 90 * GIB)
    absorb(facts.UsageSampled(replace(sample, at=T0 + 2, filesystems=(full,))), state)
    assert decide(state, state.operator.policy, LATER).eviction is not None


def test_details_no_list_contains_must_be_known_first() -> None:
    """A sandbox not asked for its pause image yet holds all removal."""
    state = state_of([image("a:v1", BIG)], sandboxes=[sandbox(pause=None)])
    plan = decide(state, state.operator.policy, LATER)
    assert plan.hold is not None
    assert plan.hold.reason is HoldReason.DETAILS_PENDING


def test_sandboxes_whose_image_is_unknown_hold_and_later_what_may_be_it() -> None:
    """Pods run, but no status, pin or name says on what: any image might be it, and after 10
    minutes any that a pause image could be. A big one from which containers were made is none."""
    never_ran, small, ran = image("a:v1", BIG), image("b:v1", 5 * MIB), image("c:v1", BIG)
    used = [container(one.names[0], one, "gone") for one in (small, ran)]
    state = state_of([never_ran, small, ran], used, [sandbox(pause=())])
    other = container("other", image("other:v1"))
    absorb(listed([never_ran, small, ran], [other], [sandbox(pause=())], at=T0 + 1), state)
    plan = decide(state, state.operator.policy, T0 + 599)
    assert plan.hold is not None
    assert plan.hold.reason is HoldReason.SANDBOX_IMAGE_UNKNOWN
    plan = decide(state, state.operator.policy, T0 + 601)
    assert plan.hold is None
    assert [one.image for one in plan.candidates] == [ran]
    assert kind_that_keeps(state, never_ran, LATER) is Kind.UNCERTAIN
    assert kind_that_keeps(state, small, LATER) is Kind.UNCERTAIN


def test_what_can_not_reach_the_low_mark_is_not_thrown_away_for_nothing() -> None:
    """The disk is full of other things: the cache stays, and the numbers are shown."""
    state = state_of([image("a:v1", 2 * MIB)], full=95)
    plan = decide(state, state.operator.policy, LATER)
    assert plan.eviction is None
    assert plan.hold is not None
    assert plan.hold.reason is HoldReason.EXHAUSTED
    assert str(2 * MIB) in plan.hold.detail


def test_removals_that_free_nothing_come_to_rest() -> None:
    """Ten images gone and not a byte freed, on a disk that shows it at once: something else holds
    the space."""
    images = [image(f"a{n}:v1", BIG) for n in range(12)]
    state = state_of(images)
    nothing = tuple(replace(gain, at_once=True) for gain in gains_of(0))
    for number in range(10):
        left = images[number + 1 :]
        absorb(begun(LATER, images[number]), state)
        absorb(listed(left, at=LATER), state)
        of = removal(images[number], BIG, 9 * BIG)
        absorb(facts.RemovalFinished(LATER, of, True, None, 0.1, nothing), state)
    plan = decide(state, state.operator.policy, LATER + 1)
    assert plan.hold is not None
    assert plan.hold.reason is HoldReason.RESTING
    assert decide(state, state.operator.policy, LATER + 61).eviction is not None


def test_unused_for_too_long_goes_below_the_mark() -> None:
    """maximumUnusedAge needs no pressure."""
    state = state_of([image("a:v1")], full=10, in_force=policy(maximum_unused_age=3600.0))
    assert decide(state, state.operator.policy, T0 + 3599).eviction is None
    eviction = decide(state, state.operator.policy, T0 + 3600).eviction
    assert eviction is not None
    assert eviction.cause is Cause.UNUSED_AGE


def test_the_operators_command_ignores_marks_but_no_protection() -> None:
    """`prune --all-unused` on a calm disk: unused images go, a used one does not."""
    used, unused = image("used:v1"), image("unused:v1")
    state = state_of([used, unused], [container("c", used)], full=10)
    plan = decide(state, state.operator.policy, LATER, command=Command(all_unused=True))
    assert [(c.image, c.cause) for c in plan.candidates] == [(unused, Cause.COMMAND)]


def test_the_last_look_sees_an_event_that_came_after_the_decision() -> None:
    """A container made from the chosen image a moment before the call: it is spared."""
    app = image("app:v1", BIG)
    state = state_of([app])
    assert objection(app, state, state.operator.policy, LATER) is None
    made = container("new", app.digests[0])
    created = facts.ContainerChanged(_created(made), LATER)
    absorb(created, state)
    assert objection(app, state, state.operator.policy, LATER) is not None


def test_an_edit_that_raises_the_marks_spares_the_image_already_chosen() -> None:
    """The operator raises the marks between the decision and the call: nothing needs to go."""
    app = image("app:v1", BIG)
    state = state_of([app])
    assert objection(app, state, state.operator.policy, LATER) is None
    absorb(facts.PolicyLoaded(LATER, policy(watermarks=marks(97, 95))), state)
    assert objection(app, state, state.operator.policy, LATER) is not None
    assert objection(app, state, state.operator.policy, LATER, Command(all_unused=True)) is None


def _created(made: Container) -> ContainerEvent:
    return ContainerEvent(made.id, EventKind.CREATED, LATER, sandbox(), (made,))


def test_every_kind_of_protection_has_a_verdict_in_words() -> None:
    """`explain` leaves nothing out, also what does not hold."""
    app = image("app:v1")
    state = state_of([app])
    found = explain(app, state, policy(), LATER)
    assert [p.kind for p in found] == list(Kind)
    assert all(p.detail for p in found)


def test_restart_does_not_count_uses_twice() -> None:
    """Uses are counted once per container, also when the daemon starts again."""
    app = image("app:v1")
    made = container("c", app)
    state = state_of([app], [made])
    assert state.ledger[app.key].uses == 1
    again = State(began_at=T0 + 100)
    again.memory.images = dict(state.ledger)
    absorb(listed([app], [made], at=T0 + 100), again)
    absorb(listed([app], [made], at=T0 + 200), again)
    assert again.ledger[app.key].uses == 1


# --- the five properties ---------------------------------------------------------------------

IMAGES = [image(f"app{n}:v{n}", BIG, pinned=n == 5) for n in range(6)]
WORLDS = st.builds(
    lambda used, full, excluded, age: _world(used, full, excluded, age),
    st.sets(st.integers(0, 5)),
    st.sampled_from([10.0, 79.0, 90.0, 99.0]),
    st.sets(st.integers(0, 5)),
    st.sampled_from([0.0, 60.0, DAY]),
)


def _world(used: set[int], full: float, excluded: set[int], age: float) -> tuple[State, float]:
    rules = tuple(exclusion(f"reg.example/app{n}") for n in sorted(excluded))
    users = [container(f"c{n}", IMAGES[n]) for n in sorted(used)]
    state = state_of(IMAGES, users, full=full, in_force=policy(exclusions=rules))
    return state, T0 + age


@settings(max_examples=200)
@given(WORLDS)
def test_no_protected_image_is_ever_in_a_plan(world: tuple[State, float]) -> None:
    """What is used, pinned, excluded or young is no candidate, in any combination."""
    state, now = world
    plan = decide(state, state.operator.policy, now)
    for candidate in plan.candidates:
        one = candidate.image
        assert not state.graph.is_used(one.key)
        assert not one.pinned
        assert state.operator.policy is not None
        assert all(rule.pattern.match(one) is None for rule in state.operator.policy.exclusions)
        assert now - state.ledger[one.key].first_seen >= state.operator.policy.minimum_age


@given(WORLDS)
def test_every_image_is_in_exactly_one_list(world: tuple[State, float]) -> None:
    """Candidate or kept, never both, never neither; and what is kept has a reason."""
    state, now = world
    plan = decide(state, state.operator.policy, now, thorough=True)
    keys = [c.image.key for c in plan.candidates] + [k.image.key for k in plan.kept]
    assert sorted(keys) == sorted(state.graph.images)
    assert all(kept.protections for kept in plan.kept)


@given(WORLDS, st.integers(0, 5), st.sampled_from(["user", "pin", "exclusion"]))
def test_adding_a_protection_never_makes_a_candidate(
    world: tuple[State, float], which: int, what: str
) -> None:
    """More protection can only take candidates away."""
    state, now = world
    before = {c.image.key for c in decide(state, state.operator.policy, now).candidates}
    images = list(state.graph.images.values())
    users = list(state.graph.containers.values())
    rules: Policy = state.operator.policy or policy()
    if what == "user":
        users.append(container("extra", IMAGES[which]))
    elif what == "pin":
        images = [replace(i, pinned=i.pinned or i.key == IMAGES[which].key) for i in images]
    else:
        rules = replace(rules, exclusions=(*rules.exclusions, exclusion(f"reg.example/app{which}")))
    more = state_of(images, users, in_force=rules)
    after = {c.image.key for c in decide(more, rules, now).candidates}
    assert after <= before


@given(WORLDS, st.sampled_from(["policy", "listing"]))
def test_the_unknown_is_always_a_hold(world: tuple[State, float], what: str) -> None:
    """No policy or a stale graph: no eviction, whatever else is so."""
    state, now = world
    if what == "listing":
        absorb(facts.ListingDue(now), state)
    plan = decide(state, None if what == "policy" else state.operator.policy, now)
    assert plan.hold is not None
    assert plan.eviction is None


@given(WORLDS, st.integers(0, 5))
def test_a_fact_absorbed_twice_is_as_once(world: tuple[State, float], which: int) -> None:
    """Doubled facts change neither graph nor ledger nor pressure."""
    state, now = world
    made = container(f"c{which}", IMAGES[which])
    again: list[facts.Fact] = [
        listed(IMAGES, [made], at=now),
        usage(90),
        facts.PolicyLoaded(now, policy(watermarks=marks(70, 60))),
    ]
    for fact in again:
        absorb(fact, state)
        seen = (dict(state.ledger), _decided(state, now), state.disks.pressure)
        absorb(fact, state)
        assert (dict(state.ledger), _decided(state, now), state.disks.pressure) == seen
