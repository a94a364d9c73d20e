"""The worlds of fixed seeds that every run of the tests looks at: few, and chosen so that together
they take the branches of the product that a hundred and fifty take.

`python -m tests.model.choose` chooses again and writes `chosen.json`; that takes some minutes.
"""

from __future__ import annotations

import json
import multiprocessing
import tempfile
from collections.abc import Mapping
from pathlib import Path

import reconciler

from .clockwork import virtual
from .soak import Tally, episode

CONSIDERED = range(1000, 1150)
LEAST = 4  # branches not taken before, for a world to be worth its second
FILE = Path(__file__).with_name("chosen.json")
SEEDS: list[int] = json.loads(FILE.read_text())

Branch = tuple[str, int, int]  # a file, and the lines that it leads from and to


def warm_up() -> None:
    """What is loaded with the first world of a process is no branch of that world."""
    with virtual(), tempfile.TemporaryDirectory(prefix="choose-") as folder:
        episode(0, Path(folder), Tally())


def branches(seed: int) -> frozenset[Branch]:
    """What one world runs of the product."""
    import coverage  # for this alone

    source = str(Path(reconciler.__file__).parent)
    cover = coverage.Coverage(data_file=None, branch=True, source=[source], config_file=False)
    with virtual(), tempfile.TemporaryDirectory(prefix="choose-") as folder:
        cover.start()
        episode(seed, Path(folder), Tally())
        cover.stop()
    data = cover.get_data()
    return frozenset(
        (file, *arc) for file in data.measured_files() for arc in data.arcs(file) or ()
    )


def chosen(taken: Mapping[int, frozenset[Branch]]) -> list[int]:
    """The seeds, each the one that adds the most branches to those before it."""
    found: list[int] = []
    seen: set[Branch] = set()
    while True:
        best = max(taken, key=lambda seed: len(taken[seed] - seen))
        if len(taken[best] - seen) < LEAST:
            return found
        found.append(best)
        seen |= taken[best]


def main() -> None:
    with multiprocessing.get_context("spawn").Pool(initializer=warm_up) as pool:
        taken = dict(zip(CONSIDERED, pool.map(branches, CONSIDERED, chunksize=5), strict=True))
    seeds = chosen(taken)
    every = frozenset[Branch]().union(*taken.values())
    theirs = frozenset[Branch]().union(*(taken[seed] for seed in seeds))
    print(f"{len(theirs)} of {len(every)} branches by {len(seeds)} of {len(taken)} worlds")
    FILE.write_text(json.dumps(seeds) + "\n")


if __name__ == "__main__":
    main()
