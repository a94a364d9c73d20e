"""Record the result of a removal: that it worked, that it was refused, that the image came back.

- A removal recorded before the call has no effect until it is sent, and no answer until a listing
  shows one. If it still has none after a restart, it is unknown whether it was sent: such an image
  counts as seen just now, and as refused.
- Only the removal in progress is finished, and only once.
- An image that was refused is left alone for `REFUSAL_FIRST` seconds, twice as long each time, up
  to `REFUSAL_LAST`. A runtime that went away refused nothing, the first time.
- Removals that did not help are followed by a rest, longer each time; one that helps ends that.
- An image that somebody else removed does not count as ours; one that comes back soon is wanted.

`protections.of_removals` keeps refused images, `space.py` credits what was freed.
"""

from __future__ import annotations

from dataclasses import replace

from .disks import FUTILE_REMOVALS, REST_FIRST, Disks
from .facts import RemovalBegun, RemovalFinished, RemovalPlanned, RemovalSpared
from .inventory import image_key
from .ledger import RemovalRecord
from .removals import Refusal
from .space import Removed, record_gains
from .state import State

REFUSAL_FIRST = 300.0  # seconds a refused image is left alone, doubling up to REFUSAL_LAST
REFUSAL_LAST = 3600.0
NOTED_BEFORE = 60.0  # seconds from recording a removal to sending it, if the disk is slow
LOST_FIRST = 10.0  # seconds the first time that the runtime went away without an answer
HUNG = 60.0  # seconds without an answer after which it is no restart: it hangs
REST_LAST = 6 * 3600.0  # seconds: the longest rest
FUTILE_FOR_CERTAIN = 3  # futile removals until a rest, if that they are is certain
LATE = 120.0  # seconds after its answer in which a removal may still be carried out
RECORDS_KEPT = 7 * 86400.0  # seconds a removal is remembered


def plan(state: State, fact: RemovalPlanned) -> None:
    """Records that a removal may be sent. It has no effect before: the last look decides by what
    was known until now."""
    state.removals.planned = fact
    state.removals.changed.add(image_key(fact.image_id))


def spare(state: State, fact: RemovalSpared) -> None:
    """The removal was not sent: the ledger gets back the record from before it was planned."""
    state.removals.planned = None
    state.removals.changed.add(image_key(fact.image_id))


def begin(state: State, fact: RemovalBegun) -> None:
    """A removal is sent; nothing else may be removed on the listing before it."""
    key, removal = fact.removal.image.key, fact.removal
    removals, state.runtime.listing_stale = state.removals, True
    removals.planned, removals.under_way = None, removal
    removals.not_ours.discard(key)
    removals.records[key] = RemovalRecord(begun_at=fact.at, names=removal.names)
    removals.changed.add(key)


def finish(state: State, fact: RemovalFinished) -> None:
    """Records the result of the removal in progress; ignores any other."""
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
    removed.approximate = len(fact.gains) < len(removal.filesystems)
    settled = record_gains(state.disks.delayed, fact.gains, removed) if fact.gains else []
    state.disks.shown = tuple(settled)
    if removed.was_short:
        state.disks.unhelpful.append(removed)
    weigh(state.disks, fact.at)


def weigh(disks: Disks, now: float) -> None:
    """Records which removals helped, and which can help no more. After some of those there is a
    rest, and after it one try, until one helps."""
    last = max((at for at, one in enumerate(disks.unhelpful) if one.helped), default=-1)
    if last >= 0 and disks.unhelpful[last].at > disks.futile_at:  # else its space was late
        disks.rest, disks.rest_until = REST_FIRST, 0.0
    disks.unhelpful = disks.unhelpful[last + 1 :]
    futile = [one for one in disks.unhelpful if not one.wanted_by]
    disks.futile_at = max([disks.futile_at, *(one.at for one in futile)])
    certain = sum(one.certainly_futile for one in futile)
    many = len(futile) >= FUTILE_REMOVALS or certain >= FUTILE_FOR_CERTAIN
    if many or (futile and disks.rest > REST_FIRST):
        disks.rest_until = now + disks.rest
        disks.rest = min(2 * disks.rest, REST_LAST)
        disks.unhelpful = [one for one in disks.unhelpful if one.wanted_by]


