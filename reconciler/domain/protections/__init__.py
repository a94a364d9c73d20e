"""The reasons to keep one image. This is where to look for the rule that keeps it.

Each is a check and a record of all that is said of it; `PROTECTIONS` is the list of them. They are
OR-ed: the first that holds is enough to keep, all of them are there to explain.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..inventory import Image
from ..scene import Scene
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


def verdicts(image: Image, scene: Scene) -> tuple[Verdict, ...]:
    """Every protection's verdict, also of those that do not hold."""
    return tuple(one.verdict(image, scene) for one in PROTECTIONS)


def holding(image: Image, scene: Scene) -> Iterator[Verdict]:
    """Of those that hold, one by one, so that a caller may stop at the first."""
    return (found for one in PROTECTIONS if (found := one.verdict(image, scene)).holds)


def first_holding(image: Image, scene: Scene) -> Verdict | None:
    """The first that holds, which is enough to keep."""
    for one in _applying(scene):
        if one.check(image, scene) is not None:
            return one.verdict(image, scene)
    return None


def _applying(scene: Scene) -> tuple[Protection, ...]:
    """Those that can find anything at all in a scene."""
    if not scene.applying:
        scene.applying = tuple(one for one in PROTECTIONS if one.applies(scene))
    return scene.applying
