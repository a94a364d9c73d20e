"""The lists of rules in a policy: exclusions, importance, expendable, required images."""

from __future__ import annotations

import datetime as dt
import itertools
import re
from collections.abc import Callable, Iterator
from typing import Any

import yaml

from ..domain.humanize import duration
from ..domain.legal import InvalidPattern
from ..domain.pattern import Pattern, parse_pattern
from ..domain.policy import Exclusion, Expendable, Importance, Place, Policy, Required, Tier
from ..domain.ranking.importance import MOST_COMPARED, disagreements
from .draft import Draft, parsed
from .nodes import Problem, Sheet, mapping, sequence, text
from .values import parse_duration

WARN_AHEAD = dt.timedelta(days=7)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
MOST_WARNINGS = 20


def disagreeing(policy: Policy) -> list[Problem]:
    """A warning for each pair of rules that disagree on images both can match. The loop
    follows the more protective one (domain/ranking/importance.py)."""
    found = []
    for wins, gives_way in itertools.islice(disagreements(policy), MOST_WARNINGS):
        text = f"{_says(gives_way)} disagrees with {wins.place}: {_says(wins)}; where both match, "
        found.append(Problem(gives_way.place, text + "the latter, more protective one wins"))
    rules: list[Importance | Expendable] = [*policy.importance, *policy.expendable]
    if len(rules) * (len(rules) - 1) // 2 > MOST_COMPARED:
        text = f"{len(rules)} rules: too many to look for all disagreements between them"
        found.append(Problem(rules[0].place, text))
    return found


def _says(rule: Importance | Expendable) -> str:
    if isinstance(rule, Importance):
        return f"{rule.pattern} tier {rule.tier.value}"
    return f"{rule.pattern} expendable when unused for {duration(rule.unused_for)}"


def exclusions(key: str, node: yaml.Node, draft: Draft, sheet: Sheet, today: dt.date) -> None:
    for what, found, patterns in _rules(key, node, sheet, ("until",), "protects"):
        reason = _reason(what, found, sheet)
        until = _until(f"{what}.until", found.get("until"), sheet, today)
        for pattern, place in patterns:
            draft.exclusions.append(Exclusion(pattern, place, reason, until))


def importance(key: str, node: yaml.Node, draft: Draft, sheet: Sheet, today: dt.date) -> None:
    for what, found, patterns in _rules(key, node, sheet, ("tier",)):
        tier = _needed("tier", "high|low|scratch", what, found, sheet, _tier)
        reason = _reason(what, found, sheet)
        if tier in (Tier.LOW, Tier.SCRATCH):
            _check_narrow(what, patterns, sheet)
        for pattern, place in patterns if tier is not None else ():
            draft.importance.append(Importance(pattern, place, tier, reason))


def expendable(key: str, node: yaml.Node, draft: Draft, sheet: Sheet, today: dt.date) -> None:
    for what, found, patterns in _rules(key, node, sheet, ("unusedFor",)):
        unused_for = _needed("unusedFor", "1h", what, found, sheet, parse_duration)
        reason = _reason(what, found, sheet)
        _check_narrow(what, patterns, sheet)
        for pattern, place in patterns if unused_for is not None else ():
            draft.expendable.append(Expendable(pattern, place, unused_for, reason))


Rule = tuple[str, dict[str, yaml.Node], list[tuple[Pattern, Place]]]


def _rules(
    key: str, node: yaml.Node, sheet: Sheet, keys: tuple[str, ...], does: str = "means"
) -> Iterator[Rule]:
    """The rules of a list: what to call each in a message, its nodes, its patterns."""
    for number, item in enumerate(sequence(node, sheet, key)):
        what = f"{key}[{number}]"
        found = mapping(item, sheet, ("images", "reason", *keys), what)
        if "images" not in found:
            if isinstance(item, yaml.MappingNode):
                sheet.problem(item, f"{what}: expected images: [pattern, ...], found none")
            continue
        patterns = []
        images = sequence(found["images"], sheet, f"{what}.images")
        if not images and isinstance(found["images"], yaml.SequenceNode):
            sheet.warning(found["images"], f"{what}: a rule without patterns {does} nothing")
        for image in images:
            pattern = _pattern(f"{what}.images", image, sheet)
            if pattern is not None:
                patterns.append((pattern, sheet.place(image)))
        yield what, found, patterns


def _check_narrow(what: str, patterns: list[tuple[Pattern, Place]], sheet: Sheet) -> None:
    """A pattern that matches too much keeps too much, which shows and does no harm. One by which
    images go earlier must say which: nobody means `expendable: ["*"]`."""
    for pattern, place in patterns:
        if not pattern.is_narrow:
            expected = "expected a host and a part of the path without '*', or sha256: and an id"
            found = f"in a rule by which images go earlier, found {str(pattern)[:80]!r}"
            write = f"{expected}, {found}; write {_narrower(pattern)}"
            sheet.at(place.line, place.column, f"{what}.images: {write}")


def _narrower(pattern: Pattern) -> str:
    """The same pattern with the host it lacks, or else an example."""
    whole = str(pattern.scopes[0])
    only = len(pattern.scopes) == 1 and parse_pattern(whole).is_narrow
    return whole if only else "for example registry.example.com/ci/*"


def _reason(what: str, found: dict[str, yaml.Node], sheet: Sheet) -> str | None:
    return text(found["reason"], sheet, f"{what}.reason") if "reason" in found else None


def _needed(
    key: str,
    example: str,
    what: str,
    found: dict[str, yaml.Node],
    sheet: Sheet,
    parse: Callable[[str], Any],
) -> Any:
    """A value that a rule must have; None with a problem noted."""
    if key in found:
        return parsed(f"{what}.{key}", found[key], sheet, parse)
    sheet.problem(found["images"], f"{what}: expected {key}: {example} next to images, found none")
    return None


def _tier(value: str) -> Tier:
    if value in ("high", "low", "scratch"):
        return Tier(value)
    raise ValueError(f"expected high, low or scratch, found {value[:40]!r}")


def _until(key: str, node: yaml.Node | None, sheet: Sheet, today: dt.date) -> dt.date | None:
    if node is None:
        return None
    until = parsed(key, node, sheet, _date)
    if until is None:
        return None
    assert isinstance(until, dt.date)
    if until < today:
        sheet.warning(node, f"{key}: this rule ended with {until} and protects nothing any more")
    elif until - today <= WARN_AHEAD:
        sheet.warning(node, f"{key}: this rule protects until the end of {until} (UTC) only")
    return until


def _date(value: str) -> dt.date:
    try:
        if _DATE.fullmatch(value):  # fromisoformat takes weeks and days of the year too
            return dt.date.fromisoformat(value)
    except ValueError:
        pass
    raise ValueError(f"expected a date like 2027-01-31, found {value[:40]!r}")


def required(key: str, node: yaml.Node, draft: Draft, sheet: Sheet, today: dt.date) -> None:
    for image in sequence(node, sheet, key):
        pattern = _pattern(key, image, sheet)
        if pattern is not None:
            draft.required.append(Required(pattern, sheet.place(image)))


def _pattern(key: str, node: yaml.Node, sheet: Sheet) -> Pattern | None:
    value = text(node, sheet, key)
    if value is None:
        return None
    try:
        return parse_pattern(value)
    except InvalidPattern as error:
        sheet.problem(node, f"{key}: {error}", error.offset)
        return None
