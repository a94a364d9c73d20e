"""All that is known, and how a fact changes it.

`absorb(state, fact)` is the only way in. The state is edited in place by the one loop that owns it:
an event must not cost more on a big node than on a small one (docs/architecture.md). Absorbing a
fact twice leaves what absorbing it once left.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import singledispatch

from . import facts
from .graph import ImageGraph
from .inventory import Container, EventKind, Listing, UsageSample, image_key
from .ledger import Changes, ImageRecord, Remembered, RemovalRecord
from .memory import Memory
from .policy import Policy, Watermarks
from .runtime import RuntimeVersion
from .slices import SLICE, Slices, finished
from .watermark import FilesystemState, Pressure, measured, pressed

REFUSAL_FIRST = 300.0  # seconds a refused image is left alone, doubling up to REFUSAL_LAST
REFUSAL_LAST = 3600.0
NOTED_BEFORE = 60.0  # seconds that a removal may be noted before it is sent: the disk is slow
LOST_FIRST = 10.0  # seconds the first time that the runtime went away instead of an answer
HUNG = 60.0  # seconds after which no answer is no restart: that image is what it hangs on
REST_FIRST = 60.0  # seconds of rest when removals free nothing, doubling up to REST_LAST
REST_LAST = 3600.0
FUTILE_REMOVALS = 10  # so many in a row that freed nothing: the space is not the images'
RECORDS_KEPT = 7 * 86400.0  # seconds a removal is remembered


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
    policy: Policy | None = None
    policy_problems: tuple[str, ...] = ()
    sample: UsageSample | None = None
    filesystems: dict[str, FilesystemState] = field(default_factory=dict)
    marks: Watermarks | None = None  # those that the filesystems' pressure is by
    version: RuntimeVersion | None = None
    configured_pause: str | None = None
    listed_at: float | None = None  # when the last complete listing began
    listing_spent: bool = True  # nothing may be removed on it: none yet, or one was since
    listing_trouble: str | None = None
    blank_since: float | None = None  # when the lists began to lack all that used an image
    ask_trouble: str | None = None  # why something no listing tells is still not known
    events: str | None = None  # None: a stream is open; else why there is none
    paused_at: float | None = None  # the operator's own pause, since when
    removing: facts.RemovalBegun | None = None  # sent, and not yet confirmed by a listing
    futile: int = 0  # removals in a row that freed nothing
    rest_until: float = 0.0
    rest: float = REST_FIRST
    # Containers that events told before a listing told their images; they may be gone by then, but
    # they used them.
    unplaced: dict[str, tuple[Container, float]] = field(default_factory=dict)
    changed_removals: set[str] = field(default_factory=set)

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

    @property
    def pressure(self) -> Pressure:
        """Reclaiming while any filesystem is."""
        pressures = (fs.pressure for fs in self.filesystems.values())
        return Pressure.RECLAIMING if Pressure.RECLAIMING in pressures else Pressure.CALM

    @property
    def asks_volumes(self) -> set[str]:
        """Containers whose image volumes must be asked for before anything may be removed."""
        has_volumes = self.version is None or self.version.has_image_volumes
        return self.graph.unasked_containers if has_volumes else set()

    def take_changes(self) -> Changes:
        """What changed since the last call; None: to be forgotten."""
        memory = self.memory
        changes = Changes(
            {key: memory.images.get(key) or memory.ghosts.get(key) for key in memory.changed},
            {key: self.removals.get(key) for key in self.changed_removals},
            {of: memory.arrivals.get(of) for of in memory.changed_arrivals},
            memory.log,
        )
        memory.changed, memory.changed_arrivals, memory.log = set(), set(), []
        self.changed_removals.clear()
        return changes

    def note_removal(self, begun: facts.RemovalBegun) -> RemovalRecord | None:
        """Remembers, before the last look, that a removal may be about to be sent; gives what
        was remembered of the image before, for `forget_removal`."""
        key = image_key(begun.image_id)
        before = self.removals.get(key)
        self.removals[key] = RemovalRecord(begun_at=begun.at, names=begun.names)
        self.changed_removals.add(key)
        return before

    def forget_removal(self, image_id: str, before: RemovalRecord | None) -> None:
        """It was not sent after all: what was remembered before stands again."""
        key = image_key(image_id)
        if before is None:
            self.removals.pop(key, None)
        else:
            self.removals[key] = before
        self.changed_removals.add(key)

    def record(self, key: str, now: float) -> ImageRecord:
        """An image's record; one we know nothing of counts as seen just now."""
        return self.memory.record(key, now)


@singledispatch
def absorb(fact: object, state: State) -> None:
    """Changes the state by one fact (dispatched on the fact's type, so it comes first)."""
    raise TypeError(f"no fact: {fact!r}")


