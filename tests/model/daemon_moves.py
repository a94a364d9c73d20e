"""What happens to the daemon: restarts, a lost state directory, slow writes, a freeze."""

from __future__ import annotations

from .pod_moves import Dice
from .world import World


def restart(world: World, dice: Dice) -> None:
    """The daemon ends, well or by SIGKILL, and starts again; its ledger may be lost, and the wall
    clock may have been set in between."""
    if world.running:
        world.stop(kill=dice.number(0, 1) > 0)
    world.advance(dice.pick((0.0, 1.0, 1.0, 60.0)))
    if dice.number(0, 5) == 0:
        world.set_clock(world.shift + dice.pick((-86400.0, -60.0, 60.0, 86400.0)))
    world.start(ledger=dice.number(0, 4) > 0)


def slow_disk(world: World, dice: Dice) -> None:
    """The next writes of the ledger are slow."""
    world.slow_saves += [dice.pick((0.2, 3.0)) for _ in range(dice.number(1, 4))]
    world.note("slow disk")


def lose_state(world: World, dice: Dice) -> None:
    world.lose_state()
    world.note("the state directory is gone")


def freeze(world: World, dice: Dice) -> None:
    """The daemon is stopped (SIGSTOP) for minutes, and goes on as if nothing had happened."""
    seconds = float(dice.pick((20, 64, 305, 305, 700, 3700)))
    world.loop.leap(seconds)
    world.note("frozen for seconds:", seconds)
    world.advance(0.01)
