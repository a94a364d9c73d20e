"""Find rules that match no image on this node: a typing error, or a rule for other nodes. They are
only reported; a rule also applies to what is pulled tomorrow."""

from __future__ import annotations

from .context import exclusions_of
from .lookup import missing_required
from .policy import Exclusion, Expendable, Importance, Policy, Required
from .ranking.importance import ranking_rules_of
from .state import State

AnyRule = Exclusion | Importance | Expendable | Required


def unmatched_rules(policy: Policy, state: State) -> tuple[AnyRule, ...]:
    """Returns all such rules except `requiredImages`, which are reported separately; each pattern
    is a rule. Matches cached by decisions are reused. Exclusions also match the repositories that
    are remembered of an image."""
    images, ranking = state.graph.images.values(), ranking_rules_of(policy)
    remembered = [state.as_remembered(image) for image in images]
    return (
        *exclusions_of(policy).unmatched(remembered),
        *ranking.importance.unmatched(images),
        *ranking.expendable.unmatched(images),
    )


def all_unmatched(policy: Policy, state: State) -> tuple[AnyRule, ...]:
    """Returns all such rules, including `requiredImages`."""
    return (*unmatched_rules(policy, state), *missing_required(policy, state.graph))


def in_words(rule: AnyRule) -> str:
    return f"{rule.place}: {rule.pattern} matches no image here"
