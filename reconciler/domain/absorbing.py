"""How a fact changes what is known.

`absorb(fact, state)` is the only way in. Absorbing a fact twice leaves what absorbing it once left.
"""

from __future__ import annotations

from dataclasses import replace
from functools import singledispatch

from . import facts, removals
from .inventory import Container, EventKind, Listing, UsageSample
from .noting import note_starts, note_template, note_templates
from .policy import Mode, Watermarks
from .slices import SLICE, Slices, finished
from .state import State
from .watermark import Bounds, Pressure, measured, pressed, told_late


@singledispatch
def absorb(fact: object, state: State) -> None:
    """Changes the state by one fact (dispatched on the fact's type, so it comes first)."""
    raise TypeError(f"no fact: {fact!r}")


@absorb.register
def _(fact: facts.ContainerChanged, state: State) -> None:
    event, graph, at = fact.event, state.graph, fact.received_at
    before = graph.containers.get(event.subject_id)
    sandbox = event.sandbox if event.kind is not EventKind.DELETED else None
    if sandbox is not None and graph.is_new(sandbox.id):
        state.starts.note(sandbox, at)
    used = set(graph.uses_of(event.subject_id))
    graph.apply(event, at)
    for container in event.containers:
        if container.id == event.subject_id and before is None:
            _count_use(state, container, {})
        if container.id not in state.templates.noted:
            note_template(state, container, at, event.sandbox)
        state.starts.made(container.sandbox_id, at)
        used |= graph.images_of(container) | graph.uses_of(container.id)
        _note_unplaced(state, container, at)
    for key in used:
        state.memory.touch(key, at)
    gone = event.kind is EventKind.DELETED and event.subject_id not in graph.containers
    if before is not None and gone:
        _note_unplaced(state, before, at)
        state.memory.end(event.subject_id, at)
    state.settle_starts(at)


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
    odd = [state.graph.containers[one] for one in state.graph.untold]
    note_starts(state, listing)
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
    yield from note_templates(state, listing)
    _settle_unanswered(state, listing)
    # What this listing shows to be unused, and the one before did not, was used until now for all
    # that is known: no event may have told when its last container went.
    for key in used.union(state.graph.used_keys()):
        state.memory.touch(key, listing.ended_at)
    for container in odd:
        if container.id not in state.graph.containers:
            unplaced.setdefault(container.id, (container, listing.ended_at))
    for container, at in unplaced.values():
        _place(state, container, at)
    state.memory.trim(state.graph.containers, listing.ended_at)
    state.settle_starts(listing.ended_at)
    state.listed_at, state.listing_spent, state.listing_trouble = listing.began_at, False, None
    state.ask_trouble = None


@absorb.register
def _(fact: facts.ListingFailed, state: State) -> None:
    state.listing_spent, state.listing_trouble = True, fact.reason
    state.unanswered.forgive(fact.at)


@absorb.register
def _(fact: facts.VolumesTold, state: State) -> None:
    state.unanswered.forget(fact.container_id)
    state.graph.put_volumes(fact.container_id, fact.volumes, fact.at)
    container = state.graph.containers.get(fact.container_id)
    if container is not None and fact.volumes:
        note_template(state, container, fact.at)


@absorb.register
def _(fact: facts.PauseTold, state: State) -> None:
    sandbox = state.graph.sandboxes.get(fact.sandbox_id)
    if sandbox is None:
        return
    pauseless = fact.pause is None
    state.graph.put_sandbox(replace(sandbox, pause=fact.pause or (), pauseless=pauseless))
    if fact.pause or pauseless:
        state.unanswered.forget(fact.sandbox_id)
    else:
        state.unanswered.note(fact.sandbox_id, fact.at)


@absorb.register
def _(fact: facts.AskFailed, state: State) -> None:
    if state.listing_trouble is None:  # else it is the runtime that is away
        state.unanswered.note(fact.subject_id, fact.at)
    if fact.denied:
        state.graph.ambiguous = True
    elif not state.unanswered.narrowed(fact.subject_id, fact.at):
        state.ask_trouble = f"{fact.subject_id[:13]}: {fact.reason}"


@absorb.register
def _(fact: facts.WallClockRead, state: State) -> None:
    state.wall_ahead = fact.ahead


@absorb.register
def _(fact: facts.UsageSampled, state: State) -> None:
    state.shown = ()
    if state.sample is not None and fact.sample.at < state.sample.at:
        for usage in fact.sample.filesystems:
            known = state.filesystems.get(usage.mountpoint)
            if known is not None:
                state.filesystems[usage.mountpoint] = told_late(known, usage)
        return
    if fact.sample is not state.sample:
        _take_stock(state, fact.sample)
    state.sample = fact.sample
    # A pressure belongs to what its marks go by: others may not have been crossed at all.
    bounds = _bounds(state)
    before = state.filesystems if bounds == state.bounds else {}
    state.bounds = bounds
    state.filesystems = {
        usage.mountpoint: measured(
            usage, bounds, state.overshoot(usage.mountpoint), before.get(usage.mountpoint)
        )
        for usage in fact.sample.filesystems
    }
    _note_overshoots(state, fact.sample.at)
    if state.pressure is Pressure.CALM:
        state.forgive()


def _bounds(state: State) -> Bounds:
    policy = state.policy
    marks = policy.watermarks if policy else Watermarks()
    told = policy.kubelet if policy else None
    return Bounds(marks, told or state.kubelet, state.nodefs)


