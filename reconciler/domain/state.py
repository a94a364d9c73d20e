"""All that the loop knows of its node, the runtime, the operator and its own removals.

It is edited in place by the one loop that owns it: an event must not cost more on a big node than
on a small one (docs/architecture.md).

- Only facts change it, by `absorbing.absorb` or a listing in steps; besides them the ledger, at
  the start (`remember`) and at a take-over (`inherit`), and who writes it (`take_changes`).
- What is not known says so, and lets nothing go: no policy, no listing, a version that may have
  image volumes.
- Of two memories of one image, whatever keeps it for longer counts.
- Names that an image had before are a reason to keep it, never one against it.
- All times are of one clock that never steps; only `wall` makes dates of them.

How a fact changes it is `absorbing.py`, what a listing does `listed.py`, what a removal leaves
`removing.py`. What follows from it is the decision's (decision.py), which only reads.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from . import facts
from .awaited import Awaited
from .disks import Disks
from .graph import ImageGraph
from .inventory import Container, Image
from .joining import joined
from .ledger import Changes, ImageRecord, Remembered
from .margin import Overshoot
from .memory import Memory
from .origin import names_before
from .policy import Policy
from .removals import Removals
from .runtime import RuntimeVersion
from .starting import Start, Starts
from .templates import Templates
from .unanswered import Unanswered


@dataclass(slots=True)
class RuntimeView:
    """The runtime, as it told of itself, and how far it can be believed."""

    version: RuntimeVersion | None = None
    configured_pause: str | None = None
    listed_at: float | None = None  # when the last complete listing began
    listing_stale: bool = True  # nothing may be removed on it: none yet, or one was since
    listing_trouble: str | None = None
    blank_since: float | None = None  # when the lists began to lack all that used an image
    ask_trouble: str | None = None  # why something no listing tells is still not known
    unanswered: Unanswered = field(default_factory=Unanswered)
    events: str | None = None  # None: a stream is open; else why there is none
    # Containers that events told before a listing told their images; they may be gone by then, but
    # they used them.
    unplaced: dict[str, tuple[Container, float]] = field(default_factory=dict)

    def listed(self, began_at: float) -> None:
        """A listing that began then is complete: it may be decided on."""
        self.listed_at, self.listing_stale = began_at, False
        self.listing_trouble = self.ask_trouble = None


@dataclass(slots=True)
class Operator:
    """What the operator wants. `policy` is the last good one; None: none was ever good."""

    policy: Policy | None = None
    problems: tuple[str, ...] = ()  # of the policy on disk
    paused_at: float | None = None  # the operator's own pause, since when

    def pause(self, at: float) -> None:
        """Nothing is removed from then on; a pause goes on that has begun already."""
        self.paused_at = at if self.paused_at is None else self.paused_at


@dataclass(slots=True)
class PodsView:
    """The pods that are about to start."""

    templates: Templates = field(default_factory=Templates)
    starts: Starts = field(default_factory=Starts)
    awaited: Awaited = field(default_factory=Awaited)


@dataclass(slots=True)
class State:
    """What the loop knows."""

    began_at: float  # when this state came to be; containers older than it may be counted already
    wall_ahead: float = 0.0  # seconds that the wall clock is ahead of ours (facts.WallClockRead)
    graph: ImageGraph = field(default_factory=ImageGraph)
    memory: Memory = field(default_factory=Memory)
    runtime: RuntimeView = field(default_factory=RuntimeView)
    disks: Disks = field(default_factory=Disks)
    removals: Removals = field(default_factory=Removals)
    operator: Operator = field(default_factory=Operator)
    pods: PodsView = field(default_factory=PodsView)
    remover: facts.RemoverReported | None = None  # None: nobody else could be one

    @property
    def ledger(self) -> dict[str, ImageRecord]:
        """The records of the images on the node, by key."""
        return self.memory.images

    @ledger.setter
    def ledger(self, records: dict[str, ImageRecord]) -> None:
        self.memory.images = records

    def remember(self, told: Remembered) -> None:
        """Takes over what the ledger holds, before anything is absorbed."""
        self.memory.remember(told)
        self.removals.records = dict(told.removals)
        self.pods.templates.remember(told.templates)
        self.disks.overshoots |= {of: Overshoot(recent) for of, recent in told.overshoots.items()}

    def inherit(self, theirs: Remembered, now: float) -> None:
        """Takes over the ledger that another process wrote until now: of what it says and what is
        known here, whatever keeps an image for longer. What that one removed, no listing of ours
        tells for sure, and all is to be written anew."""
        ours = Remembered(
            self.memory.images,
            self.memory.ghosts,
            self.removals.records,
            self.memory.arrivals,
            self.memory.running,
            self.pods.templates.records,
            {of: one.recent for of, one in self.disks.overshoots.items()},
        )
        told = joined(ours, theirs, now)
        self.remember(told)
        self.memory.changed |= told.images.keys() | told.ghosts.keys()
        self.memory.changed_arrivals |= told.arrivals.keys()
        self.removals.changed |= told.removals.keys()
        self.pods.templates.changed |= told.templates.keys()
        self.disks.changed_overshoots |= told.overshoots.keys()
        self.removals.inherited = {
            key for key in theirs.removals if told.removals[key].answered_at is None
        }
        self.runtime.listing_stale = True

    @property
    def removes(self) -> bool:
        """Whether this daemon is the one remover, as far as was told."""
        return self.remover is not None and self.remover.ours

    @property
    def stands_by(self) -> bool:
        """Whether another process is the remover, until it ends."""
        return self.remover is not None and self.remover.other is not None

    def wall(self, now: float) -> float:
        """What the wall clock says: dates are by it, and times that are told to others."""
        return now + self.wall_ahead

    @property
    def asks_volumes(self) -> set[str]:
        """Containers whose image volumes must be asked for before anything may be removed."""
        return self.graph.unasked_containers if self.has_image_volumes else set()

    @property
    def unasked(self) -> set[str]:
        """Containers and sandboxes of which something that no list tells is not known."""
        return self.asks_volumes | self.graph.unasked_sandboxes

    def pending(self, now: float) -> list[str]:
        """Those of them that hold all removal."""
        return sorted(one for one in self.unasked if not self.runtime.unanswered.narrowed(one, now))

    def narrowed(self, now: float) -> list[str]:
        """Those whose doubt has narrowed; the one that was asked about longest ago comes first."""
        unasked, unanswered = self.unasked, self.runtime.unanswered
        return [one for one in unanswered.since if one in unasked and unanswered.narrowed(one, now)]

    @property
    def has_image_volumes(self) -> bool:
        """Whether a container may mount an image; a runtime not known yet might."""
        return self.runtime.version is None or self.runtime.version.has_image_volumes

    def images_meant(self, text: str) -> frozenset[str]:
        """Keys of the images that a pod's text may mean to this runtime now."""
        anywhere = self.runtime.version is None or self.runtime.version.searches_registries
        return self.graph.keys_meant(text, anywhere=anywhere)

    def as_remembered(self, image: Image) -> Image:
        """An image with digest names also in the repositories that it was listed under before: on
        CRI-O they end with a tag that moves (docs/runtimes.md). Never a reason against an image:
        its old names may be another one's by now."""
        record = self.memory.images.get(image.key)
        if record is None or record.names == image.tags:
            return image
        before = names_before(image.names, record.names)
        return replace(image, digests=image.digests + before) if before else image

    def unknown_starts(self, now: float) -> list[Start]:
        """Pods that are starting, and nothing tells what they need: no source of pods, and no pod
        of their template that ran here before."""
        return [
            start
            for start in self.pods.starts.underway(now)
            if self.graph.sandboxes.get(start.sandbox.id, start.sandbox).ready
            and not self.pods.awaited.tells_of(start.sandbox.uid, now)
            and not self.pods.templates.settled(start.sandbox.template, now)
        ]

    def settle_starts(self, now: float) -> None:
        """Keeps account of how long pods that are starting hold removal without a pause."""
        ends = [start.until for start in self.unknown_starts(now)]
        self.pods.starts.settle(max(ends, default=now), now)

    def take_changes(self) -> Changes:
        """What changed since the last call; None: to be forgotten."""
        memory = self.memory
        changes = Changes(
            {key: memory.images.get(key) or memory.ghosts.get(key) for key in memory.changed},
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
        """An image's record; one we know nothing of counts as seen just now."""
        return self.memory.record(key, now)
