"""The result of a decision: candidates in their order, what is kept and why, and the hold if any.

Values only; `decision.py` computes them.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import NamedTuple

from .hold import Hold
from .humanize import counted, size_text
from .inventory import Image
from .ledger import ImageRecord
from .protections.protection import Verdict
from .ranking.keepscore import Score
from .watermark import Pressure


class Cause(enum.Enum):
    """Why a candidate goes."""

    WATERMARK = "watermark"
    EXPENDABLE = "expendable"
    UNUSED_AGE = "unused-age"
    COMMAND = "command"


@dataclass(frozen=True, slots=True)
class Command:
    """The operator's own command: removes while usage is above the policy's low mark, or, with
    `all_unused`, everything that nothing protects."""

    all_unused: bool = False


class Candidate(NamedTuple):
    """An image with no protection, its place in the order, and whether it would go now."""

    image: Image
    record: ImageRecord
    score: Score
    rank: int  # from 1
    of: int  # candidates in all
    cause: Cause | None  # None: it stays, for now

    @property
    def goes(self) -> bool:
        return self.cause is not None


@dataclass(frozen=True, slots=True)
class Kept:
    """An image and what keeps it: the first reason found, or all of them in a thorough plan."""

    image: Image
    protections: tuple[Verdict, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """The result: every image is in exactly one of the two lists."""

    hold: Hold | None
    candidates: tuple[Candidate, ...]
    kept: tuple[Kept, ...]
    pressure: Pressure
    bytes_over_low: int
    look_again_at: float | None = None  # when the first protection or hold ends by itself

    @property
    def eviction(self) -> Candidate | None:
        """The one image to remove now."""
        if self.hold is not None:
            return None
        return next((candidate for candidate in self.candidates if candidate.goes), None)

    def __str__(self) -> str:
        going = [candidate for candidate in self.candidates if candidate.goes]
        size = sum(candidate.image.size for candidate in going)
        total = len(self.candidates) + len(self.kept)
        text = f"remove {len(going)} of {counted(total, 'image')}, {size_text(size)} as listed"
        text += f"; {len(self.candidates) - len(going)} more could go, {len(self.kept)} kept"
        return text + (f"; on hold: {self.hold.detail}" if self.hold else "")
