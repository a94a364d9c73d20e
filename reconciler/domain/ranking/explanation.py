"""Why an image goes or stays by its score, for people: a clause, and a line with every factor.

    used 3x a day, last 2 h ago; superseded by cart:v42; tier low; 120 MiB

    remove shop/cart:v41 keep=0.00165 lowest of 37: used 1x, unused for 24h -> 0.04 uses/h;
    superseded by shop/cart:v42 (first seen 3 h ago) x0.03; tier normal x1; pull 191 MiB x1.38;
    frees ~590 MiB of 4 GiB

`plan`, `explain`, the log, the history and the page show the clause. The line is for checking the
order: the product of its factors is the score.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..humanize import ago, how_often, image_name, size_text, unused_for
from ..inventory import Image
from ..ledger import ImageRecord
from ..origin import names_to_pull
from .keepscore import Score
from .tag_series import SUPERSEDED
from .use_rate import uses_per_day


@dataclass(frozen=True, slots=True)
class Explanation:
    """One image's score at one time, and its explanations."""

    image: Image
    record: ImageRecord
    score: Score
    now: float

    def __str__(self) -> str:
        """The clause."""
        parts = (self._used(), self._outdated(), self._importance(), size_text(self.image.size))
        return "; ".join(part for part in parts if part)

    def line(
        self, *, goes: bool, rank: int = 0, of: int = 0, frees: int = 0, missing: int = 0
    ) -> str:
        """Returns the line with every factor. `rank`, from 1, among `of` candidates; 0: not one.
        `frees` and `missing` are bytes: what the removal may free, and what must be freed."""
        image, before = self.image, self.record.names
        name = image_name(names_to_pull(image, before) or image.names, image.id)
        place = f" rank {rank}/{of}" if rank > 1 else f" lowest of {of}" if rank else ""
        factors = "; ".join((self._uses(), self._standing(), self._tier(), self._pull()))
        text = f"{'remove' if goes else 'keep'} {name} keep={self.score.keep:.4g}{place}: {factors}"
        if goes and frees:
            text += f"; frees ~{size_text(frees)}"
            text += f" of {size_text(missing)}" if missing else ""
        return text

    # --- of the clause -------------------------------------------------------------------------

    def _used(self) -> str:
        record, now = self.record, self.now
        if record.last_used is None:
            return f"never used here, first seen {ago(now - record.first_seen)}"
        last = ago(now - record.last_used)
        if record.uses <= 1:
            return f"used once, {last}"
        return f"used {how_often(uses_per_day(record, now))}, last {last}"

    def _outdated(self) -> str:
        newer = self.score.newer
        if newer is None:
            return ""
        name = newer.name.rpartition("/")[2]
        superseded = self.score.standing == SUPERSEDED
        return f"superseded by {name}" if superseded else f"newer in its repository: {name}"

    def _importance(self) -> str:
        return "" if self.score.rule is None else f"tier {self.score.tier.value}"

    # --- of the line ---------------------------------------------------------------------------

    def _uses(self) -> str:
        record = self.record
        if record.last_used is None:
            text = f"never used, {unused_for(self.now - record.first_seen, used=False)}"
        else:
            text = f"used {record.uses}x, {unused_for(self.now - record.last_used)}"
        return f"{text} -> {self.score.rate:.3g} uses/h"

    def _standing(self) -> str:
        newer, factor = self.score.newer, self.score.standing
        if newer is None:
            return "newest of its series x1"
        how = "superseded by" if factor == SUPERSEDED else "its repository has a newer"
        return f"{how} {newer.name} (first seen {ago(self.now - newer.at)}) x{factor:g}"

    def _tier(self) -> str:
        rule = self.score.rule
        by = "" if rule is None else f" ({rule.place}{f': {rule.reason}' if rule.reason else ''})"
        return f"tier {self.score.tier.value}{by} x{self.score.tier.weight:g}"

    def _pull(self) -> str:
        return f"pull {size_text(self.score.pull)} x{self.score.bulk:.3g}"
