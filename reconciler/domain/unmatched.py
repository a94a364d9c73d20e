"""Rules that mean no image on this node: a slip of the pen, or a rule that is for other nodes. Only
reported; a rule protects what is pulled tomorrow as well."""

from __future__ import annotations

from .context import exclusions_of
from .lookup import missing_required
from .policy import Exclusion, Expendable, Importance, Policy, Required
from .ranking.importance import ranking_rules_of
from .state import State

AnyRule = Exclusion | Importance | Expendable | Required


def unmatched_rules(policy: Policy, state: State) -> tuple[AnyRule, ...]:
    """All but `requiredImages`, of which there is a report of its own; each pattern is a rule.
    What decisions found out of names is not found out anew. Rules that protect count for the
    repositories that are remembered of an image as well."""
    images, ranking = state.graph.images.values(), ranking_rules_of(policy)
    remembered = [state.as_remembered(image) for image in images]
    return (
        *exclusions_of(policy).unmatched(remembered),
        *ranking.importance.unmatched(images),
        *ranking.expendable.unmatched(images),
    )


def all_unmatched(policy: Policy, state: State) -> tuple[AnyRule, ...]:
    """The same, and `requiredImages`."""
    return (*unmatched_rules(policy, state), *missing_required(policy, state.graph))


def in_words(rule: AnyRule) -> str:
    return f"{rule.place}: {rule.pattern} matches no image here"