@absorb.register
def _(fact: facts.ContainerChanged, state: State) -> None:
    event = fact.event
    known = event.subject_id in state.graph.containers
    used = set(state.graph.uses_of(event.subject_id))
    state.graph.apply(event, fact.received_at)
    for container in event.containers:
        if container.id == event.subject_id and not known:
            _count_use(state, container, {})
        used |= state.graph.images_of(container) | state.graph.uses_of(container.id)
        if container.id in state.graph.untold:
            state.unplaced[container.id] = (container, fact.received_at)
    for key in used:
        state.memory.touch(key, fact.received_at)
    gone = event.subject_id not in state.graph.containers
    if known and event.kind is EventKind.DELETED and gone:
        state.memory.end(event.subject_id, fact.received_at)


@absorb.register
def _(fact: facts.Listed, state: State) -> None:
    finished(absorbing(fact, state))


def absorbing(fact: facts.Listed, state: State) -> Slices[None]:
    """Absorbs a listing in slices, for a caller that has other things to do in between. Until the
    last one the state says that it is no base to remove anything on."""
    listing = fact.listing
    state.listing_spent = True
    state.version, state.configured_pause = fact.version, fact.configured_pause
    _notice_blank(state, listing)
    used = set(state.graph.used_keys())
    unplaced, state.unplaced = state.unplaced, {}
    yield from state.graph.replacing(listing)
    # A slow answer tells of its last moment as well as of its first: ages count from its end.
    _meet_images(state, listing.ended_at)
    yield
    fresh = [one for one in listing.containers if state.memory.uncounted(one.id)]
    oldest: dict[str, float] = {}
    fresh.sort(key=lambda container: container.created_at)
    for number, container in enumerate(fresh, 1):
        _count_use(state, container, oldest)
        if number % SLICE == 0:
            yield
    # What this listing shows to be unused, and the one before did not, was used until now for all
    # that is known: no event may have told when its last container went.
    for key in used.union(state.graph.used_keys()):
        state.memory.touch(key, listing.ended_at)
    for container, at in unplaced.values():
        for key in state.graph.meant_by(container):
            state.memory.touch(key, at)
    state.memory.trim(state.graph.containers, listing.ended_at)
    state.listed_at, state.listing_spent, state.listing_trouble = listing.began_at, False, None
    state.ask_trouble = None


@absorb.register
def _(fact: facts.ListingFailed, state: State) -> None:
    state.listing_spent, state.listing_trouble = True, fact.reason


@absorb.register
def _(fact: facts.VolumesTold, state: State) -> None:
    state.graph.put_volumes(fact.container_id, fact.volumes, fact.at)


@absorb.register
def _(fact: facts.PauseTold, state: State) -> None:
    sandbox = state.graph.sandboxes.get(fact.sandbox_id)
    if sandbox is not None:
        state.graph.put_sandbox(replace(sandbox, pause=fact.pause))


@absorb.register
def _(fact: facts.LayersTold, state: State) -> None:
    state.memory.put_layers(image_key(fact.image_id), fact.layers)


@absorb.register
def _(fact: facts.AskFailed, state: State) -> None:
    state.ask_trouble = f"{fact.subject_id[:13]}: {fact.reason}"


@absorb.register
def _(fact: facts.UsageSampled, state: State) -> None:
    if state.sample is not None and fact.sample.at < state.sample.at:
        return  # taken before a removal, say, and waiting since: the disk was another one
    state.sample = fact.sample
    # A pressure belongs to the marks it began at: others may not have been crossed at all.
    marks = state.policy.watermarks if state.policy else Watermarks()
    before = state.filesystems if marks == state.marks else {}
    state.marks = marks
    state.filesystems = {
        usage.mountpoint: measured(usage, marks, before.get(usage.mountpoint))
        for usage in fact.sample.filesystems
    }
    if state.pressure is Pressure.CALM:
        state.futile, state.rest, state.rest_until = 0, REST_FIRST, 0.0


@absorb.register
def _(fact: facts.PolicyLoaded, state: State) -> None:
    state.policy, state.policy_problems = fact.policy, ()
    if state.sample is not None:
        absorb(facts.UsageSampled(state.sample), state)


@absorb.register
def _(fact: facts.PolicyRejected, state: State) -> None:
    state.policy_problems = fact.problems


@absorb.register
def _(fact: facts.EventsOpened, state: State) -> None:
    state.events = None
    state.graph.ambiguous = True  # subscribed first, so list now: what happened before is unknown


@absorb.register(facts.EventsLost)
@absorb.register(facts.EventsAbsent)
def _(fact: facts.EventsLost | facts.EventsAbsent, state: State) -> None:
    state.events = fact.reason
    state.graph.ambiguous = True


@absorb.register
def _(fact: facts.ListingDue, state: State) -> None:
    state.graph.ambiguous = True


@absorb.register
def _(fact: facts.Paused, state: State) -> None:
    state.paused_at = fact.at if state.paused_at is None else state.paused_at


@absorb.register
def _(fact: facts.Resumed, state: State) -> None:
    state.paused_at = None


@absorb.register
def _(fact: facts.ReclaimAsked, state: State) -> None:
    state.filesystems = {name: pressed(fs) for name, fs in state.filesystems.items()}
    state.futile, state.rest, state.rest_until = 0, REST_FIRST, 0.0


