"""Apply a complete listing to the state: images come and go, uses are counted, doubts end.

- Until its last step the state says that nothing may be removed on this listing.
- Ages count from the end of a listing: a slow answer describes its last moment as well.
- A container is counted once, whatever reports it first; the oldest are counted first.
- An image in use before a listing, or according to it, counts as used until its end.
- A doubt ends when its container or sandbox is gone; each image that it may have concerned then
  counts as seen just now, if it could have been removed in between.
- A new image gets a record; one that is gone is attributed to this daemon or to somebody else.

`graph.py` holds who uses what according to a listing, `memory.py` what is remembered of images,
`removing.py` how a removal is judged by it.
"""

from __future__ import annotations

from . import facts, removing
from .absorb_pods import note_starts, note_template, note_templates
from .inventory import Container, Listing
from .state import State
from .steps import STEP, Steps


def absorb_listing(fact: facts.Listed, state: State) -> Steps[None]:
    """Applies a listing in steps, for a caller that has other things to do in between. Until the
    last step the state says that nothing may be removed on it."""
    listing = fact.listing
    state.runtime.listing_stale = True
    state.runtime.version, state.runtime.configured_pause = fact.version, fact.configured_pause
    _notice_blank(state, listing)
    used = set(state.graph.used_keys())
    unplaced, state.runtime.unplaced = _last_seen(state, listing.ended_at), {}
    unresolved = [state.graph.containers[one] for one in state.graph.unresolved]
    state.settle_starts(listing.began_at)
    note_starts(state, listing)
    yield from state.graph.replacing(listing)
    # A slow answer describes its last moment as well as its first: ages count from its end.
    _update_records(state, listing.began_at, listing.ended_at)
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
    # An image that this listing shows as unused, and the one before did not, may have been used
    # until now: perhaps no event reported when its last container was removed.
    for key in used.union(state.graph.used_keys()):
        state.memory.touch(key, listing.ended_at)
    for container in unresolved:
        if container.id not in state.graph.containers:
            unplaced.setdefault(container.id, (container, listing.ended_at))
    for container, at in unplaced.values():
        _count_late(state, container, at)
    state.memory.trim(state.graph.containers, listing.ended_at)
    state.settle_starts(listing.ended_at)
    state.runtime.listed(listing.began_at)


def _notice_blank(state: State, listing: Listing) -> None:
    """Lists that lack every container, or every known container and sandbox, are doubted until
    later ones agree: the runtime may still be starting up."""
    known = state.graph.containers or state.graph.sandboxes or state.runtime.blank_since is not None
    if listing.containers or not (listing.sandboxes or known):
        state.runtime.blank_since = None
    elif state.runtime.blank_since is None:
        state.runtime.blank_since = listing.began_at


def _update_records(state: State, began: float, now: float) -> None:
    """Opens a record for every new image, and closes the records of images that are gone."""

    def first_made(key: str) -> float | None:
        return _oldest(state, key)

    _note_arrivals(state)
    gone = sorted(state.ledger.keys() - state.graph.images.keys())
    fresh = state.memory.meet(state.graph.images, first_made, now)
    removals = state.removals
    back = (key for key in fresh if removing.notice_return(state, key, began, now))
    removals.came_back = tuple(back)
    removing.settle(state, now)
    removals.gone_by_others = tuple(key for key in gone if not removing.removed_by_us(state, key))


def _note_arrivals(state: State) -> None:
    """Records which images arrived after the last listing began, so that no container or sandbox
    made before then can use them. An image that is remembered may have been here earlier."""
    listed, memory = state.graph.images.keys(), state.memory
    if state.runtime.listed_at is not None:
        fresh = listed - memory.images.keys() - memory.gone.keys()
        state.runtime.unanswered.arrived(fresh, state.runtime.listed_at)
    state.runtime.unanswered.keep(listed)


def _settle_unanswered(state: State, listing: Listing) -> None:
    """Ends doubts about containers and sandboxes that are answered or gone. Which image one that is
    gone had used is unknown, so each possible one counts as seen just now, if it could have been
    removed in the meantime."""
    graph, unanswered, now = state.graph, state.runtime.unanswered, listing.ended_at
    for sandbox_id in graph.unnamed_sandboxes - unanswered.since.keys():
        unanswered.note(sandbox_id, listing.began_at)
    ended = unanswered.since.keys() - state.unasked - graph.unnamed_sandboxes
    gone = ended - graph.containers.keys() - graph.sandboxes.keys()
    narrowed = [unanswered.since[one] for one in gone if unanswered.narrowed(one, now)]
    for one in ended:
        unanswered.forget(one)
    for key in state.memory.images if narrowed else ():
        if not graph.is_used(key) and not unanswered.came_later(key, max(narrowed)):
            state.memory.seen_anew(key, now)


def note_unplaced(state: State, container: Container, at: float) -> None:
    """Remembers a container of which some image is not in any listing yet, for example before the
    first listing. It may be gone by the next one."""
    keys = state.graph.images_of(container)
    if not keys <= state.memory.images.keys() or not state.graph.is_certain(container):
        state.runtime.unplaced[container.id] = (container, at)


def _last_seen(state: State, now: float) -> dict[str, tuple[Container, float]]:
    """Containers whose images no listing has shown yet, each with the time at which it may have
    existed last: now, unless an event reported its end."""
    return {
        one: (container, now if one in state.graph.containers else at)
        for one, (container, at) in state.runtime.unplaced.items()
    }


def _count_late(state: State, container: Container, at: float) -> None:
    """Counts the use of a container that was last seen at that time and whose images no listing had
    shown before. If they are still unknown and the container is gone, it may have used any image
    that nobody else uses, and all of those count as seen at that time."""
    for key in state.graph.meant_by(container):
        state.memory.touch(key, at)
    note_template(state, container, at)
    if container.id not in state.graph.containers and not state.graph.is_certain(container):
        for key in state.memory.images:
            if not state.graph.is_used(key):
                state.memory.seen_anew(key, at)


def _oldest(state: State, key: str) -> float | None:
    """Returns when the oldest container on the node that uses an image was made."""
    containers = state.graph.containers
    users = state.graph.users_of(key)
    return min((containers[one].created_at for one in users if one in containers), default=None)


def count_use(state: State, container: Container, oldest: dict[str, float]) -> None:
    """Counts a container seen for the first time. If an older one still exists, the image has been
    in use since that one was made, even if no use was seen. `oldest` caches that time for all
    containers of one listing. It is looked up only for images that were idle, where it matters: an
    event must not cost more for an image that thousands use."""
    keys, made = state.graph.images_of(container), container.created_at
    idle = [key for key in keys if state.memory.rested(key, made)]
    for key in idle:
        if key not in oldest:
            found = _oldest(state, key)
            oldest[key] = made if found is None else found
    opening = frozenset(key for key in idle if made <= oldest[key])
    state.memory.count(container, keys, state.began_at, opening)
