"""The oracle works: every seeded bug is seen, within a budget of steps that is the same for all."""

from __future__ import annotations

from pathlib import Path

import pytest

from .mutants import MUTANTS, Mutant
from .witnesses import WORLDS, seen


@pytest.mark.timeout(300)
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: str(mutant.name))
def test_the_oracle_sees_a_seeded_bug(
    mutant: Mutant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An oracle that notices no bug proves nothing."""
    mutant.plant(monkeypatch)
    sight = seen(mutant, tmp_path)
    assert sight is not None, f"{mutant.name}: nothing was seen in {WORLDS} worlds"
    world, how = sight
    print(f"world {world}: {how}")
    assert how.split(maxsplit=1)[0] in mutant.breaks, how