@absorb.register
def _(fact: facts.RemovalBegun, state: State) -> None:
    state.removing, state.listing_spent = fact, True
    state.note_removal(fact)


@absorb.register
def _(fact: facts.RemovalFinished, state: State) -> None:
    if state.removing is None or state.removing.image_id != fact.image_id:
        return
    state.removing = None
    key = image_key(fact.image_id)
    if not fact.gone:
        _refuse(state, key, fact)
        return
    state.refusals.pop(key, None)
    state.removals[key] = replace(state.removals[key], answered_at=fact.at)
    state.changed_removals.add(key)
    state.futile = 0 if fact.freed is None or fact.freed > 0 else state.futile + 1
    if state.futile >= FUTILE_REMOVALS:
        state.rest_until = fact.at + state.rest
        state.futile, state.rest = 0, min(2 * state.rest, REST_LAST)


def _notice_blank(state: State, listing: Listing) -> None:
    """Lists that lack every container, or every container and sandbox we knew, are doubted until
    later ones agree: an empty list may be a runtime that is not itself yet."""
    known = state.graph.containers or state.graph.sandboxes or state.blank_since is not None
    if listing.containers or not (listing.sandboxes or known):
        state.blank_since = None
    elif state.blank_since is None:
        state.blank_since = listing.began_at


def _refuse(state: State, key: str, fact: facts.RemovalFinished) -> None:
    """Leaves an image alone for a while. A runtime that was restarted under a removal refused
    nothing, so it is asked again soon; the second time, the removal may be what it dies of."""
    before = state.refusals.get(key)
    went_away = fact.lost and fact.took < HUNG
    count = before.count + 1 if before else int(not went_away)
    wait = min(REFUSAL_FIRST * 2 ** (count - 1), REFUSAL_LAST) if count else LOST_FIRST
    reason = fact.error or "the runtime answered OK, but the image is still listed"
    state.refusals[key] = Refusal(fact.at + wait, count, reason)
    if count:  # what is left of it after a restart counts from the answer, not from the call
        state.removals[key] = replace(state.removals[key], begun_at=fact.at)
        state.changed_removals.add(key)
    if fact.error is None or fact.lost:
        _seen_anew(state, key, fact.at)


def _seen_anew(state: State, key: str, now: float) -> None:
    """An image that is listed though its removal may have been carried out: pulled again in
    between, for all that is known, so it counts as seen just now."""
    state.memory.seen_anew(key, now)


def _meet_images(state: State, now: float) -> None:
    """Opens a record for every image that is new, closes those of images that are gone."""
    listed = state.graph.images

    def first_made(key: str) -> float | None:
        return _oldest(state, key)

    for key in state.memory.meet(listed, first_made, now):
        _notice_return(state, key, now)
    for key in state.refusals.keys() - listed.keys():
        if now >= state.refusals[key].until:  # an image that a list lacks for a moment is not new
            del state.refusals[key]
    under_way = image_key(state.removing.image_id) if state.removing else None
    for key, removal in list(state.removals.items()):
        if key in listed:
            if removal.answered_at is None and state.listed_at is None:  # begun in a life before
                _seen_anew(state, key, now)
                _refuse_still(state, key, removal)
            continue
        # Ours all the same, if late: we were killed in between, or a list was not true.
        if removal.answered_at is None and key != under_way:
            state.removals[key] = replace(removal, answered_at=now)
            state.changed_removals.add(key)
        elif now - removal.begun_at > RECORDS_KEPT:
            del state.removals[key]
            state.changed_removals.add(key)


def _refuse_still(state: State, key: str, removal: RemovalRecord) -> None:
    """How often an image was refused is not remembered over a restart, that it was asked for is."""
    until = removal.begun_at + NOTED_BEFORE + REFUSAL_FIRST
    reason = "its removal was asked for before a restart, and it is still listed"
    state.refusals[key] = Refusal(until, 1, reason)


def _notice_return(state: State, key: str, now: float) -> None:
    removal = state.removals.get(key)
    if removal is not None and removal.answered_at is not None:
        state.removals[key] = replace(removal, came_back_at=now)
        state.changed_removals.add(key)


def _oldest(state: State, key: str) -> float | None:
    """When the oldest container on the node that uses an image was made."""
    containers = state.graph.containers
    users = state.graph.users_of(key)
    return min((containers[one].created_at for one in users if one in containers), default=None)


def _count_use(state: State, container: Container, oldest: dict[str, float]) -> None:
    """Counts a container seen for the first time. Where an older one is still there, the image
    has been in use since that one was made, whatever was seen of it. `oldest` remembers when, for
    all containers of one listing. It is looked up only where it matters, for images at rest: an
    event must not cost more for an image that thousands use."""
    keys, made = state.graph.images_of(container), container.created_at
    resting = [key for key in keys if state.memory.rested(key, made)]
    for key in resting:
        if key not in oldest:
            found = _oldest(state, key)
            oldest[key] = made if found is None else found
    opening = frozenset(key for key in resting if made <= oldest[key])
    state.memory.count(container, keys, state.began_at, opening)
