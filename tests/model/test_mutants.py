"""The oracle bites: every seeded bug is seen, within a budget of steps that is the same for all."""

from __future__ import annotations

from pathlib import Path

import pytest

from .clockwork import virtual
from .mutants import MUTANTS, Mutant
from .soak import Tally, episode
from .world import Broken

WORLDS = 100  # of 300 steps each, at most


def survived(mutant: Mutant, seed: int, folder: Path) -> str | None:
    """The violations of one world, None if there were none."""
    folder.mkdir()
    try:
        episode(seed, folder, Tally(), often=mutant.often)
    except Broken as broken:
        return str(broken).partition("\n\n")[0]
    return None


@pytest.mark.timeout(300)
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: str(mutant.name))
def test_the_oracle_sees_a_seeded_bug(
    mutant: Mutant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An oracle that no bug can wake proves nothing."""
    mutant.plant(monkeypatch)
    with virtual():
        for seed in range(WORLDS):
            found = survived(mutant, seed, tmp_path / str(seed))
            if found is not None:
                print(f"world {seed}: {found}")
                assert found.split(maxsplit=1)[0] in mutant.breaks, found
                return
    pytest.fail(f"{mutant.name}: nothing was seen in {WORLDS} worlds")
