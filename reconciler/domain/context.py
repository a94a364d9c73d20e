"""What all images of one decision share: state, policy and time, and values computed once for all.
The rules that use it are in `protections`."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from .exclusion import Exclusions
from .inventory import Container, Image, Sandbox, Template, is_full_id
from .ledger import ImageRecord
from .pods import MAIN, Need, Pod
from .policy import Expendable, Importance, Policy, Tier
from .possible_uses import PossibleUse, may_be_pause, possible_uses, repository_of
from .ranking.importance import RankingRules, ranking_rules_of
from .reference import InvalidReference, parse_reference
from .state import State
from .system import LARGEST, is_kubernetes_own, is_sandbox_name, system_repository


class Context:
    """State, policy and time of one decision, and values that all its images share. If it is kept
    while the state changes (a page built in steps), its answers are true of then or of now, and it
    never fails."""

    def __init__(self, state: State, policy: Policy, now: float) -> None:
        self.state, self.policy, self.now = state, policy, now
        self.graph = state.graph
        self._records = state.ledger
        self.applying: tuple[Any, ...] = ()  # protections that can find anything here

    def record(self, key: str) -> ImageRecord:
        """Returns an image's record; an unknown image counts as seen just now."""
        return self._records.get(key) or ImageRecord(first_seen=self.now)

    @functools.cached_property
    def exclusions(self) -> Exclusions:
        return exclusions_of(self.policy)

    @functools.cached_property
    def ranking_rules(self) -> RankingRules:
        return ranking_rules_of(self.policy)

    def tier_rule(self, image: Image) -> Importance | None:
        """The rule that gives an image its tier; None: normal. Names that it had before can only
        raise it to high: they may be another image's by now."""
        rule, remembered = self.ranking_rules.tier_rule(image), self.state.as_remembered(image)
        before = self.ranking_rules.tier_rule(remembered) if remembered is not image else None
        return before if before is not None and before.tier is Tier.HIGH else rule

    def expendable_rule(self, image: Image) -> Expendable | None:
        """The rule by which an image may be removed early; None: no rule, or its tier is high."""
        rule = self.ranking_rules.expendable_rule(image)
        if rule is None or self.state.as_remembered(image) is image:
            return rule
        tier = self.tier_rule(image)
        return None if tier is not None and tier.tier is Tier.HIGH else rule

    @functools.cached_property
    def current(self) -> dict[str, set[str]]:
        """For each system repository, the keys of its current version (`current_of`)."""
        versions: dict[str, dict[str, ImageRecord]] = {}
        for key, image in self.graph.images.items():
            for repository in system_repositories(image.names, image.size > LARGEST):
                versions.setdefault(repository, {})[key] = self.record(key)
        return {repository: current_of(known) for repository, known in versions.items()}

    @functools.cached_property
    def asked(self) -> set[str]:
        """Keys of the images that containers asked for by a name or id that means them now."""
        return self.graph.asked_keys()

    @functools.cached_property
    def awaited(self) -> dict[str, tuple[Pod, Need]]:
        """Keys of the images that pods reported by a source need, each with the first such pod."""
        found: dict[str, tuple[Pod, Need]] = {}
        for pod, need in self.state.pods.awaited.needs(self.now):
            for key in self.state.images_meant(need.image):
                found.setdefault(key, (pod, need))
        return found

    def has_begun(self, pod: Pod) -> bool:
        """Whether all main containers of a pod exist, so that its start is over."""
        mains = {need.name for need in pod.needs if need.kind == MAIN}
        return bool(mains) and mains <= self._made.get(pod.uid, set())

    @functools.cached_property
    def _made(self) -> dict[str, set[str]]:
        """By a pod's uid, the names of its containers that exist."""
        pods = {box.id: box.uid for box in self.graph.sandboxes.values() if box.uid}
        found: dict[str, set[str]] = {}
        for container in self.graph.containers.values():
            if container.sandbox_id in pods:
                found.setdefault(pods[container.sandbox_id], set()).add(container.name)
        return found

    @functools.cached_property
    def used_by_twins(self) -> dict[str, tuple[Sandbox, str]]:
        """Keys of the images that pods of a template used here before, if a pod of the template
        exists that is not complete: that pod's sandbox, and the container that used the image."""
        graph, templates = self.graph, self.state.pods.templates
        pods: dict[Template, Sandbox] = {}
        starts = [start.sandbox for start in self.state.pods.starts.current(self.now)]
        new = [one for one in starts if one.id not in graph.sandboxes]  # not in a listing yet
        for sandbox in (*graph.sandboxes.values(), *graph.unlisted.values(), *new):
            if sandbox.ready and sandbox.template is not None:
                pods.setdefault(sandbox.template, sandbox)
        found: dict[str, tuple[Sandbox, str]] = {}
        for template, sandbox in pods.items():
            for container, text in templates.used_by(template):
                keys = (text,) if text in graph.images else graph.keys_named(text)
                for key in keys:
                    found.setdefault(key, (sandbox, container))
        return found

    @functools.cached_property
    def configured_pause(self) -> frozenset[str]:
        """Keys of the images that the runtime's own configuration means as pause image."""
        configured = self.state.runtime.configured_pause
        return self.graph.keys_named(configured) if configured else frozenset()

    @functools.cached_property
    def pause_repositories(self) -> set[str]:
        """Repositories of the pause images of the running sandboxes. A sandbox's status gives only
        a name; if the tag moved before we first asked, it names another image by now."""
        reported = {box.pause for box in self.graph.sandboxes.values() if box.pause}
        return {repository_of(name) for names in reported for name in names if not is_full_id(name)}

    @functools.cached_property
    def possible_uses(self) -> dict[str, PossibleUse]:
        """Keys of images that a container or sandbox may use whose images are unknown."""
        return possible_uses(self.state, self.now)


