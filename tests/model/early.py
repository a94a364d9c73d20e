"""`expendable` rules: edits of them, several on one image that disagree, and a tier that forbids
them all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import policies
from .policies import Early, Rule

if TYPE_CHECKING:
    from .pod_moves import Dice
    from .world import World

WAITS = ((20,), (0, 60), (3, 900), (900, 3), (60, 3600), (3600, 3))  # seconds, of each rule


def make_expendable(world: World, dice: Dice) -> None:
    """Some of the images that are here go early, by rules that may wait for different times; some
    are of tier high, or none is expendable any more."""
    images = list(world.node.images.values())
    early, precious = list[Early](), list[Rule]()
    for _ in range(dice.pick((0, 2, 3, 4)) if images else 0):
        image = dice.pick(images)
        rules = [policies.by_id(image.hex_id)]
        for name in (*image.tags, *image.digests):
            path = name.partition("@")[0].rpartition(":")[0] or name
            rules += [policies.repository(path)] if "@" not in name else []
            rules += [policies.exact(name)] if "@" not in name else []
        early += [Early(dice.pick(rules), wait) for wait in dice.pick(WAITS)]
        if dice.number(0, 2) == 0:
            precious.append(dice.pick(rules))
    world.book.change(early=tuple(early), precious=tuple(precious))
    waits = [f"{one.rule.text} after {one.unused_for} s" for one in early]
    world.note("expendable:", (waits, "but not", [rule.text for rule in precious]))
    if dice.number(0, 2):
        world.nudge()
