"""The scenarios by name, in the order they run."""

from __future__ import annotations

from collections.abc import Callable

from .churn import churn
from .lab import Lab
from .outage import outage
from .race import race
from .waiting import init, secret

SCENARIOS: dict[str, Callable[[Lab], None]] = {
    "race": race,
    "init": init,
    "secret": secret,
    "outage": outage,
    "churn": churn,
}
