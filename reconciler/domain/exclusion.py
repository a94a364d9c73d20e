"""Find the operator's rules on an image fast: thousands of rules must not slow a decision.

- The index only saves work: a rule that it finds is matched by its own pattern, and it finds every
  rule that could match, as a slow search would.
- Rules are in the order of the files; of several in force the first is reported.
- The rules that match an image are cached by its id and names, for the life of one policy; whether
  a date has passed is checked each time.
- A listed name that is not valid is matched by nothing, and does not keep others from matching.

`pattern.py` says what a pattern matches, `protections` and `ranking` what follows from a rule.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Generic, Protocol, TypeVar

from .inventory import Image
from .pattern import Pattern
from .policy import Exclusion
from .reference import InvalidReference, parse_reference

CACHED = 8192  # images whose matches are cached; then the cache is cleared


class Rule(Protocol):
    """Any rule of the operator on the images that a pattern matches."""

    @property
    def pattern(self) -> Pattern: ...


R = TypeVar("R", bound=Rule)


class RuleIndex(Generic[R]):
    """The rules of one policy, bucketed by the repository they name or by their host."""

    def __init__(self, rules: Sequence[R]) -> None:
        self._exact: dict[str, list[int]] = defaultdict(list)
        self._by_host: dict[str, list[int]] = defaultdict(list)
        self._any_host: list[int] = []
        self._by_id: dict[str, list[int]] = defaultdict(list)  # first 12 hex digits
        self._rules = rules
        self._found: dict[tuple[str, tuple[str, ...]], tuple[tuple[R, str], ...]] = {}
        for number, rule in enumerate(rules):
            for bucket in self._buckets(rule.pattern):
                bucket.append(number)

    def __bool__(self) -> bool:
        return bool(self._rules)

    def _buckets(self, pattern: Pattern) -> Iterator[list[int]]:
        if pattern.id_prefix is not None:
            yield self._by_id[pattern.id_prefix[:12]]
        for scope in pattern.scopes:
            host = scope.repository.partition("/")[0]
            if "*" not in scope.repository:
                yield self._exact[scope.repository]
            else:
                yield self._any_host if "*" in host else self._by_host[host]

    def matching(self, image: Image) -> tuple[tuple[R, str], ...]:
        """Returns all rules that match an image, in the order of the file, each with the name (or
        id) that it matches."""
        if not self._rules:
            return ()
        names = (image.id, image.names)
        found = self._found.get(names)
        if found is None:
            if len(self._found) >= CACHED:
                self._found.clear()
            found = self._found[names] = tuple(self._search(image))
        return found

    def unmatched(self, images: Iterable[Image]) -> Iterator[R]:
        """Yields the rules that match none of these images, in the order of the file."""
        matched = {id(rule) for image in images for rule, _ in self.matching(image)}
        return (rule for rule in self._rules if id(rule) not in matched)

    def _search(self, image: Image) -> Iterator[tuple[R, str]]:
        for number in sorted(set(self._numbers(image))):
            rule = self._rules[number]
            name = rule.pattern.match(image)
            if name is not None:
                yield rule, name

    def _numbers(self, image: Image) -> Iterable[int]:
        yield from self._by_id.get(image.key[:12], ())
        yield from self._any_host
        for name in image.names:
            try:
                reference = parse_reference(name)
            except InvalidReference:
                continue
            for repository in _with_ancestors(reference.repository):
                yield from self._exact.get(repository, ())
            yield from self._by_host.get(reference.repository.partition("/")[0], ())
            digest = (reference.digest or "").removeprefix("sha256:")
            yield from self._by_id.get(digest[:12], ()) if digest else ()


def _with_ancestors(repository: str) -> Iterator[str]:
    """Yields a repository and its ancestors, up to the host."""
    while repository:
        yield repository
        repository = repository.rpartition("/")[0]


class Exclusions(RuleIndex[Exclusion]):
    """The exclusions of one policy."""

    def protecting(self, image: Image, wall: float) -> tuple[Exclusion, str] | None:
        """Returns the first rule in force, in the order of the file, that matches an image, and the
        name (or id) that it matches. `wall`: the time of the wall clock."""
        found = self.matching(image)
        if not found:
            return None
        return next(((rule, name) for rule, name in found if rule.in_force(wall)), None)
