"""What a complete listing changes: images come and go, containers are counted, doubts end.

- Until its last step the state says that the listing is no base to remove anything on.
- Ages count from the end of a listing: a slow answer tells of its last moment as well.
- A container is counted once, whoever tells of it first; the oldest are counted first.
- What was in use before a listing, or is by it, counts as used until its end.
- A doubt ends with what it was about; each image that it may have been about counts as seen just
  now, where it could have gone meanwhile.
- An image that is new is met, one that is gone is told as ours or as somebody else's.

Who uses what by a listing is `graph.py`, what is remembered of images `memory.py`, how a removal is
judged by it `removing.py`.
"""

from __future__ import annotations

from . import facts, removing
from .inventory import Container, Listing
from .noting import note_starts, note_template, note_templates
from .state import State
from .steps import STEP, Steps


def absorbing(fact: facts.Listed, state: State) -> Steps[None]:
    """Absorbs a listing in steps, for a caller that has other things to do in between. Until the
    last one the state says that it is no base to remove anything on."""
    listing = fact.listing
    state.runtime.listing_stale = True
    state.runtime.version, state.runtime.configured_pause = fact.version, fact.configured_pause
    _notice_blank(state, listing)
    used = set(state.graph.used_keys())
    unplaced, state.runtime.unplaced = state.runtime.unplaced, {}
    odd = [state.graph.containers[one] for one in state.graph.unresolved]
    note_starts(state, listing)
    yield from state.graph.replacing(listing)
    # A slow answer tells of its last moment as well as of its first: ages count from its end.
    _meet_images(state, listing.ended_at)
    yield
    fresh = [one for one in listing.containers if state.memory.uncounted(one.id)]
    oldest: dict[str, float] = {}
    fresh.sort(key=lambda container: container.created_at)
    for number, container in enumerate(fresh, 1):
        count_use(state, container, oldest)
        if number % STEP == 0:
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
    state.runtime.listed(listing.began_at)


def _notice_blank(state: State, listing: Listing) -> None:
    """Lists that lack every container, or every container and sandbox we knew, are doubted until
    later ones agree: an empty list may be a runtime that is not itself yet."""
    known = state.graph.containers or state.graph.sandboxes or state.runtime.blank_since is not None
    if listing.containers or not (listing.sandboxes or known):
        state.runtime.blank_since = None
    elif state.runtime.blank_since is None:
        state.runtime.blank_since = listing.began_at


def _meet_images(state: State, now: float) -> None:
    """Opens a record for every image that is new, closes those of images that are gone."""

    def first_made(key: str) -> float | None:
        return _oldest(state, key)

    _note_arrivals(state)
    gone = sorted(state.ledger.keys() - state.graph.images.keys())
    fresh = state.memory.meet(state.graph.images, first_made, now)
    removals = state.removals
    removals.came_back = tuple(key for key in fresh if removing.notice_return(state, key, now))
    removing.settle(state, now)
    removals.gone_by_others = tuple(key for key in gone if not removing.removed_by_us(state, key))


def _note_arrivals(state: State) -> None:
    """Which images were not here when what is known by now was made: those that the list before
    lacked. One that is remembered may have been here before that."""
    listed, memory = state.graph.images.keys(), state.memory
    if state.runtime.listed_at is not None:
        fresh = listed - memory.images.keys() - memory.gone.keys()
        state.runtime.unanswered.arrived(fresh, state.runtime.listed_at)
    state.runtime.unanswered.keep(listed)


def _settle_unanswered(state: State, listing: Listing) -> None:
    """A doubt ends with what it was about. Which image that used nobody knows, so each that it may
    have been counts as seen just now, where it could have gone in the meantime."""
    graph, unanswered, now = state.graph, state.runtime.unanswered, listing.ended_at
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


def note_unplaced(state: State, container: Container, at: float) -> None:
    """Remembers a container whose images, or some, no listing has told yet: before the first one,
    say. It may be gone by the next."""
    keys = state.graph.images_of(container)
    if not keys <= state.memory.images.keys() or not state.graph.tells(container):
        state.runtime.unplaced[container.id] = (container, at)


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


def count_use(state: State, container: Container, oldest: dict[str, float]) -> None:
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
