"""A second remover on the node, which removes by rules of its own: another reconciler that holds
the lock, or kubelet's collector, which knows of no lock."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import TYPE_CHECKING

from reconciler.app import lost_lock
from reconciler.embedded.node import Refused, Stored
from reconciler.lock import LockUnavailable

if TYPE_CHECKING:
    from .world import World

EVERY = 0.5  # seconds between its removals


def is_lost_lock(error: BaseException | None) -> bool:
    """Whether a process ended because another one holds the lock."""
    return error is not None and lost_lock(BaseExceptionGroup("", [error])) is not None


class Rival:
    """Another reconciler, on the same runtime; to the daemon it is the lock that it holds."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._random = random.Random(7)
        self._work: asyncio.Task[None] | None = None

    @property
    def holds(self) -> bool:
        return self._work is not None

    def renew(self) -> None:
        """What the daemon asks before a removal. Raises LockUnavailable."""
        if self.holds:
            raise LockUnavailable("another reconciler (pid 2) removes images here")

    def comes(self) -> None:
        """It takes the lock and begins."""
        if not self.holds:
            self._world.oracle.rival_since = self._world.clock()
            self._work = self._world.beside(self._removes())
            self._world.note("a rival comes")

    def goes(self) -> None:
        if self._work is not None:
            self._work.cancel()
            self._work = self._world.oracle.rival_since = None
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
