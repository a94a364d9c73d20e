"""Why an image goes or stays by its score, in one line: the same in `plan`, `explain` and the log.

    remove shop/cart:v41 keep=0.00165 lowest of 37: used 1x, idle 24h -> 0.04 uses/h; superseded by
    shop/cart:v42 (first seen 3h ago) x0.03; tier normal x1; pull 200MB x1.38; frees ~620MB of 4.2GB

Every factor is there; their product is the score.
"""

from __future__ import annotations

from dataclasses import dataclass

from .inventory import Image
from .keepscore import Score
from .ledger import ImageRecord
from .origin import names_to_pull
from .streams import SUPERSEDED
from .words import duration


@dataclass(frozen=True, slots=True)
class Account:
    """One image's score and what there is to say of it at one time."""

    image: Image
    record: ImageRecord
    score: Score
    now: float

    def __str__(self) -> str:
        """The factors in words."""
        parts = (self._uses(), self._standing(), self._tier(), self._pull())
        return "; ".join(parts)

    def line(
        self, *, goes: bool, rank: int = 0, of: int = 0, frees: int = 0, missing: int = 0
    ) -> str:
        """The whole line. `rank`, from 1, among `of` candidates: 0 for what is none. `frees` and
        `missing` are bytes: what the removal may free, and what is to be freed."""
        image, before = self.image, self.record.names
        name = (names_to_pull(image, before) or image.names or (image.id[:19],))[0]
        place = f" rank {rank}/{of}" if rank > 1 else f" lowest of {of}" if rank else ""
        text = f"{'remove' if goes else 'keep'} {name} keep={self.score.keep:.4g}{place}: {self}"
        if goes and frees:
            text += f"; frees ~{_size(frees)}" + (f" of {_size(missing)}" if missing else "")
        return text

    def _uses(self) -> str:
        record = self.record
        if record.last_used is None:
            text = f"never used, seen {duration(self.now - record.first_seen)} ago"
        else:
            text = f"used {record.uses}x, idle {duration(self.now - record.last_used)}"
        return f"{text} -> {self.score.rate:.3g} uses/h"

    def _standing(self) -> str:
        newer, factor = self.score.newer, self.score.standing
        if newer is None:
            return "newest of its stream x1"
        how = "superseded by" if factor == SUPERSEDED else "its repository has a newer"
        return f"{how} {newer.name} (first seen {duration(self.now - newer.at)} ago) x{factor:g}"

    def _tier(self) -> str:
        rule = self.score.rule
        by = "" if rule is None else f" ({rule.place}{f': {rule.reason}' if rule.reason else ''})"
        return f"tier {self.score.tier.value}{by} x{self.score.tier.weight:g}"

    def _pull(self) -> str:
        return f"pull {_size(self.score.pull)} x{self.score.bulk:.3g}"


def _size(count: float) -> str:
    """Bytes as registries count them: 200MB, 4.2GB."""
    if count >= 1e9:
        return f"{count / 1e9:.1f}GB"
    return f"{count / 1e6:.0f}MB" if count >= 1e6 else f"{count / 1e3:.0f}kB"
