"""What a removal leaves behind: that it worked, that it was refused, that the image came back.

What is written down before the call has no answer until a listing gives one; one that is still
without an answer after a restart was sent or was not, and nobody knows.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from .facts import RemovalBegun, RemovalFinished, RemovalPlanned, RemovalSpared
from .inventory import image_key
from .ledger import RemovalRecord
from .space import Removed, note
from .state import REST_FIRST, Refusal, State

REFUSAL_FIRST = 300.0  # seconds a refused image is left alone, doubling up to REFUSAL_LAST
REFUSAL_LAST = 3600.0
NOTED_BEFORE = 60.0  # seconds that a removal may be noted before it is sent: the disk is slow
LOST_FIRST = 10.0  # seconds the first time that the runtime went away instead of an answer
HUNG = 60.0  # seconds after which no answer is no restart: that image is what it hangs on
REST_LAST = 6 * 3600.0  # seconds: the longest rest when removals free nothing of it
FUTILE_REMOVALS = 10  # so many in a row that freed nothing of what is short: it is not theirs
FUTILE_FOR_CERTAIN = 3  # so many, where that is certain, as when another filesystem gained
LATE = 120.0  # seconds after its answer in which a removal may still be carried out
RECORDS_KEPT = 7 * 86400.0  # seconds a removal is remembered


def plan(state: State, fact: RemovalPlanned) -> None:
    """Writes down that a removal may be sent. It counts for nothing before it is: the last look
    asks what was so before."""
    state.planned = fact
    state.changed_removals.add(image_key(fact.image_id))


def spare(state: State, fact: RemovalSpared) -> None:
    """It was not sent: what the ledger holds of the image is again what is known."""
    state.planned = None
    state.changed_removals.add(image_key(fact.image_id))


def begin(state: State, fact: RemovalBegun) -> None:
    """A removal is sent; what was listed before is no base for another."""
    key, removal = fact.removal.image.key, fact.removal
    state.planned, state.removing, state.listing_spent = None, removal, True
    state.not_ours.discard(key)
    state.removals[key] = RemovalRecord(begun_at=fact.at, names=removal.names)
    state.changed_removals.add(key)


def finish(state: State, fact: RemovalFinished) -> None:
    """Takes in what became of the removal under way; of any other, nothing."""
    removal, key = fact.removal, fact.removal.image.key
    if state.removing is None or state.removing.image.key != key:
        return
    state.removing = None
    if not fact.gone:
        _refuse(state, key, fact)
        return
    state.refusals.pop(key, None)
    state.removals[key] = replace(state.removals[key], answered_at=fact.at)
    state.changed_removals.add(key)
    removed = Removed(removal.image.id, removal.names, fact.at, removal.expected, removal.most)
    over = note(state.accounts, fact.gains, removed) if fact.gains else []
    state.shown = tuple(over)
    weigh(state, over, fact.at)


def weigh(state: State, over: Iterable[Removed], now: float) -> None:
    """Takes in whether removals helped, now that nothing more is expected of them. After some that
    helped nobody there is a rest, and after it one try, until one helps."""
    for removed in over:
        if not removed.wanted:
            continue
        if removed.helped:
            state.forgive()
            continue
        state.futile += 1
        state.for_nothing += removed.for_nothing
        tried = state.rest > REST_FIRST
        if tried or state.futile >= FUTILE_REMOVALS or state.for_nothing >= FUTILE_FOR_CERTAIN:
            state.rest_until = now + state.rest
            state.futile, state.for_nothing = 0, 0
            state.rest = min(2 * state.rest, REST_LAST)


def settle(state: State, now: float) -> None:
    """Takes in what a new listing tells of earlier removals and refusals."""
    listed = state.graph.images
    for key in state.refusals.keys() - listed.keys():
        if now >= state.refusals[key].until:  # an image that a list lacks for a moment is not new
            del state.refusals[key]
    under_way = state.removing.image.key if state.removing else None
    for key, removal in list(state.removals.items()):
        if key in listed:
            inherited = state.listed_at is None or key in state.inherited
            if removal.answered_at is None and inherited:  # begun in a life before, or by another
                state.memory.seen_anew(key, now)
                _refuse_still(state, key, removal)
            continue
        # Ours all the same, if late: we were killed in between, or a list was not true.
        if removal.answered_at is None and key != under_way:
            if state.listed_at is not None and now - removal.begun_at > LATE:
                state.not_ours.add(key)  # refused long ago: somebody else had it removed
            state.removals[key] = replace(removal, answered_at=now)
            state.changed_removals.add(key)
        elif now - removal.begun_at > RECORDS_KEPT:
            del state.removals[key]
            state.not_ours.discard(key)
            state.changed_removals.add(key)
    state.inherited.clear()


def notice_return(state: State, key: str, now: float) -> bool:
    """An image is new on the node; whether it is one that we removed. Also one that somebody else
    removed since then counts as wanted, but is none of our doing."""
    ours = removed_by_us(state, key)
    state.not_ours.discard(key)
    removal = state.removals.get(key)
    if removal is not None and removal.answered_at is not None:
        state.removals[key] = replace(removal, came_back_at=now)
        state.changed_removals.add(key)
    return ours


def removed_by_us(state: State, key: str) -> bool:
    """Whether an image that is not here went by this daemon's doing."""
    removal = state.removals.get(key)
    if removal is None or removal.came_back_at is not None or key in state.not_ours:
        return False
    under_way = state.removing is not None and state.removing.image.key == key
    return under_way or removal.answered_at is not None


def _refuse(state: State, key: str, fact: RemovalFinished) -> None:
    """Leaves an image alone for a while. A runtime that was restarted under a removal refused
    nothing, so it is asked again soon; the second time, the removal may be what it dies of."""
    before = state.refusals.get(key)
    went_away = fact.lost and fact.took < HUNG
    count = before.count + 1 if before else int(not went_away)
    wait = min(REFUSAL_FIRST * 2 ** (count - 1), REFUSAL_LAST) if count else LOST_FIRST
    state.refusals[key] = Refusal(fact.at + wait, count, fact.trouble)
    if count:  # what is left of it after a restart counts from the answer, not from the call
        state.removals[key] = replace(state.removals[key], begun_at=fact.at)
        state.changed_removals.add(key)
    if fact.error is None or fact.lost:
        # It may have been carried out, and the image pulled again since.
        state.memory.seen_anew(key, fact.at)


def _refuse_still(state: State, key: str, removal: RemovalRecord) -> None:
    """How often an image was refused is not remembered over a restart, that it was asked for is."""
    until = removal.begun_at + NOTED_BEFORE + REFUSAL_FIRST
    reason = "its removal was asked for before a restart, and it is still listed"
    state.refusals[key] = Refusal(until, 1, reason)
