"""Long work in slices: a generator that stops now and then, so that whoever drives it may do
something else in between, and returns its result in the end."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeAlias, TypeVar, cast

T = TypeVar("T")

Slices: TypeAlias = Generator[None, None, T]

SLICE = 200  # images or containers in a slice: a few milliseconds of work


def finished(steps: Slices[T]) -> T:
    """Carries it out in one go."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return cast("T", end.value)
