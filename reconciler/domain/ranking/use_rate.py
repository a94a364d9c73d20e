"""How often an image is used: five decayed counts of its uses, each decaying at its own pace.

A use is an episode: from the start of a container after the image was idle for at least ten minutes
until its last container is gone. Further starts within an episode do not count. When it ends, no
count is less than one: an image that ran for weeks ends as used just now.

The end need not be observed: `last_used` is when a user was last seen, so a record whose
`last_used` is later than its counts shows that an episode ended there. A daemon that was killed or
down in between misses nothing.
"""

from __future__ import annotations

import functools
import math
import operator
from dataclasses import replace

from ..ledger import ImageRecord

HOUR = 3600.0
PACES = (1.0, 4.0, 16.0, 64.0, 256.0)  # hours until a count has shrunk to 1/e
IDLE = 600.0  # seconds without a user after which the next start is a new use
_LN4 = math.log(4.0)
_NOTHING = (0.0,) * len(PACES)


def started(record: ImageRecord, at: float, *, opens: bool = True) -> ImageRecord:
    """Returns the record after one more container of the image was created at `at`. `opens`: no
    older container uses it, so that this start may open a new episode."""
    last = record.last_started
    latest = at if last is None else max(last, at)
    if not opens or not was_idle(record, at):
        return replace(record, uses=record.uses + 1, last_started=latest)
    counters, since = settled(record)
    at = max(at, since)
    grown = tuple(count + 1.0 for count in _decayed(counters, at - since))
    uses = record.uses + 1
    return replace(record, uses=uses, last_started=latest, counters=grown, counted_at=at)


def was_idle(record: ImageRecord, at: float) -> bool:
    """Whether the image was idle for so long that a start would be a new use."""
    return record.last_used is None or at - record.last_used >= IDLE


def settled(record: ImageRecord) -> tuple[tuple[float, ...], float]:
    """Returns the counts and their time, including the end of the last episode."""
    return _settled(record.counters or _NOTHING, record.counted_at, record.last_used)


def _settled(
    counters: tuple[float, ...], since: float, ended: float | None
) -> tuple[tuple[float, ...], float]:
    if ended is None or ended < since:
        return counters, since
    return tuple(max(count, 1.0) for count in _decayed(counters, ended - since)), ended


# For decisions, which look up the same records repeatedly; a start looks each up once.
_settled_before = functools.lru_cache(maxsize=8192)(_settled)


def uses_per_hour(record: ImageRecord, now: float) -> float:
    """Returns the rate at which an image is likely to be used. One use `a` hours ago is worth about
    1/a uses an hour, and uses add up; an image that was never used counts by its age."""
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
    """Returns how often an image was used recently, for people: the slowest count, spread over the
    time in which its uses lie. That is at least a day, and reaches back to when it was first seen,
    or, for an image that came back, further: how much more of the same uses the next quicker count
    has lost shows how old they are on average."""
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
    """Returns the remaining share of a count at each pace. Each pace is four times the one before,
    so that one exponential is enough for all: a decision needs thousands."""
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
