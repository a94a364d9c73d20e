"""The worlds of fixed seeds that every run of the tests looks at: few and short, and chosen so that
together they take the branches of the product that three hundred take, and remove many images.

`python -m tests.model.choose` chooses again and writes `chosen.json`; that takes some minutes.
"""

from __future__ import annotations

import json
import multiprocessing
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import reconciler

from .clockwork import virtual
from .soak import Tally, episode

CONSIDERED = range(1000, 1300)
LEAST = 6  # branches not taken before, for a world to be worth its second
REMOVAL = 4  # branches that a removal is worth
FILE = Path(__file__).with_name("chosen.json")
SEEDS: list[int] = json.loads(FILE.read_text())

Branch = tuple[str, int, int]  # a file, and the lines that it leads from and to


def warm_up() -> None:
    """What is loaded with the first world of a process is no branch of that world."""
    with virtual(), tempfile.TemporaryDirectory(prefix="choose-") as folder:
        episode(0, Path(folder), Tally())


class Way(NamedTuple):
    """What one world runs of the product, in how many turns of the event loop, and how many images
    it removes."""

    branches: frozenset[Branch]
    turns: int
    removals: int


def way(seed: int) -> Way:
    """Runs one world."""
    import coverage  # for this alone

    source = str(Path(reconciler.__file__).parent)
    cover = coverage.Coverage(data_file=None, branch=True, source=[source], config_file=False)
    with virtual(), tempfile.TemporaryDirectory(prefix="choose-") as folder:
        tally = Tally()
        cover.start()
        episode(seed, Path(folder), tally)
        cover.stop()
    data = cover.get_data()
    arcs = {(file, *arc) for file in data.measured_files() for arc in data.arcs(file) or ()}
    return Way(frozenset(arcs), tally.turns, tally.removals)


def chosen(ways: Mapping[int, Way]) -> list[int]:
    """The seeds, each the one that adds the most for its turns to those before it, but for those
    that the later ones made needless."""
    found: list[int] = []
    while True:
        seen, worth = together(ways, found), {}
        for seed, way in ways.items():
            new = len(way.branches - seen)
            if new >= LEAST:
                worth[seed] = (new + REMOVAL * way.removals) / way.turns
        if not worth:
            break
        found.append(max(worth, key=lambda seed: worth[seed]))
    for seed in sorted(found, key=lambda seed: -ways[seed].turns):
        others = [one for one in found if one != seed]
        if len(ways[seed].branches - together(ways, others)) < LEAST:
            found = others
    return found


def together(ways: Mapping[int, Way], seeds: Iterable[int]) -> frozenset[Branch]:
    """What some of the worlds take."""
    return frozenset[Branch]().union(*(ways[seed].branches for seed in seeds))


def main() -> None:
    with multiprocessing.get_context("spawn").Pool(initializer=warm_up) as pool:
        ways = dict(zip(CONSIDERED, pool.map(way, CONSIDERED, chunksize=5), strict=True))
    seeds = chosen(ways)
    theirs, every = len(together(ways, seeds)), len(together(ways, ways))
    turns = sum(ways[seed].turns for seed in seeds)
    removals = sum(ways[seed].removals for seed in seeds)
    print(
        f"{theirs} of {every} branches by {len(seeds)} of {len(ways)} worlds, {turns=}, {removals=}"
    )
    FILE.write_text(json.dumps(seeds) + "\n")


if __name__ == "__main__":
    main()
