"""A small fixed budget of fuzzing in every run, and what it found before. `make fuzz` goes on."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from tests.fuzz.__main__ import run
from tests.fuzz.targets import TARGETS, corpus, inputs

FOUND = [(name, path) for name in TARGETS for path in corpus(name)]


@pytest.mark.parametrize(
    ("name", "path"), FOUND, ids=[f"{name}-{path.name}" for name, path in FOUND]
)
def test_what_broke_it_once_does_not_break_it_again(name: str, path: Path) -> None:
    """Every input that ever found something."""
    TARGETS[name](path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_hostile_bytes_are_answered_and_never_a_traceback(name: str) -> None:
    """The same two thousand inputs in every run."""
    for data in itertools.islice(inputs(name, seed=1), 2000):
        TARGETS[name](data)


def test_the_fuzzer_finds_a_mistake_and_gives_the_smallest_input(tmp_path: Path) -> None:
    """A fuzzer that never finds anything proves nothing."""

    def broken(data: bytes) -> None:
        assert b"..." not in data

    done = run("policy", broken, seconds=30.0, seed=1, corpus=tmp_path)
    assert done.found is not None
    assert done.found.read_bytes() == b"..."
