"""What a removal leaves behind: that it worked, that it was refused, that the image came back.

- What is written down before the call counts for nothing until it is sent, and has no answer until
  a listing gives one. One that is still without an answer after a restart was sent or was not, and
  nobody knows: such an image counts as seen just now, and as refused.
- Only the removal under way is finished, and only once.
- An image that was refused is left alone for `REFUSAL_FIRST` seconds, twice as long each time, up
  to `REFUSAL_LAST`. A runtime that went away refused nothing, the first time.
- Removals that helped nobody are followed by a rest, longer each time; one that helps ends that.
- What went by somebody else's doing is not called ours, and what comes back soon is wanted.

Whether a refused image may go is `protections.of_removals`, what was freed `space.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from .disks import REST_FIRST
from .facts import RemovalBegun, RemovalFinished, RemovalPlanned, RemovalSpared
from .inventory import image_key
from .ledger import RemovalRecord
from .removals import Refusal
from .space import Removed, record_gains
from .state import State

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
    state.removals.planned = fact
    state.removals.changed.add(image_key(fact.image_id))


def spare(state: State, fact: RemovalSpared) -> None:
    """It was not sent: what the ledger holds of the image is again what is known."""
    state.removals.planned = None
    state.removals.changed.add(image_key(fact.image_id))


def begin(state: State, fact: RemovalBegun) -> None:
    """A removal is sent; what was listed before is no base for another."""
    key, removal = fact.removal.image.key, fact.removal
    removals, state.runtime.listing_stale = state.removals, True
    removals.planned, removals.under_way = None, removal
    removals.not_ours.discard(key)
    removals.records[key] = RemovalRecord(begun_at=fact.at, names=removal.names)
    removals.changed.add(key)


def finish(state: State, fact: RemovalFinished) -> None:
    """Takes in what became of the removal under way; of any other, nothing."""
    removal, key = fact.removal, fact.removal.image.key
    if state.removals.under_way is None or state.removals.under_way.image.key != key:
        return
    state.removals.under_way = None
    if not fact.gone:
        _refuse(state, key, fact)
        return
    state.removals.refusals.pop(key, None)
    state.removals.records[key] = replace(state.removals.records[key], answered_at=fact.at)
    state.removals.changed.add(key)
    removed = Removed(removal.image.id, removal.names, fact.at, removal.expected, removal.most)
    over = record_gains(state.disks.delayed, fact.gains, removed) if fact.gains else []
    state.disks.shown = tuple(over)
    weigh(state, over, fact.at)


def weigh(state: State, over: Iterable[Removed], now: float) -> None:
    """Takes in whether removals helped, now that nothing more is expected of them. After some that
    helped nobody there is a rest, and after it one try, until one helps."""
    disks = state.disks
    for removed in over:
        if not removed.was_short:
            continue
        if removed.helped:
            disks.forgive()
            continue
        disks.futile += 1
        disks.certainly_futile += removed.certainly_futile
        tried = disks.rest > REST_FIRST
        many = disks.futile >= FUTILE_REMOVALS or disks.certainly_futile >= FUTILE_FOR_CERTAIN
        if tried or many:
            disks.rest_until = now + disks.rest
            disks.futile, disks.certainly_futile = 0, 0
            disks.rest = min(2 * disks.rest, REST_LAST)


def settle(state: State, now: float) -> None:
    """Takes in what a new listing tells of earlier removals and refusals."""
    listed, removals, refusals = state.graph.images, state.removals, state.removals.refusals
    for key in refusals.keys() - listed.keys():
        if now >= refusals[key].until:  # an image that a list lacks for a moment is not new
            del refusals[key]
    under_way = removals.under_way.image.key if removals.under_way else None
    for key, removal in list(removals.records.items()):
        if key in listed:
            inherited = state.runtime.listed_at is None or key in removals.inherited
            if removal.answered_at is None and inherited:  # begun in a life before, or by another
                state.memory.seen_anew(key, now)
                _refuse_still(state, key, removal)
            continue
        # Ours all the same, if late: we were killed in between, or a list was not true.
        if removal.answered_at is None and key != under_way:
            if state.runtime.listed_at is not None and now - removal.begun_at > LATE:
                removals.not_ours.add(key)  # refused long ago: somebody else had it removed
            removals.records[key] = replace(removal, answered_at=now)
            removals.changed.add(key)
        elif now - removal.begun_at > RECORDS_KEPT:
            del removals.records[key]
            removals.not_ours.discard(key)
            removals.changed.add(key)
    removals.inherited.clear()


def notice_return(state: State, key: str, now: float) -> bool:
    """An image is new on the node; whether it is one that we removed. Also one that somebody else
    removed since then counts as wanted, but is none of our doing."""
    ours = removed_by_us(state, key)
    state.removals.not_ours.discard(key)
    removal = state.removals.records.get(key)
    if removal is not None and removal.answered_at is not None:
        state.removals.records[key] = replace(removal, came_back_at=now)
        state.removals.changed.add(key)
    return ours


def removed_by_us(state: State, key: str) -> bool:
    """Whether an image that is not here went by this daemon's doing."""
    removal = state.removals.records.get(key)
    if removal is None or removal.came_back_at is not None or key in state.removals.not_ours:
        return False
    under_way = state.removals.under_way is not None and state.removals.under_way.image.key == key
    return under_way or removal.answered_at is not None


def _refuse(state: State, key: str, fact: RemovalFinished) -> None:
    """Leaves an image alone for a while. A runtime that was restarted under a removal refused
    nothing, so it is asked again soon; the second time, the removal may be what it dies of."""
    before = state.removals.refusals.get(key)
    went_away = fact.lost and fact.took < HUNG
    count = before.count + 1 if before else int(not went_away)
    wait = min(REFUSAL_FIRST * 2 ** (count - 1), REFUSAL_LAST) if count else LOST_FIRST
    state.removals.refusals[key] = Refusal(fact.at + wait, count, fact.trouble)
    if count:  # what is left of it after a restart counts from the answer, not from the call
        state.removals.records[key] = replace(state.removals.records[key], begun_at=fact.at)
        state.removals.changed.add(key)
    if fact.error is None or fact.lost:
        # It may have been carried out, and the image pulled again since.
        state.memory.seen_anew(key, fact.at)


def _refuse_still(state: State, key: str, removal: RemovalRecord) -> None:
    """How often an image was refused is not remembered over a restart, that it was asked for is."""
    until = removal.begun_at + NOTED_BEFORE + REFUSAL_FIRST
    reason = "its removal was asked for before a restart, and it is still listed"
    state.removals.refusals[key] = Refusal(until, 1, reason)
