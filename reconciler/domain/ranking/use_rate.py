"""How often an image is wanted: five decayed counts of its uses, each forgetting at its own pace.

A use is an episode: from the start of a container while nothing used the image, after at least ten
minutes of rest, until its last container is gone. Starts within an episode count no more. When it
ends, no count is less than one: an image that ran for weeks leaves as used just now.

The end is never waited for: `last_used` is when a user was last seen, so a record whose `last_used`
is later than its counts tells by itself that an episode ended there. A daemon that was killed or
down in between misses nothing by it.
"""

from __future__ import annotations

import functools
import math
import operator
from dataclasses import replace

from ..ledger import ImageRecord

HOUR = 3600.0
PACES = (1.0, 4.0, 16.0, 64.0, 256.0)  # hours until a count has shrunk to 1/e
REST = 600.0  # seconds without a user that make the next start a new use
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
    return _settled(record.counters or _NOTHING, record.counted_at, record.last_used)


def _settled(
    counters: tuple[float, ...], since: float, ended: float | None
) -> tuple[tuple[float, ...], float]:
    if ended is None or ended < since:
        return counters, since
    return tuple(max(count, 1.0) for count in _decayed(counters, ended - since)), ended


# For decisions, which ask for the same records again and again; a start asks for each once.
_settled_before = functools.lru_cache(maxsize=8192)(_settled)


def uses_per_hour(record: ImageRecord, now: float) -> float:
    """The rate at which it is likely to be wanted. One use `a` hours ago is worth about 1/a uses
    an hour, and uses add up; what was never used counts by its age."""
    if record.last_used is None and not record.counters:
        return 1.0 / (max(0.0, now - record.first_seen) / HOUR + 1.0)
    counters, since = _settled_before(
        record.counters or _NOTHING, record.counted_at, record.last_used
    )
    hour, hours, day, days, weeks = counters
    one, two, three, four, five = _fading(now - since)
    rate = hour * one + hours * two / 4 + day * three / 16 + days * four / 64 + weeks * five / 256
    return _LN4 * rate


def uses_per_day(record: ImageRecord, now: float) -> float:
    """How often it was used of late, for people: the count that forgets slowest, spread over the
    time that its uses lie in. That is a day at least, since it was first seen, and for an image
    that came back also before: by what the next slower count has forgotten of the same uses, they
    are that old on average."""
    counters, since = settled(record)
    *_, quicker, slowest = _decayed(counters, now - since)
    hours = (now - record.first_seen) / HOUR
    if 0.0 < quicker < slowest:
        hours = max(hours, 2.0 * math.log(slowest / quicker) / (1.0 / PACES[-2] - 1.0 / PACES[-1]))
    remembered = PACES[-1] * -math.expm1(-hours / PACES[-1])
    return 24.0 * slowest / max(24.0, remembered)


def _decayed(counters: tuple[float, ...], seconds: float) -> tuple[float, ...]:
    return tuple(map(operator.mul, counters, _fading(seconds)))


def _fading(seconds: float) -> tuple[float, float, float, float, float]:
    """What is left of a count at each pace after so long. Each pace is four times the one before,
    so that one exponential gives them all: a decision asks for thousands."""
    slowest = math.exp(-max(0.0, seconds) / (HOUR * PACES[-1]))
    slower = slowest * slowest
    slower *= slower
    middle = slower * slower
    middle *= middle
    quicker = middle * middle
    quicker *= quicker
    quickest = quicker * quicker
    quickest *= quickest
    return quickest, quicker, middle, slower, slowest
