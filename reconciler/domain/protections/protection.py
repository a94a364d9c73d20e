"""The type of a reason to keep an image. The reasons are in the modules next to it."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass

from ..context import Context
from ..inventory import Image
from ..policy import Exclusion


class Kind(enum.Enum):
    """The names of protections in the log, in metrics and in JSON."""

    IN_USE = "in-use"
    AWAITED = "awaited"
    SANDBOX = "sandbox"
    PINNED = "pinned"
    SYSTEM = "system"
    EXCLUDED = "excluded"
    YOUNG = "young"
    TOO_SMALL = "too-small"
    UNPULLABLE = "unpullable"
    REFUSED = "refused"
    CAME_BACK = "came-back"
    UNCERTAIN = "uncertain"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One protection's verdict on one image, with a sentence, and the operator's rule if it is
    one."""

    kind: Kind
    holds: bool
    detail: str
    rule: Exclusion | None = None


@dataclass(frozen=True, slots=True)
class Protection:
    """One reason to keep an image, and the texts that explain it.

    `check` returns a sentence where it holds, with the operator's rule if there is one, else None.
    It reads the image and the context: state, policy and time, with values computed once for all
    images of a decision."""

    kind: Kind
    promise: str  # that it keeps, by docs/safety.md: S1 and so on; empty: none
    keeps: str  # which images, in a clause
    check: Callable[[Image, Context], str | tuple[str, Exclusion] | None]
    otherwise: str  # the explanation where it does not hold
    because: str  # the end of "It stays because it is "
    let_go: str  # what would end it, as advice
    # False: it can find nothing in this context for any image, and is not checked there.
    applies: Callable[[Context], bool] = lambda context: True
    # When it ends by itself for an image that it keeps; None: time alone does not end it soon.
    ends_at: Callable[[Image, Context], float | None] = lambda image, context: None

    def not_held(self) -> Verdict:
        """The verdict where it does not hold."""
        return Verdict(self.kind, False, self.otherwise)

    def held(self, image: Image, context: Context) -> Verdict | None:
        """The verdict where it holds, in a context where it applies."""
        found = self.check(image, context)
        if found is None:
            return None
        return Verdict(self.kind, True, *((found,) if isinstance(found, str) else found))
