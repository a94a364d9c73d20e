"""Which images something could use of which the runtime does not tell what it uses.

Each of them is kept; why these are all is reasoned in docs/safety.md.

- A doubt only ever keeps an image; none takes another reason away.
- A container of unknown image could run on any that one of its texts could name, in any version.
- Unknown mounts could be what the pod's spec names, where a source tells that; else any image.
- An unknown pause image could be any that is as small as one, or that no container was made from.
- An image that came after the thing in doubt was made is none of them, where that is certain.

Until a doubt has narrowed it holds everything (hold.py); since when is `unanswered.py`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

from .inventory import Container, Image, Sandbox
from .pods import VOLUME
from .reference import InvalidReference, parse_reference
from .state import State

# Bytes as listed. Pause images have under 1 MiB; what is larger, and containers were made from it,
# is none.
LARGEST_PAUSE = 16 << 20


@dataclass(frozen=True, slots=True)
class Doubt:
    """Something that could use an image: which container or sandbox, as it was when the doubt was
    found, and in which way."""

    subject: Container | Sandbox
    way: str  # IMAGE, MOUNT or PAUSE


IMAGE, MOUNT, PAUSE = "image", "mount", "pause"


def doubts_about(state: State, now: float) -> dict[str, Doubt]:
    """By image key, the first doubt found about it."""
    found: dict[str, Doubt] = {}
    for finder in (_of_unknown_image, _of_unknown_mounts, _of_unknown_pause):
        for key, doubt in finder(state, now):
            found.setdefault(key, doubt)
    return found


Found = Iterator[tuple[str, Doubt]]


def _of_unknown_image(state: State, now: float) -> Found:
    for container_id in state.graph.unresolved:
        container = state.graph.containers[container_id]
        for image in state.graph.images.values():
            if could_mean(container, state.as_remembered(image)):
                yield image.key, Doubt(container, IMAGE)


def _of_unknown_mounts(state: State, now: float) -> Found:
    """What a container mounts that its status does not tell: what its pod's spec names, where a
    source tells that; else any image that was here when it was made."""
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
                yield image.key, Doubt(container, MOUNT)
    yield from _here_by_then(state, since, MOUNT)


def _mounted(state: State, container: Container, now: float) -> set[str] | None:
    """The repositories of the images that a container's pod mounts; None: nobody tells."""
    sandbox = state.graph.sandboxes.get(container.sandbox_id)
    if sandbox is None or not state.pods.awaited.tells_of(sandbox.uid, now):
        return None
    needs = state.pods.awaited.pods[sandbox.uid].needs
    return {repository_of(need.image) for need in needs if need.kind == VOLUME}


def _of_unknown_pause(state: State, now: float) -> Found:
    boxes = [one for one in state.narrowed(now) if one in state.graph.sandboxes]
    boxes += [one for one in state.graph.unnamed_sandboxes if one in state.runtime.unanswered.since]
    since = {one: state.runtime.unanswered.since[one] for one in boxes}
    for key, doubt in _here_by_then(state, since, PAUSE):
        if may_be_pause(state, state.graph.images[key]):
            yield key, doubt


def _here_by_then(state: State, since: dict[str, float], way: str) -> Found:
    """All images but those that came later than the newest of some containers or sandboxes."""
    if not since:
        return
    newest = max(since, key=lambda one: (since[one], one))
    subject = state.graph.containers.get(newest) or state.graph.sandboxes[newest]
    for key in state.graph.images:
        if not state.runtime.unanswered.came_later(key, since[newest]):
            yield key, Doubt(subject, way)


def may_be_pause(state: State, image: Image) -> bool:
    """Whether a sandbox could run on an image, for all that the image itself tells."""
    record = state.memory.images.get(image.key)
    return image.size <= LARGEST_PAUSE or record is None or not record.uses


def could_mean(container: Container, image: Image) -> bool:
    """Whether any name of a container whose image cannot be told could mean an image: the same
    repository under any tag or digest, or cut at its first ':' as CRI-O lists what has lost its
    tags; a prefix of the id; an image without names could be any. What is mounted is told by its
    manifest, if the image is listed under that digest: so it could be any that is listed under
    none."""
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
    """The repository of a listed name; a text that is no name stands for itself."""
    try:
        return parse_reference(name).repository
    except InvalidReference:
        return name
