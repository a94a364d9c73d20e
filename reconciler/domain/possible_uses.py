"""Which images a container or sandbox may use whose images the runtime does not report.

Each of them is kept; docs/safety.md explains why there can be no others.

- A doubt only ever keeps an image; it never takes another reason away.
- A container whose image is unknown may run on any image that one of its texts could name, in any
  version.
- Unknown mounts may be what the pod's spec names, if a pod source reports that; else any image.
- An unknown pause image may be any that is small enough, or that no container was made from.
- An image that certainly arrived after the container or sandbox was made is excluded.

Until a doubt has narrowed it holds all removal (hold.py); `unanswered.py` keeps since when.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

from .inventory import Container, Image, Sandbox
from .pods import VOLUME
from .reference import InvalidReference, parse_reference
from .state import State

# Bytes as listed. Pause images are under 1 MiB; a larger image that containers were made from is
# not one.
LARGEST_PAUSE = 16 << 20


@dataclass(frozen=True, slots=True)
class PossibleUse:
    """A container or sandbox that may use an image, as it was when this was found, and in which
    way."""

    subject: Container | Sandbox
    way: str  # IMAGE, MOUNT or PAUSE


IMAGE, MOUNT, PAUSE = "image", "mount", "pause"


def possible_uses(state: State, now: float) -> dict[str, PossibleUse]:
    """Returns, by image key, the first possible use found."""
    found: dict[str, PossibleUse] = {}
    for finder in (_of_unknown_image, _of_unknown_mounts, _of_unknown_pause):
        for key, use in finder(state, now):
            found.setdefault(key, use)
    return found


Found = Iterator[tuple[str, PossibleUse]]


def _of_unknown_image(state: State, now: float) -> Found:
    for container_id in state.graph.unresolved:
        container = state.graph.containers[container_id]
        for image in state.graph.images.values():
            if could_mean(container, state.as_remembered(image)):
                yield image.key, PossibleUse(container, IMAGE)


def _of_unknown_mounts(state: State, now: float) -> Found:
    """What containers may mount whose status does not report it: what the pod's spec names, if a
    pod source reports that; else any image that was here when the container was made."""
    since: dict[str, float] = {}
    for one in state.narrowed(now):
        container = state.graph.containers.get(one)
        if container is None:
            continue
        mounted = _mounted(state, container, now)
        if mounted is None:
            since[one] = state.runtime.unanswered.since[one]
            continue
        for image in state.graph.images.values() if mounted else ():
            names = state.as_remembered(image).names
            if not names or not mounted.isdisjoint(map(repository_of, names)):
                yield image.key, PossibleUse(container, MOUNT)
    yield from _here_by_then(state, since, MOUNT)


def _mounted(state: State, container: Container, now: float) -> set[str] | None:
    """The repositories of the images that a container's pod mounts; None: unknown."""
    sandbox = state.graph.sandboxes.get(container.sandbox_id)
    if sandbox is None or not state.pods.awaited.knows(sandbox.uid, now):
        return None
    needs = state.pods.awaited.pods[sandbox.uid].needs
    return {repository_of(need.image) for need in needs if need.kind == VOLUME}


def _of_unknown_pause(state: State, now: float) -> Found:
    boxes = [one for one in state.narrowed(now) if one in state.graph.sandboxes]
    boxes += [one for one in state.graph.unnamed_sandboxes if one in state.runtime.unanswered.since]
    since = {one: state.runtime.unanswered.since[one] for one in boxes}
    for key, use in _here_by_then(state, since, PAUSE):
        if may_be_pause(state, state.graph.images[key]):
            yield key, use


def _here_by_then(state: State, since: dict[str, float], way: str) -> Found:
    """Yields all images except those that arrived after the newest of some containers or
    sandboxes was made."""
    if not since:
        return
    newest = max(since, key=lambda one: (since[one], one))
    subject = state.graph.containers.get(newest) or state.graph.sandboxes[newest]
    for key in state.graph.images:
        if not state.runtime.unanswered.came_later(key, since[newest]):
            yield key, PossibleUse(subject, way)


def may_be_pause(state: State, image: Image) -> bool:
    """Whether a sandbox could run on an image, judging by the image alone."""
    record = state.memory.images.get(image.key)
    return image.size <= LARGEST_PAUSE or record is None or not record.uses


def could_mean(container: Container, image: Image) -> bool:
    """Whether any text of an unresolved container could mean an image: the same repository under
    any tag or digest, or cut at its first ':' as CRI-O lists images that have lost their tags; a
    prefix of the id; an image without names could be any. A mounted image is identified by its
    manifest's digest if it is listed under that, so it could be any that is listed under none."""
    if not image.names or (container.volumes and not image.digests):
        return True
    texts = [container.image, container.image_ref, container.image_id]
    texts += [volume.image for volume in container.volumes or ()]
    plain = {text.removeprefix("sha256:") for text in texts if text}
    if any(len(text) >= 3 and image.key.startswith(text) for text in plain):
        return True
    whole_and_cut = {one for text in texts for one in (text, text.partition(":")[0]) if one}
    return not set(map(repository_of, whole_and_cut)).isdisjoint(map(repository_of, image.names))


@functools.lru_cache(maxsize=8192)
def repository_of(name: str) -> str:
    """The repository of a listed name; a text that is not a name is returned as it is."""
    try:
        return parse_reference(name).repository
    except InvalidReference:
        return name
