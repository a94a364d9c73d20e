"""The scenarios by name, in the order they run."""

from __future__ import annotations

from collections.abc import Callable

from .lab import Lab
from .race import race

SCENARIOS: dict[str, Callable[[Lab], None]] = {"race": race}
