"""How much an image is worth keeping: `keep = W x S x R x Z`; the lowest goes first.

    W   the tier the operator gave it              importance.py
    S   superseded by a newer version of itself?   tag_series.py
    R   uses an hour, by five decayed counts       use_rate.py
    Z   what a pull costs, for each byte of it: 1 + 75 MB / the bytes of a pull

A pull costs about 1.5 s and then 50 MB a second, so that the fixed part is worth 75 MB: small
images are cheap to keep and costly to pull. docs/eviction.md measures what each factor is worth.

- A score only orders: it never decides whether an image goes (`protections`, `decision.py`).
- The order is total: where scores are equal the longest unused goes first, then by id.
- Every factor is returned with the score, and `keep` is their product.
- The daemon and the replay score by the same code.
"""

from __future__ import annotations

from typing import NamedTuple

from ..inventory import Image
from ..ledger import Arrival, ImageRecord
from ..policy import Importance, Tier
from .tag_series import standing, tag_series
from .use_rate import uses_per_hour

FIXED_COST = 75e6  # bytes that could be pulled in the time before the first byte of a pull
UNPACKING = 2.6  # unpacked bytes for each compressed one (docs/runtimes.md)


class Score(NamedTuple):
    """The factors of one image's score; their product is `keep`."""

    keep: float
    tier: Tier
    rule: Importance | None  # the rule that gave the tier
    standing: float
    newer: Arrival | None  # what supersedes it
    rate: float  # uses an hour
    bulk: float  # Z
    pull: float  # bytes of a pull, estimated from the runtime's size


class Appraiser:
    """Scores images of one node at one time, for the daemon and for the replay."""

    def __init__(self, arrivals: dict[str, Arrival], now: float, *, unpacked: bool) -> None:
        self._arrivals, self._now = arrivals, now
        self._per_byte = 1.0 / UNPACKING if unpacked else 1.0

    def score(self, image: Image, record: ImageRecord, rule: Importance | None = None) -> Score:
        """Returns one image's score."""
        tags = image.tags or tuple(name for name in record.names if "@" not in name)
        found = standing(image.key, record, tag_series(tags or image.digests), self._arrivals)
        rate = uses_per_hour(record, self._now)
        pull = max(1.0, image.size * self._per_byte)
        bulk = 1.0 + FIXED_COST / pull
        tier, weight = (Tier.NORMAL, 1.0) if rule is None else (rule.tier, rule.tier.weight)
        keep = weight * found.factor * rate * bulk
        return Score(keep, tier, rule, found.factor, found.newer, rate, bulk, pull)


def removal_order(score: Score, image: Image, record: ImageRecord) -> tuple[float, float, str]:
    """Returns a sort key; the first goes first: lowest score, then longest unused, then by id."""
    used = record.last_used
    return score.keep, record.first_seen if used is None else used, image.key
