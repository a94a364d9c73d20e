"""The reasons to keep one image. This is where to look for the rule that keeps it.

Each is a check and a record of all that is said of it; `PROTECTIONS` is the list of them. They are
OR-ed: the first that holds is enough to keep, all of them are there to explain.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..context import Context
from ..inventory import Image
from .of_image import EXCLUDED, PINNED, SYSTEM, TOO_SMALL, UNPULLABLE, YOUNG
from .of_removals import CAME_BACK, REFUSED
from .of_use import AWAITED, IN_USE, SANDBOX, UNCERTAIN
from .protection import Protection, Verdict

# In the order in which people want to hear them.
PROTECTIONS = (
    IN_USE,
    AWAITED,
    SANDBOX,
    PINNED,
    SYSTEM,
    EXCLUDED,
    YOUNG,
    TOO_SMALL,
    UNPULLABLE,
    REFUSED,
    CAME_BACK,
    UNCERTAIN,
)
BY_KIND = {one.kind: one for one in PROTECTIONS}


def verdicts(image: Image, context: Context) -> tuple[Verdict, ...]:
    """Every protection's verdict, also of those that do not hold."""
    return tuple(one.verdict(image, context) for one in PROTECTIONS)


def holding(image: Image, context: Context) -> Iterator[Verdict]:
    """Of those that hold, one by one, so that a caller may stop at the first."""
    return (found for one in PROTECTIONS if (found := one.held(image, context)) is not None)


def first_holding(image: Image, context: Context) -> Verdict | None:
    """The first that holds, which is enough to keep."""
    found = (one.held(image, context) for one in _applying(context))
    return next((verdict for verdict in found if verdict is not None), None)


def _applying(context: Context) -> tuple[Protection, ...]:
    """Those that can find anything at all in a context."""
    if not context.applying:
        context.applying = tuple(one for one in PROTECTIONS if one.applies(context))
    return context.applying
