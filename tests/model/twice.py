"""A runtime that lists one image in two entries, each with some of its names: what containers-
storage may do whose images have several names, and a list made of two stores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .pod_moves import Dice
    from .world import World


def list_twice(world: World, dice: Dice) -> None:
    """From now on some of the images are listed in two entries, the poorer one first or last, or
    every image in one again."""
    twice = world.service.twice
    twice.clear()
    if dice.number(0, 3):
        twice.update({key: dice.number(0, 1) > 0 for key in world.node.images})
    world.note("listed twice:", len(twice))


def in_two_entries(images: Any, twice: dict[str, bool]) -> None:
    """Lists some images of an answer twice. The poorer entry has half of the names, no pin and no
    size; `twice` says by id whether it comes last."""
    listed = list(images)
    del images[:]
    for one in listed:
        poorer_last = twice.get(one.id.removeprefix("sha256:"))
        if poorer_last is None:
            images.append(one)
            continue
        poor = type(one)(id=one.id)
        for names, others in (
            (one.repo_tags, poor.repo_tags),
            (one.repo_digests, poor.repo_digests),
        ):
            half = (len(names) + 1) // 2
            others.extend(names[:half])
            del names[:half]
        images.extend((one, poor) if poorer_last else (poor, one))
