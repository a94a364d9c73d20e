"""The world in which each seeded bug is seen: run first, so that the others need not be.

A number that is missing, or wrong since the moves have changed, costs time and nothing else: all
worlds are run then. `python -m tests.model.witnesses` finds the numbers again.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from .clockwork import virtual
from .mutants import MUTANTS, Mutant
from .soak import EPISODE, Tally, episode
from .world import Broken

WORLDS = 100  # of 300 steps each, at most
COMPARED = 40  # of them, for the one in which a bug shows first: it is run every time
FILE = Path(__file__).with_suffix(".json")
KNOWN: dict[str, int] = json.loads(FILE.read_text()) if FILE.exists() else {}


def seen(mutant: Mutant, folder: Path) -> tuple[int, str] | None:
    """The world in which a planted bug breaks a promise, and how; None if there is none."""
    with virtual():
        for seed in worlds(mutant):
            how = broken(mutant, seed, folder / str(seed), Tally())
            if how is not None:
                return seed, how
    return None


def worlds(mutant: Mutant) -> Iterator[int]:
    """All of them, each once; the one that is known to show the bug comes first."""
    known = KNOWN.get(mutant.name)
    if known is not None:
        yield known
    yield from (seed for seed in range(WORLDS) if seed != known)


def shortest(mutant: Mutant, folder: Path) -> tuple[int, str] | None:
    """Of the first worlds in which a bug shows, the one where it takes the fewest steps."""
    found, steps = None, EPISODE
    with virtual():
        for seed in worlds(mutant):
            if found is not None and seed >= COMPARED:
                break
            tally = Tally()
            how = broken(mutant, seed, folder / str(seed), tally, steps)
            if how is not None and how.split(maxsplit=1)[0] in mutant.breaks:
                found, steps = (seed, how), tally.steps - 1
            elif how is not None:
                print(f"  {mutant.name}, world {seed}: {how}")  # it may be none of the bug's doing
    return found


def broken(
    mutant: Mutant, seed: int, folder: Path, tally: Tally, steps: int = EPISODE
) -> str | None:
    """The violations of one world, None if there were none in `steps` steps."""
    folder.mkdir()
    try:
        episode(seed, folder, tally, steps, often=mutant.often)
    except Broken as found:
        return str(found).partition("\n\n")[0]
    return None


def main() -> None:
    """Writes the file, after each bug: what was found is kept when it is stopped."""
    found = dict(KNOWN)
    for mutant in MUTANTS:
        with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
            mutant.plant(patch)
            sight = shortest(mutant, Path(folder))
        print(f"{mutant.name}: {sight}", flush=True)
        found.pop(mutant.name, None)
        if sight is not None:
            found[mutant.name] = sight[0]
        FILE.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
