"""All that is known. How a fact changes it is `absorbing.py`; what a removal leaves, `removals.py`.

The state is edited in place by the one loop that owns it: an event must not cost more on a big node
than on a small one (docs/architecture.md).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from . import facts
from .awaited import Awaited
from .graph import ImageGraph
from .inventory import Container, Image, InvisibleFilesystem, UsageSample, image_key
from .joining import joined
from .kubelet_lines import KubeletConfig, NodeFilesystem
from .ledger import Changes, ImageRecord, Remembered, RemovalRecord
from .margin import SLOWEST, Overshoot
from .memory import Memory
from .origin import names_before
from .policy import Policy
from .removal import Removal
from .runtime import RuntimeVersion
from .space import Account, Removed
from .starting import Start, Starts
from .templates import Templates
from .unanswered import Unanswered
from .watermark import Bounds, FilesystemState, Pressure

REST_FIRST = 60.0  # seconds of rest when removals free nothing, doubled by each one more


@dataclass(frozen=True, slots=True)
class Refusal:
    """The runtime would not remove an image, or said OK and did not."""

    until: float
    count: int
    reason: str


@dataclass(slots=True)
class State:
    """What the loop knows. `policy` is the last good one; None: none was ever good."""

    began_at: float  # when this state came to be; containers older than it may be counted already
    graph: ImageGraph = field(default_factory=ImageGraph)
    memory: Memory = field(default_factory=Memory)
    removals: dict[str, RemovalRecord] = field(default_factory=dict)
    refusals: dict[str, Refusal] = field(default_factory=dict)
    wall_ahead: float = 0.0  # seconds that the wall clock is ahead of ours (facts.WallClockRead)
    policy: Policy | None = None
    policy_problems: tuple[str, ...] = ()
    sample: UsageSample | None = None
    filesystems: dict[str, FilesystemState] = field(default_factory=dict)
    bounds: Bounds | None = None  # what the filesystems' marks go by
    kubelet: KubeletConfig | None = None  # None: not looked for yet
    nodefs: NodeFilesystem | None = None  # kubelet's own; None: not known
    overshoots: dict[str, Overshoot] = field(default_factory=dict)  # by mountpoint
    changed_overshoots: set[str] = field(default_factory=set)
    version: RuntimeVersion | None = None
    configured_pause: str | None = None
    listed_at: float | None = None  # when the last complete listing began
    listing_spent: bool = True  # nothing may be removed on it: none yet, or one was since
    listing_trouble: str | None = None
    blank_since: float | None = None  # when the lists began to lack all that used an image
    ask_trouble: str | None = None  # why something no listing tells is still not known
    unanswered: Unanswered = field(default_factory=Unanswered)
    events: str | None = None  # None: a stream is open; else why there is none
    paused_at: float | None = None  # the operator's own pause, since when
    remover: facts.RemoverTold | None = None  # None: nobody else could be one
    planned: facts.RemovalPlanned | None = None  # before the last look
    removing: Removal | None = None  # sent, and not yet confirmed by a listing
    accounts: dict[str, Account] = field(default_factory=dict)  # of filesystems, by mountpoint
    shown: tuple[Removed, ...] = ()  # removals whose space the last fact told
    futile: int = 0  # removals in a row that freed nothing of what is short
    for_nothing: int = 0  # those of which that is certain: another filesystem gained, say
    rest_until: float = 0.0
    rest: float = REST_FIRST
    # Containers that events told before a listing told their images; they may be gone by then, but
    # they used them.
    unplaced: dict[str, tuple[Container, float]] = field(default_factory=dict)
    changed_removals: set[str] = field(default_factory=set)
    inherited: set[str] = field(default_factory=set)  # removals that others began, not answered
    gone_by_others: tuple[str, ...] = ()  # image keys, between the last two listings
    came_back: tuple[str, ...] = ()  # those that we removed and that the last listing has again
    # Those that went by another's doing though we had asked for their removal before.
    not_ours: set[str] = field(default_factory=set)
    templates: Templates = field(default_factory=Templates)
    starts: Starts = field(default_factory=Starts)
    awaited: Awaited = field(default_factory=Awaited)

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
        self.removals = dict(told.removals)
        self.templates.remember(told.templates)
        self.overshoots |= {of: Overshoot(recent) for of, recent in told.overshoots.items()}

    def inherit(self, theirs: Remembered, now: float) -> None:
        """Takes over the ledger that another process wrote until now: of what it says and what is
        known here, whatever keeps an image for longer. What that one removed, no listing of ours
        tells for sure, and all is to be written anew."""
        ours = Remembered(
            self.memory.images,
            self.memory.ghosts,
            self.removals,
            self.memory.arrivals,
            self.memory.running,
            self.templates.records,
            {of: one.recent for of, one in self.overshoots.items()},
        )
        told = joined(ours, theirs, now)
        self.remember(told)
        self.memory.changed |= told.images.keys() | told.ghosts.keys()
        self.memory.changed_arrivals |= told.arrivals.keys()
        self.changed_removals |= told.removals.keys()
        self.templates.changed |= told.templates.keys()
        self.changed_overshoots |= told.overshoots.keys()
        self.inherited = {key for key in theirs.removals if told.removals[key].answered_at is None}
        self.listing_spent = True

    @property
    def removes(self) -> bool:
        """Whether this daemon is the one remover, as far as was told."""
        return self.remover is not None and self.remover.ours

    @property
    def stands_by(self) -> bool:
        """Whether another process is the remover, until it ends."""
        return self.remover is not None and self.remover.other is not None

    def forgive(self) -> None:
        """What was removed for nothing does not count any more."""
        self.futile = self.for_nothing = 0
        self.rest, self.rest_until = REST_FIRST, 0.0

    def wall(self, now: float) -> float:
        """What the wall clock says: dates are by it, and times that are told to others."""
        return now + self.wall_ahead

    def overshoot(self, mountpoint: str) -> Overshoot:
        """How far usage of a filesystem ran past its high mark."""
        return self.overshoots.setdefault(mountpoint, Overshoot())

    @property
    def look_again_in(self) -> float:
        """Seconds until the filesystems are to be measured again."""
        found = (self.overshoot(of).look_again_in(fs.high) for of, fs in self.filesystems.items())
        return min(found, default=SLOWEST)

    def bytes_owed(self, mountpoint: str) -> int:
        """Bytes that removals freed on a filesystem and that do not show yet."""
        return self.accounts[mountpoint].bytes_owed if mountpoint in self.accounts else 0

    @property
    def bytes_shown(self) -> int:
        """Bytes that removals freed, as the last fact told."""
        return sum(removed.freed for removed in self.shown)

    @property
    def invisible(self) -> tuple[InvisibleFilesystem, ...]:
        """The image filesystems that can not be measured."""
        return self.sample.invisible if self.sample is not None else ()

    @property
    def pressure(self) -> Pressure:
        """Reclaiming while any filesystem is."""
        pressures = (fs.pressure for fs in self.filesystems.values())
        return Pressure.RECLAIMING if Pressure.RECLAIMING in pressures else Pressure.CALM

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
        return sorted(one for one in self.unasked if not self.unanswered.narrowed(one, now))

    def narrowed(self, now: float) -> list[str]:
        """Those whose doubt has narrowed; the one that was asked about longest ago comes first."""
        unasked, unanswered = self.unasked, self.unanswered
        return [one for one in unanswered.since if one in unasked and unanswered.narrowed(one, now)]

    @property
    def has_image_volumes(self) -> bool:
        """Whether a container may mount an image; a runtime not known yet might."""
        return self.version is None or self.version.has_image_volumes

    def images_meant(self, text: str) -> frozenset[str]:
        """Keys of the images that a pod's text may mean to this runtime now."""
        anywhere = self.version is None or self.version.searches_registries
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
            for start in self.starts.underway(now)
            if self.graph.sandboxes.get(start.sandbox.id, start.sandbox).ready
            and not self.awaited.tells_of(start.sandbox.uid, now)
            and not self.templates.settled(start.sandbox.template, now)
        ]

    def settle_starts(self, now: float) -> None:
        """Keeps account of how long pods that are starting hold removal without a pause."""
        ends = [start.until for start in self.unknown_starts(now)]
        self.starts.settle(max(ends, default=now), now)

    def take_changes(self) -> Changes:
        """What changed since the last call; None: to be forgotten."""
        memory = self.memory
        changes = Changes(
            {key: memory.images.get(key) or memory.ghosts.get(key) for key in memory.changed},
            {key: self._removal(key) for key in self.changed_removals},
            {of: memory.arrivals.get(of) for of in memory.changed_arrivals},
            memory.log,
            {name: self.templates.records.get(name) for name in self.templates.changed},
            {of: self.overshoots[of].recent for of in self.changed_overshoots},
        )
        memory.changed, memory.changed_arrivals, memory.log = set(), set(), []
        self.changed_removals.clear()
        self.templates.changed.clear()
        self.changed_overshoots.clear()
        return changes

    def _removal(self, key: str) -> RemovalRecord | None:
        """What is to be written of the removal of an image."""
        planned = self.planned
        if planned is not None and image_key(planned.image_id) == key:
            return RemovalRecord(begun_at=planned.at, names=planned.names)
        return self.removals.get(key)

    def record(self, key: str, now: float) -> ImageRecord:
        """An image's record; one we know nothing of counts as seen just now."""
        return self.memory.record(key, now)
