"""The reasons to keep one image. This is where to look for the rule that keeps it.

    in-use       a container in any state was made from it, mounts it, or asked     S1
                 for it by a name it has now
    awaited      a pod bound here has not made a container of it yet, and will, or  S10
                 may make one again
    sandbox      a sandbox runs on it or on one of its repository, or it is known   S1, S3
                 as a pause image
    pinned       the runtime reports it pinned                                      S2
    system       a Kubernetes system image, in the version that is current          S3
    excluded     an exclusion in force matches one of its names, or its id          S4
    young        on the node, or unused, for less than the minimum age              S5
    too-small    not worth removing; most pause images are under 1 MiB              S3
    unpullable   no registry is known to have it: imported or built here, it can't be had again
    refused      the runtime would not remove it a short while ago                  S9
    came-back    somebody pulled it again soon after we removed it                  S9
    uncertain    something about its use is not known                               S6

Each is one function (image, scene) -> sentence or None; `scene` is the state, the policy and the
time, with what is worth computing once per decision. Protections are OR-ed; the first that holds
is enough to keep, all of them are there to explain.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .doubts import MOUNT, Doubt, repository_of
from .inventory import Image, Sandbox, is_full_id
from .origin import can_be_pulled
from .policy import Exclusion
from .scene import Scene, describe, pause_name, repositories_of, system_repositories
from .system import LARGEST
from .words import and_more, duration


class Kind(enum.Enum):
    IN_USE = "in-use"
    AWAITED = "awaited"
    SANDBOX = "sandbox"
    PINNED = "pinned"
    SYSTEM = "system"
    EXCLUDED = "excluded"
    YOUNG = "young"
    TOO_SMALL = "too-small"
    UNPULLABLE = "unpullable"
    REFUSED = "refused"
    CAME_BACK = "came-back"
    UNCERTAIN = "uncertain"


@dataclass(frozen=True, slots=True)
class Protection:
    """One kind's verdict on one image, with a sentence, and the operator's rule if it is one."""

    kind: Kind
    holds: bool
    detail: str
    rule: Exclusion | None = None


Check = Callable[[Image, Scene], "str | tuple[str, Exclusion] | None"]


def _in_use(image: Image, scene: Scene) -> str | None:
    graph = scene.graph
    if graph.is_used(image.key):
        users = sorted(u for u in graph.users_of(image.key) if u in graph.containers)
        if users:
            return and_more([describe(graph.containers[users[0]], scene)], users)
        strangers = sorted(u for u in graph.users_of(image.key) if u in graph.strangers)
        if strangers:
            text = f"container {strangers[0][:13]}, which CRI does not list (nerdctl, ctr)"
            return and_more([text], strangers)
    if image.key not in scene.asked:
        return None
    asking = sorted(graph.asking_for(image))
    if not asking:
        return None
    first = graph.containers[asking[0]]
    text = f"{describe(first, scene)} asked for {first.image}, which means this image by now"
    return and_more([text], asking)


def _awaited(image: Image, scene: Scene) -> str | None:
    if scene.graph.is_used(image.key):
        return None  # its container is made
    told = scene.awaited.get(image.key)
    if told is not None:
        pod, need = told
        if scene.has_begun(pod):
            return f"pod {pod.name} will need it when it starts again ({need.by})"
        return f"pod {pod.name} is starting and will need it ({need.by})"
    twin = scene.used_by_twins.get(image.key)
    if twin is None:
        return None
    sandbox, container = twin
    return f"pod {sandbox.name} may need it: pods of its template use it (container {container})"


def _sandbox(image: Image, scene: Scene) -> str | None:
    graph = scene.graph
    if graph.is_used(image.key):
        users = sorted(u for u in graph.users_of(image.key) if u in graph.sandboxes)
        if users:
            one = f"pause image of sandbox {graph.sandboxes[users[0]].name} ({users[0][:13]})"
            return and_more([one], users)
    if image.key in scene.configured_pause:
        configured = scene.state.runtime.configured_pause
        return f"the runtime's own configuration names it as sandbox image: {configured}"
    names = scene.state.as_remembered(image).names
    pause = pause_name(image, names, scene.state)
    if pause is not None:
        return f"{pause} is a known name of a sandbox image"
    if not repositories_of(names).isdisjoint(scene.pause_repositories):
        name = next(one for one in names if repository_of(one) in scene.pause_repositories)
        return f"{name} may be what a sandbox runs on: the tag it was asked for may have moved"
    return None


def _pinned(image: Image, scene: Scene) -> str | None:
    return "the runtime reports it pinned" if image.pinned else None


def _system(image: Image, scene: Scene) -> str | None:
    if not scene.policy.system_enabled:
        return None
    repositories = system_repositories(image.names, image.size > LARGEST)
    for repository in repositories:
        if image.key in scene.current.get(repository, {image.key}):
            return f"current version of the Kubernetes system image {repository}"
    if not repositories:
        return None
    record = scene.record(image.key)
    age = scene.now - max(record.first_seen, record.last_used or 0.0)
    if age < scene.policy.system_keep_for:
        keep_for = duration(scene.policy.system_keep_for)
        return f"Kubernetes system image {repositories[0]}, used {duration(age)} ago (< {keep_for})"
    return None


def _excluded(image: Image, scene: Scene) -> tuple[str, Exclusion] | None:
    told = scene.state.as_remembered(image)
    found = scene.exclusions.protecting(told, scene.state.wall(scene.now))
    if found is None:
        return None
    rule, name = found
    because = f": {rule.reason}" if rule.reason else ""
    return f"{name} matches {rule.pattern} at {rule.place}{because}", rule


def _young(image: Image, scene: Scene) -> str | None:
    record = scene.record(image.key)
    since = max(record.first_seen, record.last_used or 0.0)
    age = scene.now - since
    if age >= scene.policy.minimum_age:
        return None
    what = "unused" if record.last_used == since else "on this node"
    return f"{what} for {duration(age)}, less than {duration(scene.policy.minimum_age)}"


def _too_small(image: Image, scene: Scene) -> str | None:
    if image.size >= scene.policy.minimum_size:
        return None
    return f"{image.size} bytes, less than {scene.policy.minimum_size}"


def _unpullable(image: Image, scene: Scene) -> str | None:
    if not scene.policy.protect_unpullable:
        return None
    if image.digests and can_be_pulled(image.digests, scene.record(image.key).names):
        return None
    if not image.names and image.key in scene.state.removals.records:
        return None  # what a removal of ours, cut short, left behind
    what = f"{image.digests[0]} is no registry's name" if image.digests else "no registry digest"
    return f"{what}: imported or built on this node, it can not be pulled again"


def _refused(image: Image, scene: Scene) -> str | None:
    refusal = scene.state.removals.refusals.get(image.key)
    if refusal is None or scene.now >= refusal.until:
        return None
    times = "once" if refusal.count <= 1 else f"{refusal.count} times"
    wait = duration(refusal.until - scene.now)
    return f"not removed when asked {times}, next try in {wait}: {refusal.reason}"


def _came_back(image: Image, scene: Scene) -> str | None:
    removal = scene.state.removals.records.get(image.key)
    keep = scene.policy.come_back_for
    if removal is None or removal.came_back_at is None or removal.answered_at is None:
        return None
    gap = removal.came_back_at - removal.answered_at
    if gap > keep or scene.now - removal.came_back_at >= keep:
        return None
    left = duration(keep - (scene.now - removal.came_back_at))
    return f"pulled again {duration(gap)} after its removal; kept for {left} more"


def _uncertain(image: Image, scene: Scene) -> str | None:
    if image.key in scene.graph.touched:
        return "an event named it since the last listing"
    doubt = scene.doubtful.get(image.key)
    if doubt is not None:
        return _told_of(doubt, scene)
    return None if is_full_id(image.id) else "listed under an id that is none"


def _told_of(doubt: Doubt, scene: Scene) -> str:
    subject = doubt.subject
    if isinstance(subject, Sandbox):
        one = f"sandbox {subject.name} ({subject.id[:13]})"
        return f"may be the pause image of {one}, which the runtime does not tell"
    one = describe(subject, scene)
    if doubt.way == MOUNT:
        return f"may be mounted by {one}: the runtime does not tell what it mounts"
    return f"may be the image of {one}, whose image can not be told"


# In the order in which people want to hear them.
CHECKS: dict[Kind, tuple[Check, str]] = {
    Kind.IN_USE: (_in_use, "no container refers to it"),
    Kind.AWAITED: (_awaited, "no pod bound here is known to wait for it"),
    Kind.SANDBOX: (_sandbox, "no sandbox runs on it, and it is no known pause image"),
    Kind.PINNED: (_pinned, "the runtime does not report it pinned"),
    Kind.SYSTEM: (_system, "no Kubernetes system image, or not a current one"),
    Kind.EXCLUDED: (_excluded, "no exclusion in force matches it"),
    Kind.YOUNG: (_young, "past the minimum age"),
    Kind.TOO_SMALL: (_too_small, "not under the minimum size"),
    Kind.UNPULLABLE: (_unpullable, "it can be pulled again, as far as one can tell"),
    Kind.REFUSED: (_refused, "the runtime did not refuse it lately"),
    Kind.CAME_BACK: (_came_back, "it did not come back after a removal"),
    Kind.UNCERTAIN: (_uncertain, "nothing about its use is unknown"),
}


# Some can find nothing as long as something is off or nothing has happened.
APPLIES: dict[Kind, Callable[[Scene], bool]] = {
    Kind.AWAITED: lambda scene: bool(scene.awaited or scene.used_by_twins),
    Kind.SYSTEM: lambda scene: scene.policy.system_enabled,
    Kind.EXCLUDED: lambda scene: bool(scene.policy.exclusions),
    Kind.TOO_SMALL: lambda scene: scene.policy.minimum_size > 0,
    Kind.UNPULLABLE: lambda scene: scene.policy.protect_unpullable,
    Kind.REFUSED: lambda scene: bool(scene.state.removals.refusals),
    Kind.CAME_BACK: lambda scene: bool(scene.state.removals),
}


def verdicts(image: Image, scene: Scene) -> tuple[Protection, ...]:
    """Every kind's verdict, also of those that do not hold."""
    return tuple(_verdict(kind, image, scene) for kind in CHECKS)


