"""Protections by what an image is, whoever uses it, and by what the policy says of it."""

from __future__ import annotations

from ..context import Context, system_repositories
from ..humanize import duration, size_text, unused_for
from ..inventory import Image
from ..origin import can_be_pulled
from ..policy import Exclusion
from ..system import LARGEST
from .protection import Kind, Protection


def _pinned(image: Image, context: Context) -> str | None:
    return "the runtime reports it pinned" if image.pinned else None


PINNED = Protection(
    Kind.PINNED,
    promise="S2",
    keeps="the runtime reports it pinned",
    check=_pinned,
    otherwise="the runtime does not report it pinned",
    because="pinned",
    let_go="take its pin away in the runtime's configuration",
)


def _system(image: Image, context: Context) -> str | None:
    repositories = system_repositories(image.names, image.size > LARGEST)
    for repository in repositories:
        if image.key in context.current.get(repository, {image.key}):
            return f"current version of the Kubernetes system image {repository}"
    if not repositories:
        return None
    lately = _used_lately(image, context, context.policy.system_keep_for)
    return f"Kubernetes system image {repositories[0]}, {lately}" if lately else None


def _used_lately(image: Image, context: Context, limit: float) -> str | None:
    """Says for how long an image was unused, if that is less than `limit` seconds."""
    record = context.record(image.key)
    age = context.now - record.unused_since
    if age >= limit:
        return None
    unused = unused_for(age, used=record.last_used == record.unused_since)
    return f"{unused}, less than {duration(limit)}"


SYSTEM = Protection(
    Kind.SYSTEM,
    promise="S3",
    keeps="a Kubernetes system image, in the version that is current",
    check=_system,
    otherwise="no Kubernetes system image, or not a current one",
    because="a system image",
    let_go="wait for a newer version to be used, or set system.enabled: false in the policy",
    applies=lambda context: context.policy.system_enabled,
)


def _excluded(image: Image, context: Context) -> tuple[str, Exclusion] | None:
    remembered = context.state.as_remembered(image)
    found = context.exclusions.protecting(remembered, context.state.wall(context.now))
    if found is None:
        return None
    rule, name = found
    because = f": {rule.reason}" if rule.reason else ""
    return f"{name} matches {rule.pattern} at {rule.place}{because}", rule


EXCLUDED = Protection(
    Kind.EXCLUDED,
    promise="S4",
    keeps="an exclusion in force matches one of its names, or its id",
    check=_excluded,
    otherwise="no exclusion in force matches it",
    because="excluded",
    let_go="take the rule out of the policy",
    applies=lambda context: bool(context.policy.exclusions),
)


def _young(image: Image, context: Context) -> str | None:
    return _used_lately(image, context, context.policy.minimum_age)


def _no_longer_young(image: Image, context: Context) -> float:
    return context.record(image.key).unused_since + context.policy.minimum_age


YOUNG = Protection(
    Kind.YOUNG,
    promise="S5",
    keeps="on the node, or unused, for less than the minimum age",
    check=_young,
    otherwise="past the minimum age",
    because="young",
    let_go="wait, or set a lower minimumAge in the policy",
    ends_at=_no_longer_young,
)


def _too_small(image: Image, context: Context) -> str | None:
    if image.size >= context.policy.minimum_size:
        return None
    return f"{size_text(image.size)}, less than {size_text(context.policy.minimum_size)}"


TOO_SMALL = Protection(
    Kind.TOO_SMALL,
    promise="S3",
    keeps="not worth removing; most pause images are under 1 MiB",
    check=_too_small,
    otherwise="not under the minimum size",
    because="too small",
    let_go="set a lower minimumSize in the policy; it would free next to nothing",
    applies=lambda context: context.policy.minimum_size > 0,
)


def _unpullable(image: Image, context: Context) -> str | None:
    if image.digests and can_be_pulled(image.digests, context.record(image.key).names):
        return None
    if not image.names and image.key in context.state.removals.records:
        return None  # left behind by a removal of ours that was cut short
    what = f"{image.digests[0]} is no registry's name" if image.digests else "no registry digest"
    return f"{what}: imported or built on this node, it cannot be pulled again"


UNPULLABLE = Protection(
    Kind.UNPULLABLE,
    promise="",
    keeps="no registry is known to have it: imported or built here, it can't be had again",
    check=_unpullable,
    otherwise="it can be pulled again, as far as is known",
    because="unpullable",
    let_go="set protectUnpullable: false in the policy, if it can be had otherwise",
    applies=lambda context: context.policy.protect_unpullable,
)