def _note_overshoots(state: State, at: float) -> None:
    """How far usage runs past the high marks, where removal is at work against it."""
    policy = state.policy
    enforced = policy is not None and policy.mode is Mode.ENFORCE and not policy.watermarks.from_low
    works = enforced and state.paused_at is None and not state.stands_by
    for mountpoint, fs in state.filesystems.items():
        overshoot = state.overshoot(mountpoint)
        if overshoot.sampled(fs.usage.used, fs.high, at, counts=works):
            state.changed_overshoots.add(mountpoint)


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
def _(fact: facts.PodsTold, state: State) -> None:
    state.awaited.tell_all(fact.source, fact.pods, fact.at)


@absorb.register
def _(fact: facts.PodTold, state: State) -> None:
    state.awaited.tell(fact.pod)


@absorb.register
def _(fact: facts.PodGone, state: State) -> None:
    state.awaited.forget(fact.uid)


@absorb.register
def _(fact: facts.PodsLost, state: State) -> None:
    state.awaited.lose(fact.reason, fact.at)


@absorb.register
def _(fact: facts.RemoverTold, state: State) -> None:
    if fact.ours and not state.removes:
        state.listing_spent = True  # another may have removed until this moment
    state.remover = fact


@absorb.register
def _(fact: facts.Paused, state: State) -> None:
    state.paused_at = fact.at if state.paused_at is None else state.paused_at


@absorb.register
def _(fact: facts.Resumed, state: State) -> None:
    state.paused_at = None


@absorb.register
def _(fact: facts.ReclaimAsked, state: State) -> None:
    state.filesystems = {name: pressed(fs) for name, fs in state.filesystems.items()}
    state.forgive()


@absorb.register
def _(fact: facts.KubeletTold, state: State) -> None:
    state.kubelet, state.nodefs = fact.config, fact.nodefs
    if state.sample is not None:
        absorb(facts.UsageSampled(state.sample), state)


@absorb.register
def _(fact: facts.NothingGoes, state: State) -> None:
    for mountpoint, fs in state.filesystems.items():
        if fs.by_bytes is Pressure.RECLAIMING:
            state.overshoot(mountpoint).helpless = True


@absorb.register
def _(fact: facts.RemovalBegun, state: State) -> None:
    state.removing, state.listing_spent = fact, True
    state.note_removal(fact)


@absorb.register
def _(fact: facts.RemovalFinished, state: State) -> None:
    removals.finish(state, fact)


def _take_stock(state: State, sample: UsageSample) -> None:
    """What shows by now of earlier removals."""
    over = [
        removed
        for usage in sample.filesystems
        if usage.mountpoint in state.accounts
        for removed in state.accounts[usage.mountpoint].sampled(usage.taken, sample.at)
    ]
    state.shown = tuple(over)
    removals.weigh(state, over, sample.at)


def _notice_blank(state: State, listing: Listing) -> None:
    """Lists that lack every container, or every container and sandbox we knew, are doubted until
    later ones agree: an empty list may be a runtime that is not itself yet."""
    known = state.graph.containers or state.graph.sandboxes or state.blank_since is not None
    if listing.containers or not (listing.sandboxes or known):
        state.blank_since = None
    elif state.blank_since is None:
        state.blank_since = listing.began_at


def _meet_images(state: State, now: float) -> None:
    """Opens a record for every image that is new, closes those of images that are gone."""

    def first_made(key: str) -> float | None:
        return _oldest(state, key)

    _note_arrivals(state)
    gone = sorted(state.ledger.keys() - state.graph.images.keys())
    fresh = state.memory.meet(state.graph.images, first_made, now)
    state.came_back = tuple(key for key in fresh if removals.notice_return(state, key, now))
    removals.settle(state, now)
    state.gone_by_others = tuple(key for key in gone if not removals.removed_by_us(state, key))


def _note_arrivals(state: State) -> None:
    """Which images were not here when what is known by now was made: those that the list before
    lacked. One that is remembered may have been here before that."""
    listed, memory = state.graph.images.keys(), state.memory
    if state.listed_at is not None:
        fresh = listed - memory.images.keys() - memory.ghosts.keys()
        state.unanswered.arrived(fresh, state.listed_at)
    state.unanswered.keep(listed)


def _settle_unanswered(state: State, listing: Listing) -> None:
    """A doubt ends with what it was about. Which image that used nobody knows, so each that it may
    have been counts as seen just now, where it could have gone in the meantime."""
    graph, unanswered, now = state.graph, state.unanswered, listing.ended_at
    for sandbox_id in graph.unnamed_sandboxes - unanswered.since.keys():
        unanswered.note(sandbox_id, listing.began_at)
    over = unanswered.since.keys() - state.unasked - graph.unnamed_sandboxes
    gone = over - graph.containers.keys() - graph.sandboxes.keys()
    narrowed = [unanswered.since[one] for one in gone if unanswered.narrowed(one, now)]
    for one in over:
        unanswered.forget(one)
    for key in state.memory.images if narrowed else ():
        if not graph.is_used(key) and not unanswered.came_later(key, max(narrowed)):
            state.memory.seen_anew(key, now)


def _note_unplaced(state: State, container: Container, at: float) -> None:
    """Remembers a container whose images, or some, no listing has told yet: before the first one,
    say. It may be gone by the next."""
    keys = state.graph.images_of(container)
    if not keys <= state.memory.images.keys() or not state.graph.tells(container):
        state.unplaced[container.id] = (container, at)


def _place(state: State, container: Container, at: float) -> None:
    """Counts the use of a container whose images no listing had told before, seen last then. What
    it used may still not be told, and it is gone: then it may have been any image that nobody else
    uses, and all those count as seen just then."""
    for key in state.graph.meant_by(container):
        state.memory.touch(key, at)
    note_template(state, container, at)
    if container.id not in state.graph.containers and not state.graph.tells(container):
        for key in state.memory.images:
            if not state.graph.is_used(key):
                state.memory.seen_anew(key, at)


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
