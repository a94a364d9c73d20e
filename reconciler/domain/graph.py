"""Who uses which image: images, their names, containers, sandboxes, image volumes.

The graph is edited in place. An event costs O(containers of its pod), whatever the node's size; a
listing replaces what differs. One loop owns it, so it needs no lock. Whatever an event says only
ever adds doubt: an image that an event named since the last listing is `touched`, an event that
could not be applied whole makes the graph `ambiguous`, and both wait for the next listing.

How a container's image is told (`image_of`) is kubelet's own rule, which holds on every runtime we
measured (docs/runtimes.md): `image_id` if there is one, else `image_ref`; a full id is the image,
`repository@digest` is looked up by its digest among those listed; anything else is untold. Names
never tell: a tag may have moved since the container was made. They only add: what a container asked
for by name is what it would be made from the next time, so that image is kept too (`asking_for`).
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TypeVar

from .inventory import (
    Container,
    ContainerEvent,
    EventKind,
    Image,
    Listing,
    Sandbox,
    Stranger,
    Volume,
    image_key,
    is_full_id,
    keys_of_id,
)
from .names import Asked, ListedNames
from .reference import InvalidReference, parse_reference
from .slices import SLICE, Slices, finished

NOTHING: frozenset[str] = frozenset()


REMEMBERED = 5_000  # volumes, and sandboxes, of which something was told
K = TypeVar("K")
V = TypeVar("V")


class ImageGraph:
    """Images by key (id without `sha256:`), and for each who uses it, known or not listed."""

    def __init__(self) -> None:
        self.images: dict[str, Image] = {}
        self.containers: dict[str, Container] = {}
        self.sandboxes: dict[str, Sandbox] = {}
        self.untold: dict[str, float] = {}  # container id -> since when its image can't be told
        self.unasked_containers: set[str] = set()  # volumes not known yet
        self.unasked_sandboxes: set[str] = set()  # pause image not known yet
        self.unnamed_sandboxes: set[str] = set()  # asked, and their status names none
        self.strangers: dict[str, Stranger] = {}
        self.touched: set[str] = set()  # image keys that events named since the last listing
        self.ambiguous = False  # an event since the last listing could not be applied whole
        self.departed: dict[str, Sandbox] = {}  # by an event since the last listing, which may lie
        self._names = ListedNames()
        self._users: dict[str, set[str]] = {}  # image key -> container and sandbox ids
        self._uses: dict[str, frozenset[str]] = {}  # container or sandbox id -> image keys
        # What never changes for one id is remembered beyond the lists that lack it.
        self._mounts: dict[tuple[str, Volume], tuple[frozenset[str], bool]] = {}  # images, certain
        self._pauses: dict[str, frozenset[str]] = {}  # sandbox id -> image keys
        self._asked = Asked()

    # --- questions -----------------------------------------------------------------------------

    def users_of(self, key: str) -> frozenset[str]:
        """Ids of the containers, sandboxes and strangers that use an image in any way."""
        return frozenset(self._users.get(key, ()))

    def uses_of(self, user_id: str) -> frozenset[str]:
        """Keys of the images that a container or sandbox uses: its own, its volumes'."""
        return self._uses.get(user_id, NOTHING)

    def is_used(self, key: str) -> bool:
        return key in self._users

    def asking_for(self, image: Image) -> frozenset[str]:
        """Ids of the containers whose creators asked for an image by a name it has now, or by its
        id or the beginning of it: made anew they would be made from it, whatever they run on."""
        return self._asked.by(image)

    def asked_keys(self) -> set[str]:
        """Keys of all images that `asking_for` finds somebody for."""
        return self._asked.keys(self._names, self.images)

    def used_keys(self) -> Iterator[str]:
        """Keys of all images in use, also of those that no listing holds any more."""
        return iter(self._users)

    def keys_named(self, name: str) -> frozenset[str]:
        """Images that a name, digest name or id means now; maybe none, never a guess."""
        if is_full_id(name):
            key = image_key(name)
            return frozenset((key,)) if key in self.images else frozenset()
        return self._names.of_name(name)

    def is_new(self, sandbox_id: str) -> bool:
        """Whether a sandbox was not told before; a list may have lacked it for a moment."""
        return sandbox_id not in self.sandboxes and sandbox_id not in self._pauses

    def keys_meant(self, text: str, *, anywhere: bool) -> frozenset[str]:
        """Images that a pod's text may mean to the runtime now (`ListedNames.meant`)."""
        return self._names.meant(text, self.images, anywhere=anywhere)

    def images_of(self, container: Container) -> frozenset[str]:
        """Keys of the image a container was made from (more than one only where a runtime lists
        one digest under several images); none: it cannot be told."""
        told = container.image_id or container.image_ref
        keys = keys_of_id(told)
        if keys is not None:
            return keys
        return self._names.of_digest(told.partition("@")[2])

    def meant_by(self, container: Container) -> frozenset[str]:
        """Keys of all images that a container and its volumes may be made from, by the names that
        are listed now; also of a container that is gone."""
        keys = self.images_of(container)
        for volume in container.volumes or ():
            keys |= self.keys_named(volume.image) | self._keys_by_digest(volume)
        return keys

    def tells(self, container: Container) -> bool:
        """Whether all images of a container are certain by what is listed now; also of one that is
        gone. Volumes that nobody told are not counted."""
        volumes = container.volumes or ()
        return bool(self.images_of(container)) and all(
            self._volume_keys(container.id, volume)[1] for volume in volumes
        )

    # --- changes -------------------------------------------------------------------------------

    def replace(self, listing: Listing) -> None:
        """Makes the graph what a listing says. What never changes for one id and no list tells
        (volumes, pause names) is carried over; doubts that older events raised are settled."""
        finished(self.replacing(listing))

    def replacing(self, listing: Listing) -> Slices[None]:
        """`replace` in slices."""
        self._replace_images(listing.images)
        listed = {sandbox.id for sandbox in listing.sandboxes}
        for sandbox_id in self.sandboxes.keys() - listed:
            self._remove_sandbox(sandbox_id)
        yield
        for number, sandbox in enumerate(listing.sandboxes, 1):
            self.put_sandbox(sandbox)
            if number % SLICE == 0:
                yield
        yield from self._replace_containers(listing)
        self._replace_strangers(listing.strangers)
        self.touched.clear()
        self.departed.clear()
        self.ambiguous = False

    def apply(self, event: ContainerEvent, at: float) -> None:
        """Applies what an event carries; what it does not carry makes the graph ambiguous."""
        if event.about_sandbox or event.subject_id in self.sandboxes:
            self._apply_to_sandbox(event)
        elif event.kind is EventKind.DELETED:
            self.ambiguous |= event.subject_id in self.untold  # a listing may tell what it used
            self._remove_container(event.subject_id)
        elif all(container.id != event.subject_id for container in event.containers):
            self.ambiguous = True  # CRI-O without the pod label; a container already gone again
        for container in event.containers:
            if container.id != event.subject_id or event.kind is not EventKind.DELETED:
                self._merge_container(container, at)

    def put_volumes(self, container_id: str, volumes: tuple[Volume, ...], at: float) -> None:
        """What ContainerStatus told of one container's mounts."""
        container = self.containers.get(container_id)
        if container is not None:
            self._put_container(replace(container, volumes=volumes), at)

    def put_sandbox(self, sandbox: Sandbox) -> None:
        """A sandbox as listed, as an event told it, or with its pause names just asked for."""
        known = self.sandboxes.get(sandbox.id)
        if known is not None and sandbox.pause is None:
            sandbox = known if known.ready == sandbox.ready else replace(known, ready=sandbox.ready)
        self.sandboxes[sandbox.id] = sandbox
        if sandbox.pause is None:
            self.unasked_sandboxes.add(sandbox.id)
            return
        self.unasked_sandboxes.discard(sandbox.id)
        if not sandbox.pause and not sandbox.pauseless:
            self.unnamed_sandboxes.add(sandbox.id)
        named = (key for name in sandbox.pause for key in self.keys_named(name))
        # Once told, for good: the tag may move, a list may lack the sandbox for a moment.
        told = _shared(self._pauses.get(sandbox.id, NOTHING).union(named))
        _remember(self._pauses, sandbox.id, told)
        self._set_uses(sandbox.id, told)

    # --- images --------------------------------------------------------------------------------

    def _replace_images(self, images: Iterable[Image]) -> None:
        listed = {image.key: image for image in images}
        for key in self.images.keys() - listed.keys():
            self._names.drop(self.images.pop(key))
        for key, image in listed.items():
            known = self.images.get(key)
            if known is image or known == image:
                continue
            if known is not None:
                self._names.drop(known)
            self.images[key] = image
            self._names.put(image)

    def _replace_strangers(self, strangers: Iterable[Stranger]) -> None:
        """Their images are told by name alone. What it meant when one was first listed goes on to
        count for it: the tag may move."""
        listed = {one.id: one for one in strangers}
        for stranger_id in self.strangers.keys() - listed.keys():
            self._set_uses(stranger_id, NOTHING)
        for one in listed.values():
            self._set_uses(one.id, self.uses_of(one.id) | self.keys_named(one.image))
        self.strangers = listed

    # --- containers and sandboxes --------------------------------------------------------------

    def _replace_containers(self, listing: Listing) -> Slices[None]:
        listed = {container.id for container in listing.containers}
        for container_id in self.containers.keys() - listed:
            self._remove_container(container_id)
        for number, container in enumerate(listing.containers, 1):
            known = self.containers.get(container.id)
            if known is None:
                self._put_container(container, listing.began_at)
            elif not _same(known, container) or known.volumes or known.id in self.untold:
                volumes = known.volumes if container.volumes is None else container.volumes
                self._put_container(replace(container, volumes=volumes), listing.began_at)
            if number % SLICE == 0:
                yield

    def _merge_container(self, container: Container, at: float) -> None:
        """Takes an event's word for state and volumes. For a container known already, its image
        fields stay: a list gives the id where events give a name (docs/runtimes.md)."""
        known = self.containers.get(container.id)
        if known is not None and self.images_of(known):
            volumes = container.volumes if container.volumes is not None else known.volumes
            state = max(known.state, container.state)
            container = replace(known, state=state, volumes=volumes)
        self._put_container(container, at)
        if container.id in self.untold:
            self.ambiguous = True
        self.touched.update(self._uses.get(container.id, ()))

    def _put_container(self, container: Container, at: float) -> None:
        known = self.containers.get(container.id)
        asked = container.image, container.image_ref
        if known is None or (known.image, known.image_ref) != asked:
            self._asked.forget(known)
            self._asked.note(container)
        self.containers[container.id] = container
        if container.volumes is None:
            self.unasked_containers.add(container.id)
        else:
            self.unasked_containers.discard(container.id)
        uses = self.images_of(container)
        told = bool(uses)
        for volume in container.volumes or ():
            mounted, certain = self._volume_keys(container.id, volume)
            uses, told = uses | mounted, told and certain
        if told:
            self.untold.pop(container.id, None)
        else:
            self.untold.setdefault(container.id, at)
        self._set_uses(container.id, uses)

    def _volume_keys(self, container_id: str, volume: Volume) -> tuple[frozenset[str], bool]:
        """The images behind a volume, and whether that is certain: by an id or a digest. A tag may
        have moved between the mount and our first look, so it only adds. What was told once stays
        told for this container: its mount does not change."""
        if is_full_id(volume.image):
            return frozenset((image_key(volume.image),)), True
        before, certain = self._mounts.get((container_id, volume), (frozenset(), False))
        by_digest = self._keys_by_digest(volume)
        keys = before | by_digest | self.keys_named(volume.image)
        told = keys, certain or bool(by_digest)
        if keys:
            _remember(self._mounts, (container_id, volume), told)
        return told

    def _keys_by_digest(self, volume: Volume) -> frozenset[str]:
        """By the manifest that was mounted, whatever repository it is listed under: what a tag of
        another repository was given to on the node keeps its digest under the first."""
        try:
            digest = volume.manifest_digest or parse_reference(volume.image).digest
        except InvalidReference:
            return NOTHING
        return self._names.of_digest(digest or "")

    def _apply_to_sandbox(self, event: ContainerEvent) -> None:
        if event.kind is EventKind.DELETED:
            departed = self.sandboxes.get(event.subject_id)
            if departed is not None:
                self.departed[departed.id] = departed
            self._remove_sandbox(event.subject_id)
            self._pauses.pop(event.subject_id, None)  # no list lacks it by mistake
        elif event.sandbox is not None:
            known = self.sandboxes.get(event.subject_id)
            # That a pod is complete is a listing's to tell: an event never takes a reason away.
            ready = event.sandbox.ready or (known is not None and known.ready)
            self.put_sandbox(replace(event.sandbox, ready=ready))
        else:
            self.ambiguous = True

    def _remove_container(self, container_id: str) -> None:
        self.touched.update(self._uses.get(container_id, ()))
        container = self.containers.pop(container_id, None)
        self._asked.forget(container)
        self.untold.pop(container_id, None)
        self.unasked_containers.discard(container_id)
        self._set_uses(container_id, frozenset())

    def _remove_sandbox(self, sandbox_id: str) -> None:
        self.touched.update(self._uses.get(sandbox_id, ()))
        self.sandboxes.pop(sandbox_id, None)
        self.unasked_sandboxes.discard(sandbox_id)
        self.unnamed_sandboxes.discard(sandbox_id)
        self._set_uses(sandbox_id, frozenset())

    def _set_uses(self, user_id: str, keys: frozenset[str]) -> None:
        before = self._uses.get(user_id, NOTHING)
        if keys == before:
            return
        for key in before - keys:
            users = self._users[key]
            users.discard(user_id)
            if not users:
                del self._users[key]
        for key in keys - before:
            self._users.setdefault(key, set()).add(user_id)
        if keys:
            self._uses[user_id] = keys
        else:
            self._uses.pop(user_id, None)


@functools.lru_cache(maxsize=1024)
def _shared(keys: frozenset[str]) -> frozenset[str]:
    """One set for all that are equal: thousands of sandboxes use the same pause image."""
    return keys


def _remember(memory: dict[K, V], subject: K, told: V) -> None:
    """Notes what was told of a subject last of all, and forgets the one told longest ago."""
    memory.pop(subject, None)
    memory[subject] = told
    if len(memory) > REMEMBERED:
        del memory[next(iter(memory))]


def _same(known: Container, listed: Container) -> bool:
    """Whether a listing says nothing new of a container: the rest never changes for one id."""
    return (
        known.state == listed.state
        and known.image == listed.image
        and known.image_id == listed.image_id
        and known.image_ref == listed.image_ref
        and (listed.volumes is None or listed.volumes == known.volumes)
    )
