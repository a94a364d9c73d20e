"""The whole daemon in virtual time under all that can happen to it; every removal is judged.

A short run with fixed seeds; `make soak MINUTES=n` goes on with fresh ones. Where a world breaks a
promise, hypothesis shrinks the way there.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from reconciler.fake_runtime.habits import ALL, Habits
from tests.builders import HANGS

from .choose import SEEDS
from .clockwork import virtual
from .container_moves import run_pod
from .image_moves import pull
from .moves import MOVES, Move, fill, vary
from .soak import Tally, episode, settle
from .world import World

T = TypeVar("T")
GROUPS = 6
WORLDS = [SEEDS[first::GROUPS] for first in range(GROUPS)]
WEIGHTED = [move for move, weight in MOVES.items() for _ in range(weight)]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("worlds", WORLDS, ids=str)
def test_no_promise_is_broken_in_any_world_of_fixed_seeds(
    worlds: list[int], tmp_path: Path
) -> None:
    """Random moves, hundreds in each world, and not one forbidden removal. The worlds are
    those of `choose`: together they take the branches of many more."""
    tally = Tally()
    with virtual():
        for seed in worlds:
            folder = tmp_path / str(seed)
            folder.mkdir()
            episode(seed, folder, tally)
    print(f"{tally.steps} steps, {tally.removals} removals, unknowable: {dict(tally.unknowable)}")
    assert tally.removals > len(worlds), "so few removals prove nothing"


def test_a_seed_leads_the_same_way_in_every_process() -> None:
    """Or a violation that was found once is never seen again: neither real time nor the order of
    sets may have a say."""
    command = [sys.executable, "-m", "tests.model.soak", "--worlds", "1", "--seed", "910000100129"]

    def way(order: str) -> str:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, text=True, env={"PYTHONHASHSEED": order}, timeout=HANGS
        )
        return done.stdout.partition(" turns")[0]

    with ThreadPoolExecutor() as side_by_side:
        one, other = side_by_side.map(way, ("1", "2"))
    assert one == other
    assert "300 steps in 1 worlds" in one


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("habits", ALL.values(), ids=ALL)
def test_work_resumes_and_goes_on_when_all_troubles_are_over(
    habits: Habits, seed: int, tmp_path: Path
) -> None:
    """Safe and stuck is not safe: with every fault gone, a full disk is brought back to its mark.
    And pods that are about to start go first, but leave half of the time to the reclaim."""
    with virtual():
        settle(100 + seed, habits, tmp_path)


class Drawn:
    """Dice that hypothesis throws, so that it can throw smaller ones."""

    def __init__(self, data: st.DataObject) -> None:
        self._data = data

    def number(self, least: int, most: int) -> int:
        return self._data.draw(st.integers(least, most))

    def pick(self, among: Sequence[T]) -> T:
        return self._data.draw(st.sampled_from(list(among)))


class Node(RuleBasedStateMachine):
    """A world and its moves."""

    def __init__(self) -> None:
        super().__init__()
        self._inline = virtual()
        self._inline.__enter__()
        self._folder = tempfile.TemporaryDirectory(prefix="model-")
        self._world: World | None = None

    @initialize(habits=st.sampled_from(list(ALL.values())), data=st.data())
    def begin(self, habits: object, data: st.DataObject) -> None:
        self._world = world = World(habits, Path(self._folder.name), mute=True)  # type: ignore[arg-type] # Habits
        vary(world, Drawn(data))
        pull(world, Drawn(data))
        run_pod(world, Drawn(data))
        fill(world, Drawn(data))
        world.book.change(minimum_age=data.draw(st.sampled_from((0, 3, 20))))
        world.start()

    @rule(move=st.sampled_from(WEIGHTED), data=st.data())
    def step(self, move: Move, data: st.DataObject) -> None:
        assert self._world is not None
        move(self._world, Drawn(data))
        self._world.check()

    def teardown(self) -> None:
        try:
            if self._world is not None:
                self._world.close()
        finally:
            self._folder.cleanup()
            self._inline.__exit__(None, None, None)


Node.TestCase.settings = settings(
    max_examples=40,
    stateful_step_count=50,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestNode = pytest.mark.timeout(300)(Node.TestCase)
