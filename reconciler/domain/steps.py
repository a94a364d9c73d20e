"""Long work in steps: a generator that yields after each, so that its caller may do something else
in between, and that returns its result at the end."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeAlias, TypeVar, cast

T = TypeVar("T")

Steps: TypeAlias = Generator[None, None, T]

STEP = 200  # images or containers in a step: a few milliseconds of work


def run_to_completion(steps: Steps[T]) -> T:
    """Runs all steps at once and returns the result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return cast("T", end.value)