def settle(state: State, now: float) -> None:
    """Records what a new listing shows about earlier removals and refusals."""
    listed, removals, refusals = state.graph.images, state.removals, state.removals.refusals
    for key in refusals.keys() - listed.keys():
        if now >= refusals[key].until:  # an image missing from a list for a moment is not new
            del refusals[key]
    under_way = removals.under_way.image.key if removals.under_way else None
    for key, removal in list(removals.records.items()):
        if key in listed:
            inherited = state.runtime.listed_at is None or key in removals.inherited
            if removal.answered_at is None and inherited:  # begun before a restart, or by others
                state.memory.seen_anew(key, now)
                _refuse_still(state, key, removal)
            continue
        # Ours all the same, if late: we were killed in between, or a list was wrong.
        if removal.answered_at is None and key != under_way:
            if state.runtime.listed_at is not None and now - removal.begun_at > LATE:
                removals.not_ours.add(key)  # refused long ago: somebody else removed it
            removals.records[key] = replace(removal, answered_at=now)
            removals.changed.add(key)
        elif now - removal.begun_at > RECORDS_KEPT:
            del removals.records[key]
            removals.not_ours.discard(key)
            removals.changed.add(key)
    removals.inherited.clear()


def notice_return(state: State, key: str, began: float, now: float) -> bool:
    """Records that an image is new on the node, by a listing that took from `began` until now;
    returns whether it is one that we removed. One that somebody else removed since then counts as
    wanted too, but not as removed by us."""
    ours = removed_by_us(state, key)
    state.removals.not_ours.discard(key)
    removal = state.removals.records.get(key)
    if removal is not None and removal.answered_at is not None:
        gone_for = max(0.0, began - removal.answered_at)
        state.removals.records[key] = replace(removal, came_back_at=now, gone_for=gone_for)
        state.removals.changed.add(key)
    return ours


def removed_by_us(state: State, key: str) -> bool:
    """Whether it was this daemon that removed an image that is not here."""
    removal = state.removals.records.get(key)
    if removal is None or removal.came_back_at is not None or key in state.removals.not_ours:
        return False
    under_way = state.removals.under_way is not None and state.removals.under_way.image.key == key
    return under_way or removal.answered_at is not None


def _refuse(state: State, key: str, fact: RemovalFinished) -> None:
    """Leaves an image alone for a while. A runtime that was restarted during a removal refused
    nothing, so it is asked again soon; the second time, the removal may be what crashes it."""
    before = state.removals.refusals.get(key)
    went_away = fact.lost and fact.took < HUNG
    count = before.count + 1 if before else int(not went_away)
    wait = min(REFUSAL_FIRST * 2 ** (count - 1), REFUSAL_LAST) if count else LOST_FIRST
    state.removals.refusals[key] = Refusal(fact.at + wait, count, fact.trouble)
    if count:  # after a restart the wait counts from the answer, not from the call
        state.removals.records[key] = replace(state.removals.records[key], begun_at=fact.at)
        state.removals.changed.add(key)
    if fact.error is None or fact.lost:
        # It may have been carried out, and the image pulled again since.
        state.memory.seen_anew(key, fact.at)


def _refuse_still(state: State, key: str, removal: RemovalRecord) -> None:
    """Refuses an image after a restart, when how often it was refused before is not known."""
    until = removal.begun_at + NOTED_BEFORE + REFUSAL_FIRST
    reason = "its removal was requested before a restart, and it is still listed"
    state.removals.refusals[key] = Refusal(until, 1, reason)
