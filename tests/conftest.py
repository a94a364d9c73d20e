"""For all tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog
from hypothesis import settings

# How long an example takes is a matter of the machine's other work, and no failure of ours:
# benchmarks time things. Every test has a timeout all the same.
settings.register_profile("reconciler", deadline=None)
settings.load_profile("reconciler")


@pytest.fixture(autouse=True)
def own_log() -> Iterator[None]:
    """What one test did to the log's configuration ends with it."""
    yield
    structlog.reset_defaults()
