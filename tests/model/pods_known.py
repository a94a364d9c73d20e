"""What was reported to the daemon of pods that are about to start, for S10: by a source of pods,
and by the runtime alone. None of the product's code is used.

Only clear cases count. Twins are pods with one and the same label of a controller; what a twin used
counts once its image and its sandbox were listed. A start counts if nothing else started lately.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from reconciler.domain.facts import Fact, PodGone, PodReported, PodsLost, PodsReported
from reconciler.domain.pods import Pod

from .twins import Box, Inside, Twins, Used, box_of, inside_of

if TYPE_CHECKING:
    from .knowledge import Knowledge

EPSILON = 1e-6  # seconds
KEPT_FOR = 600.0  # seconds that pods count after their source was lost
LONGEST_START = 5.0
SETTLED_AFTER = 60.0
APART = 30.0  # seconds without another start, so that pods' turn to hold can't be over
DELETED = 3  # CONTAINER_DELETED_EVENT


class PodsKnown:
    """What one process of the daemon knows, and the ledger that it leaves behind."""

    def __init__(self, knows: Knowledge) -> None:
        self._knows = knows
        self.on_disk = Twins()
        self.begin(ledger=False, step=0.0)

    def begin(self, ledger: bool, step: float) -> None:
        """A new process of the daemon, its clock set by `step` since the ledger was written."""
        self.twins = self.on_disk.moved(step) if ledger else Twins()
        if not ledger:
            self.on_disk = Twins()
        self.pods: dict[str, Pod] = {}  # as a source reported them
        self._ever_reported: set[str] = set()
        self._lost_at: float | None = None
        self._boxes: dict[str, Box] | None = None  # of the last complete listing
        self._next: dict[str, Box] = {}
        self._next_inside: list[Inside] = []
        self._listed: dict[str, Inside] = {}
        self._by_event: dict[str, Box] = {}  # since that listing, by their own events
        self._carried: dict[str, Box] = {}  # and by those of their containers
        self._first_reported: dict[str, float] = {}
        self._notes: list[float] = []  # when sandboxes were reported, new or new again
        self._busy: set[str] = set()  # sandboxes in which a container was reported
        self._gone: set[str] = set()
        self._events: list[tuple[Any, float]] = []  # not drained yet
        self._unplaced: dict[str, tuple[Inside, Box]] = {}  # reported before their image was

    # --- a source ------------------------------------------------------------------------------

    def reported(self, fact: Fact) -> None:
        """The loop took a fact from a source."""
        if isinstance(fact, PodsReported):
            self.pods, self._lost_at = {pod.uid: pod for pod in fact.pods}, None
        elif isinstance(fact, PodReported):
            self.pods[fact.pod.uid] = fact.pod
        elif isinstance(fact, PodGone):
            self.pods.pop(fact.uid, None)
        elif isinstance(fact, PodsLost) and self._lost_at is None:
            self._lost_at = fact.at
        self._ever_reported |= self.pods.keys()

    def waiting(self, now: float) -> Iterator[tuple[str, str]]:
        """Pods that are not finished, and each image that they need."""
        if self._lost_at is not None and now - self._lost_at >= KEPT_FOR - EPSILON:
            return
        for pod in self.pods.values():
            for need in () if pod.finished else pod.needs:
                yield pod.name, need.image

    # --- the runtime ---------------------------------------------------------------------------

    def containers(self, answer: Iterable[Any]) -> None:
        self._next_inside = [inside_of(one, one.pod_sandbox_id) for one in answer]
        self._busy.update(one.sandbox for one in self._next_inside)

    def sandboxes(self, answer: Iterable[Any]) -> None:
        self._next = {one.id: box_of(one) for one in answer}

    def listed(self, at: float) -> None:
        """A listing is whole."""
        first, known = self._boxes is None, {**(self._boxes or {}), **self._by_event}
        self._boxes, self._by_event, self._carried = self._next, {}, {}
        for one in self._boxes.keys() - known.keys():
            self._note(one, min(self._boxes[one].created_at, at) if first else at)
        self._listed = {one.id: one for one in self._next_inside}
        for inside in self._next_inside:
            self._learn(inside, self._boxes.get(inside.sandbox), at)
        self._place()

    def event(self, message: Any, at: float) -> None:
        """An event reached the daemon's reader."""
        self._events.append((message, at))
        self._busy.update(message.pod_sandbox_status.id for _ in message.containers_statuses)

    def drained(self) -> None:
        """The loop took the events."""
        for message, at in self._events:
            self._take(message, at)
        self._events.clear()

    def status(self, container_id: str, at: float) -> None:
        """ContainerStatus reported what a container mounts."""
        inside = self._listed.get(container_id)
        if inside is not None and self._boxes is not None:
            self._learn(inside, self._boxes.get(inside.sandbox), at)

    def saved(self) -> None:
        self.on_disk = self.twins.copy()

    def forget_disk(self) -> None:
        self.on_disk = Twins()

    def _take(self, message: Any, at: float) -> None:
        subject, status = message.container_id, message.pod_sandbox_status
        if message.container_event_type == DELETED:
            self._gone.add(subject)
        elif message.HasField("pod_sandbox_status"):
            box = box_of(status)
            if status.id not in (self._boxes or ()):
                self._note(status.id, at)
            (self._by_event if subject == status.id else self._carried)[status.id] = box
        boxes = {**self._carried, **self._by_event, **(self._boxes or {})}
        carried = box_of(status) if message.HasField("pod_sandbox_status") else None
        known = boxes.get(status.id, carried)  # the end of a container reports its pod as well
        for one in message.containers_statuses:
            if known is not None and known.template is not None:
                self.twins.first.setdefault(known.template, at)
            inside = inside_of(one, status.id)
            if self._resolves(inside):
                self._learn(inside, known, at)
            elif known is not None:
                self._unplaced[inside.id] = inside, known

    def _note(self, sandbox: str, at: float) -> None:
        self._first_reported.setdefault(sandbox, at)
        self._notes.append(at)

    def _resolves(self, inside: Inside) -> bool:
        """Whether the last listing shows which image an event's reference means."""
        image = self._knows.users.get(inside.id, ("", frozenset()))[0]
        listed = self._knows.look.images if self._knows.look else None
        found = (listed or {}).get(image)
        if found is None or inside.id in self._knows.unresolved:
            return False
        return inside.ref.removeprefix("sha256:") == image or inside.ref in found.digests

    def _learn(self, inside: Inside, box: Box | None, at: float) -> None:
        """A container of a template uses images, all of which the last listing has."""
        knows = self._knows
        if box is None or box.template is None or inside.id not in knows.users:
            return
        self.twins.first.setdefault(box.template, at)
        listed = (knows.look.images if knows.look else None) or {}
        if inside.id in knows.unresolved or knows.users[inside.id][0] not in listed:
            return
        images = knows.images_of(inside.id) & listed.keys()
        new = Used(inside.id, inside.made, knows.clocks.get(inside.id, 0.0), images)
        place = box.template, inside.name
        known = self.twins.used.get(place)
        if known is None:
            self.twins.used[place] = new
        elif known.container == inside.id:
            self.twins.used[place] = replace(known, images=known.images | images)
        elif known.clock != new.clock or known.made == new.made:
            self.twins.used[place] = replace(new, clear=False)
        elif new.made > known.made:
            self.twins.used[place] = replace(new, clear=known.clear)

    def _place(self) -> None:
        """Containers whose images are known only from this listing may be gone by now, and their
        pods: only what both they and those before them used is certain."""
        knows, waiting = self._knows, self._unplaced
        self._unplaced = {}
        for inside, box in waiting.values():
            known = self.twins.used.get((box.template or "", inside.name))
            if known is None or inside.made <= known.made or inside.id not in knows.users:
                continue
            both = known.images & knows.images_of(inside.id)
            self.twins.used[box.template or "", inside.name] = replace(known, images=both)

    # --- what speaks against a removal ---------------------------------------------------------

    def twins_of(self, key: str) -> Iterator[str]:
        """Pods that are up, and another of whose template used an image."""
        new = {
            one: box
            for one, box in {**self._carried, **self._by_event}.items()
            if one not in self._gone
        }
        boxes = {**new, **(self._boxes or {})}
        ready = {box.template: one for one, box in boxes.items() if box.ready}
        for (template, name), used in self.twins.used.items():
            if used.clear and key in used.images and template in ready:
                box = ready[template][:8]
                yield f"twins of sandbox {box} use it: {template}, {name} {used.container[:8]}"

    def starts(self, now: float) -> Iterator[str]:
        """Sandboxes that are new, and whose needs are unknown."""
        boxes = {**(self._boxes or {}), **self._by_event}
        for one, at in self._first_reported.items():
            box = boxes.get(one)
            if box is None or not box.ready or one in self._gone or one in self._busy:
                continue
            if now - at >= LONGEST_START - EPSILON or box.uid in self._ever_reported:
                continue
            first = self.twins.first.get(box.template or "", now)
            if now - first < SETTLED_AFTER - EPSILON and self._alone(at):
                yield f"sandbox {one[:8]} is known for {now - at:.3f} s and has no container yet"

    def _alone(self, at: float) -> bool:
        """Whether no other start was reported in the time before one."""
        return not any(at - APART <= other < at for other in self._notes)
