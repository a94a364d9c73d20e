"""What matters more, what may go early: and neither is stronger than a protection."""

from __future__ import annotations

import pytest

from reconciler.domain.decision import decide
from reconciler.domain.inventory import Image
from reconciler.domain.pattern import could_both_match, parse_pattern
from reconciler.domain.plan import Cause
from reconciler.domain.policy import Expendable, Importance, Place, Policy, Tier
from reconciler.domain.ranking.importance import disagreements
from reconciler.domain.state import State
from tests.builders import DAY, GIB, T0, container, exclusion, image, policy, state_of

HOUR = 3600.0
BIG = 5 * GIB
LATER = T0 + DAY


def important(pattern: str, tier: Tier, line: int = 5) -> Importance:
    return Importance(parse_pattern(pattern), Place("policy.yaml", line, 7), tier)


def early(pattern: str, unused_for: float = HOUR, line: int = 9) -> Expendable:
    return Expendable(parse_pattern(pattern), Place("policy.yaml", line, 7), unused_for)


def going(state: State, now: float = LATER) -> dict[str, Cause]:
    plan = decide(state, state.operator.policy, now)
    return {c.image.key: c.cause for c in plan.candidates if c.cause is not None}


def order(state: State) -> list[Image]:
    return [candidate.image for candidate in decide(state, state.operator.policy, LATER).candidates]


def test_tiers_move_an_image_in_the_order() -> None:
    """All else the same: scratch goes first, then low, then normal, then high."""
    images = [image(f"{tier.value}/app:v1", BIG) for tier in Tier]
    rules = tuple(important(f"reg.example/{tier.value}/**", tier) for tier in Tier)
    state = state_of(images, in_force=policy(importance=rules))
    assert order(state) == images[::-1]


def test_an_expendable_image_goes_below_the_mark_once_unused_for_so_long() -> None:
    """The disk is half empty: the CI image goes after its hour all the same, the other stays."""
    ci, app = image("ci/build:1", BIG), image("app:v1", BIG)
    rules = policy(expendable=(early("reg.example/ci/**"),))
    state = state_of([ci, app], full=50, in_force=rules)
    assert going(state, T0 + HOUR - 1) == {}
    assert going(state, T0 + HOUR) == {ci.key: Cause.EXPENDABLE}


def test_what_goes_anyway_goes_first_under_pressure() -> None:
    """Above the mark, what is expendable makes room before anything else is touched."""
    app, ci = image("app:v1", BIG), image("ci/build:1", BIG)
    rules = policy(
        expendable=(early("reg.example/ci/**"),),
        importance=(important("reg.example/app", Tier.SCRATCH),),
    )
    assert order(state_of([app, ci], in_force=rules)) == [ci, app]


def test_expendable_overrides_no_protection() -> None:
    """In use, pinned, excluded: an expendable image stays."""
    used, pinned, kept = image("a:1", BIG), image("b:1", BIG, pinned=True), image("c:1", BIG)
    rules = policy(expendable=(early("reg.example/**"),), exclusions=(exclusion("reg.example/c"),))
    state = state_of([used, pinned, kept], [container("x", used)], full=50, in_force=rules)
    assert going(state) == {}
    assert order(state) == []


def test_where_rules_disagree_the_more_protective_wins() -> None:
    """The higher tier, the longer wait; and what is of tier high is not expendable."""
    ml, ci = image("ml/train:1", BIG), image("ci/build:1", BIG)
    rules = policy(
        importance=(
            important("reg.example/**", Tier.SCRATCH),
            important("reg.example/ml/**", Tier.HIGH),
        ),
        expendable=(early("reg.example/**"), early("reg.example/ci/**", 2 * DAY)),
    )
    state = state_of([ml, ci], full=50, in_force=rules)
    plan = decide(state, state.operator.policy, LATER)
    assert {c.image.key: c.score.tier for c in plan.candidates} == {
        ml.key: Tier.HIGH,
        ci.key: Tier.SCRATCH,
    }
    assert going(state) == {}
    assert going(state, T0 + 2 * DAY) == {ci.key: Cause.EXPENDABLE}


def test_disagreements_are_found_and_name_the_winner_first() -> None:
    """Two tiers, two waits, or high and expendable, on names that both can match."""
    high, low = important("a.io/ml/**", Tier.HIGH), important("a.io/*/x", Tier.LOW)
    apart = important("b.io/**", Tier.LOW)
    one, other = early("a.io/ml/ci"), early("a.io/*/ci", DAY)
    found = list(disagreements(Policy(importance=(low, high, apart), expendable=(one, other))))
    assert found == [(high, low), (high, one), (high, other), (other, one)]


@pytest.mark.parametrize(
    ("one", "other", "meet"),
    [
        ("a.io/x", "a.io/x", True),
        ("a.io/x", "a.io/y", False),
        ("a.io/**", "a.io/x/y", True),
        ("a.io/**/x", "a.io/y/**", True),
        ("a.io/**", "a.io", True),
        ("a.io/x:v1", "a.io", True),
        ("a.io/x", "a.io/x/y:v1", True),
        ("a.io/x:v1", "a.io/x/y:v1", False),
        ("a.io/*/x", "a.io/x", True),  # a.io/x/y/x is below the latter
        ("a.io/*/x:v1", "a.io/x:v1", False),
        ("*/x", "x", True),
        ("**/x", "a.io/b/x", True),
        ("a.io/x:v1", "a.io/x:v2", False),
        ("a.io/x:v*", "a.io/x:*2", True),
        ("a.io/x:v1*", "a.io/x:v2*", False),
        ("a.io/x:v1", "a.io/x", True),
        ("a.io/pre*", "a.io/*fix", True),
        ("sha256:0123456789ab", "sha256:0123456789abcd", True),
        ("sha256:0123456789ab", "sha256:1123456789ab", False),
        ("sha256:0123456789ab", "a.io/x", False),
        ("sha256:0123456789ab", "0123456789abcd", True),
        ("0123456789ab", "0123456789ab:v1", True),
    ],
)
def test_whether_two_patterns_can_match_one_name(one: str, other: str, meet: bool) -> None:
    """Rules that can never meet do not disagree."""
    first, second = parse_pattern(one), parse_pattern(other)
    assert could_both_match(first, second) is meet
    assert could_both_match(second, first) is meet
