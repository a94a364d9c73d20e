"""Who uses which image: images, their names, containers, sandboxes, image volumes.

The graph is edited in place by the one loop that owns it, so it needs no lock. Its invariants:

- An event costs O(containers of its pod), whatever the node's size; a listing looks at all of
  them and changes what differs.
- An event only ever adds doubt: an image that one named since the last listing is `dirty`, an event
  that could not be applied whole sets `needs_relist`. Both wait for the next listing.
- Where an event ends a use, the image is dirty too, so that it stays until a listing agrees; a
  container's state never goes back, and a pod that was ready stays ready.
- Every container's image is known, or the container is in `unresolved` with the time; details that
  no list contains and nobody has asked for yet are in `unasked_containers` and `unasked_sandboxes`.
- Names never determine who uses an image. They only add: what a container asked for by name is
  what it would be made from next time, so that image is kept too (`asking_for`).
- What never changes for one id and no list contains is carried over from listing to listing.

`resolving.py` finds which image a container runs on; `decision.py` acts on doubts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from .inventory import (
    Container,
    ContainerEvent,
    EventKind,
    Image,
    Listing,
    Sandbox,
    Stranger,
    Volume,
)
from .names import Asked
from .resolving import ImageResolver
from .steps import STEP, Steps, run_to_completion
from .uses import NOTHING, Uses


class ImageGraph:
    """Images by key (id without `sha256:`), and for each who uses it, known or not listed."""

    def __init__(self) -> None:
        self._resolver = ImageResolver()
        self.images: dict[str, Image] = self._resolver.listed
        self.containers: dict[str, Container] = {}
        self.sandboxes: dict[str, Sandbox] = {}
        self.unresolved: dict[str, float] = {}  # container id -> since when its image is unknown
        self.unasked_containers: set[str] = set()  # volumes not known yet
        self.unasked_sandboxes: set[str] = set()  # pause image not known yet
        self.unnamed_sandboxes: set[str] = set()  # asked, and their status names none
        self.strangers: dict[str, Stranger] = {}
        self.dirty: set[str] = set()  # image keys that events named since the last listing
        self.needs_relist = False  # an event since the last listing could not be applied whole
        # By events since the last listing, maybe wrongly: deleted, or shown by a container's alone.
        self.unlisted: dict[str, Sandbox] = {}
        self._uses = Uses()
        self._asked = Asked()

    # --- questions -----------------------------------------------------------------------------

    def users_of(self, key: str) -> frozenset[str]:
        """Ids of the containers, sandboxes and strangers that use an image in any way."""
        return self._uses.users(key)

    def uses_of(self, user_id: str) -> frozenset[str]:
        """Keys of the images that a container or sandbox uses: its own, its volumes'."""
        return self._uses.of(user_id)

    def is_used(self, key: str) -> bool:
        return self._uses.any_of(key)

    def asking_for(self, image: Image) -> frozenset[str]:
        """Ids of the containers whose creators asked for an image by a name it has now, or by its
        id or the beginning of it: made again they would be made from it, whatever they run on."""
        return self._asked.by(image)

    def asked_keys(self) -> set[str]:
        """Keys of all images for which `asking_for` finds a container."""
        return self._asked.keys(self._resolver.names, self.images)

    def used_keys(self) -> Iterator[str]:
        """Keys of all images in use, also of those that are not listed any more."""
        return self._uses.keys()

    def keys_named(self, name: str) -> frozenset[str]:
        """Images that a name, digest name or id means now; possibly none, never a guess."""
        return self._resolver.named(name)

    def is_new(self, sandbox_id: str) -> bool:
        """Whether a sandbox was never reported before; a list may have lacked it for a moment."""
        return sandbox_id not in self.sandboxes and not self._resolver.knows_sandbox(sandbox_id)

    def keys_meant(self, text: str, *, anywhere: bool) -> frozenset[str]:
        """Images that a pod's text may mean to the runtime now (`ListedNames.meant`)."""
        return self._resolver.names.meant(text, self.images, anywhere=anywhere)

    def images_of(self, container: Container) -> frozenset[str]:
        """Keys of the image a container was made from; empty: unknown."""
        return self._resolver.of_container(container)

    def meant_by(self, container: Container) -> frozenset[str]:
        """Keys of all images that a container and its volumes may use, by the names listed now."""
        return self._resolver.meant_by(container)

    def is_certain(self, container: Container) -> bool:
        """Whether all images of a container are certain by what is listed now."""
        return self._resolver.is_certain(container)

    # --- changes -------------------------------------------------------------------------------

    def replace(self, listing: Listing) -> None:
        """Makes the graph match a listing. What never changes for one id and no list contains
        (volumes, pause names) is carried over; doubts raised by older events are settled."""
        run_to_completion(self.replacing(listing))

    def replacing(self, listing: Listing) -> Steps[None]:
        """`replace` in steps."""
        self._resolver.replace(listing.images)
        listed = {sandbox.id for sandbox in listing.sandboxes}
        for sandbox_id in self.sandboxes.keys() - listed:
            self._remove_sandbox(sandbox_id)
        yield
        for number, sandbox in enumerate(listing.sandboxes, 1):
            self.put_sandbox(sandbox)
            if number % STEP == 0:
                yield
        yield from self._replace_containers(listing)
        self._replace_strangers(listing.strangers)
        self.dirty.clear()
        self.unlisted.clear()
        self.needs_relist = False

    def apply(self, event: ContainerEvent, at: float) -> None:
        """Applies what an event carries; what it does not carry needs a new listing."""
        if event.about_sandbox or event.subject_id in self.sandboxes:
            self._apply_to_sandbox(event)
        elif event.kind is EventKind.DELETED:
            self.needs_relist |= event.subject_id in self.unresolved  # a list may show its use
            self._remove_container(event.subject_id)
        elif all(container.id != event.subject_id for container in event.containers):
            # CRI-O without the pod label, or a container that is already gone again.
            self.needs_relist = True
        pod = event.sandbox
        if pod is not None and pod.ready and pod.id not in self.sandboxes:
            self.unlisted[pod.id] = pod
        for container in event.containers:
            if container.id != event.subject_id or event.kind is not EventKind.DELETED:
                self._merge_container(container, at)

    def put_volumes(self, container_id: str, volumes: tuple[Volume, ...], at: float) -> None:
        """Records the mounts that ContainerStatus reported for one container."""
        container = self.containers.get(container_id)
        if container is not None:
            self._put_container(replace(container, volumes=volumes), at)

    def put_sandbox(self, sandbox: Sandbox) -> None:
        """Adds or updates a sandbox: from a list, an event, or with pause names just asked for."""
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
        self._uses.set(sandbox.id, self._resolver.of_sandbox(sandbox))

    def _replace_strangers(self, strangers: Iterable[Stranger]) -> None:
        """The image of a stranger is known by name alone. What the name meant when it was first
        listed continues to count: the tag may move."""
        listed = {one.id: one for one in strangers}
        for stranger_id in self.strangers.keys() - listed.keys():
            self._uses.set(stranger_id, NOTHING)
        for one in listed.values():
            self._uses.set(one.id, self.uses_of(one.id) | self.keys_named(one.image))
        self.strangers = listed

    # --- one container, one sandbox ------------------------------------------------------------

    def _replace_containers(self, listing: Listing) -> Steps[None]:
        listed = {container.id for container in listing.containers}
        for container_id in self.containers.keys() - listed:
            self._remove_container(container_id)
        for number, container in enumerate(listing.containers, 1):
            known = self.containers.get(container.id)
            if known is None:
                self._put_container(container, listing.began_at)
            elif (
                not container.adds_nothing_to(known) or known.volumes or known.id in self.unresolved
            ):
                volumes = known.volumes if container.volumes is None else container.volumes
                self._put_container(replace(container, volumes=volumes), listing.began_at)
            if number % STEP == 0:
                yield

    def _merge_container(self, container: Container, at: float) -> None:
        """Takes state and volumes from an event. The image fields of a container that is already
        known stay: a list gives the id where events give a name (docs/runtimes.md)."""
        known = self.containers.get(container.id)
        if known is not None and self.images_of(known):
            volumes = container.volumes if container.volumes is not None else known.volumes
            state = max(known.state, container.state)
            container = replace(known, state=state, volumes=volumes)
        self._put_container(container, at)
        if container.id in self.unresolved:
            self.needs_relist = True
        self.dirty.update(self._uses.of(container.id))

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
        uses, certain = self._resolver.with_volumes(container)
        if certain:
            self.unresolved.pop(container.id, None)
        else:
            self.unresolved.setdefault(container.id, at)
        self._uses.set(container.id, uses)

    def _apply_to_sandbox(self, event: ContainerEvent) -> None:
        if event.kind is EventKind.DELETED:
            departed = self.sandboxes.get(event.subject_id)
            if departed is not None:
                self.unlisted[departed.id] = departed
            self._remove_sandbox(event.subject_id)
            self._resolver.forget_sandbox(event.subject_id)
        elif event.sandbox is not None:
            known = self.sandboxes.get(event.subject_id)
            # Only a listing can say that a pod is complete: an event never takes a reason away.
            ready = event.sandbox.ready or (known is not None and known.ready)
            self.put_sandbox(replace(event.sandbox, ready=ready))
        else:
            self.needs_relist = True

    def _remove_container(self, container_id: str) -> None:
        self.dirty.update(self._uses.of(container_id))
        self._asked.forget(self.containers.pop(container_id, None))
        self.unresolved.pop(container_id, None)
        self.unasked_containers.discard(container_id)
        self._uses.set(container_id, NOTHING)

    def _remove_sandbox(self, sandbox_id: str) -> None:
        self.dirty.update(self._uses.of(sandbox_id))
        self.sandboxes.pop(sandbox_id, None)
        self.unasked_sandboxes.discard(sandbox_id)
        self.unnamed_sandboxes.discard(sandbox_id)
        self._uses.set(sandbox_id, NOTHING)