def holding(image: Image, scene: Scene) -> Iterator[Protection]:
    """The protections that hold, one by one, so that a caller may stop at the first."""
    for kind, (check, _) in CHECKS.items():
        found = check(image, scene)
        if found is not None:
            yield _protection(kind, found)


def _checks(scene: Scene) -> tuple[tuple[Kind, Check], ...]:
    """The checks that can find anything at all in a scene."""
    if not scene.checks:
        idle = {kind for kind, applies in APPLIES.items() if not applies(scene)}
        scene.checks = tuple(
            (kind, check) for kind, (check, _) in CHECKS.items() if kind not in idle
        )
    return scene.checks


def first_holding(image: Image, scene: Scene) -> Protection | None:
    """The first protection that holds, which is enough to keep."""
    for kind, check in _checks(scene):
        found = check(image, scene)
        if found is not None:
            return _protection(kind, found)
    return None


def _verdict(kind: Kind, image: Image, scene: Scene) -> Protection:
    check, otherwise = CHECKS[kind]
    found = check(image, scene)
    return Protection(kind, False, otherwise) if found is None else _protection(kind, found)


def _protection(kind: Kind, found: str | tuple[str, Exclusion]) -> Protection:
    if isinstance(found, str):
        return Protection(kind, True, found)
    return Protection(kind, True, *found)
