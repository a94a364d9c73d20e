"""What other processes do on the node: the operator's prune, other removers, and clients of the
daemon's HTTP API."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable

from reconciler.assembly import Daemon

from . import pruning
from .http_api import HttpApi, disagreements, is_settled
from .oracle import Command, Violation
from .pod_moves import Dice
from .rival import remove, unused_images
from .world import World

Move = Callable[[World, Dice], None]
QUIET = 3.0  # seconds in which nothing happens
ACTIONS = ("pause", "resume", "resume", "reclaim")


def prune(world: World, dice: Dice, others: tuple[Move, ...]) -> None:
    """The operator stops the daemon, prunes by hand while things go on, and starts it again."""
    if world.running:
        world.stop(kill=dice.number(0, 1) > 0)
    command = Command(
        to=dice.pick((None, None, 40, 60, 70)),
        all_unused=dice.number(0, 3) == 0,
        minimum_age=dice.pick((None, 0, 0, 60)),
    )
    world.note("the operator prunes:", command)
    if dice.number(0, 1):
        world.disks.fill(world.disks.first, command.over(world.book.wanted).low)
    pruning.begin(world, command)
    for _ in range(dice.number(1, 6)):
        if world.ended:
            break
        world.advance(dice.pick((0.0, 0.01, 0.1, 1.0, 5.0)))
        if dice.number(0, 1):
            dice.pick(others)(world, dice)
    if world.running:
        world.stop(kill=dice.number(0, 2) == 0)
    world.start()


def rival(world: World, dice: Dice, others: tuple[Move, ...]) -> None:
    """Another reconciler takes the lock: while the daemon is away for a moment, or while it runs
    but does not remove. The daemon stands by, and takes over when it ends."""
    if world.running and dice.number(0, 3):
        world.stop(kill=dice.number(0, 1) > 0)
    world.rival.begin()
    if not world.running:
        world.start()
    for _ in range(dice.number(1, 4)):
        world.advance(dice.pick((0.1, 1.0, 6.0)))
        dice.pick(others)(world, dice)
    world.rival.end()
    if not world.running:
        world.start()


def kubelet_collects(world: World, dice: Dice) -> None:
    """Kubelet's own collector removes what is unused, at once or one after the other."""
    count, pause = dice.number(1, 3), dice.pick((0.0, 0.0, 0.05, 0.3))

    async def collects() -> None:
        for _ in range(count):
            unused = unused_images(world)
            if unused:
                remove(world, unused[0], "kubelet")
            await asyncio.sleep(pause)

    world.in_background(collects())


def post_by_http(world: World, dice: Dice) -> None:
    """The operator's request over HTTP: once it is answered, it counts."""
    api, action = api_of(world), dice.pick(ACTIONS)
    if api is None:
        return

    async def asks() -> None:
        code = await api.post(action)
        world.note(f"POST {action}:", code)
        if code == 202 and action != "reclaim":
            world.oracle.paused = action == "pause"

    world.loop.run_until_complete(asks())
    if action == "pause":  # the disk does not wait for it
        world.disks.fill(world.disks.first, world.book.wanted.high + 2)
        world.advance(QUIET)
        compare(world, api)
        world.check()


def read_by_http(world: World, dice: Dice, others: tuple[Move, ...]) -> None:
    """A client reads everything while things change; in a quiet moment it must then be right."""
    api = api_of(world)
    if api is None:
        return
    reading = world.in_background(api.everything())
    for _ in range(dice.number(0, 3)):
        dice.pick(others)(world, dice)
        world.advance(dice.pick((0.0, 0.01, 0.1)))
    world.advance(QUIET)
    if reading.done() and not reading.cancelled() and (error := reading.exception()) is not None:
        text = "".join(traceback.format_exception(error)[-3:])
        _blame(world, Violation("http", text, world.clock()))
    elif dice.number(0, 1) and api is api_of(world):
        compare(world, api)
    world.check()


def compare(world: World, api: HttpApi) -> None:
    """Compares every document with what the judge knows, if nothing is under way."""
    oracle, removals = world.oracle, world.oracle.removals

    async def read() -> None:
        waiting = world.daemon is None or len(world.daemon.mailbox)
        if waiting or not is_settled(api.view) or oracle.knows.look is None or oracle.knows.failed:
            return
        records, policy = dict(api.view.state.memory.images), oracle.book.read
        images, plan = await api.images(), await api.plan()
        if not is_settled(api.view) or oracle.removals > removals:
            return
        if oracle.book.read is not policy:
            return  # edited in between
        if api.view.state.memory.images != records:
            return  # a process that ended had written a ledger, which has been taken over since
        if api.view.state.runtime.listed_at != oracle.knows.look.began:
            return  # the runtime's last answers are not taken in yet
        for found in disagreements(api, oracle, images, plan):
            _blame(world, found)

    world.loop.run_until_complete(read())


def _blame(world: World, found: Violation) -> None:
    world.oracle.violations.append(found)
    world.note("  VIOLATION of", found)


def api_of(world: World) -> HttpApi | None:
    """The HTTP API of the daemon that runs now."""
    if not isinstance(world.daemon, Daemon) or world.ended:
        return None
    if world.api is None:
        world.api = HttpApi(world.daemon, world.folder / "token")
    return world.api
