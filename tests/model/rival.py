"""A second remover on the node, which removes by rules of its own: another reconciler that holds
the lock, or kubelet's collector, which knows of no lock."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Iterable
from typing import TYPE_CHECKING

from reconciler.fake_runtime.node import Refused, Stored

if TYPE_CHECKING:
    from .world import World

EVERY = 0.5  # seconds between its removals


class Rival:
    """Another reconciler, on the same runtime; to the daemon it is the lock of one of them."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._random = random.Random(7)
        self._work: asyncio.Task[None] | None = None
        self._theirs = False  # the daemon, or a command, has the lock

    def take(self, directories: Iterable[str]) -> str | None:
        """The daemon, or a command, asks for the lock; returns who else has it."""
        if self._work is not None:
            return "another reconciler (pid 2)"
        self._theirs = True
        return None

    def release(self) -> None:
        """The daemon releases it, or has ended."""
        self._theirs = False

    def begin(self) -> None:
        """It takes the lock, if that is free, and begins."""
        if self._work is None and not self._theirs:
            self._world.oracle.rival_holds = True
            self._work = self._world.in_background(self._removes())
            self._world.note("a rival comes")

    def end(self) -> None:
        if self._work is not None:
            self._work.cancel()
            self._work, self._world.oracle.rival_holds = None, False
            self._world.note("the rival goes")

    async def _removes(self) -> None:
        while True:
            await asyncio.sleep(EVERY)
            unused = unused_images(self._world)
            if unused:
                remove(self._world, self._random.choice(unused), "the rival")


def unused_images(world: World) -> list[Stored]:
    """What nothing uses, as a collector sees it."""
    node = world.node
    return [one for one in node.images.values() if next(node.users_of(one), None) is None]


def remove(world: World, image: Stored, who: str) -> None:
    """By id, as the runtime takes it."""
    with contextlib.suppress(Refused):
        world.node.remove_image(world.node.habits.id_text(image.hex_id))
        world.note(f"{who} removed:", image.hex_id)
