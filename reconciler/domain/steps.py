"""Long work in steps: a generator that stops now and then, so that whoever drives it may do
something else in between, and returns its result in the end."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeAlias, TypeVar, cast

T = TypeVar("T")

Steps: TypeAlias = Generator[None, None, T]

STEP = 200  # images or containers in a step: a few milliseconds of work


def run_to_completion(steps: Steps[T]) -> T:
    """Carries it out in one go."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return cast("T", end.value)
