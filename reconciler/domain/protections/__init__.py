"""The reasons to keep one image. This is where to look for the rule that keeps it.

Each is a check with the texts that explain it; `PROTECTIONS` lists them all.

- They are OR-ed: one that holds keeps the image, and none can be outvoted.
- A check only reads the image and the context: state, policy and time. It uses no other check.
- A check that holds returns a sentence with what it knows; doubt holds too (`UNCERTAIN`).
- `applies` says once, for all images of a decision, whether a protection can find anything there;
  only those that apply are checked.
- Each kind is in the list once, in the order that suits people. The order changes what is shown
  first, never what is kept.

The checks: `of_image` what an image is, `of_use` who uses it or will, `of_removals` the results of
earlier removals. `ranking` orders the other images, and nothing here may use it.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..context import Context
from ..inventory import Image
from .of_image import EXCLUDED, PINNED, SYSTEM, TOO_SMALL, UNPULLABLE, YOUNG
from .of_removals import CAME_BACK, REFUSED
from .of_use import AWAITED, IN_USE, SANDBOX, UNCERTAIN
from .protection import Protection, Verdict

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
    """Returns every protection's verdict, also of those that do not hold."""
    found = {verdict.kind: verdict for verdict in holding(image, context)}
    return tuple(found.get(one.kind) or one.not_held() for one in PROTECTIONS)


def holding(image: Image, context: Context) -> Iterator[Verdict]:
    """Yields the verdicts of those that hold, so that a caller may stop at the first, which is
    enough to keep the image."""
    found = (one.held(image, context) for one in _applying(context))
    return (verdict for verdict in found if verdict is not None)


def _applying(context: Context) -> tuple[Protection, ...]:
    """The protections that can find anything at all in a context."""
    if not context.applying:
        context.applying = tuple(one for one in PROTECTIONS if one.applies(context))
    return context.applying
