"""Which image a container, an image volume or a sandbox runs on, by what the runtime reports of it.

A container's image is determined by kubelet's own rule, which holds on every runtime we measured
(docs/runtimes.md): `image_id` if there is one, else `image_ref`; a full id is the image,
`repository@digest` is looked up by its digest among the listed ones; anything else leaves the
container unresolved.

- A name never determines a container's image: a tag may have moved since it was made.
- A digest or id determines a volume's or sandbox's; a name only adds what it meant when it was
  looked up, and makes nothing certain.
- What was once found for a mount or a sandbox stays: it does not change for one id, whatever a
  tag does and whatever a list lacks for a moment. A few thousand are remembered.
- Where nothing is known the answer is empty, never a guess.

`graph.py` holds who uses what; `names.py` says what else a text may mean.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import TypeVar

from .inventory import Container, Image, Sandbox, Volume, image_key, is_full_id, keys_of_id
from .names import ListedNames
from .reference import InvalidReference, parse_reference

NOTHING: frozenset[str] = frozenset()
REMEMBERED = 5_000  # volumes, and as many sandboxes, whose images are remembered
K = TypeVar("K")
V = TypeVar("V")


class ImageResolver:
    """The listed images, by key, and which of them a text from the runtime means."""

    def __init__(self) -> None:
        self.listed: dict[str, Image] = {}
        self.names = ListedNames()
        # What never changes for one id is kept even while a list lacks it.
        self._mounts: dict[tuple[str, Volume], tuple[frozenset[str], bool]] = {}  # images, certain
        self._pauses: dict[str, frozenset[str]] = {}  # sandbox id -> image keys

    def replace(self, images: Iterable[Image]) -> None:
        """Replaces the listed images by those of a new listing."""
        now_listed = {image.key: image for image in images}
        for key in self.listed.keys() - now_listed.keys():
            self.names.drop(self.listed.pop(key))
        for key, image in now_listed.items():
            known = self.listed.get(key)
            if known is image or known == image:
                continue
            if known is not None:
                self.names.drop(known)
            self.listed[key] = image
            self.names.put(image)

    def named(self, name: str) -> frozenset[str]:
        """Images that a name, digest name or id means now; possibly none."""
        if is_full_id(name):
            key = image_key(name)
            return frozenset((key,)) if key in self.listed else NOTHING
        return self.names.of_name(name)

    def of_container(self, container: Container) -> frozenset[str]:
        """The image that a container was made from (more than one only where a runtime lists one
        digest under several images); empty: unknown."""
        text = container.image_id or container.image_ref
        keys = keys_of_id(text)
        return self.names.of_digest(text.partition("@")[2]) if keys is None else keys

    def with_volumes(self, container: Container) -> tuple[frozenset[str], bool]:
        """The images of a container and of its volumes, and whether all of them are certain."""
        keys = self.of_container(container)
        all_certain = bool(keys)
        for volume in container.volumes or ():
            mounted, certain = self._of_volume(container.id, volume)
            keys, all_certain = keys | mounted, all_certain and certain
        return keys, all_certain

    def is_certain(self, container: Container) -> bool:
        """Whether all images of a container are certain; also of one that is gone. Volumes that
        were not reported are not counted."""
        volumes = container.volumes or ()
        return bool(self.of_container(container)) and all(
            self._of_volume(container.id, volume)[1] for volume in volumes
        )

    def meant_by(self, container: Container) -> frozenset[str]:
        """All images that a container and its volumes may use, by the names that are listed now;
        also of a container that is gone."""
        keys = self.of_container(container)
        for volume in container.volumes or ():
            keys |= self.named(volume.image) | self._by_digest(volume)
        return keys

    def _of_volume(self, container_id: str, volume: Volume) -> tuple[frozenset[str], bool]:
        """The images behind a volume, and whether that is certain: by an id or a digest. A tag may
        have moved between the mount and our first look, so it only adds."""
        if is_full_id(volume.image):
            return frozenset((image_key(volume.image),)), True
        before, certain = self._mounts.get((container_id, volume), (NOTHING, False))
        by_digest = self._by_digest(volume)
        keys = before | by_digest | self.named(volume.image)
        found = keys, certain or bool(by_digest)
        if keys:
            _remember(self._mounts, (container_id, volume), found)
        return found

    def _by_digest(self, volume: Volume) -> frozenset[str]:
        """By the manifest that was mounted, whatever repository it is listed under: an image tagged
        on the node with another repository keeps its digest under the first one."""
        try:
            digest = volume.manifest_digest or parse_reference(volume.image).digest
        except InvalidReference:
            return NOTHING
        return self.names.of_digest(digest or "")

    def of_sandbox(self, sandbox: Sandbox) -> frozenset[str]:
        """The images that the names of its pause image mean now, or meant before."""
        named = (key for name in sandbox.pause or () for key in self.named(name))
        keys = _shared(self._pauses.get(sandbox.id, NOTHING).union(named))
        _remember(self._pauses, sandbox.id, keys)
        return keys

    def knows_sandbox(self, sandbox_id: str) -> bool:
        """Whether its pause image was looked up before, perhaps before a list that lacks it."""
        return sandbox_id in self._pauses

    def forget_sandbox(self, sandbox_id: str) -> None:
        """The sandbox is gone for good: an event said so, it is not a list that lacks it."""
        self._pauses.pop(sandbox_id, None)


@functools.lru_cache(maxsize=1024)
def _shared(keys: frozenset[str]) -> frozenset[str]:
    """One set for all that are equal: thousands of sandboxes use the same pause image."""
    return keys


def _remember(memory: dict[K, V], subject: K, value: V) -> None:
    """Stores a value as the newest of all, and drops the oldest where there are too many."""
    memory.pop(subject, None)
    memory[subject] = value
    if len(memory) > REMEMBERED:
        del memory[next(iter(memory))]
