"""The operator's rules on images other than protections: which matter more, which may go early.

If rules disagree on one image, the more protective one wins: of two tiers the higher, of two
`expendable` rules the one that waits longer, and an image of tier high is not expendable at all.
Nothing here overrides a protection (`protections`).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

from ..exclusion import RuleIndex
from ..inventory import Image
from ..pattern import could_both_match
from ..policy import Expendable, Importance, Policy, Tier

MOST_COMPARED = 20_000  # pairs of rules; any further ones are not compared


class RankingRules:
    """The `importance` and `expendable` rules of one policy."""

    def __init__(self, policy: Policy) -> None:
        self.importance = RuleIndex(policy.importance)
        self.expendable = RuleIndex(policy.expendable)

    def tier_rule(self, image: Image) -> Importance | None:
        """The rule that gives an image its tier; None: normal."""
        if not self.importance:
            return None
        rules = [rule for rule, _ in self.importance.matching(image)]
        return max(rules, key=lambda rule: rule.tier.weight, default=None)

    def expendable_rule(self, image: Image) -> Expendable | None:
        """The rule by which an image may be removed early; None: no rule, or its tier is high."""
        if not self.expendable:
            return None
        rules = [rule for rule, _ in self.expendable.matching(image)]
        if not rules:
            return None
        tier = self.tier_rule(image)
        if tier is not None and tier.tier is Tier.HIGH:
            return None
        return max(rules, key=lambda rule: rule.unused_for)


@functools.lru_cache(maxsize=4)
def ranking_rules_of(policy: Policy) -> RankingRules:
    """Returns the policy's ranking rules, indexed; built once for each policy."""
    return RankingRules(policy)


Rules = Importance | Expendable


def disagreements(policy: Policy) -> Iterator[tuple[Rules, Rules]]:
    """Yields pairs of rules that disagree and that one image could match both: the one that wins
    there, and the one that gives way."""
    left = MOST_COMPARED
    rules: Sequence[Rules] = (*policy.importance, *policy.expendable)
    for number, one in enumerate(rules):
        for other in rules[number + 1 :]:
            left -= 1
            if left < 0:
                return
            pair = _ranked(one, other)
            if pair is not None and could_both_match(one.pattern, other.pattern):
                yield pair


def _ranked(one: Rules, other: Rules) -> tuple[Rules, Rules] | None:
    """Returns the winner first; None: the two do not disagree."""
    if isinstance(one, Importance) and isinstance(other, Importance):
        if one.tier is other.tier:
            return None
        return (one, other) if one.tier.weight > other.tier.weight else (other, one)
    if isinstance(one, Expendable) and isinstance(other, Expendable):
        if one.unused_for == other.unused_for:
            return None
        return (one, other) if one.unused_for > other.unused_for else (other, one)
    tiered, early = (one, other) if isinstance(one, Importance) else (other, one)
    assert isinstance(tiered, Importance)
    return (tiered, early) if tiered.tier is Tier.HIGH else None
