"""How often an image is wanted: five decayed counts of its uses, each forgetting at its own pace.

A use is an episode: from the start of a container while nothing used the image, after at least ten
minutes of rest, until its last container is gone. Starts within an episode count no more. When it
ends, no count is less than one: an image that ran for weeks leaves as used just now.

The end is never waited for: `last_used` is when a user was last seen, so a record whose `last_used`
is later than its counts tells by itself that an episode ended there. A daemon that was killed or
down in between misses nothing by it.
"""

from __future__ import annotations

import math
import operator
from dataclasses import replace

from .ledger import ImageRecord

HOUR = 3600.0
PACES = (1.0, 4.0, 16.0, 64.0, 256.0)  # hours until a count has shrunk to 1/e
REST = 600.0  # seconds without a user that make the next start a new use
_PER_HOUR = tuple(1.0 / pace for pace in PACES)
_LN4 = math.log(4.0)
_NOTHING = (0.0,) * len(PACES)


def started(record: ImageRecord, at: float, *, opens: bool = True) -> ImageRecord:
    """The record after one more container of it was created at `at`. `opens`: no other container
    that is older uses it, so that this start may open a new episode."""
    last = record.last_started
    latest = at if last is None else max(last, at)
    if not opens or not rested(record, at):
        return replace(record, uses=record.uses + 1, last_started=latest)
    counters, since = settled(record)
    at = max(at, since)
    grown = tuple(count + 1.0 for count in _decayed(counters, at - since))
    uses = record.uses + 1
    return replace(record, uses=uses, last_started=latest, counters=grown, counted_at=at)


def rested(record: ImageRecord, at: float) -> bool:
    """Whether nothing was seen to use it for so long that a start would be a new use."""
    return record.last_used is None or at - record.last_used >= REST


def settled(record: ImageRecord) -> tuple[tuple[float, ...], float]:
    """The counts and their time, with the end of the last episode in them."""
    counters, since = record.counters or _NOTHING, record.counted_at
    ended = record.last_used
    if ended is None or ended < since:
        return counters, since
    return tuple(max(count, 1.0) for count in _decayed(counters, ended - since)), ended


def uses_per_hour(record: ImageRecord, now: float) -> float:
    """The rate at which it is likely to be wanted. One use `a` hours ago is worth about 1/a uses
    an hour, and uses add up; what was never used counts by its age."""
    if record.last_used is None and not record.counters:
        return 1.0 / (max(0.0, now - record.first_seen) / HOUR + 1.0)
    counters, since = settled(record)
    rates = map(operator.mul, _decayed(counters, now - since), _PER_HOUR)
    return float(_LN4 * sum(rates))


def _decayed(counters: tuple[float, ...], seconds: float) -> list[float]:
    hours = -max(0.0, seconds) / HOUR
    exp = math.exp
    return [count * exp(hours / pace) for count, pace in zip(counters, PACES, strict=True)]