def current_of(versions: Mapping[str, ImageRecord]) -> set[str]:
    """Returns the keys of the current version among all versions of one image: the one that a
    container was made from last, and any used at least as late. If no container was made from any,
    all that were used: they were mounted, or used by name alone, which may mean another image by
    now, and a name must take no protection away. If none was used, the last seen. Ties are all
    current."""
    used = {key: one.last_used for key, one in versions.items() if one.last_used is not None}
    if not used:
        latest = max(one.first_seen for one in versions.values())
        return {key for key, one in versions.items() if one.first_seen == latest}
    made = {key: at for key in used if (at := versions[key].last_started) is not None}
    last = max(made.values(), default=None)
    since = min((used[key] for key, at in made.items() if at == last), default=0.0)
    return {key for key, at in used.items() if at >= since}


@functools.lru_cache(maxsize=4)
def exclusions_of(policy: Policy) -> Exclusions:
    """The policy's exclusions, indexed; built once for each policy."""
    return Exclusions(policy.exclusions)


@functools.lru_cache(maxsize=8192)
def repositories_of(names: tuple[str, ...]) -> frozenset[str]:
    """The repositories of an image's names."""
    return frozenset(map(repository_of, names))


def pause_name(image: Image, names: tuple[str, ...], state: State) -> str | None:
    """Returns the name by which an image is known as a sandbox image; None: there is none, or its
    size and use show that it is an ordinary program of that name."""
    name, own = _pause_name(names)
    if name is None or own:
        return name
    return name if image.size <= LARGEST and may_be_pause(state, image) else None


@functools.lru_cache(maxsize=8192)
def _pause_name(names: tuple[str, ...]) -> tuple[str | None, bool]:
    """The first name that sandbox images are known by, and whether it is Kubernetes' own; such a
    name comes before others."""
    found: str | None = None
    for name in names:
        try:
            reference = parse_reference(name)
        except InvalidReference:
            continue
        if is_sandbox_name(reference):
            if is_kubernetes_own(reference):
                return name, True
            found = found or name
    return found, False


@functools.lru_cache(maxsize=8192)
def system_repositories(names: tuple[str, ...], large: bool = False) -> tuple[str, ...]:
    """The Kubernetes system repositories among an image's names; `large`: the image is larger than
    `LARGEST`."""
    found: dict[str, None] = {}
    for name in names:
        try:
            repository = system_repository(parse_reference(name), large=large)
        except InvalidReference:
            continue
        if repository is not None:
            found[repository] = None
    return tuple(found)


def describe(container: Container, context: Context) -> str:
    """A container for people: its name, its pod, its id and its state."""
    sandbox = context.graph.sandboxes.get(container.sandbox_id)
    pod = f" of {sandbox.name}" if sandbox else ""
    state = container.state.name.lower()
    return f"container {container.name}{pod} ({container.id[:13]}, {state})"
