"""What was reported to the daemon, recorded independently and trusting nothing of the product.

All of it comes from answers and events as they left the runtime, by container and sandbox ids;
which images those use is looked up in the node's own truth, never parsed. Times are by the
daemon's clock.
"""

from __future__ import annotations

from typing import Any

from reconciler.fake_runtime.node import Node

from .pods_known import PodsKnown
from .records import Ages, ListedImage, Look

REFUSED_FIRST, REFUSED_LAST = 300.0, 3600.0  # seconds
LOST_FIRST = 10.0
DELETED = 3  # CONTAINER_DELETED_EVENT


class Knowledge:
    """What one process of the daemon knows, and the ledger that it leaves behind."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.users: dict[str, tuple[str, frozenset[str]]] = {}  # id -> image, images of volumes
        self.pauses: dict[str, tuple[str, str]] = {}  # sandbox -> pause image, its name then
        self.clocks: dict[str, float] = {}  # containers: how far the clock was set when made
        self.on_disk = Ages()
        self.pods = PodsKnown(self)
        self._order = 0
        self._set = self._set_on_disk = 0.0  # how far the clock of these times was set
        self.clock_set = 0.0  # and how far the runtime's is set now
        self.begin(0.0, ledger=False)
        node.listeners.append(lambda *_: self.note_users())

    def begin(self, now: float, ledger: bool, clock_set: float = 0.0) -> None:
        """A new process of the daemon, with or without its ledger. Its clock may have been set
        since: that does not change how old an image is."""
        self._set = self.clock_set = clock_set
        self.pods.begin(ledger, clock_set - self._set_on_disk)
        self.ages = self.on_disk.moved(clock_set - self._set_on_disk) if ledger else Ages()
        if not ledger:
            self.on_disk = Ages()
        for times in (self.ages.first, self.ages.used, self.ages.sent, self.ages.removed):
            times.update({key: min(at, now) for key, at in times.items()})
        self.ages.back = {k: (min(at, now), gap) for k, (at, gap) in self.ages.back.items()}
        # How often it was refused is not remembered; that it was asked for is.
        self.ages.refused = {k: (at + REFUSED_FIRST, 1) for k, at in self.ages.sent.items()}
        self.look: Look | None = None  # the last complete listing
        self.failed = True  # the last try to list failed, or there was none
        self._next: Look | None = None
        self.deleted: set[str] = set()  # containers whose end an event reported
        self.first_in_event: dict[str, float] = {}  # containers: when an event first had them
        self.reported: set[str] = set()  # containers of the last listing, and of events since
        self.mounts_known: set[str] = set()
        self._pause_asked: set[str] = set()  # sandboxes whose pause name is known
        self.pauses_known: set[str] = set()  # and which image it means
        self.named: list[tuple[str, int, str, int]] = []  # image, order, user and kind of events
        self._waiting: list[tuple[str, float]] = []  # uses that events reported, not drained yet
        self._lost = ""  # the image whose removal the runtime's end cut off, lately
        self.unresolved: dict[str, float] = {}  # containers, and since when

    def note_users(self) -> None:
        """Notes everything that uses an image now; what one id uses never changes."""
        for one in self._node.containers.values():
            if one.id not in self.users:
                volumes = frozenset(volume.image.hex_id for volume in one.volumes)
                self.users[one.id] = (one.image.hex_id, volumes)
                self.clocks[one.id] = self.clock_set
        for box in self._node.sandboxes.values():
            self.pauses.setdefault(box.id, (box.pause.hex_id, box.pause_name))

    def next_order(self) -> int:
        """A number greater than all before it, also where no time passes."""
        self._order += 1
        return self._order

    # --- answers -------------------------------------------------------------------------------

    def images(self, answer: list[Any], asked_at: float, order: int, at: float) -> None:
        listed: dict[str, ListedImage] = {}
        for one in answer:
            key = one.id.removeprefix("sha256:")
            new = ListedImage(
                one.id, tuple(one.repo_tags), tuple(one.repo_digests), one.pinned, one.size
            )
            listed[key] = listed[key].merged(new) if key in listed else new
        self._next = Look(asked_at, order, listed, at)

    def containers(self, answer: list[Any], at: float) -> None:
        if self._next is None:
            self._next = Look(at)
        self.pods.containers(answer)
        self._next.containers = {one.id: one.image.image for one in answer}
        self._next.containers_at = at
        for one in answer:
            if one.image_ref or one.image_id:
                self.unresolved.pop(one.id, None)
            else:
                since = min(self._next.began, self.first_in_event.get(one.id, at))
                self.unresolved.setdefault(one.id, since)
        self._finish(at)

    def sandboxes(self, answer: list[Any], at: float) -> None:
        if self._next is None:
            return
        self.pods.sandboxes(answer)
        self._next.sandboxes = {one.id for one in answer}
        self._finish(at)

    def list_failed(self) -> None:
        self._next, self.failed = None, True

    def status(self, container_id: str, at: float) -> None:
        self.mounts_known.add(container_id)
        self.pods.status(container_id, at)

    def pause(self, sandbox_id: str) -> None:
        """PodSandboxStatus was answered: with a name, which means what the listings say."""
        self._pause_asked.add(sandbox_id)
        self._place_pauses()

    def _place_pauses(self) -> None:
        """Once the pause name is known, each listing that has it on an image shows the image."""
        images = (self.look.images if self.look else None) or {}
        for box in self._pause_asked & self.pauses.keys():
            key, name = self.pauses[box]
            if key in images and name in images[key].tags:
                self.pauses_known.add(box)

    def event(self, subject: str, kind: int, payload: set[str], at: float) -> None:
        """An event reached the daemon's reader."""
        self.mounts_known.update(payload)
        known = subject in self.reported or subject in payload
        self.reported.update(payload)
        if kind == DELETED:
            self.deleted.add(subject)
        if known and subject in self.users and subject not in self.unresolved:
            for key in self.images_of(subject):
                self.named.append((key, self.next_order(), subject, kind))
                self._waiting.append((key, at))

    def drained(self) -> None:
        """The loop took what was in the mailbox. Before the first listing the names in it mean
        nothing yet, and with the process they are forgotten."""
        if self.look is None:
            return
        for key, at in self._waiting:
            if key in self.ages.first:
                self.ages.used[key] = max(at, self.ages.used.get(key, 0.0))
        self._waiting.clear()

    def removal_sent(self, key: str, at: float, begun: float | None) -> None:
        """RemoveImage left; `begun` is when its intent was written to the ledger, None: it could
        not be."""
        self.ages.sent[key] = at
        self.ages.back.pop(key, None)
        if begun is not None:
            self.on_disk.sent[key] = begun
            self.on_disk.back.pop(key, None)

    def removal_answered(self, key: str, lost: bool) -> None:
        self._lost = key if lost else ""

    def saved(self) -> None:
        """The ledger is on disk."""
        self.on_disk, self._set_on_disk = self.ages.copy(), self._set
        self.pods.saved()

    def forget_disk(self) -> None:
        """What was on disk is gone."""
        self.on_disk = Ages()
        self.pods.forget_disk()

    def images_of(self, container_id: str) -> frozenset[str]:
        """What a container is known to use: its image, and its volumes once they are reported."""
        image, volumes = self.users[container_id]
        return frozenset((image,)) | (volumes if container_id in self.mounts_known else frozenset())

    # --- a listing is whole -------------------------------------------------------------------

    def _finish(self, at: float) -> None:
        look = self._next
        if look is None or not look.complete:
            return
        assert look.images is not None
        assert look.containers is not None
        before, self.look, self._next, self.failed = self.look, look, None, False
        self._run(look)
        self._place_pauses()
        self.drained()
        self.reported = set(look.containers)
        used = self._used(look) | (self._used(before) if before else frozenset())
        for key in used & self.ages.first.keys():
            self.ages.used[key] = max(look.containers_at, self.ages.used.get(key, 0.0))
        # A listing without the container that an event deletes is later than that event.
        self.named = [
            (key, order, user, kind)
            for key, order, user, kind in self.named
            if order > look.order and (kind != DELETED or user in look.containers)
        ]
        self.unresolved = {
            one: since for one, since in self.unresolved.items() if one in look.containers
        }
        self.pods.listed(at)

    def _used(self, look: Look) -> frozenset[str]:
        known = (look.containers or {}).keys() - self.unresolved.keys() - self.deleted
        found = [self.images_of(one) for one in known if one in self.users]
        return frozenset().union(*found)

    def _run(self, look: Look) -> None:
        """Which images are new, which are gone, and how a removal ended."""
        ages, listed = self.ages, look.images or {}
        for key in listed.keys() - ages.first.keys():
            ages.first[key] = look.images_at
            if key in ages.removed:
                ages.back[key] = (look.images_at, look.images_at - ages.removed[key])
        for key in ages.first.keys() - listed.keys():
            del ages.first[key]
            ages.used.pop(key, None)
            ages.refused.pop(key, None)
        for key, at in list(ages.sent.items()):
            if key not in listed:
                ages.removed[key] = look.images_at
                del ages.sent[key]
            elif at <= look.began and not self._settled(key, at):
                before = ages.refused.get(key)
                count = before[1] + 1 if before else int(key != self._lost)
                wait = min(REFUSED_FIRST * 2 ** (count - 1), REFUSED_LAST) if count else LOST_FIRST
                ages.refused[key] = (look.images_at + wait, count)

    def _settled(self, key: str, sent_at: float) -> bool:
        """Whether a refusal of this very removal is noted already."""
        return key in self.ages.refused and self.ages.refused[key][0] > sent_at
