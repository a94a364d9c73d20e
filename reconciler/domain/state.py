"""All that the loop knows of its node, the runtime, the operator and its own removals.

It is edited in place by the one loop that owns it: an event must not cost more on a big node than
on a small one (docs/architecture.md).

- Only facts change it, through `absorb` or, in steps, `absorb_listing`; apart from them the ledger,
  at the start (`remember`) and at a take-over (`inherit`), and its writer (`take_changes`).
- What is not known is marked as unknown, and prevents removal: no policy, no listing, a version
  that may have image volumes.
- Where two records of one image differ, the one that keeps it longer counts.
- Names that an image had before are a reason to keep it, never one against it.
- All times are of one clock that never steps; only `wall` turns them into dates.

`absorb.py` applies a fact, `absorb_listing.py` a listing, `removing.py` the result of a removal.
`decision.py` derives what to do from the state, and only reads it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from . import facts
from .awaited import Awaited
from .disks import Disks
from .graph import ImageGraph
from .inventory import Container, Image, Sandbox
from .joining import joined
from .ledger import Changes, ImageRecord, Remembered
from .margin import Overshoot
from .memory import Memory
from .origin import names_before
from .policy import Policy
from .removals import Removals
from .runtime import RuntimeVersion
from .starting_pods import StartingPod, StartingPods
from .templates import Templates
from .unanswered import Unanswered


@dataclass(slots=True)
class RuntimeView:
    """What the runtime reports of itself, and how far its lists can be believed."""

    version: RuntimeVersion | None = None
    configured_pause: str | None = None
    listed_at: float | None = None  # when the last complete listing began
    listing_stale: bool = True  # nothing may be removed on the last one (absorb.py says when)
    listing_trouble: str | None = None
    blank_since: float | None = None  # since when the lists lack all users of images
    ask_trouble: str | None = None  # why something that no listing contains is still unknown
    unanswered: Unanswered = field(default_factory=Unanswered)
    events: str | None = None  # None: a stream is open; else why there is none
    # Containers known from events whose images were in no listing yet; they may be gone before the
    # next one, but they used them.
    unplaced: dict[str, tuple[Container, float]] = field(default_factory=dict)

    def listed(self, began_at: float) -> None:
        """A listing that began then is complete: decisions may be based on it."""
        self.listed_at, self.listing_stale = began_at, False
        self.listing_trouble = self.ask_trouble = None


@dataclass(slots=True)
class Operator:
    """What the operator wants. `policy` is the last valid one; None: there was none yet."""

    policy: Policy | None = None
    problems: tuple[str, ...] = ()  # of the policy file on disk
    paused_at: float | None = None  # since when the operator has paused removal

    def pause(self, at: float) -> None:
        """Nothing is removed from then on; an earlier pause keeps its beginning."""
        self.paused_at = at if self.paused_at is None else self.paused_at


@dataclass(slots=True)
class PodsView:
    """The pods that are about to start."""

    templates: Templates = field(default_factory=Templates)
    starts: StartingPods = field(default_factory=StartingPods)
    awaited: Awaited = field(default_factory=Awaited)


@dataclass(slots=True)
class State:
    """What the loop knows."""

    began_at: float  # when this state was created; older containers may be counted already
    wall_ahead: float = 0.0  # seconds that the wall clock is ahead of ours (facts.WallClockRead)
    graph: ImageGraph = field(default_factory=ImageGraph)
    memory: Memory = field(default_factory=Memory)
    runtime: RuntimeView = field(default_factory=RuntimeView)
    disks: Disks = field(default_factory=Disks)
    removals: Removals = field(default_factory=Removals)
    operator: Operator = field(default_factory=Operator)
    pods: PodsView = field(default_factory=PodsView)
    remover: facts.RemoverReported | None = None  # None: there can be no other

    @property
    def ledger(self) -> dict[str, ImageRecord]:
        """The records of the images on the node, by key."""
        return self.memory.images

    @ledger.setter
    def ledger(self, records: dict[str, ImageRecord]) -> None:
        self.memory.images = records

    def remember(self, saved: Remembered) -> None:
        """Loads what the ledger holds, before anything is absorbed."""
        self.memory.remember(saved)
        self.removals.records = dict(saved.removals)
        self.pods.templates.remember(saved.templates)
        self.disks.overshoots |= {of: Overshoot(recent) for of, recent in saved.overshoots.items()}

    def inherit(self, theirs: Remembered, now: float) -> None:
        """Takes over the ledger that another process wrote until now: of its records and those of
        this process, whatever keeps an image for longer. No listing made here shows for certain
        what the other process removed, and everything must be written again."""
        ours = Remembered(
            self.memory.images,
            self.memory.gone,
            self.removals.records,
            self.memory.arrivals,
            self.memory.running,
            self.pods.templates.records,
            {of: one.recent for of, one in self.disks.overshoots.items()},
        )
        merged = joined(ours, theirs, now)
        self.remember(merged)
        self.memory.changed |= merged.images.keys() | merged.gone.keys()
        self.memory.changed_arrivals |= merged.arrivals.keys()
        self.removals.changed |= merged.removals.keys()
        self.pods.templates.changed |= merged.templates.keys()
        self.disks.changed_overshoots |= merged.overshoots.keys()
        self.removals.inherited = {
            key for key in theirs.removals if merged.removals[key].answered_at is None
        }
        self.runtime.listing_stale = True

    @property
    def removes(self) -> bool:
        """Whether this daemon is the remover, by the last report."""
        return self.remover is not None and self.remover.ours

    @property
    def stands_by(self) -> bool:
        """Whether another process is the remover, so that this one stands by until it ends."""
        return self.remover is not None and self.remover.other is not None

    def wall(self, now: float) -> float:
        """Returns the wall clock's time, which counts for dates and for times given to others."""
        return now + self.wall_ahead

    @property
    def asks_volumes(self) -> set[str]:
        """Containers whose image volumes must be asked for before anything may be removed."""
        return self.graph.unasked_containers if self.has_image_volumes else set()

    @property
    def unasked(self) -> set[str]:
        """Containers and sandboxes with an unknown detail that no list contains."""
        return self.asks_volumes | self.graph.unasked_sandboxes

    def pending(self, now: float) -> list[str]:
        """The unasked ones that hold all removal."""
        return sorted(one for one in self.unasked if not self.runtime.unanswered.narrowed(one, now))

    def narrowed(self, now: float) -> list[str]:
        """The unasked ones whose doubt has narrowed, the least recently asked about first."""
        unasked, unanswered = self.unasked, self.runtime.unanswered
        return [one for one in unanswered.since if one in unasked and unanswered.narrowed(one, now)]

    @property
    def has_image_volumes(self) -> bool:
        """Whether a container may mount an image; True while the runtime is unknown."""
        return self.runtime.version is None or self.runtime.version.has_image_volumes

    def images_meant(self, text: str) -> frozenset[str]:
        """Keys of the images that a pod's text may mean to this runtime now."""
        anywhere = self.runtime.version is None or self.runtime.version.searches_registries
        return self.graph.keys_meant(text, anywhere=anywhere)

    def as_remembered(self, image: Image) -> Image:
        """Returns an image with digest names also in the repositories that it was listed under
        before: on CRI-O those are lost when a tag moves (docs/runtimes.md). Never a reason against
        an image: its old names may be another image's by now."""
        record = self.memory.images.get(image.key)
        if record is None or record.names == image.tags:
            return image
        before = names_before(image.names, record.names)
        return replace(image, digests=image.digests + before) if before else image

    def unknown_starts(self, now: float) -> list[StartingPod]:
        """Starting pods whose needs are unknown: no pod source reports them, and no pod of their
        template ran here before."""
        return [one for one in self.pods.starts.current(now) if self._is_unknown(one.sandbox, now)]

    def settle_starts(self, now: float) -> None:
        """Tracks how long starting pods hold removal without a pause."""
        starts = self.pods.starts
        starts.settle([one.until for one in starts if self._is_unknown(one.sandbox, now)], now)

    def note_start(self, sandbox: Sandbox, now: float) -> None:
        """Tracks the same for one pod that an event just added."""
        if self._is_unknown(sandbox, now):
            self.pods.starts.hold(sandbox.id, now)

    def _is_unknown(self, sandbox: Sandbox, now: float) -> bool:
        """Whether it is unknown what a starting pod needs."""
        return (
            self.graph.sandboxes.get(sandbox.id, sandbox).ready
            and not self.pods.awaited.knows(sandbox.uid, now)
            and not self.pods.templates.settled(sandbox.template, now)
        )

    def take_changes(self) -> Changes:
        """Returns what changed since the last call; None: to be deleted."""
        memory = self.memory
        changes = Changes(
            {key: memory.images.get(key) or memory.gone.get(key) for key in memory.changed},
            self.removals.take_changes(),
            {of: memory.arrivals.get(of) for of in memory.changed_arrivals},
            memory.log,
            {name: self.pods.templates.records.get(name) for name in self.pods.templates.changed},
            {of: self.disks.overshoots[of].recent for of in self.disks.changed_overshoots},
        )
        memory.changed, memory.changed_arrivals, memory.log = set(), set(), []
        self.pods.templates.changed.clear()
        self.disks.changed_overshoots.clear()
        return changes

    def record(self, key: str, now: float) -> ImageRecord:
        """Returns an image's record; an unknown image counts as seen just now."""
        return self.memory.record(key, now)
