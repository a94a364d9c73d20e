"""Edits of the policy: good ones, broken ones, and the fix."""

from __future__ import annotations

import datetime as dt

from . import policies
from .image_moves import NAMES, REGISTRY, an_image
from .pod_moves import Dice
from .policies import Rule
from .world import MIB, World

BROKEN_POLICIES = (
    b"",
    None,
    b"kind: ImagePolicy\n",
    b"apiVersion: reconciler/v1\nkind: ImagePolicy\nmod: enforce\n",
    b"apiVersion: reconciler/v1\nkind: ImagePolicy\nwatermarks: {high: 10%, low: 90%}\n",
    b"\xff\xfe\x00",
    b"a: [\n",
)


def edit(world: World, dice: Dice) -> None:
    """A good edit of the policy."""
    low = dice.pick((50, 60, 70))
    values: dict[str, object] = dice.pick(
        (
            {"enforce": dice.number(0, 3) > 0},
            {"low": low, "high": low + dice.number(1, 9)},
            {"inodes_low": low, "inodes_high": low + dice.number(1, 9)},
            {"minimum_age": dice.pick((0, 3, 20, 120))},
            {"maximum_unused_age": dice.pick((0, 0, 0, 60, 900))},
            {"come_back_for": dice.pick((0, 60, 3600))},
            {"system": dice.number(0, 3) > 0, "keep_for": dice.pick((0, 60, 3600))},
            {"protect_unpullable": dice.number(0, 1) > 0},
            {"minimum_size": dice.pick((0, MIB))},
            {"rules": _rules(world, dice)},
            {"rules": _rules(world, dice)},
        )
    )
    world.book.change(in_place=dice.number(0, 1) > 0, **values)
    world.note("policy:", {k: v if k != "rules" else _texts(v) for k, v in values.items()})
    if dice.number(0, 2):
        world.nudge()


def _texts(rules: object) -> object:
    return [rule.text for rule in rules] if isinstance(rules, tuple) else rules


def _rules(world: World, dice: Dice) -> tuple[Rule, ...]:
    return tuple(a_rule(world, dice) for _ in range(dice.number(0, 2)))


def a_rule(world: World, dice: Dice) -> Rule:
    name = dice.pick(NAMES)
    path = name.rpartition(":")[0]
    today = dt.datetime.fromtimestamp(world.wall(), dt.UTC).date()
    image = an_image(world, dice)
    choices = [
        policies.exact(name),
        policies.exact(name, today + dt.timedelta(days=dice.number(-1, 1))),
        policies.repository(path),
        policies.repository(f"{REGISTRY}/team"),
        policies.below(f"{REGISTRY}:5000"),
        policies.tags_like(path, "v1"),
    ]
    if image is not None:
        choices.append(policies.by_id(image.hex_id))
    return dice.pick(choices)


def break_policy(world: World, dice: Dice) -> None:
    """A bad edit: cut short, empty, gone, nonsense."""
    whole = world.book.wanted.text().encode()
    cut = whole[: dice.number(0, len(whole) - 2)]
    data = cut if dice.number(0, 1) else dice.pick(BROKEN_POLICIES)
    world.book.break_file(data)
    world.note("policy broken:", data[-30:] if data is not None else "gone")
    if dice.number(0, 1):
        world.nudge()


def fix_policy(world: World, dice: Dice) -> None:
    """The operator fixes a broken policy."""
    world.book.change(enforce=True, minimum_size=MIB)
    world.note("policy fixed")
    world.nudge()
