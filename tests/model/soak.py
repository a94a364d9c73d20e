"""The long run: random moves from a seed, for some minutes; `make soak MINUTES=10 SEED=7`.

Prints steps, removals and violations, and the speed. Ends with 1 on the first violation, with the
episode's seed and the history that led to it: the same seed leads there again.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from reconciler.domain.facts import Resumed
from reconciler.fake_runtime.habits import ALL, Habits
from reconciler.fake_runtime.node import layer

from .clockwork import virtual
from .container_moves import run_pod
from .image_moves import pull
from .marks import AUTO, SHARE
from .moves import MOVES, Move, fill, vary, wait
from .pod_moves import pods_go_on
from .policies import Version
from .world import CAPACITY, MIB, Broken, World

T = TypeVar("T")
EPISODE = 300  # steps of one world
CHURNS, FEW = 100, 3  # pods, one every two seconds; removals meanwhile
TROUBLES = 150  # steps before the calm
LONG, A_WHILE = 900.0, 30.0  # seconds
FULL = CAPACITY * 625 // 1000  # bytes, over the high mark of 62 %


class Random:
    """Dice from a seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def number(self, least: int, most: int) -> int:
        return self._random.randint(least, most)

    def pick(self, among: Sequence[T]) -> T:
        return self._random.choice(among)


@dataclass
class Tally:
    """What was done in all."""

    steps: int = 0
    removals: int = 0
    turns: int = 0  # of the event loops
    unknowable: Counter[str] = field(default_factory=Counter)


def episode(
    seed: int, folder: Path, tally: Tally, steps: int = EPISODE, often: Sequence[Move] = ()
) -> None:
    """One world from its beginning to its end; `often`: moves that come as often as waiting does.
    Raises Broken."""
    random.seed(seed)  # the daemon draws random numbers too, for its backoff
    dice = Random(seed)
    chooser = random.Random(seed + 1)
    weighed = MOVES | dict.fromkeys(often, MOVES[wait])
    moves, weights = list(weighed), list(weighed.values())
    source = dice.pick(("", "", "", "socket", "kubelet", "api"))
    world = World(dice.pick(list(ALL.values())), folder, seed % 4 > 0, source)
    try:
        vary(world, dice)
        for _ in range(4):
            pull(world, dice)
        run_pod(world, dice)
        fill(world, dice)
        unit = AUTO if seed % 3 == 2 else SHARE
        world.book.change(minimum_age=dice.pick((0, 3, 20, 120)), unit=unit)
        world.start()
        for move in chooser.choices(moves, weights, k=steps):
            move(world, dice)
            tally.steps += 1
            world.check()
    finally:
        tally.removals += world.oracle.removals
        tally.turns += world.loop.turns
        tally.unknowable += world.oracle.unknowable
        world.close()


def settle(seed: int, habits: Habits, folder: Path) -> None:
    """A world with troubles, then none: the daemon must resume its work by itself, and go on while
    the disk stays full and pods come and go without a moment in which none is about to start."""
    random.seed(seed)
    dice = Random(seed)
    world = World(habits, folder, source=("", "socket")[seed % 2])
    try:
        vary(world, dice)
        world.book.change(minimum_age=3, protect_unpullable=False)
        world.start()
        moves, weights = list(MOVES), list(MOVES.values())
        for move in random.Random(seed + 1).choices(moves, weights, k=TROUBLES):
            move(world, dice)
        world.calm()
        world.command(Resumed)
        world.book.write(Version(minimum_age=3, high=62, low=61, come_back_for=0))
        world.nudge()
        before = world.oracle.removals
        _refill(world, "resumed")
        for _ in range(int(LONG / A_WHILE)):
            if world.oracle.removals == before:
                world.advance(A_WHILE)
        assert world.oracle.removals > before, f"nothing was removed\n{world.oracle.history}"
        before = world.oracle.removals
        _refill(world, "goes-on")
        for _ in range(CHURNS):
            if world.oracle.removals < before + FEW:
                _churn(world, dice)
        went = world.oracle.removals - before
        assert went >= FEW, f"only {went} more were removed\n{world.oracle.history}"
    finally:
        world.close()


def _refill(world: World, name: str) -> None:
    """Some more images that may go, and a disk that is full."""
    for number in range(6):
        image = f"registry.example.com/{name}/{number}:v1"
        world.node.publish(image, [layer(image, 100 * MIB)])
        world.node.pull(image, world.wall())
    world.node.base = 0
    world.node.base = FULL - world.node.used()


def _churn(world: World, dice: Random) -> None:
    """Of the pods, one comes and an old one goes, and the disk stays as full as it was."""
    pods_go_on(world, dice)
    for box in list(world.node.sandboxes.values())[:-3]:
        if box.uid not in world.kubelet.pods:
            world.node.remove_pod(box.id, world.wall())
    world.node.run_pod(f"new-{dice.number(0, 10**9)}", world.wall())
    world.node.base += FULL - world.node.used()
    world.advance(2.0)


def soak(seed: int, minutes: float, worlds: int = sys.maxsize) -> int:
    """Runs episodes until the time or `worlds` is over; returns the exit code."""
    began, tally, number, printed_at = time.monotonic(), Tally(), 0, 0.0
    base = Path("/dev/shm") if Path("/dev/shm").is_dir() else None
    with virtual():
        while time.monotonic() - began < minutes * 60 and number < worlds:
            with tempfile.TemporaryDirectory(prefix="soak-", dir=base) as folder:
                try:
                    episode(seed + number, Path(folder), tally)
                except Exception as error:  # a crash of the daemon is as bad as a violation
                    if not isinstance(error, Broken):
                        traceback.print_exc()
                    print(f"{error}\n\n1 violation: episode seed {seed + number}")
                    print(f"again: make soak SEED={seed + number}")
                    return 1
            number += 1
            if time.monotonic() - printed_at > 30:
                printed_at = time.monotonic()
                print(_summary(tally, number, time.monotonic() - began), flush=True)
    print(_summary(tally, number, time.monotonic() - began))
    return 0


def _summary(tally: Tally, episodes: int, took: float) -> str:
    return (
        f"{tally.steps} steps in {episodes} worlds, {tally.removals} removals, "
        f"{tally.turns} turns, 0 violations, "
        f"{sum(tally.unknowable.values())} unknowable; {tally.steps / took:.0f} steps/s"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--worlds", type=int, default=sys.maxsize)
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else time.time_ns() % 10**9
    print(f"seed {seed}")
    return soak(seed, options.minutes, options.worlds)


if __name__ == "__main__":
    sys.exit(main())
